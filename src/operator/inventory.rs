//! Services, instances, nodes and endpoints as people and scripts read them. The field names are an
//! interface (`quaestor get -o json`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, Operator};
use crate::{
    keys::Key,
    model::{
        Assignment, Condition, ConditionStatus, Desired, Exit, Instance, InstanceState, LoadReport,
        Name, NodeLoad, NodeSpec, NodeStatus, Phase, Run, ServiceObject, ServiceStatus, Session,
        Timestamp, Usage,
        service::{Capacity, Labels},
        state::{Endpoint, HookFailure},
    },
    plan::overview::SCHEDULABLE,
};

/// All of a cluster that can be looked at.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// By name.
    pub services: Vec<Service>,
    /// By service and slot.
    pub instances: Vec<InstanceInfo>,
    /// By name.
    pub nodes: Vec<Node>,
    /// The applied manifests.
    pub objects: BTreeMap<Name, ServiceObject>,
}

/// A service and how far it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The service.
    pub name: Name,
    /// Instances wanted; unknown until the controller has planned it, save where the manifest says.
    pub replicas: Option<u32>,
    /// Instances that clients may be sent to.
    pub ready: u32,
    /// Instances whose process runs the current revision.
    pub updated: u32,
    /// Changes of the manifest so far; none when its manifest is gone.
    pub generation: Option<u64>,
    /// Whether it was deleted and its instances are still being stopped.
    pub deleted: bool,
    /// Whether its rollout is paused: changes of its template wait, should there be any.
    pub paused: bool,
    /// The generation that the controller has planned; 0 before it has seen any.
    pub observed_generation: u64,
    /// What holds of it.
    pub conditions: Vec<Condition>,
    /// Names under which clients find it.
    pub service_names: Vec<String>,
    /// Its labels.
    pub labels: Labels,
}

/// An instance: what is wanted of it and what is seen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceInfo {
    /// `<service>-<slot>`.
    pub name: Instance,
    /// Its service.
    pub service: Name,
    /// Its node.
    pub node: Name,
    /// What it is doing; none until its agent has said so.
    pub phase: Option<Phase>,
    /// Whether clients may be sent to it.
    pub ready: bool,
    /// Process id, while a process lives.
    pub pid: Option<u32>,
    /// Port numbers by name.
    pub ports: BTreeMap<String, u16>,
    /// Starts after the first.
    pub restarts: u32,
    /// Why it is in its phase, in one word.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// What its process says that it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_text: String,
    /// Whether somebody else runs it.
    pub external: bool,
    /// Whether it is to run, or being stopped for good; none for one whose assignment vanished.
    pub desired: Option<Desired>,
    /// Where clients reach it.
    pub endpoint: Option<Endpoint>,
    /// The revision of its process.
    pub revision: String,
    /// When its process was started.
    pub started_at: Option<Timestamp>,
    /// When the next start is due.
    pub next_start_at: Option<Timestamp>,
    /// How its process ended last.
    pub last_exit: Option<Exit>,
    /// How its `preStop` command failed before the last stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop_failure: Option<HookFailure>,
    /// Its last load report.
    pub load: Option<LoadReport>,
    /// What it uses up.
    pub usage: Option<Usage>,
}

/// A host.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The node.
    pub name: Name,
    /// Whether its agent is there: `Ready`, `Unknown`, `Lost`, `Deleted`.
    pub status: String,
    /// Why it takes no new instances: `Cordoned`, `Draining`, `Drained`; none where it does.
    pub closed: Option<String>,
    /// Where its instances are reached.
    pub address: String,
    /// `host:port` at which its agent is asked for logs; none where it serves none.
    pub agent_address: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// What it has to give to its instances.
    pub capacity: Capacity,
    /// Instances assigned to it.
    pub instances: usize,
    /// Version of its agent; empty while there is none.
    pub version: String,
    /// When its agent's session began.
    pub started_at: Option<Timestamp>,
    /// What holds of it.
    pub conditions: Vec<Condition>,
}

/// Where an instance is reached.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointInfo {
    /// Its service.
    pub service: Name,
    /// `<service>-<slot>`.
    pub instance: Instance,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether clients may be sent to it.
    pub ready: bool,
    /// Its node.
    pub node: Name,
}

impl Inventory {
    /// Where the instances are reached, by service and slot.
    pub fn endpoints(&self) -> Vec<EndpointInfo> {
        let endpoint = |instance: &InstanceInfo| {
            let Endpoint { host, port } = instance.endpoint.clone()?;
            Some(EndpointInfo {
                service: instance.service.clone(),
                instance: instance.name.clone(),
                host,
                port,
                ready: instance.ready,
                node: instance.node.clone(),
            })
        };
        self.instances.iter().filter_map(endpoint).collect()
    }
}

/// What one cluster's keys say, by noun.
#[derive(Default)]
pub(super) struct Raw {
    objects: BTreeMap<Name, ServiceObject>,
    statuses: BTreeMap<Name, ServiceStatus>,
    assignments: BTreeMap<Seat, Assignment>,
    states: BTreeMap<Seat, InstanceState>,
    sessions: BTreeMap<Name, Session>,
    node_specs: BTreeMap<Name, NodeSpec>,
    node_statuses: BTreeMap<Name, NodeStatus>,
    /// By node.
    loads: BTreeMap<Name, NodeLoad>,
    /// Services whose stored manifest cannot be read.
    unreadable: BTreeSet<Name>,
    /// Services that were deleted.
    deleted: BTreeSet<Name>,
}

/// An instance on a node. While it moves, it has two of them.
pub(super) type Seat = (Instance, Name);

impl Operator {
    /// Reads all that there is now, at one revision; not what was before, such as events and old templates.
    pub async fn inventory(&self) -> Result<Inventory, Error> {
        let keys = &self.keys;
        let prefixes = [
            keys.service_specs(),
            keys.tombstones(),
            keys.node_specs(),
            keys.statuses(),
            keys.assignments(),
            keys.states(),
            keys.sessions(),
            keys.loads(),
        ];
        let listing = self.store.list_all(&prefixes).await?;
        let mut raw = Raw::default();
        for entry in &listing.entries {
            if let Some(key) = self.keys.parse(&entry.key) {
                raw.take(key, Some(&entry.value));
            }
        }
        Ok(raw.inventory())
    }
}

/// Keeps what `value` says under `key`; nothing, where it says nothing that can be read.
fn keep<K: Ord, V: DeserializeOwned>(known: &mut BTreeMap<K, V>, key: K, value: Option<&[u8]>) {
    match value.and_then(|value| serde_json::from_slice(value).ok()) {
        Some(value) => drop(known.insert(key, value)),
        None => drop(known.remove(&key)),
    }
}

impl Raw {
    /// Takes in what lies under a key; none: nothing any more.
    pub(super) fn take(&mut self, key: Key, value: Option<&[u8]>) {
        match key {
            Key::ServiceSpec(name) => {
                keep(&mut self.objects, name.clone(), value);
                match value.is_some() && !self.objects.contains_key(&name) {
                    true => self.unreadable.insert(name),
                    false => self.unreadable.remove(&name),
                };
            }
            Key::Tombstone(name) => match value {
                Some(_) => drop(self.deleted.insert(name)),
                None => drop(self.deleted.remove(&name)),
            },
            Key::ServiceStatus(name) => keep(&mut self.statuses, name, value),
            Key::Assignment(node, instance) => {
                keep(&mut self.assignments, (instance, node), value);
            }
            Key::State(node, instance) => keep(&mut self.states, (instance, node), value),
            Key::Session(node) => keep(&mut self.sessions, node, value),
            Key::NodeSpec(node) => keep(&mut self.node_specs, node, value),
            Key::NodeStatus(node) => keep(&mut self.node_statuses, node, value),
            Key::Load(node) => keep(&mut self.loads, node, value),
            _ => {}
        }
    }

    /// All of it, as one reads it.
    pub(super) fn inventory(&self) -> Inventory {
        let names = (self.objects.keys())
            .chain(self.statuses.keys())
            .chain(&self.unreadable);
        let services: BTreeSet<&Name> = names.collect();
        let nodes = self.sessions.keys().chain(self.node_statuses.keys());
        let nodes: BTreeSet<&Name> = nodes.collect();
        Inventory {
            services: (services.into_iter())
                .filter_map(|name| self.service(name))
                .collect(),
            instances: (self.seats().into_iter())
                .filter_map(|seat| {
                    let (instance, node) = seat;
                    let load = self.loads.get(node);
                    Some(InstanceInfo {
                        load: load.and_then(|load| load.instances.get(instance)).copied(),
                        usage: load.and_then(|load| load.usage.get(instance)).copied(),
                        ..self.instance(seat)?
                    })
                })
                .collect(),
            nodes: nodes
                .into_iter()
                .filter_map(|name| self.node(name))
                .collect(),
            objects: self.objects.clone(),
        }
    }

    /// Every instance on every node that anything is said of.
    pub(super) fn seats(&self) -> BTreeSet<&Seat> {
        self.assignments.keys().chain(self.states.keys()).collect()
    }

    /// What the agent of a seat reports.
    pub(super) fn state(&self, seat: &Seat) -> Option<&InstanceState> {
        self.states.get(seat)
    }

    /// What is applied of a service.
    pub(super) fn object(&self, name: &Name) -> Option<&ServiceObject> {
        self.objects.get(name)
    }

    /// What the leader reports of a service.
    pub(super) fn status(&self, name: &Name) -> Option<&ServiceStatus> {
        self.statuses.get(name)
    }

    /// The load of a node's instances.
    pub(super) fn load(&self, node: &Name) -> Option<&NodeLoad> {
        self.loads.get(node)
    }

    /// A service; none where nothing is said of it.
    pub(super) fn service(&self, name: &Name) -> Option<Service> {
        let object = self.objects.get(name);
        let status = self.statuses.get(name);
        let is_unreadable = self.unreadable.contains(name);
        if object.is_none() && status.is_none() && !is_unreadable {
            return None;
        }
        let wanted = object.and_then(|object| {
            let spec = &object.spec;
            match (spec.one_per_node, spec.external.len()) {
                (true, _) => None,
                (false, 0) => Some(spec.replicas.unwrap_or(1)),
                (false, external) => u32::try_from(external).ok(),
            }
        });
        Some(Service {
            name: name.clone(),
            replicas: status.map(|status| status.replicas).or(wanted),
            ready: status.map_or(0, |status| status.ready),
            updated: status.map_or(0, |status| status.updated),
            generation: object.map(|object| object.generation),
            deleted: object.is_none() && self.deleted.contains(name) && !is_unreadable,
            paused: object.is_some_and(|object| object.paused),
            observed_generation: status.map_or(0, |status| status.observed_generation),
            conditions: status
                .map(|status| status.conditions.clone())
                .unwrap_or_default(),
            service_names: object
                .map(|object| object.spec.discovery_names(name))
                .unwrap_or_default()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            labels: object
                .map(|object| object.metadata.labels.clone())
                .unwrap_or_default(),
        })
    }

    /// An instance, without its load; none where nothing is said of it.
    pub(super) fn instance(&self, seat: &Seat) -> Option<InstanceInfo> {
        let assignment = self.assignments.get(seat);
        let state = self.states.get(seat);
        if assignment.is_none() && state.is_none() {
            return None;
        }
        let (instance, node) = seat;
        Some(InstanceInfo {
            name: instance.clone(),
            service: instance.service.clone(),
            node: node.clone(),
            phase: state.map(|state| state.phase),
            ready: state.is_some_and(|state| state.ready),
            pid: state.and_then(|state| state.pid),
            ports: state.map(|state| state.ports.clone()).unwrap_or_default(),
            restarts: state.map_or(0, |state| state.restarts),
            reason: state.map(|state| state.reason.clone()).unwrap_or_default(),
            message: state.map(|state| state.message.clone()).unwrap_or_default(),
            status_text: state
                .map(|state| state.status_text.clone())
                .unwrap_or_default(),
            external: assignment.is_some_and(|found| matches!(found.run, Run::External { .. })),
            desired: assignment.map(|assignment| assignment.desired),
            endpoint: state.and_then(|state| state.endpoint.clone()),
            revision: state
                .map(|state| state.revision.clone())
                .unwrap_or_default(),
            started_at: state.and_then(|state| state.started_at),
            next_start_at: state.and_then(|state| state.next_start_at),
            last_exit: state.and_then(|state| state.last_exit.clone()),
            pre_stop_failure: state.and_then(|state| state.pre_stop_failure.clone()),
            load: None,
            usage: None,
        })
    }

    /// The labels of a node, as an operator has changed them.
    fn labels_of(&self, node: &Name) -> Labels {
        let announced = self
            .sessions
            .get(node)
            .map(|session| session.labels.clone());
        let announced = announced.unwrap_or_default();
        let spec = self.node_specs.get(node);
        spec.map_or_else(|| announced.clone(), |spec| spec.labels(&announced))
    }

    /// A node; none where nothing is said of it.
    pub(super) fn node(&self, name: &Name) -> Option<Node> {
        let session = self.sessions.get(name);
        let status = self.node_statuses.get(name);
        if session.is_none() && status.is_none() {
            return None;
        }
        let conditions = status
            .map(|status| status.conditions.clone())
            .unwrap_or_default();
        let ready = conditions
            .iter()
            .find(|condition| condition.r#type == "Ready");
        let known = ready.map_or(session.is_some(), |ready| {
            ready.status == ConditionStatus::True
        });
        Some(Node {
            name: name.clone(),
            status: match ready {
                _ if known => "Ready".to_owned(),
                Some(ready) if ready.status == ConditionStatus::False => ready.reason.clone(),
                _ => "Unknown".to_owned(),
            },
            closed: (conditions.iter())
                .find(|found| found.r#type == SCHEDULABLE && found.status == ConditionStatus::False)
                .map(|found| found.reason.clone()),
            address: session
                .map(|session| session.address.clone())
                .or_else(|| status.map(|status| status.address.clone()))
                .unwrap_or_default(),
            agent_address: session.and_then(|session| session.agent_address.clone()),
            labels: self.labels_of(name),
            capacity: session.map(|session| session.capacity).unwrap_or_default(),
            instances: self
                .assignments
                .keys()
                .filter(|(_, node)| node == name)
                .count(),
            version: session
                .map(|session| session.version.clone())
                .unwrap_or_default(),
            started_at: session.map(|session| session.started_at),
            conditions,
        })
    }
}
