use proptest::prelude::*;

use super::super::{
    notice::Stage,
    record::{Cause, End},
};
use super::*;

fn running() -> Running {
    Running {
        incarnation: 3,
        pid: 77,
        start_time: 123,
        boot_id: "b".to_owned(),
        instance: "i".to_owned(),
        at: 5,
        preparing: false,
    }
}

fn exit() -> Exit {
    Exit {
        incarnation: 2,
        pid: 76,
        end: End::Code(1),
        cause: Cause::Own,
        at: 4,
        since_boot: Some(3),
    }
}

fn notice() -> Notice {
    Notice {
        stage: Stage::Reloading,
        overdue: true,
        failed: true,
        text: "50% of it".to_owned(),
    }
}

#[test]
fn every_command_comes_back() {
    let mut commands = vec![
        Command::Hello { version: 1 },
        Command::Status,
        Command::Start {
            incarnation: u64::MAX,
        },
        Command::Kill,
        Command::Deadline(None),
        Command::Deadline(Some(Duration::from_millis(1500))),
        Command::Release,
    ];
    commands.extend(Signal::ALL.map(|(signal, _)| Command::Signal(signal)));
    for command in commands {
        assert_eq!(Command::read(&command.to_string()), Ok(command));
    }
}

#[test]
fn every_message_comes_back() {
    let status = |phase, running: Option<Running>, deadline, last| {
        let incarnation = 3;
        let status = Status {
            phase,
            incarnation,
            notice: running.is_some().then(notice),
            running,
            deadline,
            last,
        };
        Message::Status(Box::new(status))
    };
    let second = Some(Duration::from_secs(1));
    let mut messages = vec![
        Message::Hello {
            version: 1,
            pid: 7,
            level: 1,
        },
        status(Phase::Idle, None, None, None),
        status(Phase::Running, Some(running()), second, Some(exit())),
        status(Phase::Ending, Some(running()), None, None),
        Message::Ok,
        Message::Started(running()),
        Message::StartFailed {
            incarnation: 9,
            text: "cannot start `/x y`:\n100%".to_owned(),
        },
        Message::DeadlinePassed,
        Message::Noticed {
            incarnation: 9,
            notice: notice(),
        },
        Message::Exited(exit()),
    ];
    messages.extend(REFUSALS.map(|(refusal, text)| {
        let text = text.to_owned();
        Message::Error { refusal, text }
    }));
    for message in messages {
        let line = message.to_string();
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(Message::read(&line), Ok(Some(message)));
    }
}

#[test]
fn what_younger_programs_add_does_not_disturb() {
    assert_eq!(
        Command::read("start 3 gently=true"),
        Ok(Command::Start { incarnation: 3 })
    );
    assert_eq!(
        Message::read("hello version=1 mood=good pid=7"),
        Ok(Some(Message::Hello {
            version: 1,
            pid: 7,
            level: 0
        }))
    );
    assert_eq!(Message::read("moved house=2"), Ok(None));
}

#[test]
fn a_refusal_says_whether_the_command_or_its_form_is_wrong() {
    let refusal = |line| Command::read(line).unwrap_err().0;
    assert_eq!(refusal("dance"), Refusal::Unknown);
    assert_eq!(refusal(""), Refusal::Unknown);
    for line in [
        "start",
        "start x",
        "start -1",
        "signal SIGDANCE",
        "deadline",
        "hello",
        "hello v=1",
    ] {
        assert_eq!(refusal(line), Refusal::Malformed, "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_them_panic(line: String) {
        let _ = Command::read(&line);
        let _ = Message::read(&line);
    }
}
