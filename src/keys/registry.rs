//! The registry of quaestor-mini-cluster: `services/<scope>/<service>/<host>/<port>/<http|https>`, with the service's
//! name as value. The programs that it ships use the empty scope: `services//Worker/...`.

use crate::model::state::Endpoint;

/// The keys of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// `services/<scope>/`.
    prefix: String,
}

/// A place that is registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registered {
    /// The name of the service.
    pub service: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Registry {
    /// The registry of `scope`; none for one that cannot be part of a key.
    pub fn new(scope: &str) -> Option<Self> {
        let prefix = format!("services/{scope}/");
        (!scope.contains('/')).then_some(Self { prefix })
    }

    /// What all its keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a place; none for names that cannot be part of one.
    pub fn of(&self, registered: &Registered) -> Option<String> {
        let Registered {
            service,
            endpoint: Endpoint { host, port },
            tls,
        } = registered;
        let fits = |part: &str| !part.is_empty() && !part.contains('/');
        let scheme = if *tls { "https" } else { "http" };
        (fits(service) && fits(host))
            .then(|| format!("{}{service}/{host}/{port}/{scheme}", self.prefix))
    }

    /// What `key` registers; none for any other key.
    pub fn parse(&self, key: &str) -> Option<Registered> {
        let rest = key.strip_prefix(&self.prefix)?;
        let [service, host, port, scheme] = rest.split('/').collect::<Vec<_>>()[..] else {
            return None;
        };
        let registered = Registered {
            service: service.to_owned(),
            endpoint: Endpoint {
                host: host.to_owned(),
                port: port.parse().ok().filter(|port| *port > 0)?,
            },
            tls: match scheme {
                "http" => false,
                "https" => true,
                _ => return None,
            },
        };
        (!service.is_empty() && !host.is_empty()).then_some(registered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(tls: bool) -> Registered {
        Registered {
            service: "Worker".to_owned(),
            endpoint: Endpoint {
                host: "qa-1".to_owned(),
                port: 5201,
            },
            tls,
        }
    }

    #[test]
    fn keys_are_those_of_the_ancestor_and_read_back() {
        for (scope, tls, expected) in [
            ("", false, "services//Worker/qa-1/5201/http"),
            ("lab", true, "services/lab/Worker/qa-1/5201/https"),
        ] {
            let registry = Registry::new(scope).unwrap();
            assert_eq!(registry.of(&worker(tls)).unwrap(), expected);
            assert_eq!(registry.parse(expected), Some(worker(tls)));
        }
        assert_eq!(Registry::new("").unwrap().prefix(), "services//");
        assert_eq!(Registry::new("a/b"), None);
    }

    #[test]
    fn other_keys_register_nothing_and_unfit_names_have_no_key() {
        let registry = Registry::new("").unwrap();
        for key in [
            "",
            "services//",
            "services/lab/Worker/qa-1/5201/http",
            "services//Worker/qa-1/5201",
            "services//Worker/qa-1/0/http",
            "services//Worker/qa-1/70000/http",
            "services//Worker/qa-1/5201/grpc",
            "services///qa-1/5201/http",
            "services//Worker/qa-1/5201/http/x",
        ] {
            assert_eq!(registry.parse(key), None, "{key}");
        }
        let unfit = Registered {
            service: "a/b".to_owned(),
            ..worker(false)
        };
        assert_eq!(registry.of(&unfit), None);
    }
}
