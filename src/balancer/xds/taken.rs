//! Who has taken that an endpoint goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Shared, Xds, lock};
use crate::{model::Moment, plan::proof::RECENT};

/// The first versions by which an endpoint is not in use, by name: whoever has taken one of these, or a later one, knows.
pub type Gone = BTreeMap<String, u64>;

impl Xds {
    /// How many clients of `names` may still call `place`. `gone` is kept from one look to the next.
    pub fn behind(&self, names: &BTreeSet<String>, place: &str, gone: &mut Gone) -> usize {
        let published = self.0.published.borrow().clone();
        for name in names {
            if let Some(assigned) = published.get(name)
                && !assigned.in_use().any(|seat| &*seat.place == place)
            {
                gone.entry(name.clone()).or_insert(assigned.version);
            }
        }
        let clients: Vec<_> = lock(&self.0.clients).values().cloned().collect();
        let is_behind = |client: &&Arc<_>| {
            let client: &super::Client = &lock(client);
            let mut wanted = names.iter().filter(|name| client.stream.wants(name));
            // Who has taken nothing yet may know more from another balancer.
            wanted.any(|name| {
                let taken = client.stream.taken(name);
                taken.is_none_or(|taken| gone.get(name).is_none_or(|gone| taken < *gone))
            })
        };
        clients.iter().filter(is_behind).count()
    }

    /// When a client of `names` left last, if that was lately.
    pub fn left(&self, names: &BTreeSet<String>) -> Option<Moment> {
        let left = lock(&self.0.left);
        names
            .iter()
            .filter_map(|name| left.get(&**name))
            .max()
            .copied()
    }
}

impl Shared {
    /// Notes that a client leaves who had subscribed to these.
    pub(super) fn note_left(&self, names: &BTreeSet<Arc<str>>) {
        let now = self.host.clock.now();
        let mut left = lock(&self.left);
        left.retain(|_, at| now.since(*at) < RECENT);
        left.extend(names.iter().map(|name| (Arc::clone(name), now)));
    }
}
