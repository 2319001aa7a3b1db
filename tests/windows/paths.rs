//! Where programs and places may be on Windows.

use std::{fs, path::Path};

use super::world::World;

/// A share of a server: `scripts/test` makes it in Wine's folder.
const SHARE: &str = r"\\files\print";

/// What asks a shell of the system for an exit code.
const EXIT: [&str; 2] = ["/c", "exit 6"];

#[tokio::test]
async fn a_program_is_named_with_its_drive_or_as_the_system_itself_names_it() {
    let world = World::new();
    let names = [
        r"C:\windows\system32\cmd.exe",
        r"\\?\C:\windows\system32\cmd.exe",
    ];
    for (incarnation, name) in (1..).zip(names) {
        let mut program = world.program(&[&[name][..], &EXIT].concat());
        program.working_directory = r"C:\users\Public".into();
        let code = world.start(incarnation, &program).await.ended.await.code;
        assert_eq!(code, Some(6), "{name}: {}", world.log());
    }
    world.end().await;
}

#[tokio::test]
async fn a_program_starts_on_the_drive_of_its_directory() {
    let world = World::new();
    for (incarnation, directory) in [(1, r"Z:\"), (2, r"C:\windows")] {
        let mut program = world.program(&["cmd.exe", "/c", "echo in [%CD%]"]);
        program.working_directory = directory.into();
        world.start(incarnation, &program).await.ended.await;
        world.until_logged(&format!("in [{directory}]")).await;
    }
    world.end().await;
}

#[tokio::test]
async fn programs_state_and_logs_may_be_on_a_share() {
    let mut world = World::new();
    let share = Path::new(SHARE).join(&world.place.uuid);
    fs::create_dir_all(&share).unwrap();
    let copy = share.join("a shell.exe");
    fs::copy(r"C:\windows\system32\cmd.exe", &copy).unwrap();
    world.place.directory = share.join("worker 0");
    let mut program = world.program(&[&[copy.to_str().unwrap()][..], &EXIT].concat());
    program.logs = share.join("logs");
    fs::create_dir(&program.logs).unwrap();
    assert_eq!(world.start(1, &program).await.ended.await.code, Some(6));
    world.end().await;
    let log = fs::read_to_string(share.join(r"logs\current.log")).unwrap();
    assert!(log.contains("ended: incarnation 1"), "{log}");
    fs::remove_dir_all(share).unwrap();
}

#[tokio::test]
async fn state_and_logs_may_lie_deeper_than_the_system_counts_by_itself() {
    let mut world = World::new();
    let deep = ["d"; 5].map(|letter| letter.repeat(80));
    let deep = deep
        .iter()
        .fold(world.path("deep"), |path, part| path.join(part));
    world.place.directory = deep.join("worker 0");
    let mut program = world.program(&[&["cmd.exe"][..], &EXIT].concat());
    program.logs = deep.join("logs");
    fs::create_dir_all(&program.logs).unwrap();
    assert_eq!(world.start(1, &program).await.ended.await.code, Some(6));
    world.end().await;
    let log = fs::read_to_string(deep.join(r"logs\current.log")).unwrap();
    assert!(log.contains("ended: incarnation 1"), "{log}");
}
