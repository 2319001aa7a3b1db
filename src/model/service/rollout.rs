//! How a changed template reaches what runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity::{Period, Share};

/// How a changed template reaches what runs. The words and their rounding are those of Kubernetes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RolloutSpec {
    /// So many instances may be missing or not ready while others are replaced: a number, or a part of
    /// all, rounded down. Where this and `maxSurge` come to 0, it is 1. Default 1.
    #[serde(default = "RolloutSpec::max_unavailable_default")]
    pub max_unavailable: Share,
    /// So many instances are run beyond those wanted, as stand-ins while others are replaced: a number,
    /// or a part of all, rounded up. Each needs a port of its own. Default 0.
    #[serde(default = "RolloutSpec::max_surge_default")]
    pub max_surge: Share,
    /// An instance counts as available once it has been ready for this long. Default 0s, or 2s for
    /// processes without a health check, which are ready as soon as they live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready: Option<Period>,
    /// A rollout without any progress for this long is reported as failed. Default 10m.
    #[serde(default = "RolloutSpec::progress_deadline_default")]
    pub progress_deadline: Period,
    /// Go back to the last template that all instances ran when the rollout of another one fails. Default
    /// false: it stands still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_rollback: bool,
    /// Only instances with this slot or a higher one get the new template; the others keep theirs, as the
    /// rest behind a canary. Default 0: all get it.
    #[serde(default, skip_serializing_if = "RolloutSpec::is_whole")]
    pub partition: u32,
    /// So many older templates are kept for `quaestor rollout undo`. Default 10.
    #[serde(default = "RolloutSpec::revision_history_limit_default")]
    #[schemars(range(max = 100))]
    pub revision_history_limit: u32,
}

/// What a rollout may do to so many instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// So many have to be available, at least.
    pub least: usize,
    /// So many stand-ins may run beside them.
    pub surge: usize,
}

impl RolloutSpec {
    const fn max_unavailable_default() -> Share {
        Share::Count(1)
    }

    const fn max_surge_default() -> Share {
        Share::Count(0)
    }

    const fn progress_deadline_default() -> Period {
        Period::from_secs(600)
    }

    const fn revision_history_limit_default() -> u32 {
        10
    }

    fn is_whole(partition: &u32) -> bool {
        *partition == 0
    }

    /// What it allows for `wanted` instances. Stand-ins round up and gaps down; where both come to
    /// nothing one may be missing, as else nothing could ever be replaced (so does Kubernetes).
    pub fn budget(&self, wanted: usize) -> Budget {
        let surge = self.max_surge.ceil(wanted);
        let unavailable = match self.max_unavailable.floor(wanted) {
            0 if surge == 0 => 1,
            unavailable => unavailable,
        };
        Budget {
            least: wanted.saturating_sub(unavailable),
            surge,
        }
    }
}

impl Default for RolloutSpec {
    fn default() -> Self {
        Self {
            max_unavailable: Self::max_unavailable_default(),
            max_surge: Self::max_surge_default(),
            min_ready: None,
            progress_deadline: Self::progress_deadline_default(),
            auto_rollback: false,
            partition: 0,
            revision_history_limit: Self::revision_history_limit_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(max_unavailable: &str, max_surge: &str, wanted: usize) -> (usize, usize) {
        let spec = RolloutSpec {
            max_unavailable: max_unavailable.parse().unwrap(),
            max_surge: max_surge.parse().unwrap(),
            ..RolloutSpec::default()
        };
        let Budget { least, surge } = spec.budget(wanted);
        (least, surge)
    }

    #[test]
    fn parts_round_as_kubernetes_documents() {
        assert_eq!(budget("25%", "25%", 10), (8, 3));
        assert_eq!(budget("25%", "25%", 3), (3, 1));
        assert_eq!(budget("10%", "0", 4), (3, 0), "never neither");
        assert_eq!(budget("1", "0", 1), (0, 0));
        assert_eq!(budget("7", "1", 3), (0, 1));
    }
}
