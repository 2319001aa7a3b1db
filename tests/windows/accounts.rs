//! Accounts: who they are, and whoever cannot log on.

use std::{env, fs};

use quaestor::process::{Logon, Processes as _, Secret, StartError, identity};

use super::world::World;

#[test]
fn accounts_are_known_however_they_are_written() {
    assert_eq!(identity::account("SYSTEM").as_deref(), Some("S-1-5-18"));
    assert_eq!(identity::account("qa-of-no-host"), None);
    let own = identity::own_account();
    assert!(own.is_some());
    let name = env::var("USERNAME").unwrap();
    assert_eq!(identity::account(&name), own);
    assert_eq!(identity::account(&format!(r".\{name}")), own);
}

#[test]
fn only_who_is_known_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    identity::let_in(directory.path(), "SYSTEM").unwrap();
    assert!(identity::let_in(directory.path(), "qa-of-no-host").is_err());
    fs::write(directory.path().join("a file"), "of its owner").unwrap();
}

#[tokio::test]
async fn an_account_that_cannot_log_on_is_named_and_its_password_told_to_nobody() {
    const PASSWORD: &str = "correct horse";
    let world = World::new();
    let mut program = world.role("sleep", &[]);
    program.logon = Some(Logon {
        user: r".\qa-of-no-host".to_owned(),
        password: Some(Secret(PASSWORD.to_owned())),
    });
    let refused = world.processes().start(&world.place, 1, &program).await;
    let Err(StartError::Refused(why)) = refused else {
        panic!("it was started, or something else failed");
    };
    assert!(why.contains(r"`.\qa-of-no-host`"), "{why}");
    world.until_logged("not started: incarnation 1").await;
    assert!(!format!("{why}{}", world.log()).contains(PASSWORD));
    for file in fs::read_dir(&world.place.directory).unwrap() {
        let content = fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&content).contains(PASSWORD));
    }
    // The next one is another account's.
    let started = world.start(2, &world.role("exit", &[("CODE", "5")])).await;
    assert_eq!(started.ended.await.code, Some(5));
    world.end().await;
}
