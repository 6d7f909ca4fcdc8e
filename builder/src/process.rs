//! Running other programs so that nothing of them outlives us: apart from the network and from other processes where the
//! kernel lets us, killed with us in any case.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot run `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// [`Interrupt::trigger`] was called.
    #[error("interrupted")]
    Interrupted,
}

/// The switch that ends everything: once it is thrown, what runs is killed and nothing new is started.
#[derive(Debug, Default)]
pub struct Interrupt(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    triggered: bool,
    running: HashSet<Pid>,
}

impl Interrupt {
    /// Ends everything.
    pub fn trigger(&self) {
        let mut state = self.state();
        state.triggered = true;
        for &pid in &state.running {
            // It may have ended by itself.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Whether [`Self::trigger`] was called.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.state().triggered
    }

    /// Runs `command` in a process group of its own and waits for it. What it leaves running in its group is killed.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn run(&self, command: &mut Command) -> Result<ExitStatus, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let start = |source| ProcessError::Start { program, source };
        let (mut child, pid) = {
            let mut state = self.state();
            if state.triggered {
                return Err(ProcessError::Interrupted);
            }
            command.process_group(0).stdin(Stdio::null());
            let child = match command.spawn() {
                Ok(child) => child,
                Err(source) => return Err(start(source)),
            };
            let pid = Pid::from_child(&child);
            state.running.insert(pid);
            (child, pid)
        };
        let ended = await_end(pid);
        self.state().running.remove(&pid);
        // Until it is reaped, its number is taken, and the group is still the one that we made.
        let _ = kill_process_group(pid, Signal::KILL);
        let status = ended.and_then(|()| child.wait()).map_err(start)?;
        if self.is_triggered() { Err(ProcessError::Interrupted) } else { Ok(status) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn await_end(pid: Pid) -> io::Result<()> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

/// How far builds can be kept apart from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Neither network nor processes of others.
    Full {
        /// By a user namespace, because we are not root.
        user: bool,
    },
    /// No network.
    Network {
        /// By a user namespace, because we are not root.
        user: bool,
    },
    /// None: the kernel, or a container around us, does not allow namespaces.
    None,
}

impl Isolation {
    /// The best that works here: found out by trying.
    ///
    /// # Errors
    /// [`ProcessError::Interrupted`].
    pub fn probe(interrupt: &Interrupt, is_root: bool) -> Result<Self, ProcessError> {
        let user = !is_root;
        for isolation in [Self::Full { user }, Self::Network { user }] {
            let mut command = isolation.command("true");
            match interrupt.run(command.stdout(Stdio::null()).stderr(Stdio::null())) {
                Ok(status) if status.success() => return Ok(isolation),
                Err(ProcessError::Interrupted) => return Err(ProcessError::Interrupted),
                _ => {}
            }
        }
        Ok(Self::None)
    }

    /// What is missing, in words for people; `None` if nothing is.
    #[must_use]
    pub const fn lacks(self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => None,
            Self::Network { .. } => Some("builds have no network, but see the machine's processes"),
            Self::None => Some("no namespaces here: builds could reach the network"),
        }
    }

    /// `program` in this isolation. It dies with the thread that starts it.
    fn command(self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        let namespaces: &[&str] = match self {
            Self::Full { .. } => &["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
            Self::Network { .. } => &["--net"],
            Self::None => &[],
        };
        if !namespaces.is_empty() {
            command.arg("unshare");
            if matches!(self, Self::Full { user: true } | Self::Network { user: true }) {
                command.args(["--user", "--map-current-user"]);
            }
            command.args(namespaces);
        }
        command.arg(program);
        command
    }
}

/// A program with arguments, in a clean environment.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The program, a path or found on our own `PATH`.
    pub program: &'a str,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Its working directory.
    pub dir: &'a Path,
    /// All of its environment.
    pub environment: &'a BTreeMap<String, String>,
}

impl Step<'_> {
    /// Runs the step, its output into `log`.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn run(&self, interrupt: &Interrupt, isolation: Isolation, log: &File) -> Result<ExitStatus, ProcessError> {
        let start = |source| ProcessError::Start { program: self.program.to_owned(), source };
        let mut command = isolation.command(self.program);
        command.args(self.arguments).current_dir(self.dir).env_clear().envs(self.environment);
        command.stdout(log.try_clone().map_err(start)?).stderr(log.try_clone().map_err(start)?);
        interrupt.run(&mut command)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::{fs, thread};

    use super::*;

    fn shell(script: &str, isolation: Isolation, interrupt: &Interrupt) -> (Result<ExitStatus, ProcessError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let environment = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        let step = Step { program: "sh", arguments: &["-ec", script], dir: dir.path(), environment: &environment };
        let status = step.run(interrupt, isolation, &File::create(&path).unwrap());
        (status, fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn a_step_sees_its_environment_and_nothing_else() {
        let interrupt = Interrupt::default();
        let (status, log) =
            shell("env | grep -v -e ^PWD= -e ^_= -e ^OLDPWD= -e ^SHLVL=; exit 3", Isolation::None, &interrupt);
        assert_eq!(status.unwrap().code(), Some(3));
        assert_eq!(log, "PATH=/usr/bin:/bin\n");
    }

    #[test]
    fn an_isolated_step_has_no_network_and_no_processes_but_its_own() {
        let interrupt = Interrupt::default();
        let isolation = Isolation::probe(&interrupt, rustix::process::geteuid().is_root()).unwrap();
        if isolation.lacks().is_none() {
            let (_, log) = shell(
                "ls /sys/class/net /proc/self/net/dev; grep -c : /proc/net/dev; echo pid $$",
                isolation,
                &interrupt,
            );
            assert!(log.contains("\n1\npid 1\n"), "{log}");
        }
    }

    #[test]
    fn what_a_step_leaves_running_is_killed() {
        let interrupt = Interrupt::default();
        let (_, log) = shell("sleep 1000 & echo $!", Isolation::None, &interrupt);
        let pid = log.trim();
        let stopped = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
        while !stopped() {
            thread::yield_now();
        }
    }

    #[test]
    fn an_interrupt_kills_what_runs_and_lets_nothing_start() {
        let interrupt = Arc::new(Interrupt::default());
        let other = Arc::clone(&interrupt);
        let thread = thread::spawn(move || shell("sleep 1000", Isolation::None, &other).0);
        while interrupt.state().running.is_empty() {
            thread::yield_now();
        }
        interrupt.trigger();
        assert!(matches!(thread.join().unwrap(), Err(ProcessError::Interrupted)));
        assert!(matches!(shell("true", Isolation::None, &interrupt).0, Err(ProcessError::Interrupted)));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Interrupt::default().run(&mut Command::new("/no/such/program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot run `/no/such/program`: No such file or directory (os error 2)");
    }
}
