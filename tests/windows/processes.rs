//! Processes behind shims on Windows, as an agent asks for them.

use std::{collections::BTreeSet, fs, time::Duration};

use quaestor::{
    model::{Resources, quantity::Period, service::StopSignal},
    process::{
        Ended, Errand, ErrandKind, Found, PreStart, Processes as _, StartError, environment,
    },
};

use super::world::{KILLED, PATIENCE, World, another, eventually};

#[tokio::test]
async fn a_crash_tells_its_code_and_the_place_is_free_for_the_next() {
    let world = World::new();
    for (incarnation, code) in [(1, "7"), (2, "0"), (3, "-1")] {
        let started = world
            .start(incarnation, &world.role("exit", &[("CODE", code)]))
            .await;
        let end = started.ended.await;
        assert_eq!((end.code, end.signal), (code.parse().ok(), None));
        assert!(end.at.is_some());
    }
    world.end().await;
}

#[tokio::test]
async fn a_process_outlives_who_started_it_and_its_end_is_known_to_who_comes_later() {
    let mut world = World::new();
    let hold = world.path("held");
    let program = world.role("sleep", &[("HOLD", hold.to_str().unwrap())]);
    let pid = world.start(7, &program).await.process.pid();
    world.processes = None;
    eventually("it lives", || world.is_held("held")).await;

    let Found::Running {
        incarnation,
        started,
    } = another().find(&world.place).await.unwrap()
    else {
        panic!("nothing lives");
    };
    assert_eq!((incarnation, started.process.pid()), (7, pid));
    assert!(world.is_held("held"));
    started.process.signal(StopSignal::SigKill).unwrap();
    // Nobody waits for that end.
    drop(started);
    eventually("it has ended", || !world.is_held("held")).await;
    let end = match another().find(&world.place).await.unwrap() {
        Found::Running { started, .. } => started.ended.await,
        Found::Idle { last } => last.unwrap().1,
    };
    assert_eq!(end.code, KILLED);
    world.end().await;
}

#[tokio::test]
async fn a_kill_reaches_grandchildren_and_so_does_the_end_of_their_parent() {
    for leave in [false, true] {
        let world = World::new();
        let hold = world.path("held");
        let mut variables = vec![("HOLD", hold.to_str().unwrap())];
        variables.extend(leave.then_some(("LEAVE", "1")));
        let started = world.start(1, &world.role("family", &variables)).await;
        if !leave {
            eventually("the child lives", || world.is_held("held.child")).await;
            started.process.signal(StopSignal::SigKill).unwrap();
        }
        let end = started.ended.await;
        assert_eq!(end.code, if leave { Some(0) } else { KILLED });
        assert!(!world.is_held("held.child"), "what it started lives on");
        world.end().await;
    }
}

#[tokio::test]
async fn a_program_without_a_console_is_asked_to_end_by_its_event() {
    ends_politely("windowless", 4).await;
}

#[tokio::test]
#[ignore = "Wine 8 brings Ctrl-Break to nobody in a console without a window: for a real Windows"]
async fn a_program_with_a_console_is_asked_to_end_by_ctrl_break() {
    ends_politely("polite", 3).await;
}

/// Asks a role to end, which it does with that code.
async fn ends_politely(role: &str, code: i32) {
    let world = World::new();
    let started = world.start(1, &world.role(role, &[])).await;
    world.until_logged("listening").await;
    started.process.signal(StopSignal::SigTerm).unwrap();
    let end = tokio::time::timeout(PATIENCE, started.ended).await;
    assert_eq!(end.expect(role).code, Some(code), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn who_does_not_listen_lives_on_until_it_is_killed() {
    let world = World::new();
    let mut started = world.start(1, &world.role("deaf", &[])).await;
    world.until_logged("listening").await;
    started.process.signal(StopSignal::SigTerm).unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(500), &mut started.ended).await;
    assert!(waited.is_err(), "it listened: {waited:?}");
    assert!(
        started.process.signal(StopSignal::SigUsr1).is_ok(),
        "the shim logs that it means nothing"
    );
    started.process.signal(StopSignal::SigKill).unwrap();
    assert_eq!(started.ended.await.code, KILLED);
    world.end().await;
}

#[tokio::test]
async fn a_process_that_nobody_renews_is_stopped_at_its_deadline() {
    let world = World::new();
    let mut program = world.role("deaf", &[]);
    program.stop.grace = Period::from_secs(1);
    program.stop_within = Some(Duration::from_millis(500));
    let end = world.start(1, &program).await.ended.await;
    assert_eq!(end.code, KILLED);
    assert_eq!(end.cause, Some(quaestor::model::ExitCause::Partition));
    world.end().await;
}

#[tokio::test]
async fn every_line_is_logged_with_its_stream() {
    let world = World::new();
    let started = world
        .start(1, &world.role("chatty", &[("LINES", "2000")]))
        .await;
    started.ended.await;
    world.until_logged("ended: incarnation 1").await;
    let log = world.log();
    for line in 0..2000 {
        for (stream, word) in [("out", "line"), ("err", "error")] {
            let text = format!(" {stream} {word} {line}");
            assert!(
                log.lines().any(|it| it.trim_end().ends_with(&text)),
                "no `{text}`"
            );
        }
    }
    world.end().await;
}

#[tokio::test]
async fn arguments_and_variables_arrive_as_they_are() {
    let world = World::new();
    let hostile = [
        "a b",
        "",
        "\"",
        "x\\",
        "a\\\"b\\\\",
        "%PATH%",
        "^&|<>",
        "größe",
        "'",
        "a\tb",
    ];
    let mut program = world.role("arguments", &[]);
    program.arguments.extend(hostile.map(str::to_owned));
    world.start(1, &program).await.ended.await;
    world.until_logged("ended: incarnation 1").await;
    let log = world.log();
    for argument in hostile {
        assert!(
            log.contains(&format!("argument <{argument}>")),
            "{argument}: {log}"
        );
    }

    let mut program = world.role(
        "environment",
        &[("Greeting", "Grüß Gott"), ("UMLAUT_Ä", "x=y")],
    );
    environment::set(&mut program.environment, "path", "C:\\only here".to_owned());
    world.start(2, &program).await.ended.await;
    world.until_logged("ended: incarnation 2").await;
    let log = world.log();
    for variable in ["Greeting=Grüß Gott", "UMLAUT_Ä=x=y", "path=C:\\only here"] {
        assert!(
            log.contains(&format!("variable {variable}")),
            "{variable}: {log}"
        );
    }
    assert!(!log.contains("variable PATH="), "{log}");
    world.end().await;
}

#[tokio::test]
async fn a_batch_file_gets_its_arguments_and_can_be_made_to_run_nothing_else() {
    let world = World::new();
    let file = world.path("say it.bat");
    fs::write(
        &file,
        "@echo off\r\necho first [%~1]\r\necho second [%~2]\r\nexit /b 5\r\n",
    )
    .unwrap();
    let mut program = world.role("", &[]);
    program.arguments = vec![
        file.to_str().unwrap().to_owned(),
        "a b".to_owned(),
        "x&echo injected".to_owned(),
    ];
    let end = world.start(1, &program).await.ended.await;
    assert_eq!(end.code, Some(5), "{}", world.log());
    world.until_logged("first [a b]").await;
    assert!(
        !world.log().lines().any(|line| line.ends_with(" injected")),
        "{}",
        world.log()
    );
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_with_its_path() {
    let world = World::new();
    let mut missing = world.role("exit", &[]);
    missing.arguments[0] = r"C:\no\such.exe".to_owned();
    let mut nowhere = world.role("exit", &[]);
    nowhere.working_directory = r"C:\no\such place".into();
    for (program, path) in [(missing, r"C:\no\such.exe"), (nowhere, r"C:\no\such place")] {
        let refused = world.processes().start(&world.place, 1, &program).await;
        let Err(StartError::Refused(why)) = refused else {
            panic!("it was started, or something else failed");
        };
        assert!(why.contains(path), "{why}");
    }
    world.end().await;
}

#[tokio::test]
async fn what_a_tree_uses_is_counted_and_a_limit_is_taken() {
    let world = World::new();
    let started = world.start(1, &world.role("busy", &[])).await;
    world.until_logged("listening").await;
    let pid = started.process.pid();
    let mut used = Default::default();
    eventually("it has used something", || {
        let all = world.processes().usage(&BTreeSet::from([pid]));
        used = all.get(&pid).copied().unwrap_or_default();
        used.processor > Duration::from_millis(200) && used.memory > 32 << 20
    })
    .await;
    assert_eq!(used.processes, 1);
    let limits = Resources {
        memory: Some("1GiB".parse().unwrap()),
        ..Default::default()
    };
    // Wine may not know how; then it is said, and the process runs on.
    if let Some(why) = world.processes().confine(&world.place, &limits) {
        assert!(why.contains("resources.memory is not enforced"), "{why}");
    }
    started.process.signal(StopSignal::SigKill).unwrap();
    started.ended.await;
    world.end().await;
}

#[tokio::test]
async fn what_prepares_a_start_comes_first_and_may_prevent_it() {
    let world = World::new();
    let prepare = |code| {
        let arguments = ["cmd.exe", "/c", code];
        Some(PreStart {
            arguments: arguments.map(str::to_owned).to_vec(),
            timeout: Duration::from_secs(30),
        })
    };
    let mut program = world.role("exit", &[("CODE", "6")]);
    program.pre_start = prepare("exit 0");
    assert_eq!(world.start(1, &program).await.ended.await.code, Some(6));
    program.pre_start = prepare("exit 2");
    let end = world.start(2, &program).await.ended.await;
    assert_eq!((end.code, end.of), (Some(2), Ended::PreStart));
    world.end().await;
}

#[tokio::test]
async fn a_check_tells_what_it_prints_and_is_killed_at_its_time() {
    let world = World::new();
    let hold = world.path("held");
    let variables = [("HOLD", hold.to_str().unwrap())];
    let started = world.start(1, &world.role("sleep", &variables)).await;
    let check = |arguments: &[&str], millis| Errand {
        kind: ErrandKind::Check,
        arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
        timeout: Duration::from_millis(millis),
    };
    let outcome = started.process.run(check(
        &["cmd.exe", "/c", "echo all is well& exit 3"],
        30_000,
    ));
    let outcome = outcome.await.unwrap();
    assert_eq!(
        (outcome.code, outcome.text.as_str()),
        (Some(3), "all is well")
    );
    // The same again: it waits for the file that the first has.
    let this = world.role("sleep", &variables).arguments;
    let this: Vec<_> = this.iter().map(String::as_str).collect();
    let outcome = started.process.run(check(&this, 300)).await.unwrap();
    assert_eq!(outcome.code, None);
    started.process.signal(StopSignal::SigKill).unwrap();
    started.ended.await;
    world.end().await;
}

#[tokio::test]
async fn tethered_processes_end_with_who_started_them() {
    let mut world = World::new();
    world.processes = Some(another().tethered().unwrap());
    let hold = world.path("held");
    let variables = [("HOLD", hold.to_str().unwrap())];
    world.start(1, &world.role("family", &variables)).await;
    eventually("the child lives", || world.is_held("held.child")).await;
    world.processes = None;
    eventually("everything has ended", || !world.is_held("held.child")).await;
    world.end().await;
}

#[tokio::test]
async fn what_is_forgotten_leaves_nothing_but_its_output() {
    let world = World::new();
    let hold = world.path("held");
    world
        .start(1, &world.role("sleep", &[("HOLD", hold.to_str().unwrap())]))
        .await;
    eventually("it lives", || world.is_held("held")).await;
    another().forget(&world.place).await.unwrap();
    assert!(!world.is_held("held") && !world.place.directory.exists());
    assert!(world.path("logs").exists());
    let found = another().find(&world.place).await.unwrap();
    assert!(matches!(found, Found::Idle { last: None }));
}

#[tokio::test]
async fn nobody_without_the_token_is_heard() {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    let world = World::new();
    let hold = world.path("held");
    world
        .start(1, &world.role("sleep", &[("HOLD", hold.to_str().unwrap())]))
        .await;
    eventually("it lives", || world.is_held("held")).await;
    let address = fs::read_to_string(world.place.directory.join("socket")).unwrap();
    let port: u16 = address.split(' ').next().unwrap().parse().unwrap();
    let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stranger
        .write_all(b"00000000000000000000000000000000\nhello version=1\nkill\n")
        .unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    // Cut off, however the system says that.
    let _ = stranger.read_to_end(&mut heard);
    assert_eq!(heard, b"");
    assert!(world.is_held("held"));
    world.end().await;
}
