//! Everything the store holds, and what each request does to it. Pure: time and ids are passed in.

use etcd_client::proto::{
    PbDeleteRequest, PbDeleteResponse, PbPutRequest, PbPutResponse, PbTxnRequest, PbTxnResponse,
};

use super::{
    interval::Interval,
    kv,
    lease::Leases,
    mvcc::{Map, Write},
    refusal::Refusal,
    txn,
};
use crate::model::Moment;

/// How many revisions are kept without having been asked to compact: minutes of a busy cluster,
/// far longer than a watcher is ever behind, within tens of megabytes.
const KEPT_REVISIONS: i64 = 10_000;

/// How many more pile up before the oldest are forgotten together.
const COMPACTION_STEP: i64 = 1_000;

/// The map and its leases.
#[derive(Clone)]
pub(super) struct State {
    /// The keys.
    pub map: Map,
    /// The leases.
    pub leases: Leases,
}

impl State {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            map: Map::new(),
            leases: Leases::default(),
        }
    }

    /// Sets a key.
    pub(super) fn put(&mut self, request: &PbPutRequest) -> Result<PbPutResponse, Refusal> {
        self.write(|write, leases| kv::put(write, leases, request))
    }

    /// Deletes keys.
    pub(super) fn delete(
        &mut self,
        request: &PbDeleteRequest,
    ) -> Result<PbDeleteResponse, Refusal> {
        self.write(|write, _| Ok(kv::delete(write, request)))
    }

    /// Runs a transaction.
    pub(super) fn txn(&mut self, request: &PbTxnRequest) -> Result<PbTxnResponse, Refusal> {
        self.write(|write, leases| txn::run(write, leases, request))
    }

    /// Ends a lease and deletes its keys, in one revision.
    pub(super) fn revoke(&mut self, lease: i64) -> Result<(), Refusal> {
        let keys = self.leases.revoke(lease)?;
        self.write(|write, _| {
            for key in &keys {
                write.delete(&Interval::key(key));
            }
            Ok(())
        })
    }

    /// Ends every lease whose time is over, in the order of their ends.
    pub(super) fn expire(&mut self, now: Moment) {
        while let Some(lease) = self.leases.ended(now) {
            // It exists: it was just found.
            let _ = self.revoke(lease);
        }
    }

    /// One revision: all of what `change` does, or nothing when it fails.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&mut Write<'_>, &Leases) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut write = self.map.write();
        let answer = change(&mut write, &self.leases)?;
        for version in write.commit() {
            self.leases.bind(&version.key, version.lease);
        }
        let kept = self.map.revision() - KEPT_REVISIONS;
        if kept >= self.map.compacted() + COMPACTION_STEP {
            // Between the last compaction and the newest revision, so it cannot be refused.
            let _ = self.map.compact(kept);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_revisions_are_forgotten_by_themselves_and_recent_ones_are_not() {
        let mut state = State::new();
        let request = PbPutRequest {
            key: b"a".to_vec(),
            ..PbPutRequest::default()
        };
        for _ in 0..3 * KEPT_REVISIONS {
            state.put(&request).unwrap();
            let readable = state.map.revision() - state.map.compacted();
            assert!(readable <= KEPT_REVISIONS + COMPACTION_STEP, "{readable}");
        }
        assert!(state.map.revision() - state.map.compacted() >= KEPT_REVISIONS);
    }
}
