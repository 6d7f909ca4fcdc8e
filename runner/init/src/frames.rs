//! What a client sends on a session's stdin: frames, so that signals, sizes and signs of life fit between the bytes for
//! the command. Pure.
//!
//! A frame is its kind (one byte), the length of its payload (two bytes, big endian) and the payload. Kinds: 0 data, 1 end
//! of input, 2 signal (its number, one byte), 3 size (columns and rows, two bytes each, big endian), 4 beat. Others, and
//! those with a payload that does not fit their kind, are skipped: a newer client may send them.

use alloc::vec;
use alloc::vec::Vec;

/// How much is read at once, in bytes: what a pipe holds.
const ROOM: usize = 64 * 1024;
/// A frame without its payload.
const HEADER: usize = 3;

/// Something for the command, or about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Bytes for its input, as many as have come of a frame.
    Data(&'a [u8]),
    /// Its input has ended.
    End,
    /// A signal.
    Signal(u8),
    /// The size of the terminal that it is shown on.
    Size { columns: u16, rows: u16 },
}

/// Where the first byte that is left belongs.
enum Place {
    Header,
    Data(usize),
    Skipped(usize),
}

/// The bytes that have come and are not yet used.
pub(crate) struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    place: Place,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; ROOM], start: 0, end: 0, place: Place::Header }
    }

    /// Where what comes is to be put. Never empty when [`Self::first`] has nothing left.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.buffer[self.end..]
    }

    /// Says how much of the room was filled.
    pub(crate) fn fill(&mut self, length: usize) {
        self.end = self.buffer.len().min(self.end + length);
    }

    /// The first piece, and its length for [`Self::consume`]. Of data less may be consumed.
    pub(crate) fn first(&mut self) -> Option<(Piece<'_>, usize)> {
        loop {
            let there = self.end - self.start;
            match self.place {
                Place::Data(0) | Place::Skipped(0) => self.place = Place::Header,
                Place::Data(length) => {
                    let length = length.min(there);
                    let piece = Piece::Data(&self.buffer[self.start..self.start + length]);
                    return (length > 0).then_some((piece, length));
                }
                Place::Skipped(_) if there == 0 => return None,
                Place::Skipped(length) => self.consume(length.min(there)),
                Place::Header => {
                    let input = &self.buffer[self.start..self.end];
                    let [kind, high, low, payload @ ..] = input else { return None };
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    let control = match (kind, length) {
                        (1, 0) => Some(Piece::End),
                        (2, 1) => Some(Piece::Signal(*payload.first()?)),
                        (3, 4) => {
                            let [c0, c1, r0, r1] = *payload.first_chunk()?;
                            let (columns, rows) = (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([r0, r1]));
                            Some(Piece::Size { columns, rows })
                        }
                        _ => None,
                    };
                    if let Some(piece) = control {
                        return Some((piece, HEADER + length));
                    }
                    self.place = if *kind == 0 { Place::Data(length) } else { Place::Skipped(length) };
                    self.start += HEADER;
                }
            }
        }
    }

    /// Forgets the first bytes.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        match &mut self.place {
            Place::Data(left) | Place::Skipped(left) => *left -= length,
            Place::Header => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Heard {
        Data(Vec<u8>),
        End,
        Signal(u8),
        Size(u16, u16),
    }

    /// Feeds `bytes` in chunks of `step` and consumes data in pieces of at most `bite`.
    fn hear(bytes: &[u8], step: usize, bite: usize) -> Vec<Heard> {
        let (mut frames, mut heard) = (Frames::new(), Vec::new());
        for chunk in bytes.chunks(step) {
            frames.room()[..chunk.len()].copy_from_slice(chunk);
            frames.fill(chunk.len());
            while let Some((piece, length)) = frames.first() {
                let used = match piece {
                    Piece::Data(bytes) => {
                        let bytes = &bytes[..length.min(bite)];
                        match heard.last_mut() {
                            Some(Heard::Data(before)) => before.extend_from_slice(bytes),
                            _ => heard.push(Heard::Data(bytes.to_vec())),
                        }
                        bytes.len()
                    }
                    Piece::End => {
                        heard.push(Heard::End);
                        length
                    }
                    Piece::Signal(number) => {
                        heard.push(Heard::Signal(number));
                        length
                    }
                    Piece::Size { columns, rows } => {
                        heard.push(Heard::Size(columns, rows));
                        length
                    }
                };
                frames.consume(used);
            }
            assert!(!frames.room().is_empty());
        }
        heard
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        let bytes = b"\x00\x00\x03abc\x04\x00\x00\x02\x00\x01\x0f\x03\x00\x04\x00\x50\x01\x00\x00\x00\x00\x01\x00\x00";
        let expected = [Heard::Data(b"abc".to_vec()), Heard::Signal(15), Heard::Size(80, 256), Heard::End];
        for step in 1..=bytes.len() {
            assert_eq!(hear(bytes, step, 2), expected, "in chunks of {step}");
        }
    }

    #[test]
    fn what_is_unknown_is_skipped() {
        let bytes = b"\x09\x00\x02xy\x02\x00\x02\x0f\x0f\x03\x00\x00\x01\x00\x01\x00\x02\x00\x01\x01";
        for step in 1..=bytes.len() {
            assert_eq!(hear(bytes, step, 1), [Heard::Signal(1)], "in chunks of {step}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_comes(
            data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            step in 1_usize..5000,
            bite in 1_usize..400,
        ) {
            let mut bytes = Vec::new();
            for payload in &data {
                bytes.push(0);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
                bytes.extend(payload);
                bytes.extend([4, 0, 0]);
            }
            let whole = data.concat();
            let expected = if whole.is_empty() { Vec::new() } else { vec![Heard::Data(whole)] };
            prop_assert_eq!(hear(&bytes, step, bite), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000), step in 1_usize..2000, bite in 1_usize..50,
        ) {
            hear(&bytes, step, bite);
        }
    }
}
