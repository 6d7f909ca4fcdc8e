//! A static program of this image, run with the root directory of the process that is debugged as its own: absolute
//! symlinks of the target lead to where they lead for the target.

use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::fs::{Access, CWD, Mode, OFlags, access, openat};
use rustix::io::Errno;
use rustix::path::DecInt;
use rustix::process::{Pid, chdir, chroot};
use rustix::thread::{CapabilitySet, capabilities};

use crate::sys::{self, describe};
use crate::{proc, refuse, target};

/// Where programs are, when nobody says.
const PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the command, which is not empty. Returns an exit code when that is not possible.
pub(crate) fn run(command: &[&CStr]) -> u8 {
    let Some(pid) = target::named() else {
        crate::complain(&["there is no target process here whose files could be shown"]);
        return crate::FAILED;
    };
    // Opened before: in the target it does not exist.
    let program = match open(command[0]) {
        Ok(program) => program,
        Err(error) => return refuse(command[0], error),
    };
    if let Err(error) = enter(pid) {
        explain(pid, error);
        return 126;
    }
    refuse(command[0], sys::execute(&program, command))
}

fn enter(pid: Pid) -> Result<(), Errno> {
    chroot(&proc::path(pid, "root")[..])?;
    chdir(c"/")
}

/// Both that it takes, since the kernel names neither.
fn explain(pid: Pid, error: Errno) {
    let has = |is: bool| if is { "which is granted" } else { "which is not granted" };
    let readable = rustix::fs::readlink(&proc::path(pid, "root")[..], Vec::new()).is_ok();
    let capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_CHROOT));
    crate::complain(&[
        "the root directory of process ",
        DecInt::new(pid.as_raw_pid()).as_str(),
        " cannot be entered: ",
        describe(error),
        "; it takes read access to that process (its user, or SYS_PTRACE), ",
        has(readable),
        ", and SYS_CHROOT, ",
        has(capable),
    ]);
}

/// The program of that name, found as a shell does.
fn open(name: &CStr) -> Result<OwnedFd, Errno> {
    let name = name.to_bytes();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    if name.contains(&b'/') {
        return openat(CWD, name, flags, Mode::empty());
    }
    let path = sys::variable(c"PATH").map_or(PATH, CStr::to_bytes);
    let mut candidates = path.split(|&byte| byte == b':').map(|directory| [directory, b"/", name].concat());
    let found = candidates.find(|candidate| access(&candidate[..], Access::EXEC_OK).is_ok()).ok_or(Errno::NOENT)?;
    openat(CWD, &found[..], flags, Mode::empty())
}
