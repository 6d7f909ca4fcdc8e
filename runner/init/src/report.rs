//! What this process may do here, found out by trying: one line of JSON, from which the client makes sentences.

use alloc::string::String;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use rustix::path::DecInt;
use rustix::process::{Pid, getpid};

use crate::proc::{self, Status};
use crate::sys::describe;

/// The findings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    own: Status,
    /// `kernel.yama.ptrace_scope`, where there is Yama.
    yama: Option<u8>,
    raw_socket: bool,
    ping_socket: bool,
    target: Option<Target>,
}

/// The process that is debugged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Target {
    pid: i32,
    uid: u32,
    gid: u32,
    permitted: u64,
    /// Whether it lets its own user look into it. Root's processes do not show.
    dumpable: bool,
    /// Whether this process may look into it.
    access: bool,
}

impl Report {
    /// Tries it all.
    pub(crate) fn measure(target: Option<Pid>) -> Self {
        let open = |family, kind, protocol| socket_with(family, kind, SocketFlags::CLOEXEC, protocol).is_ok();
        Self {
            own: Status::of(getpid()).unwrap_or_default(),
            yama: proc::read(b"/proc/sys/kernel/yama/ptrace_scope").and_then(|text| number(&text)),
            raw_socket: open(AddressFamily::PACKET, SocketType::RAW, None),
            ping_socket: open(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)),
            target: target.and_then(Target::measure),
        }
    }

    /// One line, with its end.
    pub(crate) fn line(&self) -> String {
        let mut line = self.object();
        line.push_str("}\n");
        line
    }

    /// One line for the container's log, from the first process. `fault` is why it cannot see sessions.
    pub(crate) fn ready(&self, fault: Option<Errno>) -> String {
        let mut line = self.object();
        line.push_str(",\"ready\":true");
        if let Some(error) = fault {
            // The C library's texts hold nothing that JSON would need escaped.
            line.push_str(",\"warning\":\"no idle end: the sessions' socket cannot be made: ");
            line.push_str(describe(error));
            line.push('"');
        }
        line.push_str("}\n");
        line
    }

    /// JSON without its last brace.
    fn object(&self) -> String {
        let mut json = String::from(concat!("{\"kitbag-init\":\"", env!("CARGO_PKG_VERSION"), "\""));
        decimal(&mut json, ",\"uid\":", self.own.uid);
        decimal(&mut json, ",\"gid\":", self.own.gid);
        set(&mut json, ",\"effective\":", self.own.effective);
        set(&mut json, ",\"bounding\":", self.own.bounding);
        flag(&mut json, ",\"no_new_privs\":", self.own.no_new_privs);
        decimal(&mut json, ",\"seccomp\":", self.own.seccomp.into());
        match self.yama {
            Some(scope) => decimal(&mut json, ",\"yama\":", scope.into()),
            None => json.push_str(",\"yama\":null"),
        }
        flag(&mut json, ",\"raw_socket\":", self.raw_socket);
        flag(&mut json, ",\"ping_socket\":", self.ping_socket);
        match &self.target {
            Some(target) => {
                decimal(&mut json, ",\"target\":{\"pid\":", target.pid.unsigned_abs());
                decimal(&mut json, ",\"uid\":", target.uid);
                decimal(&mut json, ",\"gid\":", target.gid);
                set(&mut json, ",\"permitted\":", target.permitted);
                flag(&mut json, ",\"dumpable\":", target.dumpable);
                flag(&mut json, ",\"access\":", target.access);
                json.push('}');
            }
            None => json.push_str(",\"target\":null"),
        }
        json
    }
}

impl Target {
    fn measure(pid: Pid) -> Option<Self> {
        let Status { uid, gid, permitted, .. } = Status::of(pid)?;
        // The directory itself always shows the real owner; what is in it shows root for those that hide. Where it does not
        // show, nothing says that this one hides.
        let owner = rustix::fs::stat(&proc::path(pid, "fd")[..]).ok().map(|status| status.st_uid);
        let access = rustix::fs::readlink(&proc::path(pid, "root")[..], alloc::vec::Vec::new()).is_ok();
        Some(Self { pid: pid.as_raw_pid(), uid, gid, permitted, dumpable: owner.is_none_or(|it| it == uid), access })
    }
}

fn number(text: &[u8]) -> Option<u8> {
    core::str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}

fn decimal(json: &mut String, key: &str, value: u32) {
    json.push_str(key);
    json.push_str(DecInt::new(value).as_str());
}

fn flag(json: &mut String, key: &str, value: bool) {
    json.push_str(key);
    json.push_str(if value { "true" } else { "false" });
}

/// A set of capabilities, as the kernel writes it.
fn set(json: &mut String, key: &str, value: u64) {
    json.push_str(key);
    json.push('"');
    for digit in (0..16).rev() {
        let digit = u8::try_from(value >> (digit * 4) & 0xf).unwrap_or_default();
        json.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_of_json() {
        let nothing = Report::default();
        assert_eq!(
            nothing.line(),
            concat!(
                r#"{"kitbag-init":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","uid":0,"gid":0,"effective":"0000000000000000","bounding":"0000000000000000","#,
                r#""no_new_privs":false,"seccomp":0,"yama":null,"raw_socket":false,"ping_socket":false,"target":null}"#,
                "\n"
            )
        );
        let all = Report {
            own: Status {
                uid: 1000,
                gid: 50,
                effective: 0xa804_25fb,
                bounding: 0x1ff_ffff_ffff,
                no_new_privs: true,
                seccomp: 2,
                ..Status::default()
            },
            yama: Some(1),
            raw_socket: true,
            ping_socket: true,
            target: Some(Target { pid: 7, uid: 1000, gid: 0, permitted: 0x2000, dumpable: true, access: true }),
        };
        assert_eq!(
            all.ready(Some(Errno::ROFS)),
            concat!(
                r#"{"kitbag-init":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","uid":1000,"gid":50,"effective":"00000000a80425fb","bounding":"000001ffffffffff","#,
                r#""no_new_privs":true,"seccomp":2,"yama":1,"raw_socket":true,"ping_socket":true,"#,
                r#""target":{"pid":7,"uid":1000,"gid":0,"permitted":"0000000000002000","dumpable":true,"access":true},"#,
                r#""ready":true,"warning":"no idle end: the sessions' socket cannot be made: Read-only file system"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_number_is_what_stands_alone_in_a_file() {
        assert_eq!(number(b"3\n"), Some(3));
        assert_eq!(number(b"\n"), None);
        assert_eq!(number(b"300"), None);
    }
}
