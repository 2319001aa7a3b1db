//! What clients are told, whatever they ask by: `rpc` and `http` only turn this into their words.
//!
//! - [`Answers`]: one question, one answer
//! - `seen`: an endpoint as it was seen when it was answered
//! - `watching`: all endpoints of a service, and what changes

mod seen;
mod watching;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    limits::{Counters, Gate, Limits, Shed},
    xds::Xds,
};
use crate::{
    host::Host,
    model::{Caller, Moment, service::Policy},
    view::{Described, Directory, Endpoint, Listed, Outcome, Question, Refusal},
};

pub use seen::Seen;
pub use watching::{Changes, Watching};

/// Endpoints in one answer, and excluded ones in one question.
const MOST: usize = 1000;

/// Attributes of one question, and bytes of all of them.
const MOST_ATTRIBUTES: (usize, usize) = (64, 4096);

/// Bytes of an affinity key.
const LONGEST_KEY: usize = 1024;

/// A question for the instances that the next request should go to.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The name under which the service is found.
    pub service: String,
    /// How many different instances, at most; 0 means 1.
    pub count: u32,
    /// What is known of the request that will be sent.
    pub attributes: HashMap<String, String>,
    /// Requests with the same key go to the same instance, where the policy is `hash`.
    pub affinity_key: String,
    /// Hosts and ports that must not be answered.
    pub excluded: Vec<(String, u32)>,
}

/// How calls of a client to one instance ended.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Where it called.
    pub host: String,
    /// See `host`.
    pub port: u32,
    /// Calls that succeeded.
    pub successes: u32,
    /// Calls that failed.
    pub failures: u32,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The view has none.
    #[error(transparent)]
    View(#[from] Refusal),
    /// The question is larger than any honest one.
    #[error("{0}")]
    TooLarge(&'static str),
    /// As many watches are open as this balancer keeps.
    #[error(
        "{0} watches are open, as many as this balancer keeps (--max-watches): ask another one, or later"
    )]
    Overloaded(usize),
    /// The address asks more often than one may.
    #[error(
        "more than {rate} questions a second came from your address (--max-peer-rate): ask again in {} ms, \
         or another balancer", wait.as_millis() + 1
    )]
    TooOften {
        /// How often it may.
        rate: u32,
        /// In how long the next question is answered.
        wait: Duration,
    },
}

impl Refused {
    /// The same in one word, for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::View(refusal) => refusal.reason(),
            Self::TooLarge(_) => "TooLarge",
            Self::Overloaded(_) | Self::TooOften { .. } => "Overloaded",
        }
    }
}

/// Answers from a directory. Cheap to clone.
#[derive(Clone)]
pub struct Answers {
    directory: Arc<Directory>,
    host: Host,
    /// One permit for each watch that may yet be opened.
    watches: Arc<Semaphore>,
    limits: Arc<Limits>,
    gate: Arc<Gate>,
    counters: Counters,
    /// Where stock gRPC clients connect.
    xds: Arc<Mutex<Vec<Xds>>>,
    is_mirrored: bool,
}

impl Answers {
    /// Answers from `directory`, within `limits`.
    pub fn new(directory: Arc<Directory>, host: Host, limits: Limits) -> Self {
        Self {
            directory,
            host,
            watches: Arc::new(Semaphore::new(limits.watches)),
            gate: Arc::new(Gate::new(limits.peer_rate)),
            limits: Arc::new(limits),
            counters: Counters::default(),
            xds: Arc::default(),
            is_mirrored: false,
        }
    }

    /// The same, of a balancer that writes what it knows to another registry as well.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self {
            is_mirrored: true,
            ..self
        }
    }

    /// Whether it does.
    pub fn is_mirrored(&self) -> bool {
        self.is_mirrored
    }

    /// Clients are told the same at `xds` as well.
    pub fn join(&self, xds: Xds) {
        let mut all = self.xds.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(xds);
    }

    /// Where stock gRPC clients connect, in the order in which that was said.
    pub fn xds(&self) -> Vec<Xds> {
        let all = self.xds.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// Turns away callers for whom `service` is not. To be asked before anything is told of it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn admit(&self, service: &str, caller: &Caller) -> Result<(), Refused> {
        Ok(self.directory.admit(service, caller)?)
    }

    /// Whether a question that came from `peer` is to be answered. Every surface asks this before anything else.
    ///
    /// # Errors
    /// [`Refused::TooOften`].
    pub fn admit_peer(&self, peer: IpAddr) -> Result<(), Refused> {
        let now = self.host.clock.now();
        self.gate.admit(peer, now).map_err(|wait| {
            self.counters.request(now);
            Refused::TooOften {
                rate: self.limits.peer_rate.unwrap_or_default(),
                wait,
            }
        })
    }

    /// How much is taken on.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts what is turned away.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was turned away since the start.
    pub fn shed(&self) -> Shed {
        self.counters.read()
    }

    /// The instances that the next request should go to, the best first; at least one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick(&self, request: &Request) -> Result<Vec<Seen>, Refused> {
        let began = self.host.clock.now();
        let mut policy = None;
        let picked = self.pick_by(request, began, &mut policy);
        let refusal = picked.as_ref().err().map(Refused::reason);
        let now = self.host.clock.now();
        let metrics = &self.host.metrics.balancer;
        metrics.picked(policy, refusal, now.since(began));
        let seen = |endpoint| Seen::of(endpoint, &self.directory, now);
        Ok(picked?.into_iter().map(seen).collect())
    }

    fn pick_by(
        &self,
        request: &Request,
        now: Moment,
        policy: &mut Option<Policy>,
    ) -> Result<Vec<Arc<Endpoint>>, Refused> {
        check(request)?;
        let is_excluded = |endpoint: &Endpoint| {
            let mut excluded = request.excluded.iter();
            excluded.any(|(host, port)| {
                *port == u32::from(endpoint.port()) && host.eq_ignore_ascii_case(endpoint.host())
            })
        };
        let question = Question {
            count: usize::try_from(request.count).map_or(MOST, |count| count.clamp(1, MOST)),
            attributes: Some(&request.attributes),
            affinity_key: &request.affinity_key,
            excluded: (!request.excluded.is_empty()).then_some(&is_excluded),
            ..Question::new(&request.service, self.host.entropy.bits(), now)
        };
        Ok(self.directory.pick_by(&question, policy)?)
    }

    /// Picks that were answered so far, and those that were not.
    pub fn picks(&self) -> (u64, u64) {
        self.host.metrics.balancer.picks()
    }

    /// Takes in how calls of `client`, as it calls itself, to instances of `service` ended.
    ///
    /// # Errors
    /// Why they say nothing here.
    pub fn report(&self, service: &str, client: &str, tallies: Vec<Tally>) -> Result<(), Refused> {
        if tallies.len() > MOST || client.len() > LONGEST_KEY {
            return Err(Refused::TooLarge(
                "outcomes of more than 1000 instances, or a client's name of more than 1024 bytes",
            ));
        }
        let client = name_of(client);
        let outcomes = tallies.into_iter().filter_map(|tally| {
            Some(Outcome {
                host: tally.host,
                port: u16::try_from(tally.port).ok()?,
                client,
                successes: tally.successes,
                failures: tally.failures,
            })
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        let now = self.host.clock.now();
        Ok(self.directory.report(service, &outcomes, now)?)
    }

    /// All healthy endpoints of a service; there may be none.
    ///
    /// # Errors
    /// Why they are not told.
    pub fn endpoints(&self, service: &str) -> Result<Vec<Seen>, Refused> {
        let described = self.describe(service)?;
        let endpoints = described.endpoints();
        let now = self.host.clock.now();
        let seen = |endpoint: &Arc<Endpoint>| Seen::of(Arc::clone(endpoint), &self.directory, now);
        Ok(endpoints.map(seen).collect())
    }

    /// All healthy endpoints of a service, and then what changes.
    ///
    /// # Errors
    /// Why they are not told.
    pub fn watch(&self, service: &str) -> Result<Watching, Refused> {
        let described = self.describe(service)?;
        let permit = self.place()?;
        let answers = self.clone();
        Ok(Watching::new(
            answers,
            service.to_owned(),
            described,
            permit,
        ))
    }

    /// A place among the watches, for somebody who watches in another way.
    ///
    /// # Errors
    /// All are taken.
    pub fn place(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        permit.map_err(|_| {
            self.counters.watch(self.host.clock.now());
            Refused::Overloaded(self.limits.watches)
        })
    }

    /// The names that are found, sorted.
    ///
    /// # Errors
    /// Before the view is complete.
    pub fn services(&self) -> Result<Vec<Listed>, Refused> {
        Ok(self.directory.catalogue().map_err(Refusal::from)?)
    }

    /// How long ago the store was last heard; zero before it was.
    pub fn age(&self) -> Duration {
        let age = self.directory.age(self.host.clock.now());
        age.unwrap_or_default()
    }

    /// The same in milliseconds.
    pub fn age_millis(&self) -> u64 {
        u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX)
    }

    /// What it answers from.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The endpoints of `service`, unless they are given out by tickets only.
    fn describe(&self, service: &str) -> Result<Described, Refused> {
        let described = self.directory.describe(service)?;
        match described.is_exclusive() {
            true => Err(Refusal::Exclusive(service.to_owned()).into()),
            false => Ok(described),
        }
    }
}

/// A number that stands for a client's name (FNV-1a).
fn name_of(client: &str) -> u64 {
    (client.bytes()).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Refuses questions that are larger than any honest one.
fn check(request: &Request) -> Result<(), Refused> {
    let attributes = request.attributes.iter();
    let size: usize = attributes.map(|(key, value)| key.len() + value.len()).sum();
    Err(Refused::TooLarge(
        if request.attributes.len() > MOST_ATTRIBUTES.0 || size > MOST_ATTRIBUTES.1 {
            "the attributes are more than 64, or more than 4096 bytes"
        } else if request.affinity_key.len() > LONGEST_KEY {
            "the affinity key has more than 1024 bytes"
        } else if request.excluded.len() > MOST {
            "more than 1000 endpoints are excluded"
        } else {
            return Ok(());
        },
    ))
}
