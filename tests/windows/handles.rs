//! What many starts leave behind in the agent and in the shim.

#![allow(
    unsafe_code,
    reason = "only the system itself knows who has which handles"
)]

use std::{collections::BTreeMap, env, mem, process::Command, ptr};

use windows_sys::Win32::{
    Foundation::{CloseHandle, INVALID_HANDLE_VALUE},
    System::Diagnostics::ToolHelp::{
        CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW,
        TH32CS_SNAPPROCESS,
    },
};

use super::world::World;

/// How many processes are started one after the other.
const STARTS: u64 = 200;

/// After so many, whatever is made once has been made.
const WARM: u64 = 20;

/// How many handles may be open at one moment and not at another.
const SPREAD: usize = 8;

#[test]
fn two_hundred_starts_leave_no_handle_behind() {
    // In a process of its own: other tests open handles in this one.
    let this = env::current_exe().unwrap();
    let agent = Command::new(this)
        .args(["--nocapture", "actor::acting", "--exact"])
        .env("ACT", "agent")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&agent.stdout);
    let errors = String::from_utf8_lossy(&agent.stderr);
    assert!(agent.status.success(), "{said}\n{errors}");
    assert!(said.contains("no handle is left"), "{said}\n{errors}");
}

/// The role: starts them, and counts.
pub(crate) async fn start_many() {
    let world = World::new();
    let program = world.role("exit", &[("CODE", "7")]);
    let mut warm = [0, 0];
    for incarnation in 1..=STARTS {
        let started = world.start(incarnation, &program).await;
        let end = started.ended.await;
        assert_eq!(end.code, Some(7), "start {incarnation}: {}", world.log());
        if incarnation % WARM == 0 {
            let counts = counts();
            println!("after {incarnation} starts agent and shim have {counts:?} handles");
            if incarnation == WARM {
                warm = counts;
            }
        }
    }
    let counts = counts();
    world.end().await;
    for (who, (before, after)) in ["agent", "shim"].iter().zip(warm.into_iter().zip(counts)) {
        assert!(before > 0, "the {who}'s handles are not counted");
        assert!(
            after <= before + SPREAD,
            "the {who} had {before} handles, and has {after}"
        );
    }
    println!("no handle is left");
}

/// The handles of this process and of the one that it has started.
fn counts() -> [usize; 2] {
    let own = std::process::id();
    let open = open_handles();
    let count = |pid| open.get(&pid).copied().unwrap_or(0);
    [count(own), child_of(own).map_or(0, count)]
}

/// The first process that `parent` has started and that lives.
fn child_of(parent: u32) -> Option<u32> {
    let mut entry = PROCESSENTRY32W {
        dwSize: mem::size_of::<PROCESSENTRY32W>() as u32,
        ..Default::default()
    };
    // SAFETY: it takes numbers.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    assert_ne!(snapshot, INVALID_HANDLE_VALUE);
    // SAFETY: the handle is open, and the structure says how long it is.
    let mut found = unsafe { Process32FirstW(snapshot, &mut entry) };
    while found != 0 && entry.th32ParentProcessID != parent {
        // SAFETY: as above.
        found = unsafe { Process32NextW(snapshot, &mut entry) };
    }
    // SAFETY: it is open, and not used any more.
    unsafe { CloseHandle(snapshot) };
    (found != 0).then_some(entry.th32ProcessID)
}

#[link(name = "ntdll")]
unsafe extern "system" {
    fn NtQuerySystemInformation(
        what: i32,
        room: *mut core::ffi::c_void,
        length: u32,
        needed: *mut u32,
    ) -> i32;
}

/// What asks for the handles of all processes: first their number and a word, then for each of them
/// object, process id, handle, and two words.
const SYSTEM_EXTENDED_HANDLE_INFORMATION: i32 = 64;
const TOO_SHORT: i32 = 0xC000_0004_u32 as i32;
const WORDS_OF_ONE: usize = 5;

/// How many handles each process has. The function that counts those of one tells 0 under Wine.
fn open_handles() -> BTreeMap<u32, usize> {
    let mut room = vec![0_usize; 1 << 16];
    loop {
        // SAFETY: the room is as long as is said.
        let status = unsafe {
            NtQuerySystemInformation(
                SYSTEM_EXTENDED_HANDLE_INFORMATION,
                room.as_mut_ptr().cast(),
                mem::size_of_val(room.as_slice()) as u32,
                ptr::null_mut(),
            )
        };
        match status {
            0 => break,
            TOO_SHORT => room.resize(2 * room.len(), 0),
            other => panic!("the handles are not told: {other:#x}"),
        }
    }
    let mut open = BTreeMap::new();
    for one in room[2..].chunks_exact(WORDS_OF_ONE).take(room[0]) {
        *open.entry(one[1] as u32).or_default() += 1;
    }
    open
}
