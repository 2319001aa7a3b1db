//! A command that runs in the foreground, as a child of ours, on our terminal.

use std::io;

/// A running command. It is killed when this is dropped before it has ended.
pub struct Foreground(tokio::process::Child);

impl Foreground {
    /// Starts `command`, a program and its arguments, with `env` on top of our environment.
    ///
    /// # Errors
    /// The system's, when it cannot be started.
    #[allow(
        clippy::disallowed_methods,
        reason = "here programs are started: it ends with the command that it belongs to"
    )]
    pub fn start(command: &[String], env: &[(&str, String)]) -> io::Result<Self> {
        let (program, arguments) = (command.split_first())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        command.spawn().map(Self)
    }

    /// Resolves when it has ended, with the code that a shell would tell. Cancel-safe.
    ///
    /// # Errors
    /// The system's.
    pub async fn ended(&mut self) -> io::Result<u8> {
        let status = self.0.wait().await?;
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX));
        }
        let code = status.code().unwrap_or(1);
        Ok(u8::try_from(code).unwrap_or(1))
    }

    /// Asks it to end. Does nothing once it has ended.
    pub fn terminate(&mut self) {
        #[cfg(unix)]
        if let Some(pid) = self.0.id()
            && let Ok(pid) = i32::try_from(pid)
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // It has not been waited for, so the number is still its own.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        #[cfg(not(unix))]
        let _ = self.0.start_kill();
    }
}
