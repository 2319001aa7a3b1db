//! Being asked to end, and being allowed much.

use std::io;

/// The signals by which a process is asked to end: SIGTERM, Ctrl-C, and SIGHUP, which comes when its
/// terminal goes away; on Windows Ctrl-C, Ctrl-Break, and that its console goes away, the manager
/// of services, and the event that a shim sets.
pub struct Terminations {
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    stop: tokio::signal::windows::CtrlBreak,
    #[cfg(windows)]
    close: tokio::signal::windows::CtrlClose,
    #[cfg(windows)]
    shutdown: tokio::signal::windows::CtrlShutdown,
    #[cfg(windows)]
    event: std::sync::Arc<tokio::sync::Notify>,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Terminations {
    /// Takes the signals over from their default, which is to end at once.
    ///
    /// # Errors
    /// The system's, when it cannot be asked for signals.
    pub fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
            })
        }
        #[cfg(windows)]
        {
            use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
            Ok(Self {
                interrupt: ctrl_c()?,
                stop: ctrl_break()?,
                close: ctrl_close()?,
                shutdown: ctrl_shutdown()?,
                event: super::windows::stop_event::listen()?,
            })
        }
    }

    /// Resolves when the next one comes. Cancel-safe.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
        #[cfg(windows)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.stop.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
            () = self.event.notified() => {}
            () = super::windows::service::asked_to_end() => {}
        }
    }
}

/// Whether this process may do anything on its host, and so keeps its files where services do.
pub fn is_privileged() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(windows)]
    return super::windows::machine::is_elevated();
}
