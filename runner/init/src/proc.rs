//! What the kernel says of processes, in `/proc`. What reads its texts is pure.

use alloc::vec;
use alloc::vec::Vec;
use core::str;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::path::DecInt;
use rustix::process::Pid;

/// Longest text that is read, in bytes. A cgroup file of version 1 has about three thousand.
const LONGEST: usize = 16 * 1024;

/// What is in `/proc/PID/status`. What is missing there is zero.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The effective user, who owns the files in `/proc/PID`.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Zero when it is in another pid namespace.
    pub(crate) parent: i32,
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) bounding: u64,
    pub(crate) no_new_privs: bool,
    pub(crate) seccomp: u8,
}

impl Status {
    /// That of a process, if it is visible.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        Some(Self::parse(&read(&path(pid, "status"))?))
    }

    /// Reads the text.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut status = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let Some((name, value)) = str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else { continue };
            let mut words = value.split_ascii_whitespace();
            // Real, effective, saved, and that for files.
            let mut effective = || words.nth(1).and_then(|id| id.parse().ok()).unwrap_or_default();
            let set = || u64::from_str_radix(value.trim_ascii(), 16).unwrap_or_default();
            match name {
                "Uid" => status.uid = effective(),
                "Gid" => status.gid = effective(),
                "Groups" => status.groups = words.filter_map(|id| id.parse().ok()).collect(),
                "PPid" => status.parent = value.trim_ascii().parse().unwrap_or_default(),
                "CapPrm" => status.permitted = set(),
                "CapEff" => status.effective = set(),
                "CapBnd" => status.bounding = set(),
                "NoNewPrivs" => status.no_new_privs = value.trim_ascii() == "1",
                "Seccomp" => status.seccomp = value.trim_ascii().parse().unwrap_or_default(),
                _ => {}
            }
        }
        status
    }
}

/// `/proc/PID/FILE`.
pub(crate) fn path(pid: Pid, file: &str) -> Vec<u8> {
    [b"/proc/", DecInt::new(pid.as_raw_pid()).as_bytes(), b"/", file.as_bytes()].concat()
}

/// All processes that are visible.
pub(crate) fn pids() -> Vec<Pid> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(processes) = openat(CWD, c"/proc", flags, Mode::empty()).and_then(Dir::read_from) else { return Vec::new() };
    let pid = |name: &str| name.parse().ok().and_then(Pid::from_raw);
    processes.flatten().filter_map(|entry| pid(entry.file_name().to_str().ok()?)).collect()
}

/// The beginning of a file, as much as fits.
pub(crate) fn read(path: &[u8]) -> Option<Vec<u8>> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let (mut text, mut length) = (vec![0; LONGEST], 0);
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut text[length..])) {
            Ok(0) => break,
            Ok(more) => length += more,
            // The process is gone.
            Err(_) => return None,
        }
    }
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_is_read_line_by_line() {
        let text = b"Name:\tsh) S\\nUid: 7\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t12\nPid:\t12\nPPid:\t7\nTracerPid:\t0\n\
            Uid:\t1\t1000\t2\t3\nGid:\t4\t50\t5\t6\nGroups:\t4 24 2000 \nCapInh:\t0000000000000000\n\
            CapPrm:\t00000000a80425fb\nCapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n\
            NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let expected = Status {
            uid: 1000,
            gid: 50,
            groups: vec![4, 24, 2000],
            parent: 7,
            permitted: 0xa804_25fb,
            effective: 0x2000,
            bounding: 0x1ff_ffff_ffff,
            no_new_privs: true,
            seccomp: 2,
        };
        assert_eq!(Status::parse(text), expected);
        assert_eq!(Status::parse(b""), Status::default());
    }

    #[test]
    fn the_kernels_own_text_is_understood() {
        let own = Status::of(rustix::process::getpid()).unwrap();
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert_eq!(own.parent, rustix::process::getppid().unwrap().as_raw_pid());
        assert!(pids().contains(&rustix::process::getpid()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(Uid|Gid|Groups|PPid|CapPrm|NoNewPrivs|Seccomp)?:?[\\t 0-9a-f\n\u{e9}]{0,60}") {
            Status::parse(text.as_bytes());
        }
    }
}
