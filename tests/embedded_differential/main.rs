//! The embedded store against a real etcd: the same random operations, the same answers, field by
//! field. `SEED=<number>` chooses other sequences, `SEQUENCES=<number>` more of them.
//!
//! - `dice`: random numbers that a seed repeats
//! - `operation`: random operations
//! - `frame`: what may differ between two stores: where revisions begin, ids of leases
//! - `side`: one of the stores
//! - `watches`: a watch stream and what came of it

mod dice;
mod frame;
mod operation;
mod side;
#[path = "../support/mod.rs"]
mod support;
mod watches;

use std::fmt::Debug;

use etcd_client::proto::*;
use quaestor::{host::Host, store::embedded::Embedded};
use side::{Answer, Side};
use support::{embedded::Served, etcd::Etcd};
use watches::Watches;

use crate::operation::{Generator, Operation};

/// The two stores, which must not be told apart.
struct Pair {
    etcd: Side,
    embedded: Side,
}

impl Pair {
    async fn begin(&mut self) {
        self.etcd.begin().await;
        self.embedded.begin().await;
    }

    /// Asks both and compares.
    async fn ask(&mut self, operation: &Operation, lease: i64) -> Answer {
        let expected = self.etcd.ask(operation, lease).await;
        let answer = self.embedded.ask(operation, lease).await;
        assert_eq!(
            answer,
            expected,
            "left: embedded, right: etcd, asked {}",
            readable(operation)
        );
        answer
    }

    /// Sends a watch request to both. What comes of it is compared when they [`Pair::settle`].
    async fn watch(&mut self, request: &PbWatchRequest) {
        for side in [&mut self.etcd, &mut self.embedded] {
            match &side.watches {
                Some(watches) => watches.send(&side.frame, request.clone()),
                None => {
                    let watches = Watches::open(&side.channel, &side.frame, request.clone());
                    side.watches = Some(watches.await);
                }
            }
            if let Some(PbWatchRequestUnion::CreateRequest(_)) = &request.request_union {
                // A watch begins when it is created, not when it is asked for.
                side.watches.as_mut().unwrap().created(&side.frame).await;
            }
        }
    }

    /// Waits until the watchers have said all, and compares it. etcd takes up to 100 ms until it has
    /// read the past for a watcher.
    async fn settle(&mut self) {
        let (Some(watches), Some(expected)) = (&mut self.embedded.watches, &mut self.etcd.watches)
        else {
            return;
        };
        // The embedded store answers only when everything has been said.
        let progress = watches.progress(&self.embedded.frame).await;
        let reached = expected.reach(&self.etcd.frame, watches.count());
        let is_reached = tokio::time::timeout(std::time::Duration::from_secs(10), reached);
        let is_reached = is_reached.await.is_ok();
        assert_eq!(watches.said, expected.said, "left: embedded, right: etcd");
        assert!(is_reached);
        let expected = expected.progress(&self.etcd.frame).await;
        assert_eq!(progress, expected, "left: embedded, right: etcd");
    }
}

/// Says which sequence fails.
struct Failing {
    seed: u64,
    number: u64,
    done: Vec<Operation>,
}

impl Drop for Failing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, number, done } = self;
            eprintln!("SEED={seed}, sequence {number}, after:");
            for operation in done {
                eprintln!("{}", readable(operation));
            }
        }
    }
}

/// A message with its keys and values as text: `[97, 98]` is printed as `"ab"`.
fn readable(message: &impl Debug) -> String {
    let text = format!("{message:?}");
    let mut pieces = text.split('[');
    let mut readable = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let bytes = piece.split_once(']').and_then(|(list, rest)| {
            let bytes: Option<Vec<u8>> = list.split(", ").map(|byte| byte.parse().ok()).collect();
            Some((bytes?, rest))
        });
        readable += &match bytes {
            Some((bytes, rest)) => format!("{:?}{rest}", String::from_utf8_lossy(&bytes)),
            None => format!("[{piece}"),
        };
    }
    readable
}

fn parameter(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[tokio::test]
async fn random_sequences_of_operations_have_the_same_answers_as_on_etcd() {
    let etcd = Etcd::start();
    let served = Served::start(Embedded::new(&Host::system())).await;
    let mut pair = Pair {
        etcd: Side::connect("etcd", &etcd.endpoint()).await,
        embedded: Side::connect("embedded", &served.endpoint()).await,
    };
    pair.begin().await;
    let canary = PbPutRequest {
        key: side::CANARY.to_vec(),
        ..PbPutRequest::default()
    };
    pair.ask(&Operation::Put(canary), 0).await;
    let seed = parameter("SEED", 1);
    for number in 0..parameter("SEQUENCES", 1_000) {
        pair.begin().await;
        let mut generator = Generator::new(seed, number);
        let mut failing = Failing {
            seed,
            number,
            done: Vec::new(),
        };
        for _ in 0..generator.dice.between(5, 25) {
            let operation = generator.next();
            failing.done.push(operation.clone());
            step(&mut pair, &mut generator, &operation).await;
        }
        // The next sequence shall find no leases.
        for lease in generator.leases {
            let revoke = PbLeaseRevokeRequest { id: lease };
            pair.ask(&Operation::Revoke(revoke), 0).await;
        }
        pair.settle().await;
    }
    served.stop().await;
}

/// Does one operation on both stores.
async fn step(pair: &mut Pair, generator: &mut Generator, operation: &Operation) {
    if let Operation::Watch(request) = operation {
        let is_cancel = matches!(
            request.request_union,
            Some(PbWatchRequestUnion::CancelRequest(_))
        );
        if is_cancel {
            pair.settle().await;
        }
        pair.watch(request).await;
        if is_cancel {
            pair.settle().await;
        }
        return;
    }
    if let Operation::Compact(_) = operation {
        // What etcd's watchers have not read by then they would miss.
        pair.settle().await;
        pair.etcd.read_past().await;
    }
    let lease = match operation {
        Operation::Grant(PbLeaseGrantRequest { id: 0, .. }) => generator.leases.len() as i64 + 1,
        Operation::Grant(PbLeaseGrantRequest { id, .. }) => *id,
        _ => 0,
    };
    let answer = pair.ask(operation, lease).await;
    if answer.revision == 0 {
        return;
    }
    generator.head = generator.head.max(answer.revision);
    match operation {
        Operation::Grant(_) => generator.leases.push(lease),
        Operation::Compact(request) => generator.compacted = request.revision,
        _ => {}
    }
}
