//! The beginning of a session: everything up to kitbag-init's report, which is the first line of its output. Pure.

use bytes::Bytes;

use super::SessionError;
use crate::report::{self, Report, ReportError};

/// How much of the other stream is held back until the report has come: the two do not wait for each other on their way.
const HELD: usize = 1 << 20;

/// What has come before the report.
#[derive(Default)]
pub(super) struct Opening {
    line: Vec<u8>,
    stderr: Vec<u8>,
}

/// What came with the report.
#[derive(Debug, PartialEq)]
pub(super) struct Opened {
    pub(super) report: Report,
    /// Output behind the report's line.
    pub(super) stdout: Bytes,
    /// What was held back.
    pub(super) stderr: Vec<u8>,
}

impl Opening {
    /// Takes output. Where the report's line ends, that is the end of the opening.
    pub(super) fn stdout(&mut self, mut data: Bytes) -> Result<Option<Opened>, SessionError> {
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
            self.line.extend(data);
            // What is no report need not have lines either.
            return if self.line.len() > report::LIMIT { Err(ReportError::TooLong.into()) } else { Ok(None) };
        };
        self.line.extend(data.split_to(end + 1));
        let report = Report::parse(&self.line)?;
        Ok(Some(Opened { report, stdout: data, stderr: std::mem::take(&mut self.stderr) }))
    }

    /// Holds back what is on the other stream.
    pub(super) fn stderr(&mut self, data: &[u8]) -> Result<(), SessionError> {
        self.stderr.extend_from_slice(data);
        if self.stderr.len() > HELD { Err(self.ended(0)) } else { Ok(()) }
    }

    /// What it means that the end came before the report.
    pub(super) fn ended(&self, code: u8) -> SessionError {
        SessionError::unopened(code, &String::from_utf8_lossy(&self.stderr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPORT: &[u8] = br#"{"kitbag-init":"0.1.0","uid":0,"gid":0,"effective":"0","bounding":"0","no_new_privs":true,"seccomp":2,"yama":null,"raw_socket":true,"ping_socket":true,"target":null}"#;

    #[test]
    fn what_is_no_report_ends_the_session() {
        assert!(matches!(Opening::default().stdout(Bytes::from_static(b"total 4\n")), Err(SessionError::Report(_))));
        let endless = Bytes::from(vec![b'x'; report::LIMIT + 1]);
        assert!(matches!(Opening::default().stdout(endless), Err(SessionError::Report(ReportError::TooLong))));
        let chatty = vec![b'x'; HELD + 1];
        assert!(Opening::default().stderr(&chatty).is_err());
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_report_is_taken_off_and_nothing_else(
            output in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(1..120_usize, 1..20),
        ) {
            let all = Bytes::from([REPORT, b"\n", &output].concat());
            let (mut rest, mut opening, mut seen) = (all, Opening::default(), None);
            opening.stderr(b"warn").unwrap();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let piece = rest.split_to(cut.min(rest.len()));
                match &mut seen {
                    None => seen = opening.stdout(piece).unwrap().map(|it| (it.report, it.stdout.to_vec(), it.stderr)),
                    Some((_, stdout, _)) => stdout.extend(piece),
                }
            }
            let (report, stdout, stderr) = seen.unwrap();
            prop_assert_eq!(report, Report::parse(REPORT).unwrap());
            prop_assert_eq!(stdout, output);
            prop_assert_eq!(stderr, b"warn");
        }
    }
}
