//! Gathers lines, and lets a thread of its own write them: a request does not wait for whoever reads the log.
//!
//! Lines about requests are written in batches; all others at once. A line is lost only when the reader of the log is so
//! slow that the batch gets too long; how many were is logged.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::access::ACCESS;

/// Bytes that are written at once.
const BATCH: usize = 64 << 10;
/// How long a line may wait for others.
const WAIT: Duration = Duration::from_millis(100);
/// Bytes that may wait to be written.
const LONGEST: usize = 1 << 20;
/// How long the end of the process waits for a reader of the log that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sink {
    state: Mutex<State>,
    /// There is something to write, or it has become urgent.
    wake: Condvar,
    /// All is written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    urgent: bool,
    writing: bool,
    lost: u64,
}

impl Sink {
    /// Starts the thread that writes to `output`.
    pub(super) fn start(mut output: Box<dyn Write + Send>) -> io::Result<Arc<Self>> {
        let sink = Arc::new(Self { state: Mutex::default(), wake: Condvar::new(), written: Condvar::new() });
        let writer = Arc::clone(&sink);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut batch = Vec::new();
            loop {
                let lost = writer.take(&mut batch);
                // Where the log cannot be written, there is nowhere to say so.
                let _ = output.write_all(&batch).and_then(|()| output.flush());
                writer.done();
                if lost > 0 {
                    tracing::warn!(lines = lost, "lines of the log are lost: what reads it is too slow");
                }
            }
        })?;
        Ok(sink)
    }

    /// Adds whole lines.
    fn add(&self, lines: &[u8], urgent: bool) {
        let mut state = self.lock();
        if state.lines.len() + lines.len() > LONGEST {
            state.lost += 1;
            return;
        }
        let first = state.lines.is_empty();
        state.lines.extend_from_slice(lines);
        let now = !state.urgent && (urgent || state.lines.len() >= BATCH);
        state.urgent |= now;
        drop(state);
        if first || now {
            self.wake.notify_one();
        }
    }

    /// Waits until what there is has been written, but not for ever.
    pub(super) fn flush(&self) {
        let mut state = self.lock();
        state.urgent = true;
        self.wake.notify_one();
        let rest = |state: &mut State| state.writing || !state.lines.is_empty();
        drop(self.written.wait_timeout_while(state, PATIENCE, rest));
    }

    /// Waits for a batch, and takes it. Returns how many lines did not fit in.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let state = self.lock();
        let state = self.wake.wait_while(state, |state| state.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) =
            self.wake.wait_timeout_while(state, WAIT, |state| !state.urgent).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.lines, batch);
        state.urgent = false;
        state.writing = true;
        std::mem::take(&mut state.lost)
    }

    fn done(&self) {
        self.lock().writing = false;
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The lines are whole between any two operations, whatever became of who held the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `tracing` gets its writers from.
#[derive(Clone, Debug)]
pub(super) struct Writer(pub(super) Arc<Sink>);

/// Writes one event.
#[derive(Debug)]
pub(super) struct Event<'a> {
    sink: &'a Sink,
    urgent: bool,
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event { sink: &self.0, urgent: true }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Event<'a> {
        Event { sink: &self.0, urgent: event.target() != ACCESS || *event.level() <= Level::WARN }
    }
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.sink.add(bytes, self.urgent);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// An output that waits for a word before each batch, and tells what it has got.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Arc<Sink>, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let ((go, wait), (tell, told)) = (mpsc::channel(), mpsc::channel());
        (Sink::start(Box::new(Slow(wait, tell))).unwrap(), go, told)
    }

    #[test]
    fn lines_are_written_in_order_and_together() {
        let (sink, go, told) = slow();
        sink.add(b"one\n", true);
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), b"one\n");
        sink.add(b"two\n", false);
        sink.add(b"three\n", false);
        go.send(()).unwrap();
        sink.flush();
        assert_eq!(told.recv().unwrap(), b"two\nthree\n");
        // Without a flush too.
        sink.add(b"four\n", false);
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), b"four\n");
    }

    #[test]
    fn who_does_not_read_loses_lines_and_holds_nobody_up() {
        let (sink, go, told) = slow();
        let line = [b'x'; 1 << 10];
        for _ in 0..4 * LONGEST / line.len() {
            sink.add(&line, false);
        }
        let kept = sink.lock().lines.len();
        assert!(kept <= LONGEST && sink.lock().lost > 0, "{kept}");
        drop(go);
        sink.flush();
        let all: usize = told.try_iter().map(|batch| batch.len()).sum();
        assert!((LONGEST..=2 * LONGEST).contains(&all), "{all}");
    }
}
