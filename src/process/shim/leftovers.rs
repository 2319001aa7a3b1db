//! What lives on after its shim was killed. The system kills the process itself then; what the process
//! had started is recognised by the uuid in its environment.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::VARIABLE;
use crate::host::Clock;

/// Who is killed is gone after a pause or two.
const PAUSE: Duration = Duration::from_millis(10);

/// What cannot be killed in this time waits for the system.
const ROUNDS: u32 = 100;

/// Kills everything that carries `uuid`. Returns once nothing does, or nothing can be done about it.
pub(super) async fn kill(uuid: &str, clock: &Arc<dyn Clock>) {
    let mark = format!("{VARIABLE}={uuid}");
    for _ in 0..ROUNDS {
        let mut found = false;
        for pid in pids().unwrap_or_default() {
            found |= carries(pid, &mark) && kill_if(pid, &mark);
        }
        if !found {
            return;
        }
        clock.sleep(PAUSE).await;
    }
    tracing::error!(uuid, "processes of an instance whose shim is gone live on");
}

/// Kills a process if it carries the mark; false if it does not any more.
fn kill_if(pid: Pid, mark: &str) -> bool {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    // Looked at again: from here on the number cannot mean another process than the descriptor does.
    carries(pid, mark) && pidfd_send_signal(&process, Signal::KILL).is_ok()
}

fn carries(pid: Pid, mark: &str) -> bool {
    let path = Path::new("/proc")
        .join(pid.as_raw_nonzero().to_string())
        .join("environ");
    let environment = fs::read(path).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

fn pids() -> io::Result<Vec<Pid>> {
    let names = fs::read_dir("/proc")?.map(|entry| entry.map(|entry| entry.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let pid = |name: &std::ffi::OsString| Pid::from_raw(name.to_str()?.parse().ok()?);
    Ok(names.iter().filter_map(pid).collect())
}
