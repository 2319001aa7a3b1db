//! The event by which a shim asks this program to end: Ctrl-Break does not reach a program without a console.

use std::{env, io, os::windows::io::AsRawHandle as _, sync::Arc, thread::Builder};

use tokio::sync::Notify;
use windows_sys::Win32::System::Threading::{
    INFINITE, OpenEventW, SYNCHRONIZATION_SYNCHRONIZE, WaitForSingleObject,
};

use super::handle::{own, wide};
use crate::process::shim::wire::names;

/// The stack of the thread that waits, in bytes.
const STACK: usize = 64 * 1024;

/// What is told once the event is set; never, where this program has none.
///
/// # Errors
/// The system's, when nobody can wait for it.
pub(in crate::process) fn listen() -> io::Result<Arc<Notify>> {
    let asked = Arc::new(Notify::new());
    let Some(name) = env::var_os(names::STOP_EVENT_VARIABLE) else {
        return Ok(asked);
    };
    let name = wide(name);
    // SAFETY: the name ends with a zero; the handle, if there is one, is ours.
    let event = unsafe { own(OpenEventW(SYNCHRONIZATION_SYNCHRONIZE, 0, name.as_ptr())) };
    let event = match event {
        Ok(event) => event,
        // Inherited from somebody whose shim has gone: nobody will set it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(asked),
        Err(error) => return Err(error),
    };
    let teller = Arc::clone(&asked);
    let waiting = move || {
        // SAFETY: the handle is open, as it belongs to this thread.
        unsafe { WaitForSingleObject(event.as_raw_handle(), INFINITE) };
        teller.notify_one();
    };
    let thread = Builder::new()
        .name("stop event".to_owned())
        .stack_size(STACK);
    thread.spawn(waiting)?;
    Ok(asked)
}
