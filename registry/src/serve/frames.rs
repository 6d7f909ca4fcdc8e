//! What of the bytes that are written belongs to responses. Over HTTP/2, a client can have other frames sent to it for
//! as long as it likes, by pings for example. Pure, and knows no more of frames than their heads (RFC 9113, section 4.1).

/// Bytes of a frame's head: length of the payload (3), type (1), flags (1), stream (4).
const HEAD: usize = 9;
/// Types of the frames that responses consist of: DATA, HEADERS, CONTINUATION.
const OF_RESPONSES: [u8; 3] = [0, 1, 9];

/// How far a connection's bytes were followed.
#[derive(Debug, Default)]
pub(super) enum Written {
    #[default]
    Nothing,
    Http1,
    Http2(Frames),
}

impl Written {
    /// How many of the bytes that are written next are of responses. Over HTTP/2 only payload counts.
    pub(super) fn responses(&mut self, bytes: &[u8]) -> usize {
        if let (Self::Nothing, Some(first)) = (&*self, bytes.first()) {
            // HTTP/1 begins with its name; HTTP/2 with the length of the settings, which are less than 64 KB.
            *self = if *first == 0 { Self::Http2(Frames::default()) } else { Self::Http1 };
        }
        match self {
            Self::Nothing => 0,
            Self::Http1 => bytes.len(),
            Self::Http2(frames) => frames.responses(bytes),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The head of the frame, as far as it is `known`.
    head: [u8; HEAD],
    known: usize,
    /// Bytes of its payload that are still to come.
    left: usize,
}

impl Frames {
    fn responses(&mut self, mut bytes: &[u8]) -> usize {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.known < HEAD {
                let (part, rest) = bytes.split_at(bytes.len().min(HEAD - self.known));
                self.head[self.known..self.known + part.len()].copy_from_slice(part);
                self.known += part.len();
                bytes = rest;
                if self.known < HEAD {
                    break;
                }
                let [high, middle, low, ..] = self.head;
                self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.left));
            if OF_RESPONSES.contains(&self.head[3]) {
                count += part.len();
            }
            self.left -= part.len();
            bytes = rest;
            if self.left == 0 {
                self.known = 0;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let mut frame = (payload as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.resize(HEAD + payload, 0x55);
        frame
    }

    #[test]
    fn all_of_http1_counts() {
        let mut written = Written::default();
        assert_eq!(written.responses(b""), 0);
        assert_eq!(written.responses(b"HTTP/1.1 200 OK\r\n\r\n"), 19);
        assert_eq!(written.responses(b"\0\0\x08\x06"), 4, "whatever a body holds");
    }

    #[test]
    fn of_http2_what_responses_consist_of_counts() {
        let mut written = Written::default();
        for (kind, payload, expected) in [
            (4, 30, 0),
            (4, 0, 0),
            (6, 8, 0),
            (1, 70, 70),
            (0, 16_384, 16_384),
            (6, 8, 0),
            (0, 0, 0),
            (9, 5, 5),
            (3, 4, 0),
            (8, 4, 0),
            (7, 8, 0),
        ] {
            assert_eq!(written.responses(&frame(kind, payload)), expected, "type {kind}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_frames_are_cut(
            frames in proptest::collection::vec((0_u8..12, 0_usize..40), 1..20),
            sizes in proptest::collection::vec(1_usize..30, 1..10),
        ) {
            let of_responses = frames.iter().filter(|(kind, _)| OF_RESPONSES.contains(kind));
            let expected: usize = of_responses.map(|(_, payload)| payload).sum();
            let all: Vec<u8> = frames.iter().flat_map(|(kind, payload)| frame(*kind, *payload)).collect();
            let (mut written, mut rest, mut count) = (Written::default(), all.as_slice(), 0);
            for size in sizes.into_iter().cycle() {
                let (part, after) = rest.split_at(size.min(rest.len()));
                count += written.responses(part);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(count, expected);
        }
    }
}
