//! Endpoints, failover, reads and transactions.
//!
//! A request goes to the endpoint that answered last, then to the others. An attempt that failed
//! before anything can have been done ([`Failure::NotDone`]) is always made again elsewhere. One
//! whose answer was lost is made again only where doing it twice is the same as once; a write then
//! knows ([`Tried::lost`]) that an earlier attempt of its own may have succeeded.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{Client, Compare, CompareOp, GetOptions, PutOptions, TxnOp};

use super::{
    Config, Entry, Error, Follow, Guard, Leadership, Lease, Listing, Outcome, Txn, Write, election,
    endpoint::{self, Endpoint},
    failure::Failure,
    range::{self, Range},
    status::{self, Status},
};
use crate::host::Host;

/// A connection to the store. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    host: Host,
    endpoints: Vec<Endpoint>,
    request_timeout: Duration,
    /// Index of the endpoint to try first: the one that answered last.
    preferred: AtomicUsize,
}

/// What came of a request after all attempts.
pub(super) struct Tried<T> {
    /// The last answer.
    pub(super) result: Result<T, Failure>,
    /// How the answer of an earlier attempt was lost, which may have been carried out.
    pub(super) lost: Option<String>,
}

impl Store {
    /// A store at `config`'s endpoints, connected at the first use.
    ///
    /// # Errors
    /// [`Error::Address`] for endpoints that are not addresses, and when there are none.
    pub fn new(config: Config, host: Host) -> Result<Self, Error> {
        let endpoints = config
            .endpoints
            .iter()
            .map(|text| Endpoint::new(text, &config, &host))
            .collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(Error::Address {
                endpoint: String::new(),
                cause: "give at least one, as http://host:port".to_owned(),
            });
        }
        Ok(Self {
            shared: Arc::new(Shared {
                host,
                endpoints,
                request_timeout: config.request_timeout,
                preferred: AtomicUsize::new(0),
            }),
        })
    }

    /// The key's entry, read linearizably; none where there is no such key.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let mut listing = range::list(self, &[Range::key(key)]).await?;
        Ok(listing.entries.pop())
    }

    /// Everything under `prefix` at one revision, read linearizably, in pages. A prefix that does
    /// not end in a slash is one whole key, so that `session/h1` never means `session/h10` too.
    pub async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        range::list(self, &[Range::of(prefix)]).await
    }

    /// The same for several prefixes, all at one revision.
    pub async fn list_all(&self, prefixes: &[String]) -> Result<Listing, Error> {
        let ranges: Vec<Range> = prefixes.iter().map(|prefix| Range::of(prefix)).collect();
        range::list(self, &ranges).await
    }

    /// Writes what `txn` says if its guards hold.
    ///
    /// When an answer is lost, the transaction is tried again only if it cannot happen twice: one of
    /// its writes must break one of its guards for good, as any write to a key breaks a
    /// [`Guard::ModRevision`] of that key. ([`Guard::Absent`] does not count: the key may have been
    /// written and deleted since, and would come back.) A repetition that meets a broken guard
    /// cannot tell whether its own first attempt broke it, so that is an unknown outcome too.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when the transaction may or may not have happened; after any other
    /// error it has not happened.
    pub async fn commit(&self, txn: Txn) -> Result<Outcome, Error> {
        let request = request(&txn);
        let tried = self
            .attempt(happens_once(&txn), |client| {
                let request = request.clone();
                async move { client.kv_client().txn(request).await }
            })
            .await;
        let result = match (tried.result, tried.lost) {
            (Ok(answer), _) if answer.succeeded() => {
                let revision = answer.header().map_or(0, |header| header.revision());
                Ok(Outcome::Committed(revision))
            }
            (_, Some(cause)) => Err(Error::OutcomeUnknown {
                keys: keys(&txn),
                cause,
            }),
            (Ok(_), None) => Ok(Outcome::Conflict),
            (Err(failure), None) => {
                Err(self.error(failure, format_args!("to write {}", keys(&txn))))
            }
        };
        self.host().metrics.store.committed(match &result {
            Ok(Outcome::Committed(_)) => "committed",
            Ok(Outcome::Conflict) => "conflict",
            Err(Error::OutcomeUnknown { .. }) => "unknown",
            Err(_) => "failed",
        });
        result
    }

    /// Everything under `prefixes`, now and from now on. As in [`Store::list`], a prefix that does
    /// not end in a slash is one whole key.
    pub fn follow(&self, prefixes: Vec<String>) -> Follow {
        Follow::new(self.clone(), &prefixes)
    }

    /// Lets the store forget what was before `revision`.
    ///
    /// # Errors
    /// When it does not, or has already forgotten more.
    pub async fn compact(&self, revision: i64) -> Result<(), Error> {
        let compact = |mut client: Client| async move { client.compact(revision, None).await };
        let tried = self.attempt(true, compact).await;
        let result = tried.result.map(drop);
        result.map_err(|failure| self.error(failure, "to be compacted"))
    }

    /// Whether it has ever forgotten old revisions, as seen from what is under `prefix`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn has_compacted(&self, prefix: &str) -> Result<bool, Error> {
        let Range { start, end } = Range::of(prefix);
        let options = GetOptions::new()
            .with_range(end)
            .with_revision(1)
            .with_limit(1);
        let read = |client: Client| {
            let (start, options) = (start.clone(), options.clone());
            async move { client.kv_client().get(start, Some(options)).await }
        };
        match self.attempt(true, read).await.result {
            Ok(_) => Ok(false),
            Err(Failure::Compacted) => Ok(true),
            Err(failure) => Err(self.error(failure, "to be read as it once was")),
        }
    }

    /// What the member that answers first says of itself.
    ///
    /// # Errors
    /// When none answers.
    pub async fn status(&self) -> Result<Status, Error> {
        let tried = self.attempt(true, status::ask).await;
        tried
            .result
            .map(Status::of)
            .map_err(|failure| self.error(failure, "to say how it is"))
    }

    /// What each member says of itself, by its endpoint.
    pub async fn statuses(&self) -> Vec<(String, Result<Status, Error>)> {
        let members = (0..self.shared.endpoints.len()).map(async |index| {
            let status = self.attempt_at(index, status::ask).await.map(Status::of);
            let status = status.map_err(|failure| self.error(failure, "to say how it is"));
            (self.name(index), status)
        });
        futures::future::join_all(members).await
    }

    /// A new lease that ends `ttl` after it was last renewed. The store counts in whole seconds.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        Lease::grant(self, ttl).await
    }

    /// Waits until nobody leads at `key`, then leads. Outages of the store are waited out.
    ///
    /// # Errors
    /// [`Error::Refused`] when this store will never let us lead.
    pub async fn campaign(&self, key: &str, ttl: Duration) -> Result<Leadership, Error> {
        election::campaign(self, key, ttl).await
    }

    /// The seams through which it reaches the outside world.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.shared.request_timeout
    }

    /// Runs `call` at one endpoint after another until one answers; once more when the only one
    /// failed quickly, because a connection that broke while idle fails its next request.
    /// `harmless`: doing it twice is the same as doing it once.
    pub(super) async fn attempt<T, F>(&self, harmless: bool, call: impl Fn(Client) -> F) -> Tried<T>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let count = self.shared.endpoints.len();
        let first = self.preferred();
        let start = self.host().clock.now();
        let mut causes = Vec::new();
        let mut lost = None;
        for turn in 0..count.max(2) {
            let waited = self.host().clock.now().since(start);
            if turn >= count && waited >= self.request_timeout() {
                break;
            }
            let index = (first + turn) % count;
            let (cause, is_lost) = match self.attempt_at(index, &call).await {
                Err(Failure::NotDone(cause)) => (cause, false),
                Err(Failure::Lost(cause)) => (cause, true),
                result => {
                    self.shared.preferred.store(index, Ordering::Relaxed);
                    return Tried { result, lost };
                }
            };
            self.avoid(index);
            if is_lost {
                lost.get_or_insert_with(|| cause.clone());
            }
            causes.push((index, cause));
            if is_lost && !harmless {
                break;
            }
        }
        let cause = self.describe(&causes);
        let failure = match lost {
            Some(_) => Failure::Lost(cause),
            None => Failure::NotDone(cause),
        };
        Tried {
            result: Err(failure),
            lost,
        }
    }

    /// Runs `call` at one endpoint, within the time that one request may take.
    pub(super) async fn attempt_at<T, F>(
        &self,
        index: usize,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let limit = self.request_timeout();
        let request = async {
            let client = self.shared.endpoints[index]
                .client(&self.host().clock)
                .await?;
            call(client).await
        };
        let began = self.host().clock.now();
        let result = match endpoint::within(&*self.host().clock, limit, request).await {
            Some(answer) => answer.map_err(Failure::from),
            None => Err(Failure::Lost(format!("no answer within {limit:?}"))),
        };
        let outcome = result.as_ref().map_or_else(Failure::word, |_| "answered");
        let took = self.host().clock.now().since(began);
        self.host().metrics.store.asked(outcome, took);
        result
    }

    /// Index of the endpoint to try first.
    pub(super) fn preferred(&self) -> usize {
        self.shared.preferred.load(Ordering::Relaxed)
    }

    /// Notes that the endpoint does not answer: others are tried before it.
    pub(super) fn avoid(&self, index: usize) {
        let next = (index + 1) % self.shared.endpoints.len();
        // Somebody else may have moved on already.
        let _ = self.shared.preferred.compare_exchange(
            index,
            next,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// The endpoint as people write it.
    pub(super) fn name(&self, index: usize) -> String {
        self.shared.endpoints[index].to_string()
    }

    /// What a failed request, `what` of which was asked ("to write `a`"), is to the rest of the
    /// program.
    pub(super) fn error(&self, failure: Failure, what: impl fmt::Display) -> Error {
        let refused = |cause: String| Error::Refused {
            what: what.to_string(),
            cause,
        };
        match failure {
            Failure::NotDone(cause) | Failure::Lost(cause) => Error::Unavailable {
                endpoints: self.names(),
                cause,
            },
            Failure::Full => Error::Full,
            Failure::LeaseEnded => Error::LeaseEnded,
            Failure::Refused(cause) => refused(cause),
            Failure::Compacted => refused("the revision is not kept any more".to_owned()),
            Failure::TooLarge => refused("the answer is too large".to_owned()),
        }
    }

    /// All endpoints, as people write them.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self
            .shared
            .endpoints
            .iter()
            .map(Endpoint::to_string)
            .collect();
        names.join(", ")
    }

    /// Why each endpoint failed; said once where all say the same.
    fn describe(&self, causes: &[(usize, String)]) -> String {
        match causes {
            [] => String::new(),
            [(_, first), rest @ ..] if rest.iter().all(|(_, cause)| cause == first) => {
                first.clone()
            }
            causes => causes
                .iter()
                .map(|(index, cause)| format!("{}: {cause}", self.name(*index)))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }
}

/// The transaction as the client library has it.
fn request(txn: &Txn) -> etcd_client::Txn {
    let guards = txn.guards.iter().map(|guard| match guard {
        Guard::Absent(key) => Compare::create_revision(key.as_str(), CompareOp::Equal, 0),
        Guard::ModRevision(key, revision) => {
            Compare::mod_revision(key.as_str(), CompareOp::Equal, *revision)
        }
        Guard::CreateRevision(key, revision) => {
            Compare::create_revision(key.as_str(), CompareOp::Equal, *revision)
        }
        Guard::Value(key, value) => Compare::value(key.as_str(), CompareOp::Equal, value.to_vec()),
    });
    let writes = txn.writes.iter().map(|write| match write {
        Write::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease));
            TxnOp::put(key.as_str(), value.to_vec(), options)
        }
        Write::Delete { key } => TxnOp::delete(key.as_str(), None),
    });
    etcd_client::Txn::new()
        .when(guards.collect::<Vec<_>>())
        .and_then(writes.collect::<Vec<_>>())
}

/// Whether a second run of `txn` after a first one that happened is sure to meet a broken guard.
/// Revisions never come back, so one guard that its own writes break for good is enough.
fn happens_once(txn: &Txn) -> bool {
    txn.writes.is_empty()
        || txn.writes.iter().any(|write| {
            txn.guards.iter().any(|guard| match (guard, write) {
                (Guard::ModRevision(guarded, revision), Write::Put { key, .. }) => {
                    guarded == key && *revision > 0
                }
                (
                    Guard::ModRevision(guarded, revision)
                    | Guard::CreateRevision(guarded, revision),
                    Write::Delete { key },
                ) => guarded == key && *revision > 0,
                _ => false,
            })
        })
}

/// The keys that `txn` writes, for people.
fn keys(txn: &Txn) -> String {
    let keys = txn.writes.iter().map(|write| match write {
        Write::Put { key, .. } | Write::Delete { key } => format!("`{key}`"),
    });
    keys.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_transaction_that_breaks_its_own_guard_for_good_may_be_sent_twice() {
        let put = || Write::put("a", "1");
        let txn = |guard| Txn::new().when(guard).then(put());
        assert!(happens_once(&txn(Guard::ModRevision("a".into(), 7))));
        assert!(happens_once(
            &txn(Guard::ModRevision("a".into(), 7)).then(Write::put("b", "1"))
        ));
        assert!(happens_once(
            &Txn::new()
                .when(Guard::CreateRevision("a".into(), 7))
                .then(Write::delete("a"))
        ));
        assert!(happens_once(&Txn::new()), "nothing is written");

        assert!(!happens_once(&Txn::new().then(put())));
        assert!(!happens_once(&txn(Guard::Absent("a".into()))));
        assert!(!happens_once(&txn(Guard::Value("a".into(), "0".into()))));
        assert!(!happens_once(&txn(Guard::CreateRevision("a".into(), 7))));
        assert!(!happens_once(&txn(Guard::ModRevision("other".into(), 7))));
        assert!(!happens_once(&txn(Guard::ModRevision("a".into(), 0))));
    }

    #[test]
    fn a_store_needs_an_endpoint() {
        let none: [&str; 0] = [];
        assert!(Store::new(Config::new(none), Host::system()).is_err());
    }
}
