//! Requests for new processes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The last requests for a restart, each known by the generation that it made: an instance whose
/// process was not started for it gets a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// Of every instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<u64>,
    /// Of single ones since then, by slot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    slots: BTreeMap<u32, u64>,
}

impl Restarts {
    /// Takes in a request, of the instance in `slot` or of all.
    pub fn request(&mut self, slot: Option<u32>, generation: u64) {
        match slot {
            Some(slot) => {
                self.slots.insert(slot, generation);
            }
            None => {
                self.slots.clear();
                self.all = Some(generation);
            }
        }
    }

    /// The last request for all instances.
    pub fn of_all(&self) -> Option<u64> {
        self.all
    }

    /// The last request that the instance in `slot` is meant by.
    pub fn of(&self, slot: u32) -> Option<u64> {
        self.slots.get(&slot).copied().or(self.all)
    }

    /// Whether single instances are meant by other requests than all.
    pub fn singles(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether nothing was asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
