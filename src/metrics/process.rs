//! What this process takes of its host, by the names that all exporters use; and how many tasks it has.

use std::path::Path;

use super::reading::Reading;
use crate::host::Disk;

/// Bytes of the system's unit of memory.
const KIBIBYTE: f64 = 1024.0;

/// Memory, descriptors and tasks of this process, where the host has `/proc`.
pub(super) fn read(disk: &dyn Disk) -> Vec<Reading> {
    let text = |path: &str| {
        let content = disk.read(Path::new(path)).ok().flatten();
        String::from_utf8(content.unwrap_or_default()).unwrap_or_default()
    };
    let (status, limits) = (text("/proc/self/status"), text("/proc/self/limits"));
    let kibibytes = |name| field(&status, name).map(|amount| amount * KIBIBYTE);
    let descriptors = disk.list(Path::new("/proc/self/fd")).ok();
    vec![
        Reading::gauge("process_resident_memory_bytes", "Resident memory.")
            .maybe(kibibytes("VmRSS:")),
        Reading::gauge("process_virtual_memory_bytes", "Virtual memory.")
            .maybe(kibibytes("VmSize:")),
        Reading::gauge("process_threads", "Threads.").maybe(field(&status, "Threads:")),
        Reading::gauge("process_open_fds", "Open descriptors.")
            .maybe(descriptors.map(|all| all.len() as f64)),
        Reading::gauge("process_max_fds", "Descriptors that may be open.")
            .maybe(field(&limits, "Max open files")),
        Reading::gauge("quaestor_tasks", "Tasks that live.").maybe(tasks()),
    ]
}

/// Those of the runtime that asks; in a program there is one.
fn tasks() -> Option<f64> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    Some(runtime.metrics().num_alive_tasks() as f64)
}

/// The first number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_what_the_system_writes() {
        let status = "Name:\tquaestor\nVmRSS:\t   12345 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(12345.0));
        assert_eq!(field(status, "VmSwap:"), None);
        let limits =
            "Max open files            1024                 524288               files     \n";
        assert_eq!(field(limits, "Max open files"), Some(1024.0));
        let unlimited =
            "Max open files            unlimited            unlimited            files\n";
        assert_eq!(field(unlimited, "Max open files"), None);
    }
}
