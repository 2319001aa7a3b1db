//! Ports and load of the nodes, as they change while a plan is made.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Instance, Name, ServiceSpec,
    service::{PortSpec, Requests},
};

use super::{
    blueprint,
    cluster::{Cluster, Service},
    node::Node,
};

/// What is taken on each node: by what the store says, and by what this plan adds.
#[derive(Debug)]
pub struct Room<'a> {
    cluster: &'a Cluster,
    reserved: BTreeMap<Name, BTreeMap<u16, Instance>>,
    added: BTreeMap<Name, usize>,
    /// What is requested of each node's capacity, for those that were asked.
    requested: BTreeMap<Name, Requests>,
}

/// Numbers that the instances of one service hold anywhere. With `replicas`, each number of a range
/// belongs to one instance of the whole service.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Whether a number may be used once only, whatever the node.
    exclusive: bool,
    held: BTreeSet<(u16, u32)>,
}

impl Numbers {
    /// The numbers held by `service`.
    pub fn of(service: &Service, exclusive: bool) -> Self {
        let held = service.seats.iter().flat_map(|((slot, _), seat)| {
            let numbers = seat.numbers();
            numbers.into_iter().map(|number| (number, *slot))
        });
        Self {
            exclusive,
            held: held.collect(),
        }
    }

    fn is_free(&self, number: u16, slot: u32) -> bool {
        let mut holders = self.held.range((number, 0)..=(number, u32::MAX));
        !self.exclusive || holders.all(|(_, holder)| *holder == slot)
    }
}

impl<'a> Room<'a> {
    /// The nodes as the store says they are.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            reserved: BTreeMap::new(),
            added: BTreeMap::new(),
            requested: BTreeMap::new(),
        }
    }

    /// How many instances are assigned to `node`.
    pub fn load(&self, node: &Name) -> usize {
        let assigned = self.cluster.nodes().get(node).map(|n| n.assigned.len());
        assigned.unwrap_or(0) + self.added.get(node).copied().unwrap_or(0)
    }

    /// Another instance that holds `number` on `node`.
    fn holder(&self, node: &Name, number: u16, instance: &Instance) -> Option<&Instance> {
        let known = self.cluster.nodes().get(node);
        let stored = known.and_then(|n| n.ports.get(&number)).into_iter();
        let reserved = self.reserved.get(node).and_then(|n| n.get(&number));
        stored
            .flatten()
            .chain(reserved)
            .find(|holder| *holder != instance)
    }

    /// Numbers for `ports` of `instance` on `node`: those of `held` that are still allowed, else the
    /// lowest free ones. None stands for a port that the agent chooses.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub fn numbers(
        &self,
        node: &Name,
        instance: &Instance,
        ports: &[PortSpec],
        held: &BTreeMap<Name, u16>,
        service: &Numbers,
    ) -> Result<Vec<Option<u16>>, String> {
        let mut chosen: Vec<Option<u16>> = Vec::with_capacity(ports.len());
        for port in ports {
            let is_free = |number: &u16| {
                !chosen.contains(&Some(*number))
                    && service.is_free(*number, instance.slot)
                    && self.holder(node, *number, instance).is_none()
            };
            let number = match (port.port, port.range) {
                (Some(fixed), _) => match self.holder(node, fixed, instance) {
                    Some(holder) => return Err(format!("port {fixed} is held by {holder}")),
                    None => Some(fixed),
                },
                (None, Some(range)) => {
                    let kept = held.get(&port.name).copied();
                    let number = kept
                        .filter(|number| blueprint::admits(port, *number) && is_free(number))
                        .or_else(|| range.ports().find(is_free));
                    if number.is_none() {
                        let range = String::from(range);
                        return Err(format!("no free port in {range}"));
                    }
                    number
                }
                (None, None) => None,
            };
            chosen.push(number);
        }
        Ok(chosen)
    }

    /// Room on `node` for a new `instance`: numbers for its ports.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn place(
        &mut self,
        node: &Name,
        instance: &Instance,
        spec: &ServiceSpec,
        service: &Numbers,
    ) -> Result<Vec<Option<u16>>, String> {
        self.fits(node, spec)?;
        self.numbers(node, instance, &spec.ports, &BTreeMap::new(), service)
    }

    /// Whether one more instance of `spec` finds on `node` what it requests.
    ///
    /// # Errors
    /// What it lacks, in words.
    pub fn fits(&mut self, node: &Name, spec: &ServiceSpec) -> Result<(), String> {
        if spec.requests == Requests::default() {
            return Ok(());
        }
        let capacity = self.cluster.nodes().get(node).map(Node::capacity);
        let capacity = capacity.unwrap_or_default();
        match spec.requests.lacks(*self.requested(node), capacity) {
            Some(lack) => Err(lack),
            None => Ok(()),
        }
    }

    /// What is requested of `node` so far.
    fn requested(&mut self, node: &Name) -> &mut Requests {
        let cluster = self.cluster;
        self.requested.entry(node.clone()).or_insert_with(|| {
            let assigned = cluster.nodes().get(node).map(|known| &known.assigned);
            let requests = assigned.into_iter().flatten().filter_map(|instance| {
                let service = cluster.services().get(&instance.service)?;
                service
                    .seats
                    .get(&(instance.slot, node.clone()))?
                    .requests()
            });
            requests.fold(Requests::default(), Requests::plus)
        })
    }

    /// Takes `numbers` on `node` for `instance`.
    pub fn reserve(
        &mut self,
        node: &Name,
        instance: &Instance,
        numbers: &[Option<u16>],
        service: &mut Numbers,
    ) {
        for number in numbers.iter().flatten() {
            let taken = self.reserved.entry(node.clone()).or_default();
            taken.insert(*number, instance.clone());
            service.held.insert((*number, instance.slot));
        }
    }

    /// Counts one more instance on `node`.
    pub fn add(&mut self, node: &Name) {
        *self.added.entry(node.clone()).or_default() += 1;
    }

    /// An instance on `node` requests `after`, no longer `before`.
    pub fn request(&mut self, node: &Name, before: Requests, after: Requests) {
        if before != after {
            let requested = self.requested(node);
            *requested = requested.minus(before).plus(after);
        }
    }
}
