//! Messages and records as every published version wrote them. They are read for good: add samples of
//! new versions, and never change one that was published.

use std::time::Duration;

use quaestor::process::shim::wire::{
    log::{self, Line, Source},
    message::{Command, Message, Phase, Refusal, Signal, Status},
    notice::{Notice, Stage},
    program::{Identity, Limit, LogLimits, Logon, Notify, Program, Stop},
    record::{Cause, End, Exit, Running},
};

const RUNNING: &str = "\
quaestor running 1
incarnation=3
pid=4712
start-time=415171
boot-id=cae55439-5d2b-4137-a6f0-8acd335049ff
instance=1f0c7f9e
at=1795334526288
checksum=035e987982fe5a06
";

const EXIT: &str = "\
quaestor exit 1
incarnation=3
pid=4712
signal=9
cause=deadline
at=1795334526288
checksum=4085c7bc23aee191
";

const PROGRAM: &str = "\
quaestor program 1
instance=1f0c7f9e
argument=/bin/sh
argument=-c
argument=echo%20100%25
env-name=GREETING
env-value=Grüß%20Gott%0A%FF
env-name=EMPTY
env-value=
directory=/srv/an%20instance
umask=027
user=1000
group=100
further-group=5
further-group=6
limit=nofile:1024:unlimited
nice=-5
oom-score-adj=100
no-new-privileges=true
cgroup=/sys/fs/cgroup/quaestor/web-0
stop-signal=SIGINT
stop-grace=30000
log-max-bytes=10000000
log-files=3
checksum=ef54015ebbac97e2
";

const PROGRAM_THAT_NOTIFIES: &str = "\
quaestor program 1
instance=1f0c7f9e
argument=/bin/true
notify=true
notify-watchdog=30000
directory=/srv
umask=022
no-new-privileges=true
stop-signal=SIGTERM
stop-grace=30000
log-max-bytes=10000000
log-files=3
checksum=e6bdc91ac901f3ae
";

const PROGRAM_THAT_LOGS_ON: &str = "\
quaestor program 1
instance=1f0c7f9e
secret=true
argument=C:\\qa\\worker.exe
directory=C:\\qa
umask=022
logon-user=CORP\\qa
logon-password=correct%20horse
no-new-privileges=true
stop-signal=SIGTERM
stop-grace=30000
log-max-bytes=10000000
log-files=3
checksum=c06ca8923958039b
";

fn running() -> Running {
    Running {
        incarnation: 3,
        pid: 4712,
        start_time: 415_171,
        boot_id: "cae55439-5d2b-4137-a6f0-8acd335049ff".to_owned(),
        instance: "1f0c7f9e".to_owned(),
        at: 1_795_334_526_288,
        preparing: false,
    }
}

fn exit(end: End, cause: Cause) -> Exit {
    Exit {
        incarnation: 3,
        pid: 4712,
        end,
        cause,
        at: 1_795_334_526_288,
        since_boot: None,
    }
}

#[test]
fn records_of_version_1_are_read() {
    assert_eq!(Running::open(RUNNING.as_bytes()), Ok(running()));
    let exit = exit(End::Signal(9), Cause::Deadline);
    assert_eq!(Exit::open(EXIT.as_bytes()), Ok(exit));
}

#[test]
fn a_program_of_version_1_is_read() {
    use std::os::unix::ffi::OsStringExt as _;
    let greeting = ["Grüß Gott\n".as_bytes(), &[0xff]].concat();
    let program = Program {
        instance: "1f0c7f9e".to_owned(),
        is_secret: false,
        pre_start: None,
        notify: None,
        arguments: ["/bin/sh", "-c", "echo 100%"].map(Into::into).to_vec(),
        environment: vec![
            ("GREETING".into(), std::ffi::OsString::from_vec(greeting)),
            ("EMPTY".into(), "".into()),
        ],
        directory: "/srv/an instance".into(),
        umask: 0o027,
        identity: Some(Identity {
            user: 1000,
            group: 100,
            groups: vec![5, 6],
        }),
        logon: None,
        limits: vec![Limit {
            resource: "nofile".to_owned(),
            soft: Some(1024),
            hard: None,
        }],
        nice: Some(-5),
        oom_score_adj: Some(100),
        no_new_privileges: true,
        cgroup: Some("/sys/fs/cgroup/quaestor/web-0".into()),
        stop: Stop {
            signal: Signal::Int,
            grace: Duration::from_secs(30),
        },
        logs: LogLimits {
            max_bytes: 10_000_000,
            files: 3,
        },
    };
    assert_eq!(Program::open(PROGRAM.as_bytes()), Ok(program));
}

#[test]
fn commands_of_version_1_are_understood() {
    for (line, command) in [
        ("hello version=1", Command::Hello { version: 1 }),
        ("status", Command::Status),
        ("start 3", Command::Start { incarnation: 3 }),
        ("signal SIGHUP", Command::Signal(Signal::Hup)),
        ("signal SIGINT", Command::Signal(Signal::Int)),
        ("signal SIGQUIT", Command::Signal(Signal::Quit)),
        ("signal SIGKILL", Command::Signal(Signal::Kill)),
        ("signal SIGUSR1", Command::Signal(Signal::Usr1)),
        ("signal SIGUSR2", Command::Signal(Signal::Usr2)),
        ("signal SIGTERM", Command::Signal(Signal::Term)),
        ("kill", Command::Kill),
        (
            "deadline 15000",
            Command::Deadline(Some(Duration::from_secs(15))),
        ),
        ("deadline none", Command::Deadline(None)),
        ("release", Command::Release),
    ] {
        assert_eq!(Command::read(line), Ok(command), "{line}");
    }
}

#[test]
fn messages_of_version_1_are_understood() {
    let status = |phase, running, deadline, last| {
        let incarnation = 3;
        Message::Status(Box::new(Status {
            phase,
            incarnation,
            running,
            notice: None,
            deadline,
            last,
        }))
    };
    let error = |refusal| Message::Error {
        refusal,
        text: "so it is".to_owned(),
    };
    let own = exit(End::Code(7), Cause::Own);
    for (line, message) in [
        (
            "hello version=1 pid=4711",
            Message::Hello {
                version: 1,
                pid: 4711,
                level: 0,
            },
        ),
        ("ok", Message::Ok),
        (
            "status phase=idle incarnation=3",
            status(Phase::Idle, None, None, None),
        ),
        (
            "status phase=running incarnation=3 running-incarnation=3 running-pid=4712 \
             running-start-time=415171 running-boot-id=cae55439-5d2b-4137-a6f0-8acd335049ff \
             running-instance=1f0c7f9e running-at=1795334526288 deadline=1500 last-incarnation=3 \
             last-pid=4712 last-code=7 last-cause=own last-at=1795334526288",
            status(
                Phase::Running,
                Some(running()),
                Some(Duration::from_millis(1500)),
                Some(own.clone()),
            ),
        ),
        (
            "status phase=ending incarnation=3",
            status(Phase::Ending, None, None, None),
        ),
        (
            "started incarnation=3 pid=4712 start-time=415171 \
             boot-id=cae55439-5d2b-4137-a6f0-8acd335049ff instance=1f0c7f9e at=1795334526288",
            Message::Started(running()),
        ),
        (
            "start-failed incarnation=3 text=cannot%20start",
            Message::StartFailed {
                incarnation: 3,
                text: "cannot start".to_owned(),
            },
        ),
        ("deadline-passed", Message::DeadlinePassed),
        (
            "exited incarnation=3 pid=4712 code=7 cause=own at=1795334526288",
            Message::Exited(own),
        ),
        (
            "exited incarnation=3 pid=4712 signal=9 cause=kill at=1795334526288",
            Message::Exited(exit(End::Signal(9), Cause::Kill)),
        ),
        (
            "exited incarnation=3 pid=4712 signal=9 cause=memory at=1795334526288",
            Message::Exited(exit(End::Signal(9), Cause::Memory)),
        ),
        (
            "exited incarnation=3 pid=4712 code=7 cause=own at=1795334526288 since-boot=17388692",
            Message::Exited(Exit {
                since_boot: Some(17_388_692),
                ..exit(End::Code(7), Cause::Own)
            }),
        ),
        (
            "error refusal=unknown text=so%20it%20is",
            error(Refusal::Unknown),
        ),
        (
            "error refusal=malformed text=so%20it%20is",
            error(Refusal::Malformed),
        ),
        (
            "error refusal=no-hello text=so%20it%20is",
            error(Refusal::NoHello),
        ),
        ("error refusal=busy text=so%20it%20is", error(Refusal::Busy)),
        ("error refusal=idle text=so%20it%20is", error(Refusal::Idle)),
        (
            "error refusal=stale text=so%20it%20is",
            error(Refusal::Stale),
        ),
        (
            "error refusal=deadline text=so%20it%20is",
            error(Refusal::Deadline),
        ),
        (
            "error refusal=start-failed text=so%20it%20is",
            error(Refusal::StartFailed),
        ),
        (
            "error refusal=system text=so%20it%20is",
            error(Refusal::System),
        ),
    ] {
        assert_eq!(Message::read(line), Ok(Some(message)), "{line}");
    }
}

#[test]
fn what_level_2_added_is_read() {
    let notice = |stage, overdue, failed, text: &str| Notice {
        stage,
        overdue,
        failed,
        text: text.to_owned(),
    };
    let noticed = |notice| Message::Noticed {
        incarnation: 3,
        notice,
    };
    for (line, message) in [
        (
            "hello version=1 pid=4711 level=2",
            Message::Hello {
                version: 1,
                pid: 4711,
                level: 2,
            },
        ),
        (
            "status phase=ending incarnation=3 notice-stage=stopping notice-text=bye",
            Message::Status(Box::new(Status {
                phase: Phase::Ending,
                incarnation: 3,
                running: None,
                notice: Some(notice(Stage::Stopping, false, false, "bye")),
                deadline: None,
                last: None,
            })),
        ),
        (
            "noticed incarnation=3 stage=starting",
            noticed(notice(Stage::Starting, false, false, "")),
        ),
        (
            "noticed incarnation=3 stage=ready overdue=true text=so%20it%20is",
            noticed(notice(Stage::Ready, true, false, "so it is")),
        ),
        (
            "noticed incarnation=3 stage=reloading failed=true",
            noticed(notice(Stage::Reloading, false, true, "")),
        ),
    ] {
        assert_eq!(Message::read(line), Ok(Some(message)), "{line}");
    }
    let program = Program::open(PROGRAM_THAT_NOTIFIES.as_bytes()).unwrap();
    let watchdog = Some(Duration::from_secs(30));
    assert_eq!(program.notify, Some(Notify { watchdog }));
}

#[test]
fn what_level_3_added_is_read() {
    let program = Program::open(PROGRAM_THAT_LOGS_ON.as_bytes()).unwrap();
    let logon = Logon {
        user: r"CORP\qa".to_owned(),
        password: Some("correct horse".to_owned()),
    };
    assert_eq!(program.logon, Some(logon));
    assert!(!format!("{program:?}").contains("correct horse"));
}

#[test]
fn log_lines_of_version_1_are_read() {
    let line = |source, continues, text| Line {
        at: 1_795_334_526_288,
        source,
        continues,
        text,
    };
    for (text, line) in [
        ("out hello", line(Source::Out, false, b"hello".as_slice())),
        ("err+  x", line(Source::Err, true, b" x")),
        (
            "shim dropped 7 lines",
            line(Source::Shim, false, b"dropped 7 lines"),
        ),
        ("out ", line(Source::Out, false, b"")),
    ] {
        let whole = format!("2026-11-22T08:02:06.288Z {text}");
        assert_eq!(Line::read(whole.as_bytes()), Some(line));
    }
    assert_eq!(log::CURRENT, "current.log");
    assert_eq!(log::archived(7), "0000000007.log");
}
