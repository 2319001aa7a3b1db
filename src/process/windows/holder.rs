//! Who listens on a port.

use std::{ffi::OsString, mem, os::windows::ffi::OsStringExt as _, path::PathBuf};

use windows_sys::Win32::{
    Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR},
    NetworkManagement::IpHelper::{
        GetExtendedTcpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID,
        TCP_TABLE_OWNER_PID_LISTENER,
    },
    Networking::WinSock::{AF_INET, AF_INET6},
    System::Threading::{
        OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION,
        QueryFullProcessImageNameW,
    },
};

use super::handle::{done, own};

/// The tables consist of words of this many bytes.
const WORD: usize = mem::size_of::<u32>();

/// How often a table is asked for that has grown meanwhile.
const TRIES: u32 = 4;

/// The longest path of a program that is asked for, in characters.
const LONGEST: usize = 1024;

/// A table of listeners: of which addresses, and in words how long a row is and where in it port and process stand.
struct Table {
    family: u16,
    row: usize,
    port: usize,
    pid: usize,
}

const TABLES: [Table; 2] = [
    Table {
        family: AF_INET,
        row: mem::size_of::<MIB_TCPROW_OWNER_PID>() / WORD,
        port: mem::offset_of!(MIB_TCPROW_OWNER_PID, dwLocalPort) / WORD,
        pid: mem::offset_of!(MIB_TCPROW_OWNER_PID, dwOwningPid) / WORD,
    },
    Table {
        family: AF_INET6,
        row: mem::size_of::<MIB_TCP6ROW_OWNER_PID>() / WORD,
        port: mem::offset_of!(MIB_TCP6ROW_OWNER_PID, dwLocalPort) / WORD,
        pid: mem::offset_of!(MIB_TCP6ROW_OWNER_PID, dwOwningPid) / WORD,
    },
];

/// The program that listens on TCP port `port` of this machine, with its process id.
pub(in crate::process) fn holder(port: u16) -> Option<String> {
    let mut tables = TABLES.iter();
    let pid = tables.find_map(|table| table.listener(&table.read()?, port))?;
    if pid == 0 {
        // Somebody does, but the system does not know who: Wine knows of nobody.
        return None;
    }
    // Of another user's processes only administrators are told more.
    let name = program(pid).unwrap_or_else(|| "a program".to_owned());
    Some(format!("{name} (pid {pid})"))
}

impl Table {
    /// The number of rows, and the rows; none if the system does not tell.
    fn read(&self) -> Option<Vec<u32>> {
        let mut words = vec![0; 1 + 64 * self.row];
        for _ in 0..TRIES {
            let mut length = u32::try_from(words.len() * WORD).ok()?;
            // SAFETY: the room is as long as is said.
            let asked = unsafe {
                GetExtendedTcpTable(
                    words.as_mut_ptr().cast(),
                    &mut length,
                    0,
                    self.family.into(),
                    TCP_TABLE_OWNER_PID_LISTENER,
                    0,
                )
            };
            match asked {
                NO_ERROR => return Some(words),
                ERROR_INSUFFICIENT_BUFFER => words.resize(length as usize / WORD + self.row, 0),
                _ => return None,
            }
        }
        None
    }

    /// The process that listens on `port`.
    fn listener(&self, words: &[u32], port: u16) -> Option<u32> {
        let (count, rows) = words.split_first()?;
        let mut rows = rows.chunks_exact(self.row).take(*count as usize);
        // As it stands on the wire, in the first two bytes.
        let is_it = |row: &&[u32]| row[self.port] & 0xffff == u32::from(port.to_be());
        rows.find(is_it).map(|row| row[self.pid])
    }
}

/// What the program of a process is called.
fn program(pid: u32) -> Option<String> {
    // SAFETY: it takes numbers; the handle, if there is one, is ours.
    let process = unsafe { own(OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid)) }.ok()?;
    let mut path = [0; LONGEST];
    let mut length = u32::try_from(path.len()).ok()?;
    // SAFETY: the handle is open, and the room as long as is said.
    done(unsafe {
        QueryFullProcessImageNameW(
            std::os::windows::io::AsRawHandle::as_raw_handle(&process),
            PROCESS_NAME_WIN32,
            path.as_mut_ptr(),
            &mut length,
        )
    })
    .ok()?;
    let path = PathBuf::from(OsString::from_wide(&path[..length as usize]));
    Some(path.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_is_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(address) else {
                // No such addresses on this machine.
                continue;
            };
            let port = socket.local_addr().unwrap().port();
            let told = holder(port).unwrap();
            let own = format!(".exe (pid {})", std::process::id());
            assert!(told.ends_with(&own), "{told}");
        }
    }

    #[test]
    fn a_row_is_found_by_its_port_and_none_behind_the_last() {
        let table = &TABLES[0];
        let row = |port: u16, pid| [2, 0, u32::from(port.to_be()), 0, 0, pid];
        let rows = [&[2][..], &row(80, 7), &row(7070, 8), &row(7071, 9)].concat();
        let found = [80, 7070, 7071].map(|port| table.listener(&rows, port));
        assert_eq!(found, [Some(7), Some(8), None]);
    }
}
