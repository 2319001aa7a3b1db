//! Real processes on Linux.
//!
//! Each is the leader of its own session, so that neither a Ctrl-C at the agent's terminal nor its
//! hang-up reaches it, and so that it can be killed with everything it started and kept in its group.
//!
//! **Who ends with whom.** The kernel kills the process when the *thread* that started it ends
//! (`PR_SET_PDEATHSIG`). Processes must therefore be started on threads that live as long as the
//! agent: the runtime's workers and the main thread do, threads for blocking work do not.
//!
//! **Whose pid.** A pid belongs to our child until we reap it. Everything that names it, or the
//! group of the same number, happens under the lock that also guards reaping, and not afterwards.

#![allow(
    unsafe_code,
    reason = "`pre_exec` alone reaches between fork and exec, and registering a descriptor is unsafe"
)]

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process_group,
        pidfd_open, pidfd_send_signal, set_parent_process_death_signal, setsid, waitid,
    },
};
use tokio::io::unix::AsyncFd;

use super::{End, Process, Processes, Program, StartError};
use crate::model::service::StopSignal;

/// Processes of this machine.
pub struct LocalProcesses;

impl Processes for LocalProcesses {
    fn start(&self, program: &Program) -> Result<Box<dyn Process>, StartError> {
        let [name, arguments @ ..] = program.arguments.as_slice() else {
            return Err(StartError::NoProgram);
        };
        // Without this look the system's "no such file" would be blamed on the program.
        check_directory(&program.working_directory).map_err(|cause| {
            StartError::WorkingDirectory {
                path: program.working_directory.clone(),
                cause,
            }
        })?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that starts processes"
        )]
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env_clear()
            .envs(&program.environment)
            .current_dir(&program.working_directory)
            .stdin(Stdio::null())
            .stdout(open_output(&program.stdout)?)
            .stderr(open_output(&program.stderr)?);
        let agent = getpid();
        let enter = move || {
            setsid()?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The agent may have died before the line above; then no signal will ever come.
            if getppid() == Some(agent) {
                Ok(())
            } else {
                Err(io::ErrorKind::Interrupted.into())
            }
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. `enter` makes
        // plain system calls (setsid, prctl, getppid) and neither allocates nor takes a lock.
        unsafe { command.pre_exec(enter) };
        let failed = |cause| StartError::Program {
            program: name.clone(),
            cause,
        };
        let mut child = command.spawn().map_err(failed)?;
        Leader::new(child.id())
            .map(|leader| Box::new(Local(Arc::new(leader))) as Box<dyn Process>)
            .map_err(|cause| {
                // Nobody could watch it: it must not live. It is our unreaped child, so both calls
                // can only reach it.
                let ended = child.kill().and_then(|()| child.wait());
                if let Err(error) = ended {
                    tracing::error!(%error, pid = child.id(), "a process could not be ended");
                }
                failed(cause)
            })
    }
}

fn check_directory(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        Ok(())
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

fn open_output(path: &Path) -> Result<File, StartError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|cause| StartError::Output {
        path: path.to_owned(),
        cause,
    })
}

/// A started process, shared by its handle and by those who wait for its end.
struct Local(Arc<Leader>);

/// The leader of a session that we started.
struct Leader {
    pid: Pid,
    /// Readable once the process has ended.
    handle: AsyncFd<OwnedFd>,
    /// How it ended; set when it is reaped. The lock is held around everything that names `pid`.
    end: Mutex<Option<End>>,
}

impl Leader {
    fn new(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        let handle = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` stays open, and the same, for as long as it exists.
        let handle = unsafe { AsyncFd::register(handle) }?;
        Ok(Self {
            pid,
            handle,
            end: Mutex::new(None),
        })
    }

    async fn ended(&self) -> End {
        loop {
            if let Some(end) = self.reap() {
                return end;
            }
            match self.handle.readable().await {
                // Looked at again before the readiness is given up, so that no end is missed.
                Ok(mut ready) => match self.reap() {
                    Some(end) => return end,
                    None => ready.clear_ready(),
                },
                // Only when the runtime shuts down, and with it everything that could listen.
                Err(_) => return std::future::pending().await,
            }
        }
    }

    /// If the process has ended: kills what is left of its group, then lets the system forget it.
    fn reap(&self) -> Option<End> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let handle = WaitId::PidFd(self.handle.get_ref().as_fd());
            match waitid(handle.clone(), look | WaitIdOptions::NOWAIT) {
                Ok(None) => return None,
                Ok(Some(_)) => {
                    let _ = self.kill_group();
                    let status = waitid(handle, look).ok().flatten();
                    *end = Some(End {
                        code: status.as_ref().and_then(|status| status.exit_status()),
                        signal: status.and_then(|status| status.terminating_signal()),
                    });
                }
                // Somebody else reaped it: it is gone, and how it ended with it.
                Err(_) => {
                    *end = Some(End {
                        code: None,
                        signal: None,
                    });
                }
            }
        }
        *end
    }

    /// Kills the group. Call with the lock held, while the leader is not reaped: until then no other
    /// group can have its number.
    fn kill_group(&self) -> io::Result<()> {
        match kill_process_group(self.pid, Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            result => Ok(result?),
        }
    }

    fn kill(&self) -> io::Result<()> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_some() {
            return Ok(());
        }
        self.kill_group()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let killed = self.kill();
        if let Err(error) = killed {
            tracing::error!(%error, pid = self.pid.as_raw_nonzero(), "a process could not be killed");
        }
        self.reap();
    }
}

impl Process for Local {
    fn pid(&self) -> u32 {
        self.0.pid.as_raw_nonzero().get().unsigned_abs()
    }

    fn ended(&self) -> BoxFuture<'static, End> {
        let leader = Arc::clone(&self.0);
        Box::pin(async move { leader.ended().await })
    }

    fn signal(&self, signal: StopSignal) -> io::Result<()> {
        let signal = match signal {
            StopSignal::SigTerm => Signal::TERM,
            StopSignal::SigInt => Signal::INT,
            StopSignal::SigQuit => Signal::QUIT,
            StopSignal::SigHup => Signal::HUP,
            StopSignal::SigUsr1 => Signal::USR1,
            StopSignal::SigUsr2 => Signal::USR2,
            StopSignal::SigKill => return self.kill(),
        };
        match pidfd_send_signal(self.0.handle.get_ref(), signal) {
            // It has ended and was reaped.
            Err(Errno::SRCH) => Ok(()),
            result => Ok(result?),
        }
    }

    fn kill(&self) -> io::Result<()> {
        self.0.kill()
    }
}

#[cfg(test)]
mod tests;
