//! What has to be planned again.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Name;

use super::{
    cluster::{Cluster, Service},
    node::Node,
};

/// What has to be planned again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    everything: bool,
    services: BTreeSet<Name>,
    nodes: BTreeSet<Name>,
    cluster: bool,
}

impl Scope {
    /// Everything there is.
    pub fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// Whether nothing has to be planned.
    pub fn is_empty(&self) -> bool {
        !self.everything && !self.cluster && self.services.is_empty() && self.nodes.is_empty()
    }

    /// Adds everything there is.
    pub fn add_everything(&mut self) {
        self.everything = true;
    }

    /// Adds a service.
    pub fn add(&mut self, service: Name) {
        self.services.insert(service);
    }

    /// Adds services.
    pub fn add_services(&mut self, names: impl IntoIterator<Item = Name>) {
        self.services.extend(names);
    }

    /// Adds a node.
    pub fn add_node(&mut self, name: Name) {
        self.nodes.insert(name);
    }

    /// Adds what is reported of the cluster as a whole.
    pub fn add_cluster(&mut self) {
        self.cluster = true;
    }

    /// Adds what `other` holds.
    pub fn extend(&mut self, other: Self) {
        self.everything |= other.everything;
        self.cluster |= other.cluster;
        self.services.extend(other.services);
        self.nodes.extend(other.nodes);
    }

    /// The services in it, in the order of their names.
    pub fn services<'a>(&'a self, cluster: &'a Cluster) -> Vec<(&'a Name, &'a Service)> {
        select(self.everything, &self.services, cluster.services())
    }

    /// The nodes in it, in the order of their names.
    pub fn nodes<'a>(&'a self, cluster: &'a Cluster) -> Vec<(&'a Name, &'a Node)> {
        select(self.everything, &self.nodes, cluster.nodes())
    }
}

fn select<'a, T>(
    everything: bool,
    names: &BTreeSet<Name>,
    all: &'a BTreeMap<Name, T>,
) -> Vec<(&'a Name, &'a T)> {
    if everything {
        all.iter().collect()
    } else {
        names
            .iter()
            .filter_map(|name| all.get_key_value(name))
            .collect()
    }
}
