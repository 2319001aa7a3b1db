//! `balancer/<id>`: that this balancer is there, and where. Bound to a lease.

use std::{convert::Infallible, time::Duration};

use futures::future::{Either, select};
use tokio::sync::watch;

use crate::{
    host::Host,
    keys::{Key, Keys},
    model::{Name, Presence as Value},
    retry::Retry,
    store::{Error, Guard, Lease, Outcome, Store, Txn, Write},
};

/// How long the queues of a balancer that fell silent wait for another one, where nobody notices before.
const TTL: Duration = Duration::from_secs(10);

/// Pauses between attempts to say so.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often the key is looked at: somebody may have deleted it by hand, which leaves the lease alive.
const LOOK: Duration = Duration::from_secs(30);

/// How long the end may take; after that the lease ends by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// Says that a balancer is there.
pub(super) struct Presence {
    store: Store,
    host: Host,
    key: String,
    value: Value,
    lease: Option<Lease>,
    /// Whether it was said once.
    announced: watch::Sender<bool>,
}

impl Presence {
    pub(super) fn new(
        cluster: &Name,
        id: &Name,
        address: Option<String>,
        store: &Store,
        host: &Host,
        announced: watch::Sender<bool>,
    ) -> Self {
        Self {
            store: store.clone(),
            host: host.clone(),
            key: Keys::new(cluster).of(&Key::Balancer(id.clone())),
            value: Value {
                id: id.clone(),
                address,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: host.clock.timestamp(),
            },
            lease: None,
            announced,
        }
    }

    /// Says it for good, again whenever it was lost.
    pub(super) async fn hold(&mut self) -> Infallible {
        // Plain data with text keys cannot fail to become JSON.
        let value = serde_json::to_vec(&self.value).unwrap_or_default();
        let mut retry = Retry::new(RETRY.0, RETRY.1);
        loop {
            match self.say(value.clone()).await {
                Ok(true) => {
                    retry.reset();
                    self.announced.send_replace(true);
                    self.keep().await;
                }
                // A key of ours whose lease has not ended yet, or whose write was not known to succeed.
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "other balancers cannot be told of this one yet")
                }
            }
            self.host
                .clock
                .sleep(retry.pause(&*self.host.entropy))
                .await;
        }
    }

    /// False: the key is there already.
    async fn say(&mut self, value: Vec<u8>) -> Result<bool, Error> {
        if let Some(lease) = self.lease.take() {
            // With it goes what it held.
            lease.revoke().await?;
        }
        let lease = self.store.grant(TTL).await?;
        self.lease = Some(lease.clone());
        let write = Write::put_leased(self.key.clone(), value, lease.id());
        let txn = Txn::new().when(Guard::Absent(self.key.clone())).then(write);
        Ok(matches!(
            self.store.commit(txn).await?,
            Outcome::Committed(_)
        ))
    }

    /// Returns when it has to be said again.
    async fn keep(&self) {
        let Some(lease) = &self.lease else {
            return;
        };
        let gone = async {
            loop {
                self.host.clock.sleep(LOOK).await;
                if matches!(self.store.get(&self.key).await, Ok(None)) {
                    return;
                }
            }
        };
        tokio::select! {
            () = lease.keep() => {}
            () = gone => {}
        }
    }

    /// Takes it back.
    pub(super) async fn end(self) {
        if let Some(lease) = self.lease {
            let revoking = std::pin::pin!(lease.revoke());
            if let Either::Left((Err(error), _)) =
                select(revoking, self.host.clock.sleep(FAREWELL)).await
            {
                tracing::debug!(%error, "the presence ends by itself");
            }
        }
    }
}
