//! How a changed template reaches what runs.

use super::{super::tree::Path, Problem};
use crate::model::service::ServiceSpec;

/// What is wrong with `rollout`, and with ranges that have no ports for its stand-ins.
pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let rollout = &spec.rollout;
    let root = Path::of("spec.rollout");
    let mut problems = Vec::new();
    if !spec.external.is_empty() {
        return problems;
    }
    if rollout.max_unavailable.is_zero() && rollout.max_surge.is_zero() {
        problems.push(
            Problem::new(
                root.clone().key("maxUnavailable"),
                "with `maxUnavailable` and `maxSurge` 0 nothing could ever be replaced",
            )
            .considering("rollout")
            .help("let one be 1 or more"),
        );
    }
    if spec.one_per_node && !rollout.max_surge.is_zero() {
        problems.push(
            Problem::new(
                root.clone().key("maxSurge"),
                "with `onePerNode` there is no room for stand-ins",
            )
            .considering("onePerNode")
            .help("use `maxUnavailable`"),
        );
    }
    if rollout.progress_deadline.get().is_zero() {
        problems.push(
            Problem::new(
                root.clone().key("progressDeadline"),
                "no rollout is done in no time",
            )
            .help("give it as long as one instance needs to become ready, and more"),
        );
    } else if rollout.progress_deadline <= spec.min_ready() {
        problems.push(
            Problem::new(
                root.clone().key("progressDeadline"),
                format!(
                    "it must be longer than `minReady`, which is {}",
                    spec.min_ready()
                ),
            )
            .considering("health")
            .considering("rollout")
            .help("an instance that is ready for `minReady` is progress"),
        );
    }
    if rollout.revision_history_limit > 100 {
        problems.push(Problem::new(
            root.key("revisionHistoryLimit"),
            "at most 100 templates are kept",
        ));
    }
    problems.extend(ports(spec));
    problems
}

/// Ranges that are long enough for the replicas but not for their stand-ins.
fn ports(spec: &ServiceSpec) -> Vec<Problem> {
    let replicas = spec.replicas.unwrap_or(1) as usize;
    let surge = spec.rollout.budget(replicas).surge;
    let needed = replicas + surge;
    let ranges = spec.ports.iter().enumerate();
    let ranges = ranges.filter_map(|(index, port)| Some((index, port.range?.ports().len())));
    ranges
        .filter(|(_, size)| (replicas..needed).contains(size))
        .map(|(index, size)| {
            let path = Path::of("spec.ports").index(index).key("range");
            let message = format!(
                "{replicas} replicas and {surge} more during a rollout (`maxSurge`) need {needed} ports, \
                 but the range has {size}"
            );
            Problem::new(path, message)
                .considering("replicas")
                .considering("rollout")
                .help("widen the range, or lower `maxSurge`")
        })
        .collect()
}
