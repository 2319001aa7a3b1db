//! What clients need to know of each endpoint that choose by themselves, call by call.

use std::sync::Arc;

use super::{Endpoint, members::Members};

/// An endpoint that takes requests.
#[derive(Clone, Debug)]
pub struct Share {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// Whether its node may be gone, or calls to it fail: it is for use only when none of the others works.
    pub is_reserve: bool,
    /// How much of all requests it is to get; none: as its load is.
    pub weight: Option<u64>,
    /// Its effective load; 1 is fully busy.
    pub load: f64,
}

/// Those that take requests, in the order of the members.
pub(super) fn shares(members: &Members) -> Vec<Share> {
    let endpoints = members.endpoints().iter().enumerate();
    let share = |(position, endpoint): (usize, &Arc<Endpoint>)| {
        Some(Share {
            is_reserve: position >= members.normal(),
            weight: members.rules().fixed_weight(endpoint),
            load: endpoint.effective_load(members.dial())?,
            endpoint: Arc::clone(endpoint),
        })
    };
    endpoints.filter_map(share).collect()
}
