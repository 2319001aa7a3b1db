//! Which node takes a new instance, and why the others do not.
//!
//! Of the live nodes that carry the selector's labels and have free ports, the one with the fewest
//! instances of the service; of those the one with the fewest instances in all; of those the one
//! that a hash of service and node puts first, so that every planner chooses the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Instance, Name, Session, service::Placement};

use super::{
    cluster::{Cluster, Service},
    room::{Numbers, Room},
    roster,
};

/// Nodes named in one message; more are counted.
const NODES_NAMED: usize = 4;

/// Why a node that carries the labels in `session` may not run a service; none where it may.
pub fn objection(placement: &Placement, session: &Session) -> Option<String> {
    let lacking = placement
        .node_selector
        .iter()
        .find(|(key, value)| session.labels.get(*key) != Some(*value));
    lacking.map(|(key, value)| format!("label {key}={value} missing"))
}

/// The nodes that may still take an instance of one service, best first.
#[derive(Debug)]
pub struct Candidates<'a> {
    /// By instances of the service, instances in all, and hash.
    nodes: BTreeSet<(usize, usize, u64, &'a Name)>,
    refusals: Refusals<'a>,
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
            nodes: BTreeSet::new(),
            refusals: Refusals::default(),
        };
        for (name, node) in cluster.nodes() {
            match node.live().map(|session| objection(placement, session)) {
                Some(None) => {
                    let own = own.get(name).copied().unwrap_or(0);
                    let rank = (own, room.load(name), tie_break(service, name), name);
                    candidates.nodes.insert(rank);
                }
                Some(Some(reason)) => candidates.refusals.note(name, reason),
                None => candidates
                    .refusals
                    .note(name, "its agent is not connected".to_owned()),
            }
        }
        candidates
    }

    /// Why the nodes that are out do not take an instance.
    pub fn refusals(&self) -> &Refusals<'a> {
        &self.refusals
    }

    /// The best node for `instance`, with port numbers there. A node without free ports is out for
    /// the rest of the plan: within one plan ports are only taken, never given back.
    ///
    /// # Errors
    /// Why no node takes it, in words.
    pub fn best(
        &mut self,
        room: &Room<'_>,
        numbers: &Numbers,
        instance: &Instance,
        spec: &crate::model::ServiceSpec,
    ) -> Result<(&'a Name, Vec<Option<u16>>), String> {
        while let Some(&(.., node)) = self.nodes.first() {
            match room.numbers(node, instance, &spec.ports, &BTreeMap::new(), numbers) {
                Ok(found) => return Ok((node, found)),
                Err(reason) => self.refusals.note(node, reason),
            }
            self.nodes.pop_first();
        }
        Err(self.refusals.describe())
    }

    /// Counts one more instance on `node`.
    pub fn add(&mut self, node: &Name) {
        let found = self.nodes.iter().find(|(.., name)| *name == node).copied();
        if let Some(rank @ (own, load, hash, node)) = found {
            self.nodes.remove(&rank);
            self.nodes.insert((own + 1, load + 1, hash, node));
        }
    }
}

/// The instances of `service` per node that count for spreading: all that have not left.
pub fn own(service: &Service) -> BTreeMap<&Name, usize> {
    let mut own = BTreeMap::new();
    for ((_, node), seat) in &service.seats {
        if !roster::has_left(seat) {
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
