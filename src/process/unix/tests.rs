//! With real processes: what a start, an end, a signal and a kill do.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// `/bin/sh -c script`, with its files in `directory`.
fn script(directory: &Path, script: &str) -> Program {
    Program {
        arguments: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        working_directory: directory.to_owned(),
        stdout: directory.join("stdout.log"),
        stderr: directory.join("stderr.log"),
    }
}

async fn end_of(process: &dyn Process) -> End {
    tokio::time::timeout(PATIENCE, process.ended())
        .await
        .expect("the process ends")
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect(what);
}

/// Whether a process lives: it exists and is not merely waiting to be reaped.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z") && !stat.contains(") X"))
}

/// The content of a file, once it is a whole line.
async fn line_in(path: PathBuf) -> String {
    let mut line = String::new();
    eventually("a line is written", || {
        line = fs::read_to_string(&path).unwrap_or_default();
        line.ends_with('\n')
    })
    .await;
    line.trim().to_owned()
}

#[tokio::test]
async fn the_exit_code_is_told_as_often_as_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let process = LocalProcesses
        .start(&script(directory.path(), "exit 7"))
        .unwrap();
    let end = End {
        code: Some(7),
        signal: None,
    };
    assert_eq!(end_of(&*process).await, end);
    assert_eq!(end_of(&*process).await, end);
    // The pid may be another's by now: nothing is sent any more.
    process.signal(StopSignal::SigTerm).unwrap();
    process.kill().unwrap();
}

#[tokio::test]
async fn a_signal_that_ends_a_process_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let process = LocalProcesses
        .start(&script(directory.path(), "exec sleep 1000"))
        .unwrap();
    process.signal(StopSignal::SigTerm).unwrap();
    assert_eq!(end_of(&*process).await.signal, Some(15));
}

#[tokio::test]
async fn output_is_appended_and_only_the_given_environment_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let program = script(directory.path(), "env | grep -v ^_=; pwd; echo oops >&2");
        end_of(&*LocalProcesses.start(&program).unwrap()).await;
    }
    let out = fs::read_to_string(directory.path().join("stdout.log")).unwrap();
    let here = directory.path().display().to_string();
    // The shell itself sets PWD (and some shells SHLVL and OLDPWD).
    let told: Vec<_> = out
        .lines()
        .filter(|line| !line.starts_with("SHLVL=") && !line.starts_with("OLDPWD="))
        .collect();
    assert_eq!(told.iter().filter(|line| **line == here).count(), 2);
    for line in told {
        let known = [
            "PATH=/usr/bin:/bin".to_owned(),
            here.clone(),
            format!("PWD={here}"),
        ];
        assert!(known.iter().any(|known| known == line), "{line}");
    }
    let err = fs::read_to_string(directory.path().join("stderr.log")).unwrap();
    assert_eq!(err, "oops\noops\n");
}

#[tokio::test]
async fn what_a_process_leaves_behind_dies_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), "sleep 1000 & echo $!; exit 3");
    let process = LocalProcesses.start(&program).unwrap();
    assert_eq!(end_of(&*process).await.code, Some(3));
    let grandchild = line_in(program.stdout).await;
    eventually("the grandchild is gone", || !lives(&grandchild)).await;
}

#[tokio::test]
async fn a_kill_reaches_the_whole_group_and_those_who_ignore_signals() {
    let directory = tempfile::tempdir().unwrap();
    let program = script(
        directory.path(),
        "trap '' TERM; sleep 1000 & echo $!; while :; do wait; done",
    );
    let process = LocalProcesses.start(&program).unwrap();
    let grandchild = line_in(program.stdout).await;
    process.signal(StopSignal::SigTerm).unwrap();
    assert!(lives(&process.pid().to_string()));
    process.kill().unwrap();
    assert_eq!(end_of(&*process).await.signal, Some(9));
    eventually("the grandchild is gone", || !lives(&grandchild)).await;
}

#[tokio::test]
async fn a_dropped_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), "exec sleep 1000");
    let process = LocalProcesses.start(&program).unwrap();
    let pid = process.pid().to_string();
    assert!(lives(&pid));
    drop(process);
    eventually("the process is gone", || !lives(&pid)).await;
}

#[test]
fn a_process_ends_with_the_thread_that_started_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), "exec sleep 1000");
    // A thread of its own, which ends without dropping the process.
    #[expect(clippy::disallowed_methods, reason = "the thread is what is tested")]
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let process = LocalProcesses.start(&program).unwrap();
        let pid = process.pid().to_string();
        std::mem::forget(process);
        pid
    });
    let pid = thread.join().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(eventually("the process is gone", || !lives(&pid)));
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_at_once_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fs::write(here.join("data"), "no program").unwrap();
    let mut missing = script(here, "");
    missing.arguments = vec!["/no/such/program".to_owned()];
    let mut forbidden = script(here, "");
    forbidden.arguments = vec![here.join("data").display().to_string()];
    let mut nowhere = script(here, "");
    nowhere.working_directory = here.join("nowhere");
    let mut mute = script(here, "");
    mute.stdout = here.join("nowhere/stdout.log");
    let mut empty = script(here, "");
    empty.arguments.clear();
    for (program, expected) in [
        (missing, "cannot start `/no/such/program`: No such file"),
        (forbidden, "data`: Permission denied"),
        (nowhere, "nowhere`: No such file"),
        (mute, "nowhere/stdout.log`: No such file"),
        (empty, "the command is empty"),
    ] {
        let error = LocalProcesses.start(&program).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
