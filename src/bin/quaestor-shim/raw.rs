//! What the compiler cannot check: signal handlers, descriptors by number, code between fork and exec.

#![allow(
    unsafe_code,
    reason = "std and rustix have no safe way to any of it; each block says why it is right"
)]

use std::{
    ffi::{OsStr, c_int},
    fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use rustix::{
    event::{EventfdFlags, eventfd},
    process::Signal,
};

use crate::launch::Launch;

/// `SIG_DFL` and `SIG_IGN`, as every Linux has them.
const DEFAULT: usize = 0;
const IGNORE: usize = 1;
/// The highest number of a signal.
const LAST_SIGNAL: c_int = 64;

/// `MADV_DONTNEED`, as every Linux has it.
const NOT_NEEDED: c_int = 4;

unsafe extern "C" {
    /// The first byte of this program in memory; the linker sets it.
    static __executable_start: u8;
    /// The end of its code; the linker sets it.
    static etext: u8;

    /// Says what a range of memory is needed for. It may take content away, so that a call is unsafe.
    fn madvise(from: *const u8, length: usize, advice: c_int) -> c_int;

    /// Sets what a signal does: `DEFAULT`, `IGNORE` or a function. Any other number is not sound, so that
    /// a call is unsafe.
    fn signal(number: c_int, handler: usize) -> usize;
}

/// What the handlers write to; -1 before there are any.
static WAKE: AtomicI32 = AtomicI32::new(-1);
static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

/// Sets up signals: the returned event rings when a child has ended or the shim was asked to end.
pub(crate) fn handle_signals() -> io::Result<OwnedFd> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    WAKE.store(event.as_raw_fd(), Ordering::Relaxed);
    let handlers = [
        (Signal::CHILD, on_child as extern "C" fn(c_int) as usize),
        (Signal::TERM, on_terminate as extern "C" fn(c_int) as usize),
        // They come from terminals, which a shim has none of, and for files that grew too large, which
        // is an error of the write.
        (Signal::HUP, IGNORE),
        (Signal::INT, IGNORE),
        (Signal::QUIT, IGNORE),
        (Signal::XFSZ, IGNORE),
    ];
    for (number, handler) in handlers {
        // SAFETY: each handler is a function of the right type, or `IGNORE`. The functions touch
        // atomics and make one system call (rustix's, which leaves `errno` alone), so they may
        // interrupt anything.
        unsafe { signal(number.as_raw(), handler) };
    }
    Ok(event)
}

/// Whether SIGTERM has come.
pub(crate) fn asked_to_end() -> bool {
    ASKED_TO_END.load(Ordering::Relaxed)
}

extern "C" fn on_child(_: c_int) {
    wake();
}

extern "C" fn on_terminate(_: c_int) {
    ASKED_TO_END.store(true, Ordering::Relaxed);
    wake();
}

fn wake() {
    // SAFETY: the event of `handle_signals` is open for as long as the loop runs. After that, or in a child
    // before its exec, the number is that event still or is closed, and the write is in vain.
    let event = unsafe { BorrowedFd::borrow_raw(WAKE.load(Ordering::Relaxed).max(0)) };
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

/// Gives every signal its default effect.
fn reset_signals() {
    for number in 1..=LAST_SIGNAL {
        // SAFETY: `DEFAULT` is no function. For signals that cannot be set the call fails and does nothing.
        unsafe { signal(number, DEFAULT) };
    }
}

/// Lets the child of `command` do what `launch` says before it becomes the program.
pub(crate) fn before_exec(command: &mut Command, launch: Launch) {
    let enter = move || {
        reset_signals();
        launch.enter()
    };
    // SAFETY: only async-signal-safe calls are allowed there. `reset_signals` and `enter` make system
    // calls on what was prepared before the fork; they neither allocate nor take a lock.
    unsafe { command.pre_exec(enter) };
}

/// Closes every descriptor but the standard streams: whoever started the shim may have let some slip through.
/// Call it before anything is opened.
pub(crate) fn close_inherited() -> io::Result<()> {
    let path = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.path());
    // Paths alone: an entry would keep the listing open.
    let listed: Vec<PathBuf> = fs::read_dir("/proc/self/fd")?
        .map(path)
        .collect::<Result<_, _>>()?;
    // The listing itself is listed too, and closed by now.
    for open in listed.iter().filter(|path| fs::read_link(path).is_ok()) {
        let name = open.file_name().and_then(OsStr::to_str);
        let descriptor = name.and_then(|name| name.parse::<RawFd>().ok());
        if let Some(descriptor) = descriptor.filter(|descriptor| *descriptor > 2) {
            // SAFETY: it is open, and not by this program, which has opened nothing but the listing: no value
            // owns it.
            unsafe { rustix::io::close(descriptor) };
        }
    }
    Ok(())
}

/// Gives back the pages of this program that were read so far. What is needed again comes from the system's file
/// cache, or from the file: some hundred kilobytes that a shim does not hold on to while it waits.
pub(crate) fn give_back_code() {
    let (from, to) = (&raw const __executable_start, &raw const etext);
    // SAFETY: the range holds code and constants, which are the file's and never written. Dropped, they are read
    // from the file again at the next use. A failure leaves everything as it is.
    unsafe { madvise(from, to.addr().saturating_sub(from.addr()), NOT_NEEDED) };
}
