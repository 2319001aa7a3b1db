//! The addresses of endpoints whose host is a name: asked of the system's resolver, and kept for a while.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::{Either, select};

use crate::{host::Host, model::Moment};

/// How long the addresses of a host are kept: they change seldom, and the resolver keeps them as well.
const KEEP: Duration = Duration::from_secs(30);

/// How long the resolver is waited for. Clients wait 2 to 5 s for us.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hosts that are kept at a time; there are not so many in a cluster.
const MOST: usize = 4096;

/// What was found, and when; without addresses: nothing was.
type Found = (Moment, Vec<IpAddr>);

pub(super) struct Hosts {
    host: Host,
    known: Mutex<BTreeMap<String, Found>>,
}

impl Hosts {
    pub(super) fn new(host: Host) -> Self {
        Self {
            host,
            known: Mutex::default(),
        }
    }

    /// The addresses of `name`, which may be an address; none when nobody knows any now. What was known before
    /// counts for as long as the resolver does not answer.
    pub(super) async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        if let Ok(address) = name.parse() {
            return vec![address];
        }
        let known = self.lock().get(name).cloned();
        let now = self.host.clock.now();
        let former = match known {
            Some((found, addresses)) if now.since(found) < KEEP => return addresses,
            Some((_, addresses)) => addresses,
            None => Vec::new(),
        };
        let resolving = self.host.network.resolve(name);
        let addresses = match select(resolving, self.host.clock.sleep(PATIENCE)).await {
            Either::Left((Ok(addresses), _)) => addresses,
            Either::Left((Err(error), _)) => {
                tracing::debug!(name, %error, "the addresses of a host are not known");
                former
            }
            Either::Right(_) => former,
        };
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(name.to_owned(), (now, addresses.clone()));
        addresses
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Found>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
