//! A terminal to drive an interactive program by: type, wait for a text, look at the screen, change the size.

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZeroU16,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::error::{Error, Result, file, spawn};

/// A program on a terminal of its own; it is killed when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    output: Receiver<Vec<u8>>,
    /// All that was printed, and how much of it `expect` has passed.
    transcript: Vec<u8>,
    seen: usize,
    screen: Screen,
}

/// Wraps the emulator for its missing `Debug`.
struct Screen(vt100::Parser);

impl std::fmt::Debug for Screen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0.screen().contents())
    }
}

impl Terminal {
    /// Start a command on a terminal of this many rows and columns. TERM is `xterm-256color`.
    ///
    /// # Errors
    /// When there is no terminal to be had or the program doesn't start.
    pub fn start(command: &Command, (rows, columns): (u16, u16)) -> Result<Self> {
        const PTMX: &str = "/dev/ptmx";
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(file("open", PTMX))?;
        grantpt(&master).and_then(|()| unlockpt(&master)).map_err(file("unlock", PTMX))?;
        let name = ptsname(&master, Vec::new()).map_err(file("name", PTMX))?;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let slave = || File::options().read(true).write(true).open(path).map_err(file("open", path));
        let (input, output, errors) = (slave()?, slave()?, slave()?);
        let master = File::from(master);
        resize(&master, (rows, columns))?;

        // `setsid` makes its standard input the controlling terminal, and becomes the program.
        let mut on_terminal = Command::new("setsid");
        on_terminal.arg("--ctty").arg(command.get_program()).args(command.get_args()).env("TERM", "xterm-256color");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            on_terminal.current_dir(dir);
        }
        on_terminal.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::from(errors));
        let child = on_terminal.spawn().map_err(spawn(&on_terminal))?;
        // Or it would hold the slave's side open, and reading would never end.
        drop(on_terminal);

        let (sender, output) = channel();
        let mut reader = master.try_clone().map_err(file("read", PTMX))?;
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last user's leaving shows as an error.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let screen = Screen(vt100::Parser::new(positive(rows), positive(columns), 0));
        Ok(Self { master, child, output, transcript: Vec::new(), seen: 0, screen })
    }

    /// Type.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.master.write_all(text.as_bytes()).map_err(file("type on", "the terminal"))
    }

    /// Wait until `text` is printed, after what earlier calls have found.
    ///
    /// # Errors
    /// When it isn't in time, or the program ends before: with the transcript.
    pub fn expect(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let found = self.wait(timeout, |terminal| {
            let position = find(&terminal.transcript[terminal.seen..], text.as_bytes())?;
            Some(terminal.seen + position + text.len())
        });
        self.seen = found.ok_or_else(|| self.missed(text, timeout))?;
        Ok(())
    }

    /// Wait until the screen's text satisfies `condition`.
    ///
    /// # Errors
    /// When it doesn't in time: with the screen.
    pub fn expect_screen(&mut self, what: &str, timeout: Duration, condition: impl Fn(&str) -> bool) -> Result<()> {
        let found = self.wait(timeout, |terminal| condition(&terminal.screen()).then_some(()));
        found.ok_or_else(|| Error::Timeout {
            what: format!("{what} on the screen"),
            seconds: timeout.as_secs(),
            seen: self.screen(),
        })
    }

    /// The screen's text as it stands, row by row.
    pub fn screen(&self) -> String {
        self.screen.0.screen().contents()
    }

    /// All that was printed so far, without carriage returns.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.transcript).replace('\r', "")
    }

    /// Make the terminal another size; the program is told.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&mut self, (rows, columns): (u16, u16)) -> Result<()> {
        self.screen.0.screen_mut().set_size(positive(rows), positive(columns));
        resize(&self.master, (rows, columns))
    }

    /// Wait for the program's end; how it ended.
    ///
    /// # Errors
    /// When it doesn't end in time: with the transcript.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + timeout;
        loop {
            self.read(Duration::from_millis(10));
            if let Some(status) = self.child.try_wait().map_err(file("wait for", "the terminal's program"))? {
                // What it printed last.
                while self.read(Duration::from_millis(50)) {}
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(self.missed("its end", timeout));
            }
        }
    }

    /// Read until `ask` has an answer.
    fn wait<T>(&mut self, timeout: Duration, ask: impl Fn(&Self) -> Option<T>) -> Option<T> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(answer) = ask(self) {
                return Some(answer);
            }
            let left = end.checked_duration_since(Instant::now())?;
            if !self.read(left) {
                return ask(self);
            }
        }
    }

    /// Take in what is printed next; false if nothing is, in this time or ever.
    fn read(&mut self, timeout: Duration) -> bool {
        match self.output.recv_timeout(timeout) {
            Ok(bytes) => {
                self.screen.0.process(&bytes);
                self.transcript.extend(bytes);
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                // Or a loop that asks for the program's end would turn without pause.
                thread::sleep(timeout.min(Duration::from_millis(5)));
                false
            }
        }
    }

    fn missed(&self, what: &str, timeout: Duration) -> Error {
        Error::Timeout { what: format!("`{what}`"), seconds: timeout.as_secs(), seen: self.transcript() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: impl AsFd, (rows, columns): (u16, u16)) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).map_err(file("resize", "the terminal"))
}

/// A screen without any row or column can't be drawn on.
fn positive(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap_or(NonZeroU16::MIN)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Terminal {
        Terminal::start(Command::new("sh").args(["-c", script]), (24, 80)).unwrap()
    }

    #[test]
    fn a_dialogue_and_an_exit_code() {
        let mut terminal = shell("printf 'name? '; read name; echo hello $name; exit 7");
        terminal.expect("name? ", SOON).unwrap();
        terminal.send("shop\n").unwrap();
        terminal.expect("hello shop", SOON).unwrap();
        assert_eq!(terminal.wait_exit(SOON).unwrap().code(), Some(7));
        assert_eq!(terminal.transcript(), "name? shop\nhello shop\n");
    }

    #[test]
    fn a_program_has_a_controlling_terminal_and_learns_of_its_size() {
        let mut terminal = shell("trap 'stty size' WINCH; stty size </dev/tty; while :; do sleep 0.05; done");
        terminal.expect("24 80", SOON).unwrap();
        terminal.resize((40, 100)).unwrap();
        terminal.expect("40 100", SOON).unwrap();
        terminal.send("\u{3}").unwrap();
        assert!(!terminal.wait_exit(SOON).unwrap().success());
    }

    #[test]
    fn a_screen_is_what_a_person_would_see() {
        let mut terminal = shell(r"printf 'gone\033[2J\033[3;5Hhere'; sleep 60");
        terminal.expect_screen("a word", SOON, |screen| screen == "\n\n    here").unwrap();
    }

    #[test]
    fn a_text_that_does_not_come_is_an_error_with_the_transcript() {
        let error = shell("echo something else").expect("a prompt", SOON).unwrap_err().to_string();
        assert!(error.contains("`a prompt`") && error.contains("something else"), "{error}");
    }
}
