//! The stock client: Python's grpcio with the published proto file (`tests/python/client.py`).

use std::{
    cell::RefCell,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Healthy locations of `service`, at most `max` (0: all), in the order of the balancer's answer, from
/// `DiscoverServices` of the balancer at `address` (`host:port`).
#[track_caller]
pub fn discover(address: &str, service: &str, max: i32) -> Vec<(String, u16)> {
    with_client(|client| client.discover(address, service, max).unwrap())
}

/// The same from `DiscoverTopServices`: the least busy first.
#[track_caller]
pub fn top(address: &str, service: &str, max: i32) -> Vec<(String, u16)> {
    with_client(|client| client.top(address, service, max).unwrap())
}

/// What `grpc.health.v1.Health/Check` at `address` says about `name`: `SERVING` or another status's name.
#[track_caller]
pub fn health(address: &str, name: &str) -> String {
    with_client(|client| client.health(address, name).unwrap())
}

/// Runs `ask` with this thread's client, which is started at the first use.
fn with_client<T>(ask: impl FnOnce(&mut Client) -> T) -> T {
    thread_local! {
        static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
    }
    CLIENT.with_borrow_mut(|client| ask(client.get_or_insert_with(Client::start)))
}

/// A call that the server refused, or that did not reach it.
#[derive(Debug, serde::Deserialize)]
pub struct Refusal {
    /// The name of the gRPC status: `UNAVAILABLE`.
    pub code: String,
    /// The server's words.
    pub details: Option<String>,
}

/// A running client with open channels; an answer takes about a millisecond. Ends when dropped.
pub struct Client {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts Python. The interpreter is `$QUAESTOR_TEST_PYTHON`, else the one that `scripts/prepare`
    /// fetched.
    pub fn start() -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let python = std::env::var("QUAESTOR_TEST_PYTHON")
            .unwrap_or_else(|_| format!("{root}/target/tools/python/python3"));
        let mut child = Command::new(&python)
            .arg(format!("{root}/tests/python/client.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start `{python}`: {error}; run `scripts/test`, which fetches grpcio")
            });
        Self {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// As [`discover`]; a refusal is returned.
    pub fn discover(
        &mut self,
        address: &str,
        service: &str,
        max: i32,
    ) -> Result<Vec<(String, u16)>, Refusal> {
        self.ask(&format!("discover {address} {service} {max}"))
    }

    /// As [`top`]; a refusal is returned.
    pub fn top(
        &mut self,
        address: &str,
        service: &str,
        max: i32,
    ) -> Result<Vec<(String, u16)>, Refusal> {
        self.ask(&format!("top {address} {service} {max}"))
    }

    /// As [`health`]; a refusal is returned.
    pub fn health(&mut self, address: &str, name: &str) -> Result<String, Refusal> {
        self.ask(&format!("health {address} {name}"))
    }

    /// Sends one command and reads its answer.
    fn ask<T: serde::de::DeserializeOwned>(&mut self, command: &str) -> Result<T, Refusal> {
        writeln!(self.commands, "{command}")
            .expect("the Python client has ended; its words are above");
        let line = self
            .answers
            .next()
            .expect("the Python client has ended; its words are above")
            .unwrap();
        serde_json::from_str::<Refusal>(&line).map_or_else(
            |_| Ok(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))),
            Err,
        )
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Nothing is lost by it, and a thread's end has nobody to tell of an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
