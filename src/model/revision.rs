//! The templates that a service once had.

use serde::{Deserialize, Serialize};

use super::{
    name::Name,
    service::{Restarts, ServiceObject, ServiceSpec},
    time::Timestamp,
};

/// What lies under `revision/<service>/<hash>`: a template, for `quaestor rollout undo` and for going back
/// by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The service.
    pub service: Name,
    /// The hash of the template.
    pub revision: String,
    /// Counts the templates of the service; one that comes back gets a new number.
    pub number: u64,
    /// The generation that brought it last.
    pub generation: u64,
    /// When that was planned.
    pub created_at: Timestamp,
    /// The restarts that had been asked for: they are part of the hash.
    #[serde(default, skip_serializing_if = "Restarts::is_none")]
    pub restarts: Restarts,
    /// The spec that it came from.
    pub spec: ServiceSpec,
}

impl Revision {
    /// `object` with the template of this revision, and with all that is about its processes. How many
    /// there are, where and how they are reached stays.
    pub fn restore(&self, object: &ServiceObject) -> ServiceObject {
        ServiceObject {
            restarts: self.restarts.clone(),
            spec: with_process(&object.spec, &self.spec),
            ..object.clone()
        }
    }

    /// Whether it says the same of processes as `object`.
    pub fn holds(&self, object: &ServiceObject) -> bool {
        self.restarts == object.restarts && with_process(&self.spec, &object.spec) == self.spec
    }
}

/// `spec` with the processes of `other`.
fn with_process(spec: &ServiceSpec, other: &ServiceSpec) -> ServiceSpec {
    ServiceSpec {
        replicas: spec.replicas,
        one_per_node: spec.one_per_node,
        placement: spec.placement.clone(),
        published: spec.published,
        balance: spec.balance.clone(),
        after: spec.after.clone(),
        rollout: spec.rollout.clone(),
        ..other.clone()
    }
}
