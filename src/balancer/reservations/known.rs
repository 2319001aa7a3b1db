//! What the store says of exclusive services, agents and balancers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::Agent;
use crate::{
    host::Host,
    keys::{Key, Keys},
    model::{InstanceState, Moment, Name, Presence, Route, Session},
    plan::queue,
    store::Change,
};

/// A new identity for a balancer.
pub(super) fn new_id(host: &Host) -> Name {
    // 32 hexadecimal digits are a name; an id of one of two balancers without any would do no harm.
    let id = host.entropy.uuid().parse();
    id.unwrap_or_else(|_| unreachable!("hexadecimal digits are a name"))
}

/// What callers need to know. Replaced as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Whether everything was said once.
    pub(super) synced: bool,
    /// The published services, by every name that clients use.
    names: BTreeMap<String, BTreeSet<Name>>,
    /// Those of them that are exclusive, and how long a ticket of theirs lasts.
    exclusive: BTreeMap<Name, Duration>,
    /// Where the agents are.
    agents: BTreeMap<Name, String>,
    /// Where the balancers are, by id; none: nobody can be told.
    balancers: BTreeMap<Name, Option<String>>,
    /// When one of them was seen to vanish last.
    pub(super) vanished: Option<Moment>,
}

impl Known {
    /// The exclusive service that is called `name`; of several, the first.
    pub(super) fn service(&self, name: &str) -> Option<&Name> {
        let mut services = self.names.get(name)?.iter();
        services.find(|service| self.exclusive.contains_key(*service))
    }

    /// Whether any service is called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// How long a ticket lasts.
    pub(super) fn ttl(&self, service: &Name) -> Duration {
        self.exclusive.get(service).copied().unwrap_or_default()
    }

    pub(super) fn agent(&self, node: &Name) -> Option<Agent> {
        let address = self.agents.get(node)?.clone();
        let node = node.clone();
        Some(Agent { node, address })
    }

    /// Which of the balancers that are not `avoided` keeps the queue of `service`, and where it is.
    pub(super) fn keeper(
        &self,
        service: &Name,
        avoided: impl Fn(&Name) -> bool,
    ) -> Option<(&Name, &str)> {
        let reached = self.balancers.iter();
        let reached = reached.filter(|(id, address)| address.is_some() && !avoided(id));
        let keeper = queue::keeper(service, reached.map(|(id, _)| id))?;
        Some((keeper, self.balancers.get(keeper)?.as_deref()?))
    }

    /// The ids of all balancers.
    pub(super) fn balancers(&self) -> impl Iterator<Item = &Name> {
        self.balancers.keys()
    }

    /// The exclusive services.
    pub(super) fn services(&self) -> impl Iterator<Item = &Name> {
        self.exclusive.keys()
    }
}

/// Keeps what is known up to date.
pub(super) struct Roster {
    keys: Keys,
    current: Known,
    routes: BTreeMap<Name, Route>,
    /// Where instances of each service are, by slot.
    hosts: BTreeMap<Name, BTreeSet<(Name, u32)>>,
}

impl Roster {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            current: Known::default(),
            routes: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    /// The prefixes that it is about.
    pub(super) fn prefixes(&self) -> Vec<String> {
        let keys = &self.keys;
        vec![
            keys.routes(),
            keys.states(),
            keys.sessions(),
            keys.balancers(),
        ]
    }

    /// Takes in what was seen at `now` to have changed. A value that cannot be read changes nothing.
    pub(super) fn apply(&mut self, changes: Vec<Change>, now: Moment) -> Arc<Known> {
        for change in changes {
            let (key, value) = match &change {
                Change::Put(entry) => (&entry.key, Some(&entry.value[..])),
                Change::Delete { key, .. } => (key, None),
            };
            match self.keys.parse(key) {
                Some(Key::Route(service)) => {
                    set(&mut self.routes, service, json(value));
                }
                Some(Key::Session(node)) => {
                    // Without a session an agent is still the one that knows its tickets.
                    if let Some(Some(session)) = json::<Session>(value)
                        && let Some(address) = session.agent_address
                    {
                        self.current.agents.insert(node, address);
                    }
                }
                Some(Key::Balancer(id)) => {
                    if value.is_none() {
                        self.current.vanished = Some(now);
                    }
                    let address = json(value).map(|other: Option<Presence>| Some(other?.address));
                    set(&mut self.current.balancers, id, address);
                }
                Some(Key::State(node, instance)) => {
                    let hosts = self.hosts.entry(instance.service).or_default();
                    match json::<InstanceState>(value) {
                        Some(Some(_)) => hosts.insert((node, instance.slot)),
                        Some(None) => hosts.remove(&(node, instance.slot)),
                        None => continue,
                    };
                }
                _ => {}
            }
        }
        self.hosts.retain(|_, hosts| !hosts.is_empty());
        self.current.synced = true;
        self.current.names = BTreeMap::new();
        self.current.exclusive = BTreeMap::new();
        for route in self.routes.values().filter(|route| route.published) {
            for name in &route.names {
                let services = self.current.names.entry(name.clone()).or_default();
                services.insert(route.service.clone());
            }
            if let Some(spec) = route.balance.tickets() {
                (self.current.exclusive).insert(route.service.clone(), spec.ttl.get());
            }
        }
        Arc::new(self.current.clone())
    }

    /// The nodes on which `service` has instances.
    pub(super) fn nodes(&self, service: &Name) -> impl Iterator<Item = &Name> {
        self.hosts
            .get(service)
            .into_iter()
            .flatten()
            .map(|(node, _)| node)
    }
}

/// None: it cannot be read. None within: it is gone.
fn json<T: DeserializeOwned>(value: Option<&[u8]>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => serde_json::from_slice(value).ok().map(Some),
    }
}

fn set<T>(map: &mut BTreeMap<Name, T>, name: Name, value: Option<Option<T>>) {
    match value {
        Some(Some(value)) => {
            map.insert(name, value);
        }
        Some(None) => {
            map.remove(&name);
        }
        None => {}
    }
}
