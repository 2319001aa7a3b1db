//! On which nodes instances are, and where the agents of those are asked: now, and whenever that changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Operator, decode, inventory::Inventory};
use crate::{
    keys::{Key, Keys},
    model::{Assignment, Instance, Name, Run, Session},
    store::{Change, Entry, Follow},
};

/// Whose whereabouts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of all instances of a service.
    Service(Name),
    /// Those of one instance.
    Instance(Instance),
    /// That of one instance on this node, whether the store knows of it or not: it may be its agent's own.
    On(Name, Instance),
}

impl Whose {
    fn includes(&self, instance: &Instance) -> bool {
        match self {
            Self::Service(service) => instance.service == *service,
            Self::Instance(wanted) => instance == wanted,
            // It is known where that is.
            Self::On(..) => false,
        }
    }

    /// Where it is, whatever the store says.
    fn place(&self) -> Option<Place> {
        match self {
            Self::On(node, instance) => Some((instance.clone(), node.clone())),
            _ => None,
        }
    }
}

/// An instance on a node. While it moves, it has two of them.
pub type Place = (Instance, Name);

/// Where instances are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where they run, are to run or leave. Without those that somebody else runs.
    pub places: BTreeSet<Place>,
    /// The agents that are there, by node; of all nodes.
    pub agents: BTreeMap<Name, Agent>,
}

/// The agent of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its version.
    pub version: String,
    /// `host:port` at which it is asked; none where it serves nothing.
    pub address: Option<String>,
}

impl Whereabouts {
    /// Those that an inventory tells.
    pub fn of(inventory: &Inventory, whose: &Whose) -> Self {
        let ours = (inventory.instances.iter())
            .filter(|instance| !instance.external && whose.includes(&instance.name));
        // A node without an agent has no version.
        let present = (inventory.nodes.iter()).filter(|node| !node.version.is_empty());
        Self {
            places: ours
                .map(|instance| (instance.name.clone(), instance.node.clone()))
                .chain(whose.place())
                .collect(),
            agents: present
                .map(|node| {
                    let agent = Agent {
                        version: node.version.clone(),
                        address: node.agent_address.clone(),
                    };
                    (node.name.clone(), agent)
                })
                .collect(),
        }
    }
}

/// Follows where instances are.
pub struct Search {
    keys: Keys,
    whose: Whose,
    follow: Follow,
    /// What is assigned, and whether somebody else runs it.
    assigned: BTreeMap<Place, bool>,
    observed: BTreeSet<Place>,
    agents: BTreeMap<Name, Agent>,
}

impl Operator {
    /// Begins to follow where instances are.
    pub fn search(&self, whose: Whose) -> Search {
        let prefixes = vec![
            self.keys.assignments(),
            self.keys.states(),
            self.keys.sessions(),
        ];
        Search {
            keys: self.keys.clone(),
            whose,
            follow: self.store.follow(prefixes),
            assigned: BTreeMap::new(),
            observed: BTreeSet::new(),
            agents: BTreeMap::new(),
        }
    }
}

impl Search {
    /// Waits for news and says where all are by then. Cancel-safe.
    pub async fn next(&mut self) -> Whereabouts {
        let update = self.follow.next().await;
        for change in &update.changes {
            self.note(change);
        }
        let is_ours = |place: &&Place| !self.assigned.get(*place).copied().unwrap_or(false);
        let places = self.assigned.keys().chain(&self.observed);
        Whereabouts {
            places: (places.filter(is_ours).cloned())
                .chain(self.whose.place())
                .collect(),
            agents: self.agents.clone(),
        }
    }

    fn note(&mut self, change: &Change) {
        let value = match change {
            Change::Put(entry) => Some(entry),
            Change::Delete { .. } => None,
        };
        match self.keys.parse(change.key()) {
            Some(Key::Assignment(node, instance)) if self.whose.includes(&instance) => {
                self.assigned.remove(&(instance.clone(), node.clone()));
                if let Some(entry) = value {
                    self.assigned.insert((instance, node), is_external(entry));
                }
            }
            Some(Key::State(node, instance)) if self.whose.includes(&instance) => {
                match value {
                    Some(_) => self.observed.insert((instance, node)),
                    None => self.observed.remove(&(instance, node)),
                };
            }
            Some(Key::Session(node)) => {
                self.agents.remove(&node);
                let session: Option<Session> = value.and_then(decode);
                self.agents.extend(session.map(|session| {
                    let agent = Agent {
                        version: session.version,
                        address: session.agent_address,
                    };
                    (node, agent)
                }));
            }
            _ => {}
        }
    }
}

/// Whether an assignment is about what somebody else runs. One that cannot be read may be of ours.
fn is_external(entry: &Entry) -> bool {
    let assignment: Option<Assignment> = decode(entry);
    assignment.is_some_and(|assignment| matches!(assignment.run, Run::External { .. }))
}
