//! Output as whole lines, each with a name before it. Pure.

/// How much of a line is kept waiting for its end, in bytes. A longer one becomes several.
const LONGEST: usize = 64 * 1024;

/// The lines of one stream.
pub(super) struct Lines {
    prefix: String,
    /// A line that has not ended.
    rest: Vec<u8>,
}

impl Lines {
    pub(super) fn new(name: &str) -> Self {
        Self { prefix: format!("{name}: "), rest: Vec::new() }
    }

    /// Takes output. Returns the lines that have ended with it.
    pub(super) fn add(&mut self, data: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let (mut text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            while self.rest.len() + text.len() > LONGEST {
                let (fits, more) = text.split_at(LONGEST - self.rest.len());
                self.rest.extend_from_slice(fits);
                self.end(&mut lines);
                text = more;
            }
            self.rest.extend_from_slice(text);
            if ended {
                self.end(&mut lines);
            }
        }
        lines
    }

    /// The last line, if it has no end of its own.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        if !self.rest.is_empty() {
            self.end(&mut lines);
        }
        lines
    }

    fn end(&mut self, lines: &mut Vec<u8>) {
        lines.extend_from_slice(self.prefix.as_bytes());
        lines.append(&mut self.rest);
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_line_has_a_name_before_it() {
        let mut lines = Lines::new("shop");
        assert_eq!(lines.add(b"a\n\nb"), b"shop: a\nshop: \n");
        assert_eq!(lines.add(b""), b"");
        assert_eq!(lines.add(b"c\nd"), b"shop: bc\n");
        assert_eq!(lines.finish(), b"shop: d\n");
        assert_eq!(Lines::new("shop").finish(), b"");
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut lines = Lines::new("s");
        let written = lines.add(&vec![b'x'; 2 * LONGEST + 1]);
        assert_eq!(written.len(), 2 * (LONGEST + "s: \n".len()));
        assert_eq!(lines.finish(), b"s: x\n");
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_output_is_cut(
            text in "[ab\n]{0,60}",
            cuts in proptest::collection::vec(1..9_usize, 1..9),
        ) {
            let expected: String = text.lines().map(|line| format!("p: {line}\n")).collect();
            let (mut rest, mut lines, mut written) = (text.as_bytes(), Lines::new("p"), Vec::new());
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                written.extend(lines.add(piece));
                rest = more;
            }
            written.extend(lines.finish());
            prop_assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
