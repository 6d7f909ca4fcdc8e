//! A server under test: a process that is started, asked for its CPU time and its memory, and ended.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::{Result, http};

/// How long a server may take until it answers, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    name: String,
    log: PathBuf,
    child: Child,
}

impl Server {
    /// Starts a program that is to listen on `address`. Its output is appended to `NAME.log` in `dir`.
    pub(crate) fn spawn(dir: &Path, name: &str, address: SocketAddr, command: &mut Command) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Self::spawn_as_is(&log, name, address, command)
    }

    /// The same, with the outputs that the command has already.
    pub(crate) fn spawn_as_is(log: &Path, name: &str, address: SocketAddr, command: &mut Command) -> Result<Self> {
        let child = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Self { address, name: name.to_owned(), log: log.to_owned(), child })
    }

    /// Waits until a `GET` of `path` is answered with 200, looking as often as `pause` says.
    pub(crate) fn wait(mut self, path: &str, pause: Duration) -> Result<Self> {
        let end = Instant::now() + PATIENCE;
        while !http::fetch(self.address, path).is_ok_and(|answer| answer.head.status == 200) {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let why = ended.map_or("does not answer".to_owned(), |status| format!("has ended ({status})"));
                return Err(format!("{} {why}: {}", self.name, self.words()).into());
            }
            thread::sleep(pause);
        }
        Ok(self)
    }

    /// Whether it is still there.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of its log.
    pub(crate) fn words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Sends SIGTERM, if it has not ended by itself, and waits for the end.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.terminate()?;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() > end => return Err(format!("{} does not end at SIGTERM", self.name).into()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Result {
        let pid = Pid::from_raw(self.child.id().cast_signed()).ok_or("a process without an id")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// The CPU that it has had so far, its children's included.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let mut threads = HashMap::new();
        for process in self.processes()? {
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let path = thread?.path();
                // A thread may have ended meanwhile.
                if let Ok(text) = fs::read_to_string(path.join("schedstat")) {
                    threads.insert(path, nanoseconds(&text).ok_or("a `schedstat` is not as expected")?);
                }
            }
        }
        Ok(Cpu(threads))
    }

    /// MiB of memory that belong to no file, its children's included.
    pub(crate) fn anonymous(&self) -> Result<f64> {
        let kibibytes = |id| -> Result<f64> {
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            anonymous(&status).ok_or_else(|| "/proc/PID/status has no RssAnon".into())
        };
        Ok(self.processes()?.into_iter().map(kibibytes).sum::<Result<f64>>()? / 1024.0)
    }

    fn processes(&self) -> io::Result<Vec<u32>> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        Ok(children.split_whitespace().filter_map(|child| child.parse().ok()).chain([id]).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.runs() {
            // A server with children ends them at SIGTERM, and leaves them at SIGKILL.
            let _ = self.terminate();
            let end = Instant::now() + Duration::from_secs(2);
            while self.runs() && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `kitbag-registry serve` is told. The one place where its flags stand.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    /// The store.
    pub(crate) store: PathBuf,
    /// Where clients come in.
    pub(crate) listen: SocketAddr,
    /// Where health and metrics are asked for.
    pub(crate) admin: SocketAddr,
    /// The socket by which the next instance gets the listening sockets of this one.
    pub(crate) handover: Option<PathBuf>,
    /// What it is told besides.
    pub(crate) more: &'static [&'static str],
}

impl Flags {
    /// To serve the store on addresses that are free.
    pub(crate) fn new(store: &Path) -> Result<Self> {
        let (listen, admin) = (free_address()?, free_address()?);
        Ok(Self { store: store.to_owned(), listen, admin, handover: None, more: &[] })
    }

    /// The arguments; the access log is on.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            ["serve", "--log", "warn,kitbag_registry=info", "--store"].map(Into::into).into();
        arguments.push(self.store.clone().into());
        arguments.extend(["--listen".into(), self.listen.to_string().into()]);
        arguments.extend(["--admin".into(), self.admin.to_string().into()]);
        if let Some(socket) = &self.handover {
            arguments.extend(["--handover".into(), socket.into()]);
        }
        arguments.extend(self.more.iter().map(Into::into));
        arguments
    }
}

/// An address of the loopback where nothing listens.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Keeps what is started meanwhile, and this thread, on one core.
pub(crate) fn on_core<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one)?;
    let result = work();
    sched_setaffinity(None, &before)?;
    result
}

/// Nanoseconds of CPU by thread. The kernel tells them exactly only there: in `/proc/PID/stat` it counts in hundredths of
/// a second.
#[derive(Clone, Debug)]
pub(crate) struct Cpu(HashMap<PathBuf, u64>);

impl Cpu {
    /// Seconds since an earlier look, of the threads that are there.
    pub(crate) fn since(&self, before: &Self) -> f64 {
        let spent = |(thread, now): (&PathBuf, &u64)| now - before.0.get(thread).copied().unwrap_or_default();
        self.0.iter().map(spent).sum::<u64>() as f64 / 1e9
    }
}

/// The first field of `/proc/PID/task/TID/schedstat`: time on a CPU.
fn nanoseconds(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// KiB, of `/proc/PID/status`.
fn anonymous(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_of_all_threads_since_a_look() {
        assert_eq!(nanoseconds("1500000000 26325652 1\n"), Some(1_500_000_000));
        let cpu = |threads: &[(&str, u64)]| Cpu(threads.iter().map(|&(thread, time)| (thread.into(), time)).collect());
        let (before, after) = (cpu(&[("1", 5), ("ended", 7)]), cpu(&[("1", 500_000_005), ("new", 1_000_000_000)]));
        assert!((after.since(&before) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn memory_is_found() {
        assert_eq!(anonymous("VmRSS:\t 900 kB\nRssAnon:\t    2048 kB\n"), Some(2048.0));
    }

    #[test]
    fn a_server_that_ends_shows_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no store >&2; exit 3"]);
        let server = Server::spawn(dir.path(), "none", free_address().unwrap(), &mut command).unwrap();
        let error = server.wait("/", Duration::from_millis(5)).err().unwrap().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no store"), "{error}");
    }
}
