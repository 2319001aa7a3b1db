//! Writes `load/<node>`: one record for all instances, bound to the session's lease, as often as
//! [`crate::plan::load`] says.
//!
//! The record has one writer, whose session is compared, and each record replaces the last as a whole:
//! an answer that was lost needs no second look.

use std::time::Duration;

use futures::future::BoxFuture;

use super::session::Held;
use crate::{
    host::Host,
    model::{Instance, LoadReport, Moment, NodeLoad},
    plan::{
        load::{IDLE, Reports, due},
        usage::{Usages, moved},
    },
    store::{Error, Outcome, Store, Txn, Write},
};

/// The pause after a write that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Brings the load record in line with the reports.
pub(super) struct LoadRecord {
    store: Store,
    host: Host,
    key: String,
    held: Option<Held>,
    current: Reports,
    usage: Usages,
    /// What was written last under this session, and when.
    written: Option<(Reports, Usages, Moment)>,
    /// Whether any of these has changed since `due` was computed: comparing all instances at every turn of the
    /// agent's loop would cost more than all else it does while they idle.
    changed: bool,
    due: Option<Moment>,
    under_way: Option<BoxFuture<'static, Result<Outcome, Error>>>,
    paused_until: Moment,
}

impl LoadRecord {
    pub(super) fn new(store: Store, host: Host, key: String) -> Self {
        Self {
            store,
            host,
            key,
            held: None,
            current: Reports::new(),
            usage: Usages::new(),
            written: None,
            changed: true,
            due: None,
            under_way: None,
            paused_until: Moment::default(),
        }
    }

    /// The session under which to write from now on.
    pub(super) fn session(&mut self, held: Option<Held>) {
        let lease = |held: &Option<Held>| held.as_ref().map(|held| held.lease);
        if lease(&held) != lease(&self.held) {
            // The record ended with the lease it was bound to, or will.
            self.written = None;
            self.changed = true;
        }
        self.held = held;
    }

    /// The last report of an instance; none: it gives none any more.
    pub(super) fn set(&mut self, instance: &Instance, report: Option<LoadReport>) {
        if self.current.get(instance) == report.as_ref() {
            return;
        }
        self.changed = true;
        match report {
            Some(report) => self.current.insert(instance.clone(), report),
            None => self.current.remove(instance),
        };
    }

    /// What the instances use up.
    pub(super) fn usage(&mut self, usage: Usages) {
        self.changed |= self.usage != usage;
        self.usage = usage;
    }

    /// When the record is due, if it is.
    fn due(&self, now: Moment) -> Option<Moment> {
        let written = self.written.as_ref();
        let reports = due(
            written.map(|(reports, _, at)| (reports, *at)),
            &self.current,
            now,
        );
        let usage = match written {
            None => (!self.usage.is_empty()).then_some(now),
            Some((_, before, at)) => moved(before, &self.usage).then_some(*at + IDLE),
        };
        reports.into_iter().chain(usage).min()
    }

    /// Writes the record if it is due. Returns when to ask again, if that is known.
    pub(super) fn advance(&mut self, now: Moment) -> Option<Moment> {
        let held = self.held.as_ref()?;
        if self.under_way.is_some() {
            return None;
        }
        if std::mem::take(&mut self.changed) {
            self.due = self.due(now);
        }
        let due = self.due?.max(self.paused_until);
        if due > now {
            return Some(due);
        }
        let record = NodeLoad {
            at: self.host.clock.timestamp(),
            instances: self.current.clone(),
            usage: self.usage.clone(),
        };
        // Plain data with text keys cannot fail to become JSON.
        let value = serde_json::to_vec(&record).unwrap_or_default();
        let txn = Txn {
            guards: held.guards(),
            writes: vec![Write::put_leased(self.key.clone(), value, held.lease)],
        };
        self.written = Some((record.instances, record.usage, now));
        self.due = None;
        let store = self.store.clone();
        self.under_way = Some(Box::pin(async move { store.commit(txn).await }));
        None
    }

    /// Waits for the write that is under way; for good if none is. Cancel-safe.
    pub(super) async fn done(&mut self) -> Result<Outcome, Error> {
        match &mut self.under_way {
            Some(under_way) => {
                let done = under_way.await;
                self.under_way = None;
                done
            }
            None => std::future::pending().await,
        }
    }

    /// Takes in what became of a write. False: the store refused the session's right to write.
    pub(super) fn absorb(&mut self, result: Result<Outcome, Error>, now: Moment) -> bool {
        if let Ok(Outcome::Committed(_)) = result {
            return true;
        }
        self.written = None;
        self.changed = true;
        self.paused_until = now + PAUSE;
        match result {
            Ok(_) => false,
            Err(error) => {
                tracing::debug!(%error, "the load of instances cannot be reported now");
                true
            }
        }
    }
}
