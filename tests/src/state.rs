//! What is written about a running node in its directory, so that another process can find it, enter it and end it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde::{Deserialize, Serialize};

use crate::{
    cgroups::Groups,
    error::{Error, Result, file},
    member::{Member, OTHERS},
};

/// The content of `node.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The process outside that watches over the node and cleans up after it.
    pub(crate) keeper: Process,
    /// The node's first process; none while the namespaces are being made.
    pub(crate) init: Option<Process>,
    /// The node's control groups.
    pub(crate) groups: Groups,
    /// Which one of the cluster it is.
    pub(crate) member: Member,
}

impl State {
    /// Where the state of the node in `dir` stands.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("node.json")
    }

    /// The state of the node in `dir`; `NotUp` if there is none.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = Self::path(dir);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::NotUp(dir.into())),
            text => text.map_err(file("read", &path))?,
        };
        serde_json::from_slice(&text)
            .map_err(|error| Error::Answer { from: path.display().to_string(), answer: error.to_string() })
    }

    /// The state of the node in `dir`, if there is one.
    pub(crate) fn find(dir: &Path) -> Result<Option<Self>> {
        match Self::read(dir) {
            Err(Error::NotUp(_)) => Ok(None),
            state => state.map(Some),
        }
    }

    /// Write it at once or not at all.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = Self::path(dir);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Answer { from: path.display().to_string(), answer: error.to_string() })?;
        write_atomically(&path, &text)
    }
}

/// A process that is not mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number as the host sees it.
    pub(crate) pid: i32,
    /// Clock ticks from the boot to its start.
    started: u64,
}

impl Process {
    /// The running process `pid`, if it runs.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = state_and_start(&stat)?;
        (state != 'Z').then_some(Self { pid, started })
    }

    /// Does it still run?
    pub(crate) fn runs(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Wait until it runs no more.
    pub(crate) fn wait(self) {
        let Some(handle) = Pid::from_raw(self.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return;
        };
        // The number may have been another process's by then; and a wait can be interrupted.
        while self.runs() {
            let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], None);
        }
    }

    /// End it at once, if it runs.
    pub(crate) fn kill(self) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.runs()) {
            // It may have ended in between; then all is well too.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The third and the 22nd field of /proc/PID/stat. The second is the program's name in parentheses, in which anything
/// may stand.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Everything that a node puts into its directory, but for the logs. The state is the last to go.
pub(crate) const FILES: [&str; 10] =
    ["bin", "containerd", "disk", "dns", "etc", "etcd", OTHERS, "pki", "programs", "node.json"];

/// End the node in `dir`, whoever started it: its processes, control groups and files, and all that joined it. `NotUp` if
/// there is no trace of one.
pub(crate) fn down(dir: &Path) -> Result<()> {
    let state = State::read(dir)?;
    match state.init {
        Some(init) if init.runs() => init.kill(),
        _ => state.keeper.kill(),
    }
    // The keeper ends when the namespaces are empty, and the groups removed.
    let end = Instant::now() + Duration::from_secs(15);
    while state.keeper.runs() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    state.keeper.kill();
    state.groups.remove()?;
    end_others(dir)?;
    remove_files(dir)
}

/// End the nodes that joined the one in `dir`, which has ended itself. Their keepers do so at the same time.
pub(crate) fn end_others(dir: &Path) -> Result<()> {
    let others = dir.join(OTHERS);
    let entries = match fs::read_dir(&others) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(file("read", &others))?,
    };
    for entry in entries {
        match down(&entry.map_err(file("read", &others))?.path()) {
            Ok(()) | Err(Error::NotUp(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Remove the files of a node that has ended, but for its logs.
pub(crate) fn remove_files(dir: &Path) -> Result<()> {
    for path in FILES.map(|name| dir.join(name)) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file("remove", path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Write a file under a temporary name and rename it.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(dir).map_err(file("write in", dir))?;
    temporary.write_all(content).map_err(file("write", path))?;
    temporary.persist(path).map_err(file("write", path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(State::read(dir.path()), Err(Error::NotUp(_))));
        let groups = serde_json::from_str(r#"{"unified":true,"groups":[{"controllers":"","path":"/x"}]}"#).unwrap();
        let state = State { keeper: Process { pid: 7, started: 8 }, init: None, groups, member: Member::FIRST };
        state.write(dir.path()).unwrap();
        assert_eq!(State::read(dir.path()).unwrap(), state);
    }

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let own = Process::of(std::process::id().try_into().unwrap()).unwrap();
        assert!(own.runs());
        assert!(!Process { started: own.started + 1, ..own }.runs());
    }

    #[test]
    fn a_programs_name_may_hold_anything() {
        let fields: Vec<String> = (4..=21).map(|n| n.to_string()).collect();
        let stat = format!("1 (a) R (b)) S {} 2211 23", fields.join(" "));
        assert_eq!(state_and_start(&stat), Some(('S', 2211)));
        assert_eq!(state_and_start("1 (x"), None);
    }
}
