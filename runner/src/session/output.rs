//! Where the output of a session goes.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::lines::Lines;

/// Where the output of a session goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To ours, byte by byte.
    Standard,
    /// Into memory.
    Captured {
        /// How many bytes of each stream are kept. The rest is read and forgotten, so that the command comes to its end.
        limit: usize,
    },
    /// To ours, line by line with `NAME: ` before each; lines of sessions that run at once are not mixed.
    Prefixed {
        /// Whose lines they are.
        name: String,
    },
}

/// What was captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The beginning of the output.
    pub stdout: Vec<u8>,
    /// The beginning of the other stream.
    pub stderr: Vec<u8>,
    /// Whether either went on.
    pub truncated: bool,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Stdout,
    Stderr,
}

/// Output, as it is being written.
pub(super) enum Writer<O, E> {
    Plain(O, E),
    Captured { captured: Captured, limit: usize },
    Prefixed { streams: (O, E), lines: (Lines, Lines) },
}

/// One line at a time, of all sessions and both streams: both may be the same terminal.
static LINE: Mutex<()> = Mutex::const_new(());

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Writer<O, E> {
    pub(super) fn new(output: Output, stdout: O, stderr: E) -> Self {
        match output {
            Output::Standard => Self::Plain(stdout, stderr),
            Output::Captured { limit } => Self::Captured { captured: Captured::default(), limit },
            Output::Prefixed { name } => {
                Self::Prefixed { streams: (stdout, stderr), lines: (Lines::new(&name), Lines::new(&name)) }
            }
        }
    }

    pub(super) async fn write(&mut self, which: Which, data: &[u8]) -> io::Result<()> {
        match (self, which) {
            (Self::Plain(stdout, _), Which::Stdout) => write(stdout, data).await,
            (Self::Plain(_, stderr), Which::Stderr) => write(stderr, data).await,
            (Self::Captured { captured, limit }, which) => {
                captured.keep(which, data, *limit);
                Ok(())
            }
            (Self::Prefixed { streams: (stdout, _), lines: (lines, _) }, Which::Stdout) => {
                write_lines(stdout, &lines.add(data)).await
            }
            (Self::Prefixed { streams: (_, stderr), lines: (_, lines) }, Which::Stderr) => {
                write_lines(stderr, &lines.add(data)).await
            }
        }
    }

    /// Nothing more will come. Returns what was captured.
    pub(super) async fn finish(self) -> io::Result<Option<Captured>> {
        match self {
            Self::Captured { captured, .. } => Ok(Some(captured)),
            Self::Prefixed { streams: (mut stdout, mut stderr), lines: (out, err) } => {
                write_lines(&mut stdout, &out.finish()).await?;
                write_lines(&mut stderr, &err.finish()).await?;
                Ok(None)
            }
            Self::Plain(..) => Ok(None),
        }
    }
}

impl Captured {
    pub(super) fn keep(&mut self, which: Which, data: &[u8], limit: usize) {
        let stream = match which {
            Which::Stdout => &mut self.stdout,
            Which::Stderr => &mut self.stderr,
        };
        let room = limit.saturating_sub(stream.len());
        stream.extend_from_slice(&data[..room.min(data.len())]);
        self.truncated |= data.len() > room;
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), data: &[u8]) -> io::Result<()> {
    to.write_all(data).await?;
    to.flush().await
}

async fn write_lines(to: &mut (impl AsyncWrite + Unpin), lines: &[u8]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let _one = LINE.lock().await;
    write(to, lines).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn what_goes_beyond_the_limit_is_forgotten_and_said_to_be() {
        let capture = |limit| {
            let mut writer = Writer::new(Output::Captured { limit }, Vec::new(), Vec::new());
            done(async {
                writer.write(Which::Stdout, b"abc").await.unwrap();
                writer.write(Which::Stderr, b"xy").await.unwrap();
                writer.write(Which::Stdout, b"def").await.unwrap();
                writer.finish().await.unwrap().unwrap()
            })
        };
        let captured = |stdout: &[u8], stderr: &[u8], truncated| Captured {
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
            truncated,
        };
        assert_eq!(capture(6), captured(b"abcdef", b"xy", false));
        assert_eq!(capture(5), captured(b"abcde", b"xy", true));
        assert_eq!(capture(1), captured(b"a", b"x", true));
    }

    #[test]
    fn prefixed_output_is_written_by_lines_and_to_its_end() {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut writer = Writer::new(Output::Prefixed { name: "shop".to_owned() }, &mut stdout, &mut stderr);
        done(async {
            writer.write(Which::Stdout, b"one\ntw").await.unwrap();
            writer.write(Which::Stderr, b"oops").await.unwrap();
            writer.write(Which::Stdout, b"o\n").await.unwrap();
            assert_eq!(writer.finish().await.unwrap(), None);
        });
        assert_eq!((&stdout[..], &stderr[..]), (&b"shop: one\nshop: two\n"[..], &b"shop: oops\n"[..]));
    }
}
