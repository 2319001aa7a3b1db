//! Workers that the ancestor's programs registered, as external services.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::{
    balancer::external::{Inspector, Wanted},
    host::Host,
    keys::registry::{Registered, Registry},
    model::{
        Instance, Moment, Name,
        service::{BalanceSpec, HealthSpec, LoadSpec, PortCheck},
        state::Endpoint,
    },
    store::Change,
    task::Failure,
    view::Fact,
};

/// What answers call the node of such endpoints.
pub(in crate::balancer) const NODE: &str = "registry";

/// Follows the registry and asks what is registered how it is.
pub(in crate::balancer) struct Import {
    registry: Registry,
    inspector: Inspector,
    /// By key.
    registered: BTreeMap<String, Registered>,
    /// Endpoints of our own cluster. A mirror registers them too: they are not found twice.
    own: BTreeMap<(Name, Instance), Endpoint>,
    changed: bool,
}

impl Import {
    /// One that knows nothing yet.
    ///
    /// # Errors
    /// None that is known.
    pub(in crate::balancer) fn new(registry: Registry, host: Host) -> Result<Self, Failure> {
        Ok(Self {
            registry,
            inspector: Inspector::new(NODE, host)?,
            registered: BTreeMap::new(),
            own: BTreeMap::new(),
            changed: false,
        })
    }

    /// Takes a change of the store in, if it is one of the registry. Returns whether it was.
    pub(in crate::balancer) fn take(&mut self, change: &Change) -> bool {
        let key = change.key();
        if !key.starts_with(self.registry.prefix()) {
            return false;
        }
        match (change, self.registry.parse(key)) {
            (Change::Put(_), Some(registered)) if registered.tls => {
                tracing::warn!(
                    key,
                    "a registered worker speaks TLS, which cannot be probed: it is not found here"
                );
            }
            (Change::Put(_), Some(registered)) => {
                let former = self.registered.insert(key.to_owned(), registered);
                self.changed |= former.is_none();
            }
            (Change::Put(_), None) => {
                tracing::warn!(
                    key,
                    "a key in the registry registers nothing; it is ignored"
                );
            }
            (Change::Delete { .. }, _) => self.changed |= self.registered.remove(key).is_some(),
        }
        true
    }

    /// Takes in what is known of our own cluster.
    pub(in crate::balancer) fn note(&mut self, fact: &Fact) {
        let Fact::State(node, instance, state) = fact else {
            return;
        };
        let place = (node.clone(), instance.clone());
        let endpoint = state.as_ref().and_then(|state| state.endpoint.clone());
        self.changed |= match endpoint {
            Some(endpoint) => self.own.insert(place, endpoint.clone()).as_ref() != Some(&endpoint),
            None => self.own.remove(&place).is_some(),
        };
    }

    /// Asks what is due at `now`. Returns when the next is.
    pub(in crate::balancer) fn ask(&mut self, now: Moment) -> Option<Moment> {
        if std::mem::take(&mut self.changed) {
            let wanted = wanted(self.registered.values(), &self.own.values().collect());
            self.inspector.want(wanted, now);
        }
        self.inspector.ask(now)
    }

    /// What answers say, and whether it says all of it.
    pub(in crate::balancer) fn inspector(&mut self) -> &mut Inspector {
        &mut self.inspector
    }
}

/// The services that are registered, but for endpoints of our own.
fn wanted<'a>(
    registered: impl Iterator<Item = &'a Registered>,
    own: &BTreeSet<&Endpoint>,
) -> BTreeMap<Name, Wanted> {
    let mut services: BTreeMap<&str, BTreeSet<Endpoint>> = BTreeMap::new();
    for registered in registered.filter(|registered| !own.contains(&registered.endpoint)) {
        let endpoints = services.entry(&registered.service).or_default();
        endpoints.insert(registered.endpoint.clone());
    }
    let service = |(name, endpoints): (&str, _)| Some((slug(name)?, service(name, endpoints)));
    services.into_iter().filter_map(service).collect()
}

/// A service as the ancestor knows it: asked by its name for health, and for load, which not all report.
fn service(name: &str, endpoints: BTreeSet<Endpoint>) -> Wanted {
    Wanted {
        names: vec![name.to_owned()],
        asked_names: vec![name.to_owned()],
        published: true,
        balance: BalanceSpec::default(),
        health: HealthSpec {
            grpc: Some(PortCheck::default()),
            ..HealthSpec::default()
        },
        load: LoadSpec {
            report_load: Some(PortCheck::default()),
            ..LoadSpec::default()
        },
        endpoints,
    }
}

/// A name of ours for a service of theirs, which may be written with any letters: another one for each.
fn slug(name: &str) -> Option<Name> {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let letters = name.to_ascii_lowercase();
    let letters = letters
        .chars()
        .map(|letter| if fits(letter) { letter } else { '-' });
    let slug: String = letters.take(32).collect();
    let digits = Sha256::digest(name.as_bytes());
    let digits: String = digits
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{NODE}-{slug}-{digits}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(service: &str, place: &str) -> Registered {
        Registered {
            service: service.to_owned(),
            endpoint: Endpoint::parse(place).unwrap(),
            tls: false,
        }
    }

    #[test]
    fn each_registered_name_is_a_service_without_our_own_endpoints() {
        let all = [
            registered("Worker", "a:1"),
            registered("Worker", "a:2"),
            registered("worker", "a:3"),
            registered("pkg.Scan", "own:1"),
        ];
        let own = Endpoint::parse("own:1").unwrap();
        let wanted = wanted(all.iter(), &BTreeSet::from([&own]));
        let found: Vec<_> = wanted
            .values()
            .map(|wanted| (wanted.names.clone(), wanted.endpoints.len()))
            .collect();
        assert_eq!(wanted.len(), 2, "{wanted:?}");
        assert!(found.contains(&(vec!["Worker".to_owned()], 2)));
        assert!(found.contains(&(vec!["worker".to_owned()], 1)));
    }

    #[test]
    fn any_name_has_a_slug_of_its_own() {
        let names = [
            "Worker",
            "worker",
            "a.b",
            "a-b",
            "\u{fc}",
            &"x".repeat(300),
            &"x".repeat(301),
        ];
        let slugs: BTreeSet<_> = names.iter().map(|name| slug(name).unwrap()).collect();
        assert_eq!(slugs.len(), names.len());
    }
}
