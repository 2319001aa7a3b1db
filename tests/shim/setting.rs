//! Environment, descriptors, identity and limits of the process.

use std::{fs, process::Command as Start};

use quaestor::process::shim::wire::{
    message::{Command, Refusal},
    names,
    program::{Identity, Limit},
    record::{Cause, End},
};

use crate::{harness::Shim, support::eventually};

/// The lines that a script writes to standard output.
fn output(shim: &Shim) -> Vec<String> {
    let mut client = shim.connect();
    client.start(1);
    assert_eq!(client.exited().end, End::Code(0));
    eventually("the end is in the log", || {
        shim.log_lines()
            .iter()
            .any(|line| line.starts_with("Shim ended"))
    });
    let lines = shim.log_lines();
    lines
        .iter()
        .filter_map(|line| line.strip_prefix("Out ").map(str::to_owned))
        .collect()
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let shim = Shim::start();
    let mut program = shim.script("");
    program.arguments = vec!["/usr/bin/env".into(), "-0".into()];
    program.environment = vec![
        ("GREETING".into(), " Grüß Gott\n100% \"=\" ".into()),
        ("EMPTY".into(), "".into()),
    ];
    shim.program(&program);
    let mut client = shim.connect();
    client.start(1);
    client.exited();
    eventually("the end is in the log", || {
        String::from_utf8_lossy(&shim.log()).contains(" ended: ")
    });
    let log = String::from_utf8(shim.log()).unwrap();
    let said: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(" out ").map(|(_, text)| text))
        .collect();
    let said = said.join("\n");
    let mut variables: Vec<&str> = said.split_terminator('\0').collect();
    variables.sort_unstable();
    assert_eq!(variables, ["EMPTY=", "GREETING= Grüß Gott\n100% \"=\" "]);
}

#[test]
fn a_program_without_a_slash_is_found_in_its_own_path() {
    let shim = Shim::start();
    let mut program = shim.script("");
    program.arguments = vec!["tool".into()];
    program.environment = vec![("PATH".into(), shim.directory().join("tools").into())];
    fs::create_dir(shim.file("tools")).unwrap();
    std::os::unix::fs::symlink("/bin/pwd", shim.file("tools/tool")).unwrap();
    shim.program(&program);
    assert_eq!(
        output(&shim),
        [fs::canonicalize(shim.directory())
            .unwrap()
            .to_str()
            .unwrap()]
    );
}

#[test]
fn no_descriptor_of_the_shim_or_of_its_starter_reaches_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut starter = Start::new("/bin/sh");
    starter
        .args(["-c", "exec 9</etc/passwd; exec \"$0\" \"$1\""])
        .arg(env!("CARGO_BIN_EXE_quaestor-shim"))
        .arg(directory.path());
    let shim = Shim::started_by(&mut starter, directory);
    shim.program(&shim.script("exec sleep 1000"));
    let mut client = shim.connect();
    let running = client.start(1);
    let open = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let file = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.unwrap().path();
            // One that was open for a moment is closed again; a leaked one stays.
            let target = fs::read_link(&path).ok()?;
            let target = target.to_str().unwrap();
            let kind = target.split(':').next().unwrap();
            Some(format!(
                "{} {kind}",
                path.file_name().unwrap().to_str().unwrap()
            ))
        };
        let mut files: Vec<String> = files.filter_map(file).collect();
        files.sort();
        files
    };
    // Programs open files while they begin.
    eventually("only its own are open", || {
        open(running.pid) == ["0 /dev/null", "1 pipe", "2 pipe"]
    });
    assert!(!open(shim.pid()).iter().any(|file| file.contains("passwd")));
}

#[test]
fn signals_have_their_default_effect_whatever_the_starter_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let mut starter = Start::new("/bin/sh");
    starter
        .args(["-c", "trap '' HUP USR1 PIPE; exec \"$0\" \"$1\""])
        .arg(env!("CARGO_BIN_EXE_quaestor-shim"))
        .arg(directory.path());
    let shim = Shim::started_by(&mut starter, directory);
    shim.program(&shim.script("exec cat /proc/self/status"));
    let status = output(&shim);
    let sets = ["SigBlk", "SigIgn", "SigCgt"];
    let is_set = |line: &&String| sets.iter().any(|set| line.starts_with(set));
    for line in status.iter().filter(is_set) {
        let (_, set) = line.split_once(":\t").unwrap();
        let set = u64::from_str_radix(set, 16).unwrap();
        // The C library keeps 32 and 33 to itself.
        assert_eq!(set & !(3 << 31), 0, "{line}");
    }
}

#[test]
fn the_process_leads_a_session_and_can_gain_no_privileges() {
    let shim = Shim::start();
    shim.program(
        &shim.script("echo $$; ps -o sid=,pgid= -p $$; grep NoNewPrivs /proc/self/status; umask"),
    );
    let output = output(&shim);
    let pid = &output[0];
    assert_eq!(output[1].split_whitespace().collect::<Vec<_>>(), [pid, pid]);
    assert_eq!(output[2..], ["NoNewPrivs:\t1", "0022"]);
}

#[test]
fn limits_niceness_and_the_oom_score_are_set() {
    let shim = Shim::start();
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; umask; nice; cat /proc/self/oom_score_adj";
    let mut program = shim.script(script);
    let limit = |resource: &str, soft, hard| Limit {
        resource: resource.to_owned(),
        soft,
        hard,
    };
    program.limits = vec![
        limit("nofile", Some(100), Some(200)),
        limit("core", Some(0), Some(0)),
    ];
    program.umask = 0o077;
    program.nice = Some(5);
    program.oom_score_adj = Some(500);
    shim.program(&program);
    assert_eq!(output(&shim), ["100", "200", "0", "0077", "5", "500"]);
}

#[test]
fn a_limit_that_is_not_known_is_named() {
    let shim = Shim::start();
    let mut program = shim.script("exit 0");
    let resource = "patience".to_owned();
    program.limits = vec![Limit {
        resource,
        soft: None,
        hard: None,
    }];
    shim.program(&program);
    let (refusal, text) = shim.connect().refused("start 1");
    assert_eq!(
        (refusal, text.as_str()),
        (Refusal::StartFailed, "no limit is named `patience`")
    );
}

#[test]
fn a_program_runs_as_the_user_it_was_given_or_not_at_all() {
    let shim = Shim::start();
    let mut program = shim.script("id -u; id -g; id -G; exec sleep 1000");
    program.identity = Some(Identity {
        user: 65_534,
        group: 65_533,
        groups: vec![65_531, 65_532],
    });
    program.directory = "/".into();
    shim.program(&program);
    let mut client = shim.connect();
    if !rustix::process::geteuid().is_root() {
        let (refusal, text) = client.refused("start 1");
        assert_eq!(refusal, Refusal::StartFailed);
        assert!(
            text.starts_with("cannot set groups to [65531, 65532]: "),
            "{text}"
        );
        return;
    }
    let running = client.start(1);
    shim.await_line("Out 65533 65531 65532");
    shim.await_line("Out 65534");
    shim.await_line("Out 65533");
    // A change of user lifts the tie to the shim: it must have been made after it.
    let mut shim = shim;
    shim.kill();
    eventually("the process died with its shim", || {
        !crate::harness::lives(running.pid)
    });
}

#[test]
fn a_directory_that_the_user_may_not_enter_is_named() {
    if !rustix::process::geteuid().is_root() {
        // `a_program_runs_as_the_user_it_was_given_or_not_at_all` shows that there is no other user then.
        return;
    }
    let shim = Shim::start();
    let mut program = shim.script("exit 0");
    program.identity = Some(Identity {
        user: 65_534,
        group: 65_534,
        groups: Vec::new(),
    });
    shim.program(&program);
    let (_, text) = shim.connect().refused("start 1");
    let expected = format!(
        "cannot start in `{}`: Permission denied",
        shim.directory().display()
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_process_enters_its_cgroup_which_is_killed_and_asked_about_memory() {
    let shim = Shim::start();
    let cgroup = shim.file("cgroup");
    fs::create_dir(&cgroup).unwrap();
    fs::write(cgroup.join("cgroup.procs"), "").unwrap();
    fs::write(cgroup.join("memory.events"), "oom 0\noom_kill 2\n").unwrap();
    let mut program = shim.script("exec sleep 1000");
    program.cgroup = Some(cgroup.clone());
    shim.program(&program);
    let mut client = shim.connect();
    client.start(1);
    assert_eq!(
        fs::read_to_string(cgroup.join("cgroup.procs")).unwrap(),
        "0"
    );
    fs::write(cgroup.join("memory.events"), "oom 1\noom_kill 3\n").unwrap();
    client.ask(Command::Signal(
        quaestor::process::shim::wire::message::Signal::Kill,
    ));
    assert_eq!(client.exited().cause, Cause::Memory);
    assert_eq!(fs::read_to_string(cgroup.join("cgroup.kill")).unwrap(), "1");

    fs::remove_dir_all(&cgroup).unwrap();
    let (_, text) = client.refused("start 2");
    assert!(text.starts_with("cannot enter the cgroup"), "{text}");
}

#[test]
fn files_of_the_shim_are_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let shim = Shim::start();
    let (mut client, _) = shim.run("exit 0");
    client.exited();
    for name in [names::EXIT, names::LOCK, names::SOCKET, names::LOG] {
        let mode = fs::metadata(shim.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}
