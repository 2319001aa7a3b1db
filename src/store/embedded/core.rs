//! The state behind its lock, on the injected clock. The lock is never held across an await.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use etcd_client::proto::PbResponseHeader;
use tokio::sync::{Notify, watch};

use super::state::State;
use crate::{
    host::{Clock, Entropy, Host},
    model::Moment,
};

/// The only member has won the first election, as in an etcd that was just started.
pub(super) const RAFT_TERM: u64 = 2;

/// The store, shared by all connections.
pub(super) struct Core {
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// What gives lease ids.
    pub entropy: Arc<dyn Entropy>,
    /// Told apart from every other store by it.
    pub cluster: u64,
    /// The only member.
    pub member: u64,
    state: Mutex<State>,
    /// The newest revision: what watchers wait for.
    revision: watch::Sender<i64>,
    /// The next end of a lease has changed.
    lease_changed: Notify,
}

impl Core {
    /// An empty store.
    pub(super) fn new(host: &Host) -> Self {
        Self::holding(State::new(), host)
    }

    /// Another store that holds what this one does now. The time of each lease begins anew.
    pub(super) fn copy(&self, host: &Host) -> Self {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = state.clone();
        state.leases.renew_all(host.clock.now());
        Self::holding(state, host)
    }

    fn holding(state: State, host: &Host) -> Self {
        Self {
            clock: host.clock.clone(),
            entropy: host.entropy.clone(),
            cluster: host.entropy.bits(),
            member: host.entropy.bits(),
            revision: watch::Sender::new(state.map.revision()),
            state: Mutex::new(state),
            lease_changed: Notify::new(),
        }
    }

    /// Does something with the state. Leases whose time is over have ended before, so that no answer
    /// shows them.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State, Moment) -> T) -> T {
        // A panic leaves no half-made revision: a write that is dropped undoes itself.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let awaited = state.leases.next_end();
        state.expire(now);
        let result = act(&mut state, now);
        if state.leases.next_end() != awaited {
            self.lease_changed.notify_one();
        }
        let newest = state.map.revision();
        self.revision
            .send_if_modified(|revision| std::mem::replace(revision, newest) != newest);
        result
    }

    /// Follows the newest revision.
    pub(super) fn revisions(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }

    /// Ends leases when their time is over, for ever.
    pub(super) async fn expire_leases(&self) -> Infallible {
        loop {
            let changed = self.lease_changed.notified();
            // Taking the state ends what is over.
            match self.with(|state, _| state.leases.next_end()) {
                Some(end) => tokio::select! {
                    () = changed => {}
                    () = self.clock.sleep_until(end) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Says who answers; a header without a revision gets `revision`.
    pub(super) fn stamp(&self, header: &mut Option<PbResponseHeader>, revision: i64) {
        let header = header.get_or_insert_default();
        if header.revision == 0 {
            header.revision = revision;
        }
        self.sign(header);
    }

    /// Says who answers.
    pub(super) fn sign(&self, header: &mut PbResponseHeader) {
        header.cluster_id = self.cluster;
        header.member_id = self.member;
        header.raft_term = RAFT_TERM;
    }

    /// A header of its own.
    pub(super) fn header(&self, revision: i64) -> Option<PbResponseHeader> {
        let mut header = None;
        self.stamp(&mut header, revision);
        header
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use etcd_client::proto::PbPutRequest;

    use super::*;

    /// A store with one key under lease 1 and another under lease 2, of 5 and 60 s.
    fn leased() -> Core {
        let core = Core::new(&Host::system());
        core.with(|state, now| {
            for (lease, ttl) in [(1, 5), (2, 60)] {
                state.leases.grant(lease, ttl, now).unwrap();
                for key in ["a", "b"] {
                    let request = PbPutRequest {
                        key: format!("{lease}{key}").into_bytes(),
                        lease,
                        ..PbPutRequest::default()
                    };
                    state.put(&request).unwrap();
                }
            }
        });
        core
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_on_time_and_its_keys_in_one_revision() {
        let core = leased();
        let start = core.clock.now();
        let mut revisions = core.revisions();
        let before = *revisions.borrow_and_update();
        tokio::select! {
            never = core.expire_leases() => match never {},
            changed = revisions.changed() => changed.unwrap(),
        }
        let elapsed = core.clock.now().since(start);
        assert!(elapsed >= Duration::from_secs(5) && elapsed < Duration::from_secs(6));
        assert_eq!(*revisions.borrow(), before + 1);
        let last = core.with(|state, _| {
            let deleted = state.map.changes_from(before + 1).next().unwrap().1.clone();
            deleted
                .iter()
                .map(|version| version.key.clone())
                .collect::<Vec<_>>()
        });
        assert_eq!(last, ["1a", "1b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_granted_later_that_ends_sooner_ends_on_time() {
        let core = leased();
        let mut revisions = core.revisions();
        let grant = async {
            core.clock.sleep(Duration::from_secs(1)).await;
            core.with(|state, now| state.leases.grant(3, 2, now))
                .unwrap();
            core.clock.sleep(Duration::from_secs(3)).await;
            // Without taking the state, which would end it.
            core.state.lock().unwrap().leases.get(3).is_none()
        };
        revisions.mark_unchanged();
        tokio::select! {
            never = core.expire_leases() => match never {},
            is_over = grant => assert!(is_over),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_shows_a_lease_whose_time_is_over() {
        let core = leased();
        core.clock.sleep(Duration::from_secs(5)).await;
        assert!(core.with(|state, _| state.leases.get(1).is_none()));
        assert!(core.with(|state, _| state.map.get(b"1a", i64::MAX).is_none()));
    }
}
