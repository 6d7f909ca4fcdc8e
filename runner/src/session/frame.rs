//! What a session's client says: the frames on kitbag-init's standard input. Pure.
//!
//! A frame is its kind, the length of its payload as two bytes, the most significant first, and the payload. Whatever
//! arrives is also a sign of life.

use bytes::{BufMut as _, Bytes, BytesMut};

const DATA: u8 = 0;
const END: u8 = 1;
const SIGNAL: u8 = 2;
const SIZE: u8 = 3;
const BEAT: u8 = 4;

/// What the length can say.
const LONGEST: usize = u16::MAX as usize;

/// Something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Input for the command. More than a frame can carry becomes several.
    Data(&'a [u8]),
    /// The input has ended.
    End,
    /// A signal for the command, by its number.
    Signal(u8),
    /// The terminal's size.
    Size {
        /// How many columns it has.
        columns: u16,
        /// How many rows it has.
        rows: u16,
    },
    /// Nothing but that somebody is there.
    Beat,
}

impl Frame<'_> {
    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Data(data) => data.chunks(LONGEST).for_each(|chunk| put(&mut bytes, DATA, chunk)),
            Self::End => put(&mut bytes, END, &[]),
            Self::Signal(number) => put(&mut bytes, SIGNAL, &[number]),
            Self::Size { columns, rows } => {
                let ([a, b], [c, d]) = (columns.to_be_bytes(), rows.to_be_bytes());
                put(&mut bytes, SIZE, &[a, b, c, d]);
            }
            Self::Beat => put(&mut bytes, BEAT, &[]),
        }
        bytes.freeze()
    }
}

/// A frame whose payload is no longer than it may be.
fn put(bytes: &mut BytesMut, kind: u8, payload: &[u8]) {
    bytes.reserve(3 + payload.len());
    bytes.put_u8(kind);
    bytes.put_u16(u16::try_from(payload.len()).unwrap_or(u16::MAX));
    bytes.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf as _;
    use proptest::prelude::*;

    #[test]
    fn frames_are_what_the_protocol_says() {
        assert_eq!(Frame::Data(b"ab").encode()[..], *b"\x00\x00\x02ab");
        assert_eq!(Frame::End.encode()[..], [1, 0, 0]);
        assert_eq!(Frame::Signal(15).encode()[..], [2, 0, 1, 15]);
        assert_eq!(Frame::Size { columns: 300, rows: 24 }.encode()[..], [3, 0, 4, 1, 44, 0, 24]);
        assert_eq!(Frame::Beat.encode()[..], [4, 0, 0]);
    }

    #[test]
    fn no_data_is_no_frame() {
        assert!(Frame::Data(b"").encode().is_empty());
    }

    proptest! {
        #[test]
        fn data_of_any_length_arrives(length in 0..300_000_usize, byte: u8) {
            let data: Vec<u8> = (0..length).map(|index| byte.wrapping_add((index / 7) as u8)).collect();
            let (mut frames, mut read) = (Frame::Data(&data).encode(), Vec::new());
            while frames.has_remaining() {
                prop_assert_eq!(frames.get_u8(), DATA);
                let length = frames.get_u16().into();
                prop_assert!(length > 0);
                read.extend(frames.split_to(length));
            }
            prop_assert_eq!(read, data);
        }
    }
}
