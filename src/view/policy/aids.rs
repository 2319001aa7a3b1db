//! What a policy needs to know of the members beside their loads; made anew when members change, and only what
//! the policy in force asks for.

use std::sync::Arc;

use super::{Rules, hash::Ring};
use crate::{model::service::Policy, view::Endpoint};

/// Per-policy structures over the members in normal use.
#[derive(Debug, Default)]
pub(in crate::view) struct Aids {
    /// For `weighted`: the sums of the weights up to each member and with it.
    pub(super) weights: Vec<u64>,
    /// For `hash`.
    pub(super) ring: Option<Ring>,
}

impl Aids {
    /// What `rules` need to know of `normal`.
    pub(in crate::view) fn new<'a>(
        rules: &Rules,
        normal: impl Iterator<Item = &'a Arc<Endpoint>>,
    ) -> Self {
        match rules.policy() {
            Policy::Weighted => {
                let mut sum = 0;
                let weight = |endpoint: &Arc<Endpoint>| {
                    sum += rules.weight(endpoint);
                    sum
                };
                Self {
                    weights: normal.map(weight).collect(),
                    ..Self::default()
                }
            }
            Policy::Hash => Self {
                ring: Some(Ring::new(normal)),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    /// Whether the sum of all work has to be counted.
    pub(in crate::view) fn needs_work(&self) -> bool {
        self.ring.is_some()
    }
}
