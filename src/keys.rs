//! The layout of the store: the only place where keys are built and taken apart.
//!
//! ```text
//! /quaestor/<cluster>/spec/service/<name>
//!                     spec/deleted/<name>
//!                     spec/applied/<name>
//!                     spec/node/<name>
//!                     spec/cluster
//!                     assign/<node>/<instance>
//!                     state/<node>/<instance>
//!                     load/<node>
//!                     session/<node>
//!                     route/<service>
//!                     status/service/<name>, status/node/<name>, status/cluster
//!                     revision/<service>/<hash>
//!                     leader
//!                     meta/identity
//!                     balancer/<id>
//!                     event/controller/leader/<id>, event/agent/<node>/<id>
//! ```
//!
//! [`registry`]: those of quaestor-mini-cluster, beside them.

pub mod registry;

mod rights;

use crate::model::{Instance, Name, event::Recorder};

pub use rights::{Access, Right};

/// Builds and reads the keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// `/quaestor/<cluster>/`.
    root: String,
}

/// What a key of the cluster stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Desired state of a service.
    ServiceSpec(Name),
    /// The record of an explicit deletion of a service.
    Tombstone(Name),
    /// Who applied what of a service, and who changed it.
    Authorship(Name),
    /// What an operator wants of a node.
    NodeSpec(Name),
    /// What an operator has confirmed.
    ClusterSpec,
    /// What a node is to run.
    Assignment(Name, Instance),
    /// What a node runs.
    State(Name, Instance),
    /// Load of a node's instances.
    Load(Name),
    /// Presence of a node's agent.
    Session(Name),
    /// How clients find a service.
    Route(Name),
    /// Reported status of a service.
    ServiceStatus(Name),
    /// Reported status of a node.
    NodeStatus(Name),
    /// A template that a service once had.
    Revision(Name, String),
    /// Reported status of the cluster.
    ClusterStatus,
    /// Who leads.
    Leader,
    /// The store's random identity and layout version.
    Identity,
    /// Presence of a balancer, by its id.
    Balancer(Name),
    /// Something that happened, by who recorded it and its id.
    Event(Recorder, String),
}

impl Keys {
    /// The keys of `cluster`.
    pub fn new(cluster: &Name) -> Self {
        Self {
            root: format!("/quaestor/{cluster}/"),
        }
    }

    /// The key, as text.
    pub fn of(&self, key: &Key) -> String {
        let root = &self.root;
        match key {
            Key::ServiceSpec(service) => format!("{root}spec/service/{service}"),
            Key::Tombstone(service) => format!("{root}spec/deleted/{service}"),
            Key::Authorship(service) => format!("{root}spec/applied/{service}"),
            Key::NodeSpec(node) => format!("{root}spec/node/{node}"),
            Key::ClusterSpec => format!("{root}spec/cluster"),
            Key::Assignment(node, instance) => format!("{root}assign/{node}/{instance}"),
            Key::State(node, instance) => format!("{root}state/{node}/{instance}"),
            Key::Load(node) => format!("{root}load/{node}"),
            Key::Session(node) => format!("{root}session/{node}"),
            Key::Route(service) => format!("{root}route/{service}"),
            Key::ServiceStatus(service) => format!("{root}status/service/{service}"),
            Key::NodeStatus(node) => format!("{root}status/node/{node}"),
            Key::Revision(service, hash) => format!("{root}revision/{service}/{hash}"),
            Key::ClusterStatus => format!("{root}status/cluster"),
            Key::Leader => format!("{root}leader"),
            Key::Identity => format!("{root}meta/identity"),
            Key::Balancer(id) => format!("{root}balancer/{id}"),
            Key::Event(recorder, id) => format!("{}{id}", self.events_of(recorder)),
        }
    }

    /// What `text` stands for; none for a key that is not part of the layout.
    pub fn parse(&self, text: &str) -> Option<Key> {
        let rest = text.strip_prefix(&self.root)?;
        let parts: Vec<&str> = rest.split('/').collect();
        Some(match parts[..] {
            ["spec", "service", name] => Key::ServiceSpec(name.parse().ok()?),
            ["spec", "deleted", name] => Key::Tombstone(name.parse().ok()?),
            ["spec", "applied", name] => Key::Authorship(name.parse().ok()?),
            ["spec", "node", name] => Key::NodeSpec(name.parse().ok()?),
            ["spec", "cluster"] => Key::ClusterSpec,
            ["assign", node, instance] => {
                Key::Assignment(node.parse().ok()?, instance.parse().ok()?)
            }
            ["state", node, instance] => Key::State(node.parse().ok()?, instance.parse().ok()?),
            ["load", node] => Key::Load(node.parse().ok()?),
            ["session", node] => Key::Session(node.parse().ok()?),
            ["route", service] => Key::Route(service.parse().ok()?),
            ["status", "service", name] => Key::ServiceStatus(name.parse().ok()?),
            ["status", "node", name] => Key::NodeStatus(name.parse().ok()?),
            ["revision", service, hash] if is_hash(hash) => {
                Key::Revision(service.parse().ok()?, hash.to_owned())
            }
            ["status", "cluster"] => Key::ClusterStatus,
            ["leader"] => Key::Leader,
            ["meta", "identity"] => Key::Identity,
            ["balancer", id] => Key::Balancer(id.parse().ok()?),
            ["event", "controller", "leader", id] if is_hash(id) => {
                Key::Event(Recorder::Leader, id.to_owned())
            }
            ["event", "agent", node, id] if is_hash(id) => {
                Key::Event(Recorder::Agent(node.parse().ok()?), id.to_owned())
            }
            _ => return None,
        })
    }

    /// Prefix of everything that belongs to the cluster.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Prefix of all desired state: of services, records of their deletion, nodes and the cluster.
    pub fn specs(&self) -> String {
        format!("{}spec/", self.root)
    }

    /// Prefix of what was applied of all services.
    pub fn service_specs(&self) -> String {
        format!("{}spec/service/", self.root)
    }

    /// Prefix of the records of deleted services.
    pub fn tombstones(&self) -> String {
        format!("{}spec/deleted/", self.root)
    }

    /// Prefix of what operators want of nodes.
    pub fn node_specs(&self) -> String {
        format!("{}spec/node/", self.root)
    }

    /// Prefix of all assignments.
    pub fn assignments(&self) -> String {
        format!("{}assign/", self.root)
    }

    /// Prefix of the assignments of one node.
    pub fn assignments_of(&self, node: &Name) -> String {
        format!("{}assign/{node}/", self.root)
    }

    /// Prefix of all instance states.
    pub fn states(&self) -> String {
        format!("{}state/", self.root)
    }

    /// Prefix of the instance states of one node.
    pub fn states_of(&self, node: &Name) -> String {
        format!("{}state/{node}/", self.root)
    }

    /// Prefix of all load records.
    pub fn loads(&self) -> String {
        format!("{}load/", self.root)
    }

    /// Prefix of all sessions.
    pub fn sessions(&self) -> String {
        format!("{}session/", self.root)
    }

    /// Prefix of all routes.
    pub fn routes(&self) -> String {
        format!("{}route/", self.root)
    }

    /// Prefix of the templates that services once had.
    pub fn revisions(&self) -> String {
        format!("{}revision/", self.root)
    }

    /// Prefix of the templates that one service once had.
    pub fn revisions_of(&self, service: &Name) -> String {
        format!("{}revision/{service}/", self.root)
    }

    /// Prefix of the presence of all balancers.
    pub fn balancers(&self) -> String {
        format!("{}balancer/", self.root)
    }

    /// Prefix of all events.
    pub fn events(&self) -> String {
        format!("{}event/", self.root)
    }

    /// Prefix of the events that one recorder writes.
    pub fn events_of(&self, recorder: &Recorder) -> String {
        match recorder {
            Recorder::Leader => format!("{}event/controller/leader/", self.root),
            Recorder::Agent(node) => format!("{}event/agent/{node}/", self.root),
        }
    }

    /// Prefix of all reported status.
    pub fn statuses(&self) -> String {
        format!("{}status/", self.root)
    }
}

/// Whether `text` can be the hash of a template or event.
fn is_hash(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn every_key_reads_back_as_it_was_built() {
        let keys = Keys::new(&name("default"));
        let instance = Instance::new(name("a-b"), 7);
        for key in [
            Key::ServiceSpec(name("a")),
            Key::Tombstone(name("a")),
            Key::Authorship(name("a")),
            Key::NodeSpec(name("n")),
            Key::ClusterSpec,
            Key::ClusterStatus,
            Key::Assignment(name("n"), instance.clone()),
            Key::State(name("n"), instance),
            Key::Load(name("n")),
            Key::Session(name("n")),
            Key::Route(name("a")),
            Key::ServiceStatus(name("a")),
            Key::NodeStatus(name("n")),
            Key::Revision(name("a"), "0f".to_owned()),
            Key::Leader,
            Key::Identity,
            Key::Balancer(name("0f")),
            Key::Event(Recorder::Leader, "0f".to_owned()),
            Key::Event(Recorder::Agent(name("n")), "0f".to_owned()),
        ] {
            assert_eq!(keys.parse(&keys.of(&key)), Some(key));
        }
    }

    #[test]
    fn foreign_and_malformed_keys_mean_nothing() {
        let keys = Keys::new(&name("default"));
        for text in [
            "",
            "/quaestor/other/leader",
            "/quaestor/default/",
            "/quaestor/default/assign/n",
            "/quaestor/default/assign/n/worker",
            "/quaestor/default/assign/n/worker-1/x",
            "/quaestor/default/spec/service/UPPER",
            "/quaestor/default/spec/service/..",
            "/quaestor/default/revision/a/x-1",
        ] {
            assert_eq!(keys.parse(text), None, "{text}");
        }
    }

    #[test]
    fn prefixes_end_in_a_slash_so_that_no_name_contains_another() {
        let keys = Keys::new(&name("default"));
        for prefix in [
            keys.assignments_of(&name("h1")),
            keys.states_of(&name("h1")),
            keys.loads(),
        ] {
            assert!(prefix.ends_with('/'), "{prefix}");
        }
    }
}
