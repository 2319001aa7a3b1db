//! Which nodes take a service, and how much of them it takes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Labels;
use crate::model::quantity::{Cores, Period, Size};

/// Which nodes may run a service, and how its instances spread over them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Placement {
    /// Labels that a node must carry, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: Labels,
    /// A label over whose values instances are spread evenly, before they are over nodes. Nodes without it
    /// count as one more value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread_by: Option<String>,
    /// So many instances of the service go to one node at most. Default: as many as fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_per_node: Option<u32>,
    /// For how long a node has to be away before its instances are replaced elsewhere. Default: the
    /// controllers' `--node-grace`, 60s. A `singleton` is only replaced with `onPartition: stop`, at the earliest
    /// 25s and `stop.grace` after its node was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_after: Option<Period>,
}

/// What one instance takes of its node's capacity. It is a promise, not a limit: instances are only placed
/// where what all of them ask for fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Requests {
    /// Memory. Default: none is set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Processor cores. Default: none are set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
}

impl Requests {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What is left without `other`.
    pub fn minus(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    fn with(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let memory = |of: Self| of.memory.map_or(0, Size::bytes);
        let cpu = |of: Self| of.cpu.map_or(0, Cores::thousandths);
        Self {
            memory: Some(Size::from_bytes(combine(memory(self), memory(other)))),
            cpu: Some(Cores::from_thousandths(combine(cpu(self), cpu(other)))),
        }
    }

    /// Why something that asks for `self` does not fit beside what asks for `used`, on a node with
    /// `capacity`; none where it fits. What is not known of a node is not short.
    pub fn lacks(self, used: Self, capacity: Capacity) -> Option<String> {
        let all = self.plus(used);
        if let (Some(asked), Some(all), Some(has)) = (self.memory, all.memory, capacity.memory)
            && all > has
        {
            let left = has
                .bytes()
                .saturating_sub(used.memory.map_or(0, Size::bytes));
            let left = Size::from_bytes(left);
            return Some(format!("{left} of {has} memory left, {asked} requested"));
        }
        if let (Some(asked), Some(all), Some(has)) = (self.cpu, all.cpu, capacity.cpu)
            && all > has
        {
            let left = has.thousandths();
            let left = left.saturating_sub(used.cpu.map_or(0, Cores::thousandths));
            let left = Cores::from_thousandths(left);
            return Some(format!("{left} of {has} cores left, {asked} requested"));
        }
        None
    }
}

/// What a node has to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory; none: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Processor cores; none: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(mebibytes: u64, thousandths: u64) -> Requests {
        Requests {
            memory: Some(Size::from_mebibytes(mebibytes)),
            cpu: Some(Cores::from_thousandths(thousandths)),
        }
    }

    #[test]
    fn what_does_not_fit_is_told_by_what_is_left() {
        let capacity = Capacity {
            memory: Some(Size::from_mebibytes(100)),
            cpu: Some(Cores::whole(2)),
        };
        let used = requests(60, 500);
        assert_eq!(requests(40, 1500).lacks(used, capacity), None);
        assert_eq!(
            requests(41, 0).lacks(used, capacity).unwrap(),
            "40MiB of 100MiB memory left, 41MiB requested"
        );
        assert_eq!(
            requests(1, 1501).lacks(used, capacity).unwrap(),
            "1.5 of 2 cores left, 1.501 requested"
        );
        // Who asks for nothing fits anywhere, and so does everyone where nothing is known.
        assert_eq!(
            Requests::default().lacks(requests(200, 9000), capacity),
            None
        );
        assert_eq!(requests(200, 0).lacks(used, Capacity::default()), None);
    }
}
