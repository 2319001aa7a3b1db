//! The two stores, which must not be told apart.

use std::time::Duration;

use etcd_client::proto::*;
use quaestor::{host::Host, store::embedded::Embedded};

use crate::{
    operation::Operation,
    readable,
    side::{Answer, CANARY, Side},
    support::{embedded::Served, etcd::Etcd},
    watches::Watches,
};

/// A real etcd, an embedded store, and a client of each.
pub(crate) struct Pair {
    etcd: Side,
    embedded: Side,
    /// Ends when dropped.
    _process: Etcd,
    _served: Served,
}

impl Pair {
    /// Two empty stores.
    pub(crate) async fn start() -> Self {
        let process = Etcd::start();
        let served = Served::start(Embedded::new(&Host::system())).await;
        let mut pair = Self {
            etcd: Side::connect(&process.endpoint()).await,
            embedded: Side::connect(&served.endpoint()).await,
            _process: process,
            _served: served,
        };
        let canary = PbPutRequest {
            key: CANARY.to_vec(),
            ..PbPutRequest::default()
        };
        pair.begin().await;
        pair.ask(&Operation::Put(canary), 0).await;
        pair
    }

    /// Begins a sequence: revisions and leases are counted anew, watches end.
    pub(crate) async fn begin(&mut self) {
        self.etcd.begin().await;
        self.embedded.begin().await;
    }

    /// Does one operation on both stores and compares the answers. A lease that is granted is called
    /// `lease`. None for a watch, of which the answers are compared by [`Pair::settle`].
    pub(crate) async fn step(&mut self, operation: &Operation, lease: i64) -> Option<Answer> {
        match operation {
            Operation::Watch(request) => {
                self.watch(request).await;
                None
            }
            Operation::Compact(_) => {
                // What etcd's watchers have not read by then they would miss.
                self.settle().await;
                if self.etcd.watches.is_some() {
                    self.etcd.read_past().await;
                }
                Some(self.ask(operation, lease).await)
            }
            _ => Some(self.ask(operation, lease).await),
        }
    }

    async fn ask(&mut self, operation: &Operation, lease: i64) -> Answer {
        let expected = self.etcd.ask(operation, lease).await;
        let answer = self.embedded.ask(operation, lease).await;
        let asked = readable(operation);
        assert_eq!(
            answer, expected,
            "left: embedded, right: etcd, asked {asked}"
        );
        answer
    }

    async fn watch(&mut self, request: &PbWatchRequest) {
        let is_create = matches!(
            request.request_union,
            Some(PbWatchRequestUnion::CreateRequest(_))
        );
        if !is_create {
            // What etcd has not sent when a watch is cancelled, it never sends.
            self.settle().await;
        }
        for side in [&mut self.etcd, &mut self.embedded] {
            match &side.watches {
                Some(watches) => watches.send(&side.frame, request.clone()),
                None => {
                    let watches = Watches::open(&side.channel, &side.frame, request.clone());
                    side.watches = Some(watches.await);
                }
            }
            if is_create && let Some(watches) = &mut side.watches {
                // A watch begins when it is created, not when it is asked for.
                watches.created(&side.frame).await;
            }
        }
        if !is_create {
            self.settle().await;
        }
    }

    /// Waits until the watchers have said all, and compares it. etcd takes up to 100 ms until it has
    /// read the past for a watcher.
    pub(crate) async fn settle(&mut self) {
        let (Some(watches), Some(expected)) = (&mut self.embedded.watches, &mut self.etcd.watches)
        else {
            return;
        };
        // The embedded store answers only when everything has been said.
        let progress = watches.progress(&self.embedded.frame).await;
        let reached = expected.reach(&self.etcd.frame, watches.count());
        let is_reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
        assert_eq!(
            watches.said, expected.said,
            "left: embedded, right: etcd, in time: {is_reached:?}"
        );
        let expected = expected.progress(&self.etcd.frame).await;
        assert_eq!(progress, expected, "left: embedded, right: etcd");
    }
}
