//! Which members share a host.

use std::collections::HashMap;

use super::{Endpoint, roll::Roll};

/// The hosts of members, counted from 0.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// For each member the number of its host.
    pub of: Vec<u32>,
    /// How many there are.
    pub count: usize,
}

impl Hosts {
    /// The hosts of `endpoints`.
    pub(super) fn new(endpoints: &Roll) -> Self {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut of: Vec<u32> = Vec::with_capacity(endpoints.len());
        let mut former: Option<&Endpoint> = None;
        for endpoint in endpoints.iter() {
            let number = match of.last() {
                Some(last) if former.is_some_and(|former| former.shares_host(endpoint)) => *last,
                _ => {
                    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                    *numbers.entry(endpoint.host_in_lower_case()).or_insert(next)
                }
            };
            of.push(number);
            former = Some(endpoint);
        }
        Self {
            of,
            count: numbers.len(),
        }
    }
}
