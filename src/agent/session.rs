//! The agent's presence in the store: `session/<node>`, bound to a lease.
//!
//! Every write of the agent compares this key, so that one who lost it cannot write any more. The same
//! agent (by the uuid in its state directory) takes its own live session over at once; another one is
//! refused. A lost session is begun again; nothing is stopped for it.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::future::{Either, select};
use tokio::sync::watch;

use super::{Config, Error, Home};
use crate::{
    host::Host,
    keys::{Key, Keys},
    model::{Moment, Name, Session, StoreIdentity},
    retry::Retry,
    store::{self, Guard, Lease, Mark, Outcome, Store, Txn, Write},
};

/// How long the session outlives its agent: the balancers' patience with a dead host, and how long an
/// agent may be cut off without anybody noticing.
const TTL: Duration = Duration::from_secs(20);

/// Pauses between attempts to begin a session.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How often the key is looked at while nothing is written: somebody may have deleted it by hand, which
/// leaves the lease alive. The session is certain for [`TTL`] after a look.
const LOOK: Duration = Duration::from_secs(5);

/// How long the end of a session may take; after that it ends by itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// A session that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Its key.
    key: String,
    /// The revision of its first write.
    pub(super) began: i64,
    /// The revision of its last write: the epoch.
    pub(super) epoch: i64,
    /// What the last write wrote.
    value: Bytes,
    /// The lease it is bound to.
    pub(super) lease: i64,
}

impl Held {
    /// What must hold for a write under this session.
    pub(super) fn guards(&self) -> Vec<Guard> {
        vec![
            Guard::ModRevision(self.key.clone(), self.epoch),
            Guard::Value(self.key.clone(), self.value.clone()),
        ]
    }
}

/// What the rest of the agent has of its session.
pub(super) struct Handle {
    /// The session, while it is held.
    pub(super) held: watch::Receiver<Option<Held>>,
    /// Until when the session holds for certain, if it is not confirmed before; none before it has begun.
    pub(super) certain_until: watch::Receiver<Option<Moment>>,
    /// Set once processes are in line with assignments.
    pub(super) reconciled: watch::Sender<bool>,
    /// Raised when a write was refused: the session may be somebody else's.
    pub(super) doubt: watch::Sender<()>,
    /// The highest revision of the store that was seen, by the agents before this one, too: the next session tells
    /// of it.
    pub(super) seen: watch::Sender<i64>,
    /// Raised when the store fell back in time, to the revision from which: then the session tells of it.
    pub(super) fell: watch::Sender<i64>,
}

/// Begins the session, keeps it, and begins it again when it is lost.
pub(super) struct Keeper {
    store: Store,
    host: Host,
    cluster: Name,
    node: Name,
    key: String,
    /// What is written, save for what differs from one session to the next.
    session: Session,
    lease: Option<Lease>,
    held: watch::Sender<Option<Held>>,
    certain_until: watch::Sender<Option<Moment>>,
    /// When the key was last asked for and found to be as it was written.
    looked: watch::Sender<Moment>,
    reconciled: watch::Receiver<bool>,
    doubt: watch::Receiver<()>,
    seen: watch::Sender<i64>,
    fell: watch::Receiver<i64>,
    /// Whose data the store holds.
    identity: Known,
    /// How far the store had come, for the next agent.
    mark: Mark,
}

/// The uuid of the store's data.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// It has none yet: no controller was ever there.
    NotYet,
    /// This one.
    Uuid(String),
    /// We may not read it.
    Refused,
}

impl Keeper {
    /// `reconciled`: whether everything is as the agent before this one has left and reported it.
    pub(super) fn new(
        config: &Config,
        home: &Home,
        store: Store,
        host: Host,
        reconciled: bool,
    ) -> (Self, Handle) {
        let held = watch::channel(None);
        let certain_until = watch::channel(None);
        let reconciled = watch::channel(reconciled);
        let doubt = watch::channel(());
        let seen = watch::Sender::new(0);
        let fell = watch::channel(0);
        let keeper = Self {
            key: Keys::new(&config.cluster).of(&Key::Session(config.node.clone())),
            session: Session {
                uuid: String::new(),
                node_uuid: home.node_uuid().to_owned(),
                address: config.address.clone(),
                agent_address: config.agent_address.clone(),
                labels: config.labels.clone(),
                capacity: config.capacity,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: host.clock.timestamp(),
                reconciled: false,
                seen_revision: 0,
                fell_from: 0,
            },
            cluster: config.cluster.clone(),
            node: config.node.clone(),
            store,
            lease: None,
            held: held.0,
            certain_until: certain_until.0,
            looked: watch::Sender::new(Moment::default()),
            reconciled: reconciled.1,
            doubt: doubt.1,
            seen: seen.clone(),
            fell: fell.1,
            identity: Known::NotYet,
            mark: Mark::open(&host, home.mark()),
            host,
        };
        let handle = Handle {
            held: held.1,
            certain_until: certain_until.1,
            reconciled: reconciled.0,
            doubt: doubt.0,
            seen,
            fell: fell.0,
        };
        (keeper, handle)
    }

    /// Begins a session, however long the store is away.
    ///
    /// # Errors
    /// When another agent has the node's name, or the store will not do it.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        let mut retry = Retry::new(RETRY.0, RETRY.1);
        let mut troubled = false;
        loop {
            match self.try_begin().await {
                Ok(true) => return Ok(()),
                // Somebody wrote in between: look again.
                Ok(false) => {}
                Err(Error::Store(error)) if may_pass(&error) => {
                    if troubled {
                        tracing::debug!(node = %self.node, %error, "still no session");
                    } else {
                        tracing::warn!(node = %self.node, %error, "cannot begin a session yet");
                    }
                    troubled = true;
                }
                Err(error) => return Err(error),
            }
            let pause = retry.pause(&*self.host.entropy);
            self.host.clock.sleep(pause).await;
        }
    }

    /// Keeps the session for good. A lost one is begun again; until then nothing is written, and nothing
    /// else changes.
    pub(super) async fn hold(&mut self) -> Infallible {
        loop {
            self.keep().await;
            self.held.send_replace(None);
            tracing::warn!(node = %self.node, "the session is lost; processes run on");
            while let Err(error) = self.begin().await {
                tracing::error!(
                    node = %self.node, %error,
                    "cannot begin a new session; processes run on, nothing is reported"
                );
                self.host.clock.sleep(TTL / 4).await;
            }
        }
    }

    /// Ends the session at once, and with it what is bound to it.
    pub(super) async fn end(mut self) {
        self.held.send_replace(None);
        let Some(lease) = self.lease.take() else {
            return;
        };
        let revoking = std::pin::pin!(lease.revoke());
        match select(revoking, self.host.clock.sleep(FAREWELL)).await {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(error), _)) => {
                tracing::warn!(node = %self.node, %error, "the session ends by itself, within 20s");
            }
            Either::Right(_) => {
                tracing::warn!(node = %self.node, "the session ends by itself, within 20s");
            }
        }
    }

    /// Returns when the session is lost.
    async fn keep(&mut self) {
        let Some(lease) = self.lease.clone() else {
            return;
        };
        let certain_until = self.certain_until.clone();
        let mut looked = self.looked.subscribe();
        let telling = async {
            loop {
                let deadline = lease.deadline();
                let until = deadline.min(*looked.borrow_and_update() + TTL);
                certain_until.send_if_modified(|told| told.replace(until) != Some(until));
                tokio::select! {
                    biased;
                    () = lease.renewed_since(deadline) => {}
                    // It cannot fail: the keeper outlives its own future.
                    Ok(()) = looked.changed() => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = self.hold_on() => {}
            () = telling => {}
        }
    }

    /// Keeps the lease and the key; returns when one of them is lost.
    async fn hold_on(&mut self) {
        let Some(lease) = self.lease.clone() else {
            return;
        };
        let mut kept = std::pin::pin!(lease.keep());
        loop {
            let changed = async {
                let fell = *self.fell.borrow_and_update();
                if *self.reconciled.borrow_and_update() != self.session.reconciled
                    || fell > self.session.fell_from
                {
                    return;
                }
                tokio::select! {
                    biased;
                    // Errors mean that the supervisor is gone, and will never ask.
                    Ok(()) = self.reconciled.changed() => {}
                    Ok(()) = self.doubt.changed() => {}
                    Ok(()) = self.fell.changed() => {}
                    () = self.host.clock.sleep(LOOK) => {}
                }
            };
            tokio::select! {
                biased;
                () = &mut kept => return,
                () = changed => {}
            }
            let refresh = self.refresh(lease.id());
            let holds = tokio::select! {
                biased;
                () = &mut kept => return,
                holds = refresh => holds,
            };
            if !holds {
                return;
            }
        }
    }

    /// Looks whether the session is still ours, and writes what changed of it. False: it is not.
    async fn refresh(&mut self, lease: i64) -> bool {
        let mut retry = Retry::new(RETRY.0, RETRY.1);
        loop {
            match self.try_refresh(lease).await {
                Ok(holds) => return holds,
                Err(error) if may_pass(&error) => {}
                Err(error) => {
                    tracing::error!(node = %self.node, %error, "the session cannot be written");
                }
            }
            let pause = retry.pause(&*self.host.entropy);
            self.host.clock.sleep(pause).await;
        }
    }

    async fn try_refresh(&mut self, lease: i64) -> Result<bool, store::Error> {
        let Some(held) = self.held.borrow().clone() else {
            return Ok(false);
        };
        let now = self.host.clock.now();
        let found = self.store.get(&self.key).await?;
        if found.is_none_or(|entry| entry.mod_revision != held.epoch || entry.value != held.value) {
            return Ok(false);
        }
        self.looked.send_replace(now);
        self.remember(now).await?;
        let (reconciled, fell) = (*self.reconciled.borrow(), *self.fell.borrow());
        if reconciled == self.session.reconciled && fell <= self.session.fell_from {
            return Ok(true);
        }
        let mut session = self.session.clone();
        session.reconciled = reconciled;
        session.seen_revision = session.seen_revision.max(fell);
        session.fell_from = fell;
        let value = Bytes::from(json(&session));
        let txn = Txn {
            guards: held.guards(),
            writes: vec![Write::put_leased(self.key.clone(), value.clone(), lease)],
        };
        // A lost answer is found out by looking: then the key is not as it was, and is taken over.
        let Outcome::Committed(epoch) = self.store.commit(txn).await? else {
            return Ok(false);
        };
        self.session = session;
        tracing::info!(node = %self.node, epoch, reconciled, "the session is up to date");
        self.held.send_replace(Some(Held {
            epoch,
            value,
            ..held
        }));
        Ok(true)
    }

    /// Finds out whose data the store holds.
    async fn identify(&mut self) -> Result<(), store::Error> {
        let key = Keys::new(&self.cluster).of(&Key::Identity);
        let found = match self.store.get(&key).await {
            Ok(found) => found,
            Err(error @ store::Error::Refused { .. }) => {
                if self.identity != Known::Refused {
                    tracing::warn!(
                        node = %self.node, %error,
                        "that the store was restored while no agent was here would not be noticed: give the agent's user \
                         in etcd the rights that `quaestor rbac` prints"
                    );
                }
                self.identity = Known::Refused;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let identity = found.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        self.identity = identity.map_or(Known::NotYet, |identity: StoreIdentity| {
            Known::Uuid(identity.uuid)
        });
        Ok(())
    }

    /// Writes down how far the store has come, where it is known which one that is.
    async fn remember(&mut self, now: Moment) -> Result<(), store::Error> {
        if self.identity == Known::NotYet {
            self.identify().await?;
        }
        if let Known::Uuid(uuid) = &self.identity {
            self.mark.note(uuid, *self.seen.borrow());
            // What is not due yet is written after the next look.
            let _ = self.mark.keep(now);
        }
        Ok(())
    }

    /// One attempt. False: somebody else wrote at the same time.
    async fn try_begin(&mut self) -> Result<bool, Error> {
        let found = self.store.get(&self.key).await?;
        let guard = match &found {
            None => Guard::Absent(self.key.clone()),
            Some(entry) => {
                match serde_json::from_slice::<Session>(&entry.value) {
                    Ok(other) if other.node_uuid != self.session.node_uuid => {
                        return Err(Error::NodeTaken {
                            node: self.node.clone(),
                            address: other.address,
                            since: other.started_at,
                            uuid: other.node_uuid,
                        });
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(key = self.key, %error, "an unreadable session is replaced");
                    }
                }
                Guard::ModRevision(self.key.clone(), entry.mod_revision)
            }
        };
        self.identify().await?;
        if let Known::Uuid(uuid) = &self.identity {
            let before = self.mark.of(uuid);
            self.seen.send_modify(|seen| *seen = before.max(*seen));
        }
        let lease = self.store.grant(TTL).await?;
        let now = self.host.clock.now();
        self.session.uuid = self.host.entropy.uuid();
        self.session.started_at = self.host.clock.timestamp();
        self.session.reconciled = *self.reconciled.borrow();
        self.session.seen_revision = *self.seen.borrow();
        self.session.fell_from = *self.fell.borrow();
        let value = Bytes::from(json(&self.session));
        let write = Write::put_leased(self.key.clone(), value.clone(), lease.id());
        let txn = Txn::new().when(guard).then(write);
        match self.store.commit(txn).await {
            Ok(Outcome::Committed(epoch)) => {
                tracing::info!(node = %self.node, epoch, "the session has begun");
                self.held.send_replace(Some(Held {
                    key: self.key.clone(),
                    began: epoch,
                    epoch,
                    value,
                    lease: lease.id(),
                }));
                self.looked.send_replace(now);
                self.certain_until.send_replace(Some(lease.deadline()));
                self.lease = Some(lease);
                Ok(true)
            }
            Ok(Outcome::Conflict) => {
                // Unused; were it to stay, it would end by itself.
                let _ = lease.revoke().await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the same may succeed later, after another look.
fn may_pass(error: &store::Error) -> bool {
    error.is_retryable()
        || matches!(
            error,
            store::Error::OutcomeUnknown { .. } | store::Error::LeaseEnded
        )
}

/// Plain data with text keys cannot fail to become JSON.
fn json(session: &Session) -> Vec<u8> {
    serde_json::to_vec(session).unwrap_or_default()
}
