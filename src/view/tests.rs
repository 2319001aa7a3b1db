//! What the tests of the view build on.

use std::{sync::Arc, time::Duration};

use super::{
    Endpoint, Node,
    dial::Dial,
    endpoint::Host,
    members::{Candidate, Members, Terms},
    policy::Rules,
};
use crate::model::{Instance, service::BalanceSpec};

/// An endpoint of an instance on some node.
pub(super) fn endpoint(host: &str, port: u16) -> Endpoint {
    let instance = Instance {
        service: "a".parse().unwrap(),
        slot: 0,
    };
    let node = Arc::new(Node::new("n".parse().unwrap()));
    Endpoint::new(Arc::new(Host::new(host.to_owned())), port, instance, node)
}

/// What members are made with.
pub(super) struct Setting {
    pub(super) dial: Arc<Dial>,
    pub(super) balance: BalanceSpec,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            dial: Arc::new(Dial::new(Duration::from_secs(5), Duration::ZERO)),
            balance: BalanceSpec::default(),
        }
    }
}

impl Setting {
    /// The members of a name.
    pub(super) fn members(&self, candidates: Vec<Candidate>) -> Members {
        let rules = Arc::new(Rules::new(self.balance.clone()));
        Members::new(
            candidates,
            Terms::new(Arc::clone(&self.dial), rules, Arc::default()),
        )
    }
}
