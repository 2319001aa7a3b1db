//! At most one leader, fenced.
//!
//! Who creates the key leads. The key holds a random uuid and is bound to a lease; it goes when the
//! leader resigns or falls silent, and whoever waits for that tries to create it anew. Only plain
//! reads, transactions, watches and leases are used, so that every store can serve.

use std::time::Duration;

use bytes::Bytes;

use super::{Change, Error, Follow, Guard, Lease, Outcome, Store, Txn, Write};
use crate::retry::Retry;

/// The right to write as the leader. Every leader-only transaction carries its guards, so that the
/// store itself refuses a leader whose time is over.
#[derive(Clone)]
pub struct Leadership {
    store: Store,
    key: String,
    uuid: Bytes,
    /// Revision at which this leadership began.
    since: i64,
    lease: Lease,
}

impl Leadership {
    /// What must hold for a leader's write: the key's create-revision and its value.
    pub fn guards(&self) -> Vec<Guard> {
        vec![
            Guard::CreateRevision(self.key.clone(), self.since),
            Guard::Value(self.key.clone(), self.uuid.clone()),
        ]
    }

    /// The lease to keep while leading.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Keeps the lease; resolves when this leadership is over: its lease has ended or may have, or
    /// somebody deleted or overwrote its key.
    pub async fn hold(&self) {
        let mut follow = self.store.follow(vec![self.key.clone()]);
        let usurped = async {
            loop {
                let update = follow.next().await;
                // The first update tells of a key that is gone by its silence.
                let ours = match update.changes.last() {
                    Some(Change::Put(entry)) => {
                        entry.create_revision == self.since && entry.value == self.uuid
                    }
                    Some(Change::Delete { .. }) | None => false,
                };
                if !ours {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.lease.keep() => {}
            () = usurped => tracing::warn!(key = self.key, "the leader's key was taken away"),
        }
    }

    /// Lets the next one lead at once.
    ///
    /// # Errors
    /// When the store did not say that the lease has ended. It ends by itself once it is not kept.
    pub async fn resign(self) -> Result<(), Error> {
        self.lease.revoke().await
    }
}

/// Waits until nobody leads at `key`, then leads.
pub(super) async fn campaign(store: &Store, key: &str, ttl: Duration) -> Result<Leadership, Error> {
    let mut retry = Retry::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut follow = store.follow(vec![key.to_owned()]);
    loop {
        vacant(&mut follow).await;
        match seize(store, key, ttl).await {
            Ok(Some(leadership)) => return Ok(leadership),
            // Somebody was faster; the follow tells when their time is over.
            Ok(None) => retry.reset(),
            Err(error @ Error::Refused { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(key, %error, "could not become the leader");
                let pause = retry.pause(&*store.host().entropy);
                store.host().clock.sleep(pause).await;
            }
        }
        // What was followed may be older than the attempt: see the key as it is now.
        follow = store.follow(vec![key.to_owned()]);
    }
}

/// Waits until the followed key is absent.
async fn vacant(follow: &mut Follow) {
    loop {
        let update = follow.next().await;
        if !matches!(update.changes.last(), Some(Change::Put(_))) {
            return;
        }
    }
}

/// Tries once to create the key. The lease is granted just before, so that it cannot run out while
/// somebody else leads. None when the key exists already.
async fn seize(store: &Store, key: &str, ttl: Duration) -> Result<Option<Leadership>, Error> {
    let lease = store.grant(ttl).await?;
    let uuid = Bytes::from(store.host().entropy.uuid());
    let txn = Txn::new()
        .when(Guard::Absent(key.to_owned()))
        .then(Write::put_leased(key, uuid.clone(), lease.id()));
    let since = match store.commit(txn).await {
        Ok(Outcome::Committed(revision)) => Ok(Some(revision)),
        Ok(Outcome::Conflict) => Ok(None),
        // The uuid is of this attempt alone: where it stands, this attempt succeeded.
        Err(Error::OutcomeUnknown { .. }) => store.get(key).await.map(|entry| {
            entry
                .filter(|entry| entry.value == uuid)
                .map(|entry| entry.create_revision)
        }),
        Err(error) => Err(error),
    };
    match since {
        Ok(Some(since)) => Ok(Some(Leadership {
            store: store.clone(),
            key: key.to_owned(),
            uuid,
            since,
            lease,
        })),
        // With the lease ends whatever may still come of an attempt whose answer was lost.
        Ok(None) => {
            let _ = lease.revoke().await;
            Ok(None)
        }
        Err(error) => {
            let _ = lease.revoke().await;
            Err(error)
        }
    }
}
