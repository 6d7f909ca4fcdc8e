//! The command line, taken literally or not at all. Pure.

use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::termios::Winsize;

use crate::target::{self, Whose};

/// How it is used.
pub(crate) const USAGE: &str = "usage: kitbag-init --idle SECONDS [--ttl SECONDS] [--target ID] [--shared]
       kitbag-init session [FLAG...] -- COMMAND [ARGUMENT...]
       kitbag-init attached --idle SECONDS [--ttl SECONDS] [FLAG...] -- COMMAND [ARGUMENT...]
       kitbag-init status | end | in-target COMMAND [ARGUMENT...]
flags: --become, --target ID, --shared, --tty COLUMNSxROWS, --stdin, --env NAME=VALUE, --patience SECONDS";

/// How long a client may be silent, in milliseconds, where the command line does not say.
const PATIENCE: u64 = 45_000;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// Be the first process.
    Idle { limits: Limits, whose: Whose<'a> },
    /// Be the wrapper of a session.
    Session(Session<'a>),
    /// Be the first process and the wrapper of the one session.
    Attached { limits: Limits, session: Session<'a> },
    /// Say how the first process is.
    Status,
    /// End the first process.
    End,
    /// Run a program in the target's root directory.
    InTarget(&'a [&'a CStr]),
}

/// When the first process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// After so many milliseconds without a session.
    pub(crate) idle: u64,
    /// After so many in any case.
    pub(crate) ttl: Option<u64>,
}

/// What a session is to be like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Session<'a> {
    /// As the target's user.
    pub(crate) becomes: bool,
    /// How the target is known.
    pub(crate) whose: Whose<'a>,
    /// With a terminal of that size.
    pub(crate) terminal: Option<Winsize>,
    /// With input.
    pub(crate) stdin: bool,
    /// With these variables, `NAME=VALUE`.
    pub(crate) environment: Vec<&'a CStr>,
    /// How many milliseconds its client may be silent.
    pub(crate) patience: u64,
    /// What runs in it; not empty.
    pub(crate) command: &'a [&'a CStr],
}

/// Reads the arguments.
pub(crate) fn parse<'a>(arguments: &'a [&'a CStr]) -> Option<Action<'a>> {
    let (first, rest) = arguments.split_first()?;
    match (first.to_bytes(), rest) {
        (b"session", rest) => {
            let flags = Flags::parse(rest)?;
            (flags.idle.is_none() && flags.ttl.is_none() && !flags.session.command.is_empty())
                .then_some(Action::Session(flags.session))
        }
        (b"attached", rest) => {
            let flags = Flags::parse(rest)?;
            let limits = Limits { idle: flags.idle?, ttl: flags.ttl };
            (!flags.session.command.is_empty()).then_some(Action::Attached { limits, session: flags.session })
        }
        (b"in-target", [_, ..]) => Some(Action::InTarget(rest)),
        (b"status", []) => Some(Action::Status),
        (b"end", []) => Some(Action::End),
        _ => {
            let flags = Flags::parse(arguments)?;
            let limits = Limits { idle: flags.idle?, ttl: flags.ttl };
            let whose = flags.session.whose;
            // Nothing else has a meaning for it.
            (flags.session == Session { whose, ..Flags::default().session }).then_some(Action::Idle { limits, whose })
        }
    }
}

/// All the flags that there are.
struct Flags<'a> {
    idle: Option<u64>,
    ttl: Option<u64>,
    session: Session<'a>,
}

impl Default for Flags<'_> {
    fn default() -> Self {
        let session = Session {
            becomes: false,
            whose: Whose::default(),
            terminal: None,
            stdin: false,
            environment: Vec::new(),
            patience: PATIENCE,
            command: &[],
        };
        Self { idle: None, ttl: None, session }
    }
}

impl<'a> Flags<'a> {
    fn parse(mut arguments: &'a [&'a CStr]) -> Option<Self> {
        let mut flags = Self::default();
        let session = &mut flags.session;
        while let Some((flag, rest)) = arguments.split_first() {
            arguments = rest;
            match flag.to_bytes() {
                b"--become" => session.becomes = true,
                b"--shared" => session.whose.is_shared = true,
                b"--stdin" => session.stdin = true,
                b"--" => {
                    session.command = rest;
                    return Some(flags);
                }
                flag => {
                    let (value, rest) = rest.split_first()?;
                    arguments = rest;
                    match flag {
                        b"--idle" => flags.idle = Some(seconds(value)?),
                        b"--ttl" => flags.ttl = Some(seconds(value)?),
                        b"--patience" => session.patience = seconds(value)?,
                        b"--target" => session.whose.id = Some(value.to_str().ok().filter(|id| target::is_id(id))?),
                        b"--tty" => session.terminal = Some(size(value)?),
                        b"--env" => {
                            let end = value.to_bytes().iter().position(|&byte| byte == b'=')?;
                            session.environment.push(Some(value).filter(|_| end > 0)?);
                        }
                        _ => return None,
                    }
                }
            }
        }
        Some(flags)
    }
}

/// Milliseconds.
fn seconds(text: &CStr) -> Option<u64> {
    Some(u64::from(text.to_str().ok()?.parse::<u32>().ok()?) * 1000)
}

fn size(text: &CStr) -> Option<Winsize> {
    let (columns, rows) = text.to_str().ok()?.split_once('x')?;
    Some(Winsize { ws_col: columns.parse().ok()?, ws_row: rows.parse().ok()?, ws_xpixel: 0, ws_ypixel: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::ffi::CString;
    use proptest::prelude::*;

    fn plain<'a>(command: &'a [&'a CStr]) -> Session<'a> {
        Session { command, ..Flags::default().session }
    }

    #[test]
    fn the_first_process_has_limits() {
        let limits = Limits { idle: 60_000, ttl: None };
        assert_eq!(parse(&[c"--idle", c"60"]), Some(Action::Idle { limits, whose: Whose::default() }));
        let limits = Limits { idle: 0, ttl: Some(8_000) };
        let arguments = [c"--ttl", c"8", c"--idle", c"0", c"--target", c"0123456789ab", c"--shared"];
        let whose = Whose { id: Some("0123456789ab"), is_shared: true };
        assert_eq!(parse(&arguments), Some(Action::Idle { limits, whose }));
    }

    #[test]
    fn a_session_is_its_flags_and_what_follows_them() {
        let command = [c"sh", c"-c", c"--", c"\xff"];
        assert_eq!(parse(&[c"session", c"--", c"sh", c"-c", c"--", c"\xff"]), Some(Action::Session(plain(&command))));
        let terminal = Winsize { ws_col: 80, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 };
        let session = Session {
            becomes: true,
            whose: Whose { id: Some("0123456789abcdef"), is_shared: true },
            terminal: Some(terminal),
            stdin: true,
            environment: vec![c"TERM=vt100", c"EMPTY="],
            patience: 5_000,
            command: &[c"id"],
        };
        let flags = [
            c"attached",
            c"--become",
            c"--target",
            c"0123456789abcdef",
            c"--shared",
            c"--tty",
            c"80x24",
            c"--stdin",
            c"--env",
            c"TERM=vt100",
            c"--env",
            c"EMPTY=",
            c"--patience",
            c"5",
            c"--idle",
            c"9",
            c"--",
            c"id",
        ];
        let limits = Limits { idle: 9_000, ttl: None };
        assert_eq!(parse(&flags), Some(Action::Attached { limits, session }));
    }

    #[test]
    fn the_other_actions_are_words() {
        assert_eq!(parse(&[c"status"]), Some(Action::Status));
        assert_eq!(parse(&[c"end"]), Some(Action::End));
        assert_eq!(parse(&[c"in-target", c"ls", c"--"]), Some(Action::InTarget(&[c"ls", c"--"])));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for wrong in [
            &[][..],
            &[c"--idle"],
            &[c"--idle", c"-1"],
            &[c"--ttl", c"1"],
            &[c"--idle", c"1", c"--become"],
            &[c"--idle", c"1", c"--", c"sh"],
            &[c"session"],
            &[c"session", c"--"],
            &[c"session", c"sh"],
            &[c"session", c"--idle", c"1", c"--", c"sh"],
            &[c"session", c"--tty", c"80", c"--", c"sh"],
            &[c"session", c"--env", c"=x", c"--", c"sh"],
            &[c"session", c"--env", c"x", c"--", c"sh"],
            &[c"session", c"--target", c"1", c"--", c"sh"],
            &[c"attached", c"--", c"sh"],
            &[c"attached", c"--idle", c"1"],
            &[c"in-target"],
            &[c"status", c"x"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_command_is_never_touched(
            flags in proptest::collection::vec("--(become|shared|stdin|tty|env|idle|x)?|[0-9x=a]{0,4}", 0..6),
            command in proptest::collection::vec("[^\\x00]{0,8}", 1..6),
        ) {
            let strings: Vec<_> = ["session".to_owned()].into_iter().chain(flags.into_iter().filter(|flag| flag != "--"))
                .chain(["--".to_owned()]).chain(command.clone()).map(|text| CString::new(text).unwrap()).collect();
            let arguments: Vec<_> = strings.iter().map(CString::as_c_str).collect();
            if let Some(Action::Session(session)) = parse(&arguments) {
                let got: Vec<_> = session.command.iter().map(|word| word.to_str().unwrap().to_owned()).collect();
                prop_assert_eq!(got, command);
            }
        }
    }
}
