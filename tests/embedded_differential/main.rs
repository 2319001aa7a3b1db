//! The embedded store against a real etcd: the same operations, the same answers, field by field.
//! `SEED=<number>` chooses other random sequences, `SEQUENCES=<number>` more of them.
//!
//! - `operation`: random operations
//! - `rare`: operations that chance hardly finds
//! - `dice`: random numbers that a seed repeats
//! - `pair`: the two stores
//! - `side`: one of them
//! - `frame`: what may differ between them: where revisions begin, ids of leases
//! - `watches`: a watch stream and what came of it
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod dice;
mod frame;
mod operation;
mod pair;
mod rare;
mod side;
#[path = "../support/mod.rs"]
mod support;
mod watches;

use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, resume_unwind},
};

use etcd_client::proto::{PbLeaseGrantRequest, PbLeaseRevokeRequest};
use futures::{FutureExt as _, future::join_all};

use crate::{
    operation::{Generator, Operation},
    pair::Pair,
};

/// How many pairs of stores share the sequences. Most of the time is spent waiting for etcd's
/// watchers, which look into the past every 100 ms.
const PAIRS: u64 = 4;

#[tokio::test]
async fn random_sequences_of_operations_have_the_same_answers_as_on_etcd() {
    let seed = parameter("SEED", 1);
    let sequences = parameter("SEQUENCES", 1_000);
    join_all((0..PAIRS).map(|lane| async move {
        let mut pair = Pair::start().await;
        for number in (lane..sequences).step_by(PAIRS as usize) {
            let mut done = Vec::new();
            let sequence = AssertUnwindSafe(sequence(&mut pair, seed, number, &mut done));
            if let Err(panic) = sequence.catch_unwind().await {
                eprintln!("SEED={seed}, sequence {number}, after:");
                for operation in done {
                    eprintln!("{}", readable(&operation));
                }
                resume_unwind(panic);
            }
        }
    }))
    .await;
}

/// One sequence; what it has asked is found in `done`.
async fn sequence(pair: &mut Pair, seed: u64, number: u64, done: &mut Vec<Operation>) {
    pair.begin().await;
    let mut generator = Generator::new(seed, number);
    for _ in 0..generator.dice.between(5, 25) {
        let operation = generator.next();
        done.push(operation.clone());
        let lease = match operation {
            Operation::Grant(PbLeaseGrantRequest { id: 0, .. }) => generator.free_lease(),
            Operation::Grant(PbLeaseGrantRequest { id, .. }) => id,
            _ => 0,
        };
        if let Some(answer) = pair.step(&operation, lease).await
            && answer.is_ok()
        {
            generator.learn(&operation, lease, answer.revision);
        }
    }
    // The next sequence shall find no leases.
    for lease in generator.leases {
        let revoke = PbLeaseRevokeRequest { id: lease };
        pair.step(&Operation::Revoke(revoke), 0).await;
    }
    pair.settle().await;
}

#[tokio::test]
async fn rare_requests_have_the_same_answers_as_on_etcd() {
    let mut pair = Pair::start().await;
    pair.begin().await;
    for operation in rare::operations() {
        pair.step(&operation, 1).await;
        pair.settle().await;
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
