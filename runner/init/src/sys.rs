//! What has no safe interface: the entry point, signal masks, fork and exec, the environment, and what the standard library
//! would be for.
//!
//! The one module with unsafe code. The program has a single thread, which is what makes masks and forks simple.
#![allow(
    unsafe_code,
    reason = "the C library's start, fork, exec, environment, sigprocmask, signalfd and malloc have no safe wrapper"
)]

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use rustix::io::{Errno, read};
use rustix::process::{Pid, Signal, ioctl_tiocsctty, setpgid, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Signals that are taken over from their default action: blocked, and read from a file that can be polled.
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Blocks `list` for this process and collects its signals.
    pub(crate) fn take_over(list: &[Signal]) -> Result<Self, Errno> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `set` is initialized by sigemptyset before anything reads it; all pointers are to locals.
        let fd = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in list {
                libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
            }
            if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), null_mut()) != 0 {
                return Err(last_error());
            }
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(last_error());
        }
        // SAFETY: `fd` was made just now and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that has come, if one has.
    pub(crate) fn next(&mut self) -> Option<Signal> {
        // struct signalfd_siginfo: 128 bytes, of which the first four are the number.
        let mut info = [0; 128];
        let length = read(&self.0, &mut info).ok()?;
        let number = info.first_chunk().filter(|_| length == info.len()).map(|bytes| i32::from_ne_bytes(*bytes))?;
        Signal::from_named_raw(number)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where a command that is started belongs.
pub(crate) enum Place<'a> {
    /// It leads a process group and reads this.
    Group(BorrowedFd<'a>),
    /// It leads a session, whose terminal this is.
    Terminal(BorrowedFd<'a>),
}

/// Starts `command`, found through PATH, with no signal blocked.
pub(crate) fn start(command: &[CString], place: &Place<'_>) -> Result<Pid, Errno> {
    let arguments: Vec<*const c_char> = command.iter().map(|argument| argument.as_ptr()).chain([null()]).collect();
    // Closed by the exec; what the child writes instead is why there was none.
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: there is one thread, so the child may do what the parent may.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let error = settle(place).map_or_else(|error| error, |()| become_command(&arguments));
        let _ = rustix::io::write(&theirs, &error.raw_os_error().to_ne_bytes());
        // SAFETY: ends the child without anything of the parent's being run twice.
        unsafe { libc::_exit(i32::from(crate::FAILED)) };
    }
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(last_error)?;
    drop(theirs);
    let mut error = [0; 4];
    match rustix::io::retry_on_intr(|| read(&ours, &mut error)) {
        Ok(length) if length == error.len() => {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(Errno::from_raw_os_error(i32::from_ne_bytes(error)))
        }
        _ => Ok(pid),
    }
}

/// In the child.
fn settle(place: &Place<'_>) -> Result<(), Errno> {
    match place {
        Place::Group(input) => {
            setpgid(None, None)?;
            dup2_stdin(input)
        }
        Place::Terminal(terminal) => {
            setsid()?;
            ioctl_tiocsctty(terminal)?;
            dup2_stdin(terminal)?;
            dup2_stdout(terminal)?;
            dup2_stderr(terminal)
        }
    }
}

/// In the child. Returns only when it fails.
fn become_command(arguments: &[*const c_char]) -> Errno {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `set` is initialized before it is read; `arguments` ends with a null pointer and the strings before that
    // live as long as the caller's.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), null_mut());
        libc::execvp(arguments[0], arguments.as_ptr());
    }
    last_error()
}

/// Becomes the program that is open as `file`. Returns only when it fails.
pub(crate) fn execute(file: &OwnedFd, command: &[&CStr]) -> Errno {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let arguments: Vec<*const c_char> = command.iter().map(|argument| argument.as_ptr()).chain([null()]).collect();
    // SAFETY: `arguments` ends with a null pointer as `environ` does, and all that they point to is still there.
    unsafe { libc::fexecve(file.as_raw_fd(), arguments.as_ptr(), environ) };
    last_error()
}

/// Standard input.
pub(crate) fn stdin() -> BorrowedFd<'static> {
    standard(libc::STDIN_FILENO)
}

/// Standard output.
pub(crate) fn stdout() -> BorrowedFd<'static> {
    standard(libc::STDOUT_FILENO)
}

/// Standard error.
pub(crate) fn stderr() -> BorrowedFd<'static> {
    standard(libc::STDERR_FILENO)
}

fn standard(number: i32) -> BorrowedFd<'static> {
    // SAFETY: nothing here closes them. Where they were closed from the start, what is opened first is used instead.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// A variable of the environment.
pub(crate) fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: no string of the environment is ever changed or freed: `set_variable` puts others in their place.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value))
    }
}

/// Sets a variable, given as `NAME=VALUE`.
pub(crate) fn set_variable(assignment: CString) {
    // SAFETY: the environment keeps the string itself, which is given to it for good.
    unsafe { libc::putenv(assignment.into_raw()) };
}

/// Takes a variable away.
pub(crate) fn remove_variable(name: &CStr) {
    // SAFETY: the name is a string, and there is one thread.
    unsafe { libc::unsetenv(name.as_ptr()) };
}

/// What an error is called.
pub(crate) fn describe(error: Errno) -> &'static str {
    // SAFETY: the C library returns a string of its own, which only this thread could have changed.
    let text = unsafe { CStr::from_ptr(libc::strerror(error.raw_os_error())) };
    text.to_str().unwrap_or("unknown error")
}

fn last_error() -> Errno {
    // SAFETY: the pointer is this thread's own.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// The C library's way in.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(count: core::ffi::c_int, arguments: *const *const c_char) -> core::ffi::c_int {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the C library passes `count` strings that live as long as the program.
    let strings = (1..count).map(|index| unsafe { CStr::from_ptr(*arguments.add(index)) });
    crate::run(&strings.collect::<Vec<_>>()).into()
}

/// What the standard library would bring.
#[cfg(all(panic = "abort", target_env = "musl"))]
mod without_std {
    use core::alloc::{GlobalAlloc, Layout};
    use core::ffi::c_void;
    use core::panic::PanicInfo;

    // The standard library would name it to the linker.
    #[link(name = "c", kind = "static", modifiers = "-bundle")]
    unsafe extern "C" {}

    // The precompiled `alloc` names these for unwinding, which nothing here does. Link-time optimization drops them.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        // SAFETY: always.
        unsafe { libc::abort() }
    }

    struct Malloc;

    #[global_allocator]
    static MALLOC: Malloc = Malloc;

    // SAFETY: malloc's results are aligned for every type of C, and aligned_alloc's as asked; free takes both.
    unsafe impl GlobalAlloc for Malloc {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: any size will do.
            unsafe {
                if layout.align() <= align_of::<libc::max_align_t>() {
                    libc::malloc(layout.size()).cast()
                } else {
                    libc::aligned_alloc(layout.align(), layout.size()).cast()
                }
            }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
            // SAFETY: it came from `alloc`.
            unsafe { libc::free(pointer.cast::<c_void>()) };
        }
    }

    #[panic_handler]
    fn panic(_: &PanicInfo<'_>) -> ! {
        crate::complain(&["a fault of the program itself: it ends"]);
        // SAFETY: always.
        unsafe { libc::abort() }
    }
}
