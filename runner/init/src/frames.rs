//! What a client sends on a session's stdin: frames, so that signals, sizes and signs of life fit between the bytes for
//! the command. Pure.
//!
//! A frame is its kind (one byte), the length of its payload (two bytes, big endian) and the payload. Kinds: 0 data, 1 end
//! of input, 2 signal (its number, one byte), 3 size (columns and rows, two bytes each, big endian), 4 beat. Others, and
//! those with a payload that does not fit their kind, are skipped: a newer client may send them.
//!
//! Data waits for the command to read it. Signals and sizes do not wait for data: a command that does not read can still
//! be interrupted.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

/// How much is read at once, in bytes: what a pipe holds.
const ROOM: usize = 64 * 1024;
/// How much data may wait for the command, in bytes, before no more is read. It counts as the pod's memory.
const HELD: usize = 2 * 1024 * 1024;
/// The longest payload of what is not data.
const LONGEST: usize = 4;

/// Something about the command, which does not wait for its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgent {
    /// A signal.
    Signal(u8),
    /// The size of the terminal that it is shown on.
    Size { columns: u16, rows: u16 },
}

/// Where the next byte belongs.
enum Place {
    /// To a frame that may be something else than data, of which these bytes have come.
    Small(Vec<u8>),
    Data(usize),
    Skipped(usize),
}

/// What has come and is not yet used.
pub(crate) struct Frames {
    room: Vec<u8>,
    place: Place,
    urgent: VecDeque<Urgent>,
    data: Vec<u8>,
    /// How much of the data is used.
    start: usize,
    has_ended: bool,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self {
            room: vec![0; ROOM],
            place: Place::Small(Vec::new()),
            urgent: VecDeque::new(),
            data: Vec::new(),
            start: 0,
            has_ended: false,
        }
    }

    /// Where what comes is to be put.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    /// Says how much has been put there.
    pub(crate) fn fill(&mut self, length: usize) {
        // Moved when that is less than what has been used since.
        if self.start >= self.data.len() - self.start {
            self.data.drain(..self.start);
            self.start = 0;
        }
        let mut rest = &self.room[..length];
        while !rest.is_empty() {
            match &mut self.place {
                Place::Data(left) | Place::Skipped(left) if *left == 0 => self.place = Place::Small(Vec::new()),
                Place::Data(left) => {
                    let (payload, after) = rest.split_at(rest.len().min(*left));
                    // Nothing follows the end.
                    if !self.has_ended {
                        self.data.extend_from_slice(payload);
                    }
                    *left -= payload.len();
                    rest = after;
                }
                Place::Skipped(left) => {
                    let length = rest.len().min(*left);
                    *left -= length;
                    rest = &rest[length..];
                }
                Place::Small(frame) => {
                    frame.push(rest[0]);
                    rest = &rest[1..];
                    let [kind, high, low, payload @ ..] = &frame[..] else { continue };
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    if *kind == 0 {
                        self.place = Place::Data(length);
                    } else if length > LONGEST {
                        self.place = Place::Skipped(length);
                    } else if payload.len() == length {
                        match (*kind, payload) {
                            (1, []) => self.has_ended = true,
                            (2, &[number]) => self.urgent.push_back(Urgent::Signal(number)),
                            (3, &[c0, c1, r0, r1]) => {
                                let (columns, rows) = (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([r0, r1]));
                                self.urgent.push_back(Urgent::Size { columns, rows });
                            }
                            _ => {}
                        }
                        frame.clear();
                    }
                }
            }
        }
    }

    /// Whether so much data waits that no more should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.data().len() >= HELD
    }

    /// The next thing that does not wait.
    pub(crate) fn urgent(&mut self) -> Option<Urgent> {
        self.urgent.pop_front()
    }

    /// What the command should read.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data[self.start..]
    }

    /// Forgets the first bytes of the data.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
    }

    /// Whether there is no more data to come than [`Self::data`].
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Heard {
        data: Vec<u8>,
        urgent: Vec<Urgent>,
        has_ended: bool,
    }

    /// Feeds `bytes` in chunks of `step` and consumes data in pieces of at most `bite` after each.
    fn hear(bytes: &[u8], step: usize, bite: usize) -> Heard {
        let (mut frames, mut heard) = (Frames::new(), Heard::default());
        for chunk in bytes.chunks(step) {
            frames.room()[..chunk.len()].copy_from_slice(chunk);
            frames.fill(chunk.len());
            heard.urgent.extend(core::iter::from_fn(|| frames.urgent()));
            let bite = bite.min(frames.data().len());
            heard.data.extend_from_slice(&frames.data()[..bite]);
            frames.consume(bite);
        }
        heard.data.extend_from_slice(frames.data());
        heard.has_ended = frames.has_ended();
        heard
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        let bytes = b"\x00\x00\x03abc\x04\x00\x00\x02\x00\x01\x0f\x03\x00\x04\x00\x50\x01\x00\x00\x00\x00\x01\x00\x00";
        let urgent = vec![Urgent::Signal(15), Urgent::Size { columns: 80, rows: 256 }];
        let expected = Heard { data: b"abc".to_vec(), urgent, has_ended: true };
        for step in 1..=bytes.len() {
            assert_eq!(hear(bytes, step, 2), expected, "in chunks of {step}");
        }
        assert!(!hear(&bytes[..bytes.len() - 1], 1, 1).has_ended);
    }

    #[test]
    fn what_is_unknown_is_skipped_and_so_is_what_follows_the_end() {
        let unknown = b"\x09\x00\x02xy\x02\x00\x02\x0f\x0f\x03\x00\x00\x02\x00\x05abcde\x01\x00\x01\x00";
        let bytes = [&unknown[..], b"\x02\x00\x01\x01\x01\x00\x00\x00\x00\x01x"].concat();
        let expected = Heard { urgent: vec![Urgent::Signal(1)], has_ended: true, ..Heard::default() };
        for step in 1..=bytes.len() {
            assert_eq!(hear(&bytes, step, 1), expected, "in chunks of {step}");
        }
    }

    #[test]
    fn a_signal_does_not_wait_for_data_and_data_is_held_within_limits() {
        let mut frames = Frames::new();
        while !frames.is_full() {
            let frame = [&[0, 0x80, 0][..], &[b'x'; 0x8000]].concat();
            frames.room()[..frame.len()].copy_from_slice(&frame);
            frames.fill(frame.len());
        }
        assert!((HELD..HELD + ROOM).contains(&frames.data().len()));
        frames.room()[..4].copy_from_slice(b"\x02\x00\x01\x09");
        frames.fill(4);
        assert_eq!(frames.urgent(), Some(Urgent::Signal(9)));
        frames.consume(HELD);
        assert!(!frames.is_full());
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
            prop_assert_eq!(hear(&bytes, step, bite), Heard { data: data.concat(), ..Heard::default() });
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000), step in 1_usize..2000, bite in 1_usize..50,
        ) {
            hear(&bytes, step, bite);
        }
    }
}
