//! Why a service, an instance, a node or the whole cluster is as it is: the chain of causes, from what the store
//! says alone. The command line and the dashboard print the same answer.
//!
//! - [`Cause`]: something that is so, and what it comes from; [`Seen`]: what is known
//! - `service`, `instance`, `process`, `node`, `cluster`: what is so of each
//! - `placement`: why an instance is not on a node
//! - [`text`]: an answer as lines

mod cluster;
mod instance;
mod node;
mod placement;
mod process;
mod service;
pub mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use crate::model::{
    Edit, Instance, Name, Timestamp,
    event::{Event, Object},
};

/// Something that is so, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// What it is about.
    pub object: Object,
    /// How bad it is.
    pub health: Health,
    /// What is so, one CamelCase word for programs.
    pub reason: String,
    /// The same for people: a sentence about the object that does not name it.
    pub sentence: String,
    /// Others of which the same holds, word for word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Object>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the next attempt is due, or it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What somebody can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What it comes from, the worst first. Those without any are the true causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Cause>,
}

/// How bad something is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// It stays so until somebody does something, or something outside changes.
    Broken,
    /// It goes on by itself.
    Waiting,
    /// It is as it should be.
    #[default]
    Fine,
}

/// What an answer is given from.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What the store says.
    pub cluster: &'a Cluster,
    /// Whether a controller leads.
    pub led: bool,
    /// Whether the store has no space left (its alarm NOSPACE).
    pub full: bool,
    /// What happened lately.
    pub events: &'a [Event],
    /// The last pause of a service's rollout, or its end: who did it.
    pub pauses: &'a BTreeMap<Name, Edit>,
    /// The time of the answer.
    pub now: Timestamp,
}

/// Why `object` is as it is; none for one that nothing is known of.
pub fn why(seen: &Seen<'_>, object: &Object) -> Option<Cause> {
    match object {
        Object::Service(name) => service::of(seen, name, &[]),
        Object::Instance(instance) => instance::of(seen, instance),
        Object::Node(name) => node::of(seen, name),
        Object::Cluster => Some(cluster::of(seen)),
    }
}

/// Why the service, or its instance in `slot`, is not on `node`; none for a service or node that nothing is known
/// of.
pub fn why_not(seen: &Seen<'_>, service: &Name, slot: Option<u32>, node: &Name) -> Option<Cause> {
    placement::why_not(seen, service, slot, node)
}

/// What is called `name`: `worker`, `worker-0`, `qa-1`, or with its kind as in `node/qa-1`; `cluster` is all of it.
/// An instance is also one that the service is to have and that has no node yet.
pub fn named(cluster: &Cluster, name: &str) -> Vec<Object> {
    if let Ok(object) = Object::try_from(name.to_owned()) {
        return is_known(cluster, &object)
            .then_some(object)
            .into_iter()
            .collect();
    }
    let service = name.parse().ok().map(Object::Service);
    let instance = name.parse().ok().map(Object::Instance);
    let node = name.parse().ok().map(Object::Node);
    let objects = [service, instance, node].into_iter().flatten();
    objects.filter(|object| is_known(cluster, object)).collect()
}

fn is_known(cluster: &Cluster, object: &Object) -> bool {
    match object {
        Object::Service(name) => cluster.services().contains_key(name),
        Object::Instance(instance) => instance::is_known(cluster, instance),
        Object::Node(name) => cluster.nodes().contains_key(name),
        Object::Cluster => true,
    }
}

impl Cause {
    fn new(object: Object, health: Health, reason: &str, sentence: impl Into<String>) -> Self {
        Self {
            object,
            health,
            reason: reason.to_owned(),
            sentence: sentence.into(),
            also: Vec::new(),
            since: None,
            until: None,
            remedy: None,
            because: Vec::new(),
        }
    }

    fn of_instance(
        instance: &Instance,
        health: Health,
        reason: &str,
        sentence: impl Into<String>,
    ) -> Self {
        Self::new(Object::Instance(instance.clone()), health, reason, sentence)
    }

    fn since(self, since: impl Into<Option<Timestamp>>) -> Self {
        Self {
            since: since.into(),
            ..self
        }
    }

    fn until(self, until: impl Into<Option<Timestamp>>) -> Self {
        Self {
            until: until.into(),
            ..self
        }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    fn because(mut self, causes: impl IntoIterator<Item = Self>) -> Self {
        self.because.extend(causes);
        self
    }

    /// The true causes: those at the ends of the chain.
    pub fn roots(&self) -> Vec<&Self> {
        match self.because.as_slice() {
            [] => vec![self],
            because => because.iter().flat_map(Self::roots).collect(),
        }
    }

    /// Takes in another one that says the same.
    fn absorb(&mut self, other: Self) {
        if other.object != self.object && !self.also.contains(&other.object) {
            self.also.push(other.object);
        }
        for (inner, other) in self.because.iter_mut().zip(other.because) {
            inner.absorb(other);
        }
    }

    /// Whether both say the same of different objects.
    fn is_like(&self, other: &Self) -> bool {
        let words = |cause: &Self| (cause.reason.clone(), cause.sentence.clone());
        words(self) == words(other)
            && self.remedy.is_some() == other.remedy.is_some()
            && self.because.len() == other.because.len()
            && (self.because.iter())
                .zip(&other.because)
                .all(|(a, b)| a.is_like(b))
    }
}

/// A number of things: `1 node`, `2 nodes`.
fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// The worst first, and of several that say the same one, with the others beside it.
fn folded(causes: impl IntoIterator<Item = Cause>) -> Vec<Cause> {
    let mut folded: Vec<Cause> = Vec::new();
    for cause in causes {
        match folded.iter_mut().find(|known| known.is_like(&cause)) {
            Some(known) => known.absorb(cause),
            None => folded.push(cause),
        }
    }
    folded.sort_by_key(|cause| cause.health);
    folded
}

#[cfg(test)]
mod tests;
