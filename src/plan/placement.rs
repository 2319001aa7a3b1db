//! Which node takes a new instance, and why the others do not.
//!
//! Of the live nodes that carry the selector's labels, have free ports and room for what is requested, one of
//! those whose value of `spreadBy` has the fewest instances of the service; of those the one with the fewest
//! itself; of those the one with the fewest instances in all; of those the one
//! that a hash of service and node puts first, so that every planner chooses the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Instance, Name, ServiceSpec, service::Placement};

use super::{
    cluster::{Cluster, Service},
    node::Node,
    room::{Numbers, Room},
    roster,
};

/// Nodes named in one message; more are counted.
const NODES_NAMED: usize = 4;

/// Why what runs of a service on `node` may not stay there; none where it may.
pub fn objection(placement: &Placement, node: &Node) -> Option<String> {
    if node.is_draining() {
        return Some("it is being drained".to_owned());
    }
    let lacking = placement
        .node_selector
        .iter()
        .find(|(key, value)| node.labels.get(*key) != Some(*value));
    lacking.map(|(key, value)| format!("label {key}={value} missing"))
}

/// Why `node` takes no new instance of a service, whichever; none where it does.
fn refusal(placement: &Placement, node: &Node) -> Option<String> {
    if node.live().is_none() {
        return Some("its agent is not connected".to_owned());
    }
    let closed = || node.closed().map(str::to_owned);
    objection(placement, node).or_else(closed)
}

/// By instances of the service, instances in all, and hash: the best first.
type Rank<'a> = (usize, usize, u64, &'a Name);

/// The nodes that may still take an instance of one service, best first.
#[derive(Debug)]
pub struct Candidates<'a> {
    /// By the value of the label that instances are spread over; one group where there is none.
    groups: BTreeMap<&'a str, Group<'a>>,
    refusals: Refusals<'a>,
}

/// Nodes with one value of a label.
#[derive(Debug, Default)]
struct Group<'a> {
    /// Instances of the service on them.
    own: usize,
    nodes: BTreeSet<Rank<'a>>,
}

/// Why nodes do not take an instance: nodes by reason.
#[derive(Clone, Debug, Default)]
pub struct Refusals<'a>(BTreeMap<String, BTreeSet<&'a Name>>);

impl<'a> Refusals<'a> {
    /// Notes that `node` refuses because of `reason`.
    pub fn note(&mut self, node: &'a Name, reason: String) {
        self.0.entry(reason).or_default().insert(node);
    }

    /// All reasons, with the nodes that have them.
    pub fn describe(&self) -> String {
        if self.0.is_empty() {
            return "there are no nodes".to_owned();
        }
        let parts = self.0.iter().map(|(reason, nodes)| {
            let named: Vec<&str> = nodes.iter().take(NODES_NAMED).map(|n| n.as_str()).collect();
            let more = match nodes.len().saturating_sub(NODES_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let word = if nodes.len() == 1 { "node" } else { "nodes" };
            format!("{word} {}{more}: {reason}", named.join(", "))
        });
        parts.collect::<Vec<_>>().join("; ")
    }
}

impl<'a> Candidates<'a> {
    /// The candidates for `service` with the `own` instances it has per node.
    pub fn new(
        cluster: &'a Cluster,
        room: &Room<'_>,
        service: &Name,
        placement: &Placement,
        own: &BTreeMap<&Name, usize>,
    ) -> Self {
        let mut candidates = Self {
            groups: BTreeMap::new(),
            refusals: Refusals::default(),
        };
        let known = cluster.nodes().iter().filter(|(_, node)| node.is_known());
        for (name, node) in known {
            let group = candidates.groups.entry(group(placement, node)).or_default();
            let own = own.get(name).copied().unwrap_or(0);
            group.own += own;
            match refusal(placement, node) {
                None => {
                    let rank = (own, room.load(name), tie_break(service, name), name);
                    group.nodes.insert(rank);
                }
                Some(reason) => candidates.refusals.note(name, reason),
            }
        }
        candidates
    }

    /// Why the nodes that are out do not take an instance.
    pub fn refusals(&self) -> &Refusals<'a> {
        &self.refusals
    }

    /// The best node for `instance`, with port numbers there. A node that refuses is out for the rest of the
    /// plan: within one plan room is only taken, never given back.
    ///
    /// # Errors
    /// Why no node takes it, in words.
    pub fn best(
        &mut self,
        room: &mut Room<'a>,
        numbers: &Numbers,
        instance: &Instance,
        spec: &ServiceSpec,
    ) -> Result<(&'a Name, Vec<Option<u16>>), String> {
        let first = |group: &Group<'a>| group.nodes.first().map(|rank| (group.own, *rank));
        while let Some((own, node, key)) = (self.groups.iter())
            .filter_map(|(key, group)| Some((first(group)?, *key)))
            .min()
            .map(|((_, (own, _, _, node)), key)| (own, node, key))
        {
            let most = spec.placement.max_per_node;
            let full = most.filter(|most| own >= *most as usize);
            let refusal = match full {
                Some(most) => format!("it has {most} of the service, and no more may be there"),
                None => match room.place(node, instance, spec, numbers) {
                    Ok(found) => return Ok((node, found)),
                    Err(reason) => reason,
                },
            };
            self.refusals.note(node, refusal);
            if let Some(group) = self.groups.get_mut(key) {
                group.nodes.pop_first();
            }
        }
        Err(self.refusals.describe())
    }

    /// Counts one more instance on `node`.
    pub fn add(&mut self, node: &Name) {
        for group in self.groups.values_mut() {
            let found = group.nodes.iter().find(|(.., name)| *name == node).copied();
            if let Some(rank @ (own, load, hash, node)) = found {
                group.nodes.remove(&rank);
                group.nodes.insert((own + 1, load + 1, hash, node));
                group.own += 1;
            }
        }
    }
}

/// The value by which `node` is spread over.
fn group<'a>(placement: &Placement, node: &'a Node) -> &'a str {
    let label = placement.spread_by.as_ref();
    let value = label.and_then(|label| node.labels.get(label));
    value.map_or("", String::as_str)
}

/// The instances of `service` per node that count for spreading: all that have not left, and are not lost.
pub fn own<'a>(
    cluster: &Cluster,
    service: &'a Service,
    spec: &ServiceSpec,
) -> BTreeMap<&'a Name, usize> {
    let mut own = BTreeMap::new();
    for ((_, node), seat) in &service.seats {
        if !roster::has_left(seat) && !cluster.has_lost_seat(node, seat, Some(spec)) {
            *own.entry(node).or_default() += 1;
        }
    }
    own
}

/// FNV-1a over both names: the same in every version of this program.
fn tie_break(service: &Name, node: &Name) -> u64 {
    let bytes = service.as_str().bytes().chain([0]);
    bytes
        .chain(node.as_str().bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
