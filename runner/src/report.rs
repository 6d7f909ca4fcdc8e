//! What kitbag-init says of itself: the first line of every session. Pure; what it means for a tool is said elsewhere.

use serde::{Deserialize, Deserializer, de};

use crate::progress::printable_line;

/// How long a report may be, in bytes, without its line end.
pub const LIMIT: usize = 4096;

/// What a session is and may, measured in the very process that becomes the command. Of what kitbag-init says, this is
/// what tools depend on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// kitbag-init's version.
    #[serde(rename = "kitbag-init")]
    pub version: String,
    /// The session's user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its effective capabilities, a bit for each.
    #[serde(deserialize_with = "hexadecimal")]
    pub effective: u64,
    /// `kernel.yama.ptrace_scope`, on kernels that have it.
    pub yama: Option<u8>,
    /// Whether a packet socket could be opened.
    pub raw_socket: bool,
    /// Whether an ICMP datagram socket could be opened.
    pub ping_socket: bool,
    /// The target's main process, if it is visible.
    pub target: Option<Seen>,
}

/// The target's main process as a session sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// Its process id here.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permitted capabilities.
    #[serde(deserialize_with = "hexadecimal")]
    pub permitted: u64,
    /// Whether the kernel lets its own user look into it. True also where that cannot be told.
    pub dumpable: bool,
    /// Whether its root directory can be read.
    pub access: bool,
}

/// Why a line is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// It does not end.
    #[error("the report of kitbag-init is longer than {LIMIT} bytes")]
    TooLong,
    /// It is something else.
    #[error("`{line}` is not a report of kitbag-init: {reason}")]
    Unreadable {
        /// How it begins.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Report {
    /// Reads a line, with or without its end. Fields that this program does not know are passed over.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn parse(line: &[u8]) -> Result<Self, ReportError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.len() > LIMIT {
            return Err(ReportError::TooLong);
        }
        serde_json::from_slice(line)
            .map_err(|error| ReportError::Unreadable { line: beginning(line), reason: error.to_string() })
    }
}

/// As much of a line as fits into a sentence, without what would move a terminal's cursor.
fn beginning(line: &[u8]) -> String {
    const LENGTH: usize = 60;
    let text = printable_line(&String::from_utf8_lossy(line));
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A capability set, as `/proc/PID/status` writes it.
fn hexadecimal<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let fault = || de::Error::custom(format!("`{}` is not a hexadecimal number", beginning(text.as_bytes())));
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(fault());
    }
    u64::from_str_radix(&text, 16).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = r#"{"kitbag-init":"0.1.0","uid":1000,"gid":7,"effective":"00000000a80425fb","bounding":"000001ffffffffff","no_new_privs":true,"seccomp":2,"yama":null,"raw_socket":true,"ping_socket":false,"target":{"pid":1,"uid":1000,"gid":0,"permitted":"0000000000000000","dumpable":true,"access":true},"ready":true}"#;

    #[test]
    fn a_line_says_what_a_session_may() {
        let expected = Report {
            version: "0.1.0".to_owned(),
            uid: 1000,
            gid: 7,
            effective: 0xa804_25fb,
            yama: None,
            raw_socket: true,
            ping_socket: false,
            target: Some(Seen { pid: 1, uid: 1000, gid: 0, permitted: 0, dumpable: true, access: true }),
        };
        assert_eq!(Report::parse(format!("{LINE}\n").as_bytes()), Ok(expected.clone()));
        let unseen = LINE.replace(r#""yama":null"#, r#""yama":1"#).replace("\"target\":{", "\"other\":{");
        assert_eq!(Report::parse(unseen.as_bytes()), Ok(Report { yama: Some(1), target: None, ..expected }));
    }

    #[test]
    fn what_is_no_report_is_shown() {
        let fault = |line: &str| Report::parse(line.as_bytes()).unwrap_err().to_string();
        let faults = [
            fault("total 4"),
            fault("\u{1b}[1mroot@shop:/# \u{1b}[0m and more of it than anybody would like to read here"),
            fault(&LINE.replace("a80425fb", "+80425fb")),
            fault(&LINE.replace("a80425fb", r"\u001b[2J")),
            fault(&LINE.replace(r#""uid":1000,"gid":7,"#, "")),
            fault(&format!("{LINE}{}", " ".repeat(LIMIT))),
        ];
        insta::assert_snapshot!(faults.join("\n"), @r#"
        `total 4` is not a report of kitbag-init: expected ident at line 1 column 2
        `?[1mroot@shop:/# ?[0m and more of it than anybody would like…` is not a report of kitbag-init: expected value at line 1 column 1
        `{"kitbag-init":"0.1.0","uid":1000,"gid":7,"effective":"00000…` is not a report of kitbag-init: `00000000+80425fb` is not a hexadecimal number at line 1 column 72
        `{"kitbag-init":"0.1.0","uid":1000,"gid":7,"effective":"00000…` is not a report of kitbag-init: `00000000?[2J` is not a hexadecimal number at line 1 column 73
        `{"kitbag-init":"0.1.0","effective":"00000000a80425fb","bound…` is not a report of kitbag-init: missing field `uid` at line 1 column 278
        the report of kitbag-init is longer than 4096 bytes
        "#);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Report::parse(&line).is_err());
        }
    }
}
