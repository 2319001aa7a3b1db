//! What is asked of a directory, and why it may give no answer.

use std::{collections::HashMap, time::Duration};

use super::Endpoint;
use crate::model::{Caller, Moment};

/// A question for the instances that the next request should go to.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The name under which the service is found.
    pub name: &'a str,
    /// How many different endpoints, at most; not 0.
    pub count: usize,
    /// What is known of the request. None: nothing.
    pub attributes: Option<&'a HashMap<String, String>>,
    /// What the policy `hash` goes by.
    pub affinity_key: &'a str,
    /// Endpoints that must not be answered. None: no such.
    pub excluded: Option<&'a (dyn Fn(&Endpoint) -> bool + Sync)>,
    /// Chooses among equals.
    pub seed: u64,
    /// When it is asked.
    pub now: Moment,
}

impl<'a> Question<'a> {
    /// A question for one endpoint of `name`, whatever the request.
    pub fn new(name: &'a str, seed: u64, now: Moment) -> Self {
        Self {
            name,
            count: 1,
            attributes: None,
            affinity_key: "",
            excluded: None,
            seed,
            now,
        }
    }

    /// Whether `endpoint` may be answered.
    pub(super) fn admits(&self, endpoint: &Endpoint) -> bool {
        self.excluded.is_none_or(|excluded| !excluded(endpoint))
    }
}

/// The store has not been read yet: which endpoints there are is not known, which is not the same as
/// that there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the balancer has not read the store since it started; it answers as soon as it has")]
pub struct NotSynced;

/// Why there is no endpoint to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See [`NotSynced`].
    #[error(transparent)]
    NotSynced(#[from] NotSynced),
    /// No published service has this name.
    #[error("no service is found as `{0}`; `quaestor get services` shows what is found as what")]
    Unknown(String),
    /// The service's instances are given out by tickets only.
    #[error(
        "`{0}` is exclusive: its instances are given to one client at a time, by Acquire of quaestor.v1.Reservations"
    )]
    Exclusive(String),
    /// The service is not for everybody, and this caller is none of those whom it is for.
    #[error(
        "{caller}, and none of those who may ask for `{name}` (`balance.allow` in its manifest)"
    )]
    Forbidden {
        /// The name that was asked for.
        name: String,
        /// Who asked.
        caller: Caller,
    },
    /// The service has no instance that is healthy and takes requests.
    #[error("no healthy instance of `{name}` takes requests now{}", heard(*age))]
    NothingHealthy {
        /// The name that was asked for.
        name: String,
        /// How old the view is.
        age: Duration,
    },
    /// It has, but none that the question admits.
    #[error(
        "all healthy instances of `{0}` were excluded, by the question or by the service's score"
    )]
    AllExcluded(String),
}

impl Refusal {
    /// The same in one word, for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotSynced(_) => "NotSynced",
            Self::Unknown(_) => "NotFound",
            Self::Exclusive(_) => "Exclusive",
            Self::Forbidden { .. } => "Forbidden",
            Self::NothingHealthy { .. } => "NothingHealthy",
            Self::AllExcluded(_) => "AllExcluded",
        }
    }
}

/// Says how old the view is, where that may be the reason.
fn heard(age: Duration) -> String {
    if age < Duration::from_secs(30) {
        return String::new();
    }
    format!(
        ", as far as was known {} s ago, when the store was last heard",
        age.as_secs()
    )
}
