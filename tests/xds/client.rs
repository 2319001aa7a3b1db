//! Stock gRPC clients with xDS, as programs of their own (`client.py`, `client.js`).
#![allow(dead_code, unreachable_pub, reason = "tests/security uses a part")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A kind of them.
struct Kind {
    name: &'static str,
    /// Names its interpreter.
    variable: &'static str,
    /// Where that is otherwise.
    place: &'static str,
    script: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "the newest grpcio",
        variable: "QUAESTOR_TEST_PYTHON",
        place: "python/python3",
        script: "client.py",
    },
    Kind {
        name: "an older grpcio",
        variable: "QUAESTOR_TEST_OLDER_PYTHON",
        place: "older-python/python3",
        script: "client.py",
    },
    Kind {
        name: "grpc-js",
        variable: "QUAESTOR_TEST_NODE",
        place: "node/node",
        script: "client.js",
    },
];

/// How many seconds a first call may wait for everything to be there: as long as tests wait.
pub const PATIENCE: u64 = 60;

/// A running stock client. Ends when dropped.
pub struct Client {
    pub kind: &'static str,
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What a client saw.
#[derive(Debug, serde::Deserialize)]
pub struct Seen {
    /// Calls, by who answered them.
    pub by: BTreeMap<String, u64>,
    /// What the others were told.
    pub errors: Vec<String>,
    /// How long all of them took.
    pub millis: u64,
}

impl Client {
    /// One of each kind.
    pub fn of_each_kind(bootstrap: &Path) -> Vec<Self> {
        let kinds = KINDS.iter();
        kinds.map(|kind| Self::start(kind, bootstrap)).collect()
    }

    /// The newest grpcio.
    pub fn grpcio(bootstrap: &Path) -> Self {
        Self::start(&KINDS[0], bootstrap)
    }

    /// grpc-js.
    pub fn node(bootstrap: &Path) -> Self {
        Self::start(&KINDS[2], bootstrap)
    }

    fn start(kind: &Kind, bootstrap: &Path) -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let program = std::env::var(kind.variable)
            .unwrap_or_else(|_| format!("{root}/target/tools/{}", kind.place));
        let mut child = Command::new(&program)
            .arg(format!("{root}/tests/xds/{}", kind.script))
            .env("GRPC_XDS_BOOTSTRAP", bootstrap)
            .env("GRPC_EXPERIMENTAL_XDS_WRR_LB", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start `{program}`: {error}; run `scripts/test`, which fetches it")
            });
        Self {
            kind: kind.name,
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// So many calls of `service`, one after the other, each with so much time.
    pub fn calls(&mut self, service: &str, count: u32, seconds: u64, wait: bool) -> Seen {
        self.ask(&json!({
            "do": "calls", "service": service, "count": count, "seconds": seconds, "wait": wait, "work": 0,
        }))
    }

    /// One call of `Worker`, of work that takes so long.
    pub fn work(&mut self, work: Duration) -> Seen {
        self.ask(&json!({
            "do": "calls", "service": "Worker", "count": 1, "seconds": 60, "wait": false,
            "work": u64::try_from(work.as_millis()).unwrap(),
        }))
    }

    /// Begins to call in the background, once a first call has succeeded.
    pub fn begin(&mut self) {
        let first = self.calls("Worker", 1, PATIENCE, true);
        assert_eq!(first.errors, [""; 0], "{}", self.kind);
        self.ask(&json!({"do": "begin", "service": "Worker"}));
    }

    /// What the calls in the background have seen since this was asked last.
    pub fn seen(&mut self) -> Seen {
        self.ask(&json!({"do": "seen"}))
    }

    fn ask(&mut self, command: &Value) -> Seen {
        let kind = self.kind;
        writeln!(self.commands, "{command}")
            .unwrap_or_else(|error| panic!("{kind} has ended: {error}; its words are above"));
        let line = self.answers.next();
        let line = line
            .unwrap_or_else(|| panic!("{kind} has ended; its words are above"))
            .unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{kind}: {line}: {error}"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does the same with all clients at once.
pub fn together(clients: &mut [Client], each: impl Fn(&mut Client) + Sync) {
    let each = &each;
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || each(client));
        }
    });
}

/// Waits until the calls in the background of all clients go to exactly these slots, and none has failed since.
pub fn await_only(clients: &mut [Client], slots: &[u16]) {
    let expected: Vec<String> = slots.iter().map(|slot| format!("worker-{slot}")).collect();
    together(clients, |client| {
        let start = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let seen = client.seen();
            assert_eq!(seen.errors, [""; 0], "{}", client.kind);
            if seen.by.keys().eq(&expected) {
                break;
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{}: {seen:?}",
                client.kind
            );
        }
    });
}
