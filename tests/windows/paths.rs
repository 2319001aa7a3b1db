//! Where programs and places may be on Windows.

use super::world::World;

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
