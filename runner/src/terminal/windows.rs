//! As Windows has it: a console is to be made to speak as terminals do elsewhere, where arrow keys and colours are
//! sequences of bytes; and there, Ctrl-Z must not be the end of the input, as it is to Rust's standard library.

use std::io::{self, IsTerminal as _};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::{Buf as _, Bytes};
use crossterm::ansi_support::supports_ansi;
use crossterm_winapi::{Console, ConsoleMode, Handle, InputRecord};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::characters::Characters;
use super::keys::{Key, Keys};
use super::{Input, Output};

/// What sessions call a console, which nothing names there: it knows the sequences of this one.
pub(super) const NAME: Option<&str> = Some("xterm-256color");

/// `ENABLE_PROCESSED_INPUT`, `ENABLE_LINE_INPUT` and `ENABLE_ECHO_INPUT`: what a raw console does not do.
const COOKED: u32 = 0x1 | 0x2 | 0x4;
/// `ENABLE_VIRTUAL_TERMINAL_INPUT`: keys are sequences.
const SEQUENCES: u32 = 0x200;
/// `ENABLE_PROCESSED_OUTPUT`, `ENABLE_VIRTUAL_TERMINAL_PROCESSING` and `DISABLE_NEWLINE_AUTO_RETURN`: sequences are heeded,
/// and a line feed is no more than that.
const TERMINAL: u32 = 0x1 | 0x4 | 0x8;
/// `LEFT_CTRL_PRESSED` and `RIGHT_CTRL_PRESSED`.
const CONTROL: u32 = 0x8 | 0x4;
/// `LEFT_ALT_PRESSED` and `RIGHT_ALT_PRESSED`. AltGr is Alt with Ctrl.
const ALT: u32 = 0x2 | 0x1;

/// How many chunks of keys wait to be read.
const QUEUE: usize = 4;

/// The modes of the console's input and output before they were changed.
static BEFORE: Mutex<Option<(u32, u32)>> = Mutex::new(None);

pub(super) fn make_raw() -> io::Result<()> {
    let (input, output) = modes()?;
    let before = (input.mode()?, output.mode()?);
    BEFORE.lock().unwrap_or_else(|broken| broken.into_inner()).get_or_insert(before);
    input.set_mode(before.0 & !COOKED | SEQUENCES)?;
    output.set_mode(before.1 | TERMINAL)
}

/// Makes it what it was, where that is something else.
pub(super) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(|broken| broken.into_inner()).take();
    if let (Some(before), Ok((input, output))) = (before, modes()) {
        let _ = input.set_mode(before.0);
        let _ = output.set_mode(before.1);
    }
}

fn modes() -> io::Result<(ConsoleMode, ConsoleMode)> {
    Ok((Handle::current_in_handle()?.into(), Handle::current_out_handle()?.into()))
}

/// Whether standard input is a console. Terminals of Cygwin and MSYS are pipes: the standard library knows them, but nobody
/// can make them raw.
pub(crate) fn is_input() -> bool {
    Handle::input_handle().is_ok_and(|input| ConsoleMode::from(input).mode().is_ok())
}

/// Whether standard output is a terminal that knows colours by their sequences. A console that only has to be told to is
/// told.
pub(crate) fn shows_colours() -> bool {
    io::stdout().is_terminal() && supports_ansi()
}

pub(super) fn input(raw: bool) -> Input {
    if raw { Box::pin(Typed::default()) } else { Box::pin(tokio::io::stdin()) }
}

/// Standard output.
pub(crate) fn output() -> Output {
    as_console_takes_it(tokio::io::stdout(), io::stdout().is_terminal())
}

/// Standard error.
pub(crate) fn errors() -> Output {
    as_console_takes_it(tokio::io::stderr(), io::stderr().is_terminal())
}

fn as_console_takes_it(to: impl AsyncWrite + Send + Unpin + 'static, is_terminal: bool) -> Output {
    if is_terminal { Box::pin(Characters::new(to)) } else { Box::pin(to) }
}

/// What is typed from the first time that it is read.
#[derive(Default)]
struct Typed {
    chunks: Option<Receiver<Bytes>>,
    rest: Bytes,
}

impl AsyncRead for Typed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { chunks, rest } = &mut *self;
        if rest.is_empty() {
            let chunks = chunks.get_or_insert_with(|| {
                let (chunks, typed) = mpsc::channel(QUEUE);
                thread::spawn(move || read(&chunks));
                typed
            });
            // None more is the end.
            *rest = ready!(chunks.poll_recv(context)).unwrap_or_default();
        }
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// Reads the console until it breaks or nobody wants to know. A read can't be called off, so it has a thread that nobody
/// waits for.
fn read(chunks: &Sender<Bytes>) {
    let Ok(console) = Handle::current_in_handle().map(Console::from) else { return };
    let mut keys = Keys::default();
    // The first is waited for, the others are there.
    while let Ok(first) = console.read_single_input_event() {
        let more = console.read_console_input().unwrap_or_default();
        let mut bytes = Vec::new();
        for record in std::iter::once(first).chain(more) {
            if let InputRecord::KeyEvent(key) = record {
                let held = |keys| key.control_key_state.has_state(keys);
                let control = held(CONTROL) && !held(ALT);
                let key = Key {
                    down: key.key_down,
                    code: key.virtual_key_code,
                    unit: key.u_char,
                    times: key.repeat_count,
                    control,
                };
                keys.take(key, &mut bytes);
            }
        }
        if !bytes.is_empty() && chunks.blocking_send(bytes.into()).is_err() {
            return;
        }
    }
}
