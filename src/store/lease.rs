//! Leases that survive reconnects.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Error, Store, endpoint::within, failure::Failure};
use crate::{model::Moment, retry::Retry};

/// A lease of the store, kept alive for as long as [`Lease::keep`] is polled.
#[derive(Clone)]
pub struct Lease {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    id: i64,
    ttl: Duration,
    /// When the last answered renewal was *sent*: the store counts from some moment after it, so
    /// that the lease never ends in the store before it ends here.
    renewed: watch::Sender<Moment>,
    /// Cancelled once the lease is known to have ended.
    ended: CancellationToken,
}

/// An open stream of renewals.
type Renewals = (LeaseKeeper, LeaseKeepAliveStream);

impl Lease {
    pub(super) async fn grant(store: &Store, ttl: Duration) -> Result<Self, Error> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
        let asked = Mutex::new(store.host().clock.now());
        // A lease whose grant was lost holds no key and ends by itself.
        let tried = store
            .attempt(true, |client| {
                *lock(&asked) = store.host().clock.now();
                async move { client.lease_client().grant(seconds, None).await }
            })
            .await;
        let answer = tried
            .result
            .map_err(|failure| store.error(failure, "to grant a lease"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                store: store.clone(),
                id: answer.id(),
                // The store may give more than was asked for.
                ttl: Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or(1)),
                renewed: watch::Sender::new(*lock(&asked)),
                ended: CancellationToken::new(),
            }),
        })
    }

    /// The lease's id, for [`super::Write::put_leased`].
    pub fn id(&self) -> i64 {
        self.shared.id
    }

    /// Renews the lease over and over; resolves when it has ended in the store (expired or
    /// revoked), or may have: its time has passed without an answer.
    pub async fn keep(&self) {
        let ended = &self.shared.ended;
        tokio::select! {
            biased;
            () = ended.cancelled() => {}
            () = self.expired() => {
                let ttl = self.shared.ttl;
                tracing::warn!(lease = self.id(), ?ttl, "the lease was not renewed in time");
            }
            () = self.renew_on() => tracing::warn!(lease = self.id(), "the lease has ended"),
        }
        ended.cancel();
    }

    /// Resolves when the lease's time has passed without an answer.
    async fn expired(&self) {
        let clock = &*self.shared.store.host().clock;
        while clock.now() < self.deadline() {
            clock.sleep_until(self.deadline()).await;
        }
    }

    /// Renews the lease at one endpoint after another; resolves when the store says it has ended.
    async fn renew_on(&self) {
        let Shared { store, ttl, .. } = &*self.shared;
        let mut retry = Retry::new(*ttl / 64, *ttl / 8);
        loop {
            let index = store.preferred();
            let failure = self.renew_at(index, &mut retry).await;
            if failure == Failure::LeaseEnded {
                return;
            }
            let endpoint = store.name(index);
            tracing::debug!(lease = self.id(), endpoint, ?failure, "a renewal failed");
            store.avoid(index);
            let pause = retry.pause(&*store.host().entropy);
            store.host().clock.sleep(pause).await;
        }
    }

    /// Renews the lease at one endpoint until that fails.
    async fn renew_at(&self, endpoint: usize, retry: &mut Retry) -> Failure {
        let Shared { store, id, ttl, .. } = &*self.shared;
        let clock = &*store.host().clock;
        let patience = *ttl / 4;
        let mut sent = clock.now();
        let opening = store.attempt_at(endpoint, |client| async move {
            client.lease_client().keep_alive(*id).await
        });
        let mut renewals: Renewals = match within(clock, patience, opening).await {
            Some(Ok(renewals)) => renewals,
            Some(Err(failure)) => return failure,
            None => return Failure::Lost(format!("no answer within {patience:?}")),
        };
        loop {
            self.renewed(sent);
            retry.reset();
            clock.sleep_until(sent + *ttl / 3).await;
            sent = clock.now();
            match within(clock, patience, renew(&mut renewals)).await {
                Some(Ok(())) => {}
                Some(Err(failure)) => return failure,
                None => return Failure::Lost(format!("no answer within {patience:?}")),
            }
        }
    }

    /// Ends the lease, and with it every key bound to it.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when the answer was lost. The lease ends by itself when it is not
    /// kept any more.
    pub async fn revoke(&self) -> Result<(), Error> {
        let Shared {
            store, id, ended, ..
        } = &*self.shared;
        let tried = store
            .attempt(true, |client| async move {
                client.lease_client().revoke(*id).await
            })
            .await;
        match (tried.result, tried.lost) {
            (Ok(_) | Err(Failure::LeaseEnded), _) => {
                ended.cancel();
                Ok(())
            }
            (Err(_), Some(cause)) => Err(Error::OutcomeUnknown {
                keys: format!("lease {id:x}"),
                cause,
            }),
            (Err(failure), None) => Err(store.error(failure, "to revoke a lease")),
        }
    }

    /// When the lease may end if it is not renewed before.
    pub fn deadline(&self) -> Moment {
        *self.shared.renewed.borrow() + self.shared.ttl
    }

    /// Resolves when the lease was renewed since `deadline` was what [`Lease::deadline`] said.
    pub async fn renewed_since(&self, deadline: Moment) {
        let mut renewals = self.shared.renewed.subscribe();
        // It cannot fail: the sender lives in the lease.
        let _ = renewals
            .wait_for(|sent| *sent + self.shared.ttl != deadline)
            .await;
    }

    fn renewed(&self, sent: Moment) {
        self.shared.renewed.send_replace(sent);
    }
}

/// Asks for one renewal and waits for it.
async fn renew((keeper, answers): &mut Renewals) -> Result<(), Failure> {
    // The sender fails only when the stream is gone; the stream then says why.
    let _ = keeper.keep_alive().await;
    match answers.message().await {
        Ok(Some(answer)) if answer.ttl() > 0 => Ok(()),
        Ok(Some(_)) => Err(Failure::LeaseEnded),
        Ok(None) => Err(Failure::Lost("the stream ended".to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The moment behind `mutex`, whatever became of other holders.
fn lock(mutex: &Mutex<Moment>) -> std::sync::MutexGuard<'_, Moment> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
