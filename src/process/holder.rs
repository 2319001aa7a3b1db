//! Who listens on a port, as `/proc` tells it.

use std::{fs, path::Path};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// The program that listens on TCP port `port` of this machine, with its process id. This looks at every
/// process: it is for the rare moment when a port is taken.
pub(super) fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .find_map(|table| listener(&fs::read_to_string(table).ok()?, port))?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.into_iter().find(|pid| holds(*pid, &socket))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", name.trim()))
}

/// Whether a process has a descriptor of `socket`; of another user's processes only root is told.
fn holds(pid: u32, socket: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.any(|link| link == Path::new(socket))
}

/// The inode of the socket that listens on `port`, in the text of a table.
fn listener(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, number) = words.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(number, 16) == Ok(port) && words.get(3) == Some(&LISTENS);
        is_it.then(|| words.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_is_named() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let told = holder(port).unwrap();
        assert!(
            told.ends_with(&format!("(pid {})", std::process::id())),
            "{told}"
        );
        drop(socket);
        assert_eq!(holder(port), None);
    }

    #[test]
    fn a_connection_is_no_listener() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1B9E 00000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 41 1\n\
            1: 0100007F:1B9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 42 1\n";
        assert_eq!(listener(table, 7070), Some(42));
        assert_eq!(listener(table, 7071), None);
    }
}
