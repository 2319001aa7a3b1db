//! The state of the world, told to one client: one after the other, what it has subscribed to and does not
//! have yet.
//!
//! ```text
//! request --> hear --> subscription --> next --> push --> the client's answer: a request again
//! ```
//!
//! Of each kind at most one push is under way: what changes until the client has answered goes into the next
//! one, so that a slow client gets the newest and nothing piles up. A client that answers nothing is sent what
//! is new all the same after [`PATIENCE`], a few times, but counts as not having taken it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::model::Moment;

/// How long a push waits for the answer to the one before. Clients answer within a round trip.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many pushes of a kind may be without an answer. What a client does not read lies in our memory.
const MOST_OPEN: u32 = 3;

/// Names of one kind that one client may subscribe to. A client has one for each target that it dials.
const MOST_NAMES: usize = 1000;

/// Bytes of one name; those of services are shorter.
const LONGEST_NAME: usize = 256;

/// Services whose endpoints go into one push: with hundreds of endpoints each it stays below the 4 MiB that clients
/// take.
const MOST_AT_ONCE: usize = 50;

/// A kind of resource, in the order in which changes are told: nothing is to name what is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// How to choose among a service's endpoints.
    Cluster,
    /// Where its endpoints are.
    Endpoints,
    /// That it is found by its name.
    Listener,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Cluster, Self::Endpoints, Self::Listener];

    /// Whether every push has all that is subscribed to, and what it lacks is deleted.
    fn is_whole(self) -> bool {
        self != Self::Endpoints
    }
}

/// What a client says.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is about.
    pub kind: Kind,
    /// The push that it answers; empty: none.
    pub nonce: String,
    /// All that it wants of this kind.
    pub names: Vec<Arc<str>>,
    /// Why it did not take that push; none: it took it.
    pub refusal: Option<String>,
}

/// What a request meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It says what the client wants.
    Subscribed,
    /// It says that the client has taken the last push.
    Acknowledged,
    /// It says that the client has not; whether it says so for the first time.
    Refused(bool),
    /// It answers a push before the last one: the client does not know yet what it will want.
    Stale,
}

/// Why a client is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// It wants more than any honest one.
    #[error("more than {MOST_NAMES} names of a kind, or one of more than {LONGEST_NAME} bytes")]
    Alone,
    /// See [`super::Demand`].
    #[error("all clients together want more names than a balancer keeps: ask another one")]
    Together,
}

/// The versions that there are now. They only grow; none: not known yet.
pub trait Versions {
    /// The version of a resource.
    fn version(&self, kind: Kind, name: &str) -> Option<u64>;
}

/// What a client is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// What it is about.
    pub kind: Kind,
    /// What it has.
    pub names: Vec<Arc<str>>,
    /// The newest version in it.
    pub version: u64,
    /// How its answer is known.
    pub nonce: u64,
}

/// What a client knows of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The service's name.
    pub name: Arc<str>,
    /// The version that it was sent last.
    pub sent: Option<u64>,
    /// The last version that it took.
    pub acknowledged: Option<u64>,
}

/// One client.
#[derive(Debug, Default)]
pub struct Stream {
    topics: BTreeMap<Kind, Topic>,
    /// The last one given.
    nonce: u64,
    refusals: u64,
    last_refusal: String,
}

/// What a client knows of one kind.
#[derive(Debug, Default)]
struct Topic {
    names: BTreeMap<Arc<str>, Told>,
    /// That of the last push; 0: there was none.
    nonce: u64,
    /// Pushes since the last that was answered.
    open: u32,
    /// Until when the next one waits for the answer.
    waits_until: Option<Moment>,
    /// Whether what is wanted has grown since the last push.
    has_grown: bool,
    /// The push whose refusal was heard.
    refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    sent: Option<u64>,
    acknowledged: Option<u64>,
}

impl Stream {
    /// Takes in what the client says.
    ///
    /// # Errors
    /// When it wants too much; its stream is to end.
    pub fn hear(&mut self, request: Request) -> Result<Heard, TooMuch> {
        let is_too_long = |name: &Arc<str>| name.len() > LONGEST_NAME;
        if request.names.len() > MOST_NAMES || request.names.iter().any(is_too_long) {
            return Err(TooMuch::Alone);
        }
        let is_first = !self.topics.contains_key(&request.kind);
        let topic = self.topics.entry(request.kind).or_default();
        // The first of a stream may carry what the client knows from another one, which means nothing here.
        if !is_first && !topic.is_last(&request.nonce) {
            return Ok(Heard::Stale);
        }
        topic.want(request.names);
        if is_first {
            return Ok(Heard::Subscribed);
        }
        match request.refusal {
            Some(text) => {
                let is_new = topic.refused != topic.nonce;
                topic.refused = topic.nonce;
                topic.answered();
                self.refusals = self.refusals.saturating_add(1);
                self.last_refusal = text;
                Ok(Heard::Refused(is_new))
            }
            None if topic.open > 0 => {
                topic.answered();
                for told in topic.names.values_mut() {
                    told.acknowledged = told.sent;
                }
                Ok(Heard::Acknowledged)
            }
            None => Ok(Heard::Subscribed),
        }
    }

    /// What the client is to be sent next, if anything can be sent at `now`. It counts as sent.
    pub fn next(&mut self, versions: &impl Versions, now: Moment) -> Option<Push> {
        for kind in Kind::ALL {
            let Some(topic) = self.topics.get_mut(&kind) else {
                continue;
            };
            if let Some((names, version)) = topic.next(kind, versions, now) {
                self.nonce += 1;
                topic.nonce = self.nonce;
                topic.open += 1;
                topic.waits_until = (topic.open < MOST_OPEN).then_some(now + PATIENCE);
                return Some(Push {
                    kind,
                    names,
                    version,
                    nonce: self.nonce,
                });
            }
        }
        None
    }

    /// When to ask for the next push at the latest, whatever else happens.
    pub fn wake_at(&self) -> Option<Moment> {
        let waits = self.topics.values().filter_map(|topic| topic.waits_until);
        waits.min()
    }

    /// All names that it has subscribed to, of any kind.
    pub fn names(&self) -> BTreeSet<Arc<str>> {
        let topics = self.topics.values();
        topics
            .flat_map(|topic| topic.names.keys().cloned())
            .collect()
    }

    /// What it knows of each service.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let endpoints = self.topics.get(&Kind::Endpoints);
        let subscription = |name: Arc<str>| {
            let told = endpoints.and_then(|topic| topic.names.get(&name));
            let told = told.copied().unwrap_or_default();
            Subscription {
                sent: told.sent,
                acknowledged: told.acknowledged,
                name,
            }
        };
        self.names().into_iter().map(subscription).collect()
    }

    /// Whether it has subscribed to `name`, in any way.
    pub fn wants(&self, name: &str) -> bool {
        (self.topics.values()).any(|topic| topic.names.contains_key(name))
    }

    /// The last version of a service's endpoints that it took.
    pub fn taken(&self, name: &str) -> Option<u64> {
        let endpoints = self.topics.get(&Kind::Endpoints)?;
        endpoints.names.get(name)?.acknowledged
    }

    /// How many times it did not take what it was sent, and what it said the last time.
    pub fn refusals(&self) -> (u64, &str) {
        (self.refusals, &self.last_refusal)
    }
}

impl Topic {
    /// Whether `nonce` is that of the last push.
    fn is_last(&self, nonce: &str) -> bool {
        match self.nonce {
            0 => nonce.is_empty(),
            last => nonce.parse() == Ok(last),
        }
    }

    /// The client has answered the last push.
    fn answered(&mut self) {
        self.open = 0;
        self.waits_until = None;
    }

    /// Replaces what is wanted. What was given up and comes back is sent again.
    fn want(&mut self, names: Vec<Arc<str>>) {
        let names: BTreeSet<Arc<str>> = names.into_iter().collect();
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            self.names.entry(name).or_insert_with(|| {
                self.has_grown = true;
                Told::default()
            });
        }
    }

    /// What is to be sent, and its version.
    fn next(
        &mut self,
        kind: Kind,
        versions: &impl Versions,
        now: Moment,
    ) -> Option<(Vec<Arc<str>>, u64)> {
        let is_waiting = self.waits_until.is_some_and(|until| now < until);
        if is_waiting || self.open >= MOST_OPEN {
            return None;
        }
        self.waits_until = None;
        let news = |(name, told): (&Arc<str>, &Told)| {
            let version = versions.version(kind, name)?;
            (told.sent != Some(version)).then(|| (Arc::clone(name), version))
        };
        let due: Vec<(Arc<str>, u64)> = if kind.is_whole() {
            let all = self.names.keys().map(|name| {
                let version = versions.version(kind, name)?;
                Some((Arc::clone(name), version))
            });
            // An answer without one of them would say that there is no such service.
            let all = all.collect::<Option<Vec<_>>>()?;
            let is_first = self.nonce == 0;
            let has_news = self.has_grown || self.names.iter().any(|each| news(each).is_some());
            match is_first || has_news {
                true => all,
                false => return None,
            }
        } else {
            self.names
                .iter()
                .filter_map(news)
                .take(MOST_AT_ONCE)
                .collect()
        };
        if due.is_empty() && !(kind.is_whole() && self.nonce == 0) {
            return None;
        }
        self.has_grown = false;
        for (name, version) in &due {
            if let Some(told) = self.names.get_mut(name) {
                told.sent = Some(*version);
            }
        }
        let version = due.iter().map(|(_, version)| *version).max();
        let names = due.into_iter().map(|(name, _)| name).collect();
        Some((names, version.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests;
