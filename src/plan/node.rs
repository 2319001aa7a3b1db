//! A node as the leader knows it: whether its agent is there, and what may run on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Instance, Moment, NodeLoad, NodeSpec, NodeStatus, Session,
    node::Closing,
    service::{Capacity, Labels},
};

use super::stored::Stored;

/// Everything about one node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What an operator wants of it.
    pub spec: Option<Stored<NodeSpec>>,
    /// The presence of its agent.
    pub session: Option<Stored<Session>>,
    /// What is reported.
    pub status: Option<Stored<NodeStatus>>,
    /// The instances assigned to it, those that are to stop included.
    pub assigned: BTreeSet<Instance>,
    /// Who holds which port number, by assignment or by state.
    pub ports: BTreeMap<u16, BTreeSet<Instance>>,
    /// Its labels: those that its agent announces, as the operator has changed them.
    pub labels: Labels,
    /// Its last load record as it is stored. It changes often and is read rarely.
    pub load: Option<Vec<u8>>,
    /// Since when this leader has known it with its agent connected, or without.
    pub since: Moment,
}

impl Node {
    /// Its session, while its agent is present and what it says of itself can be read.
    pub fn live(&self) -> Option<&Session> {
        self.session.as_ref()?.value.as_ref()
    }

    /// Whether it is one of the nodes of the cluster: its agent is there, or was.
    pub fn is_known(&self) -> bool {
        self.session.is_some() || (self.status.is_some() && !self.is_deleted())
    }

    /// Whether it is one of the nodes of the cluster and its agent is not there.
    pub fn is_away(&self) -> bool {
        self.session.is_none() && self.is_known()
    }

    /// Whether an operator has said that it is gone for good, and no agent says otherwise.
    pub fn is_deleted(&self) -> bool {
        self.session.is_none() && self.wish().is_some_and(|spec| spec.deleted_at.is_some())
    }

    /// Whether its instances are to be moved to other nodes.
    pub fn is_draining(&self) -> bool {
        self.wish().is_some_and(|spec| spec.draining)
    }

    /// Why it takes no new instance, whatever the service; none where it does.
    pub fn closed(&self) -> Option<&'static str> {
        let spec = self.wish()?;
        if spec.draining {
            Some("it is being drained")
        } else if spec.cordoned {
            Some("it is cordoned")
        } else {
            None
        }
    }

    /// Who closed it, and when, where that is known.
    pub fn closing(&self) -> Option<&Closing> {
        self.wish()?.closing.as_ref()
    }

    /// What it has to give.
    pub fn capacity(&self) -> Capacity {
        self.live()
            .map(|session| session.capacity)
            .unwrap_or_default()
    }

    /// Whether `instance` on it works on something; none where that is not known yet.
    pub fn is_working(&self, instance: &Instance) -> Option<bool> {
        let record: NodeLoad = serde_json::from_slice(self.load.as_ref()?).ok()?;
        let report = record.instances.get(instance);
        Some(report.is_some_and(|report| {
            let requests = report.stats.map(|stats| stats.current_requests > 0);
            requests
                .or(report.known_rate.map(|rate| rate > 0.0))
                .unwrap_or(false)
        }))
    }

    /// What the operator wants of it. A record of its deletion means nothing once its agent is back.
    fn wish(&self) -> Option<&NodeSpec> {
        let spec = self.spec.as_ref()?.value.as_ref()?;
        (self.session.is_none() || spec.deleted_at.is_none()).then_some(spec)
    }

    pub(super) fn relabel(&mut self) {
        let announced = self.live().map(|session| session.labels.clone());
        let announced = announced.unwrap_or_default();
        self.labels = match self.wish() {
            Some(spec) => spec.labels(&announced),
            None => announced,
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spec.is_none()
            && self.session.is_none()
            && self.status.is_none()
            && self.load.is_none()
            && self.assigned.is_empty()
            && self.ports.is_empty()
    }
}
