//! `placement` and `singleton`: what has no meaning beside each other.

use super::Problem;
use crate::model::{
    manifest::tree::Path,
    quantity::Period,
    service::{OnPartition, SELF_STOP, ServiceSpec},
};

pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let path = Path::of("spec");
    let mut problems = Vec::new();
    if spec.one_per_node {
        let placement = path.clone().key("placement");
        let given = [
            ("spreadBy", spec.placement.spread_by.is_some()),
            ("maxPerNode", spec.placement.max_per_node.is_some()),
            ("replaceAfter", spec.placement.replace_after.is_some()),
        ];
        for (field, _) in given.into_iter().filter(|(_, given)| *given) {
            let message = format!("`{field}` means nothing with `onePerNode`");
            let problem = Problem::new(placement.clone().key(field), message);
            problems.push(
                problem
                    .considering("onePerNode")
                    .help("remove one of them")
                    .at_key(),
            );
        }
    }
    if spec.singleton && spec.one_per_node {
        let message = "a service that runs on every node is no `singleton`";
        let problem = Problem::new(path.clone().key("singleton"), message);
        problems.push(problem.considering("onePerNode").help("remove one of them"));
    }
    problems.extend(replacement(spec));
    problems
}

/// A singleton is replaced elsewhere only once it is certain to have stopped.
fn replacement(spec: &ServiceSpec) -> Option<Problem> {
    let after = spec.placement.replace_after.filter(|_| spec.singleton)?;
    let path = Path::of("spec.placement").key("replaceAfter");
    if spec.on_partition != OnPartition::Stop {
        let message = "a `singleton` that runs on while its node is cut off is not replaced by itself, so \
                       `replaceAfter` means nothing";
        let problem = Problem::new(path, message).considering("singleton");
        let help = "remove it, or add `onPartition: stop`";
        return Some(problem.considering("onPartition").help(help).at_key());
    }
    let grace = spec.stop.grace;
    let least = Period(SELF_STOP.get() + grace.get());
    (after < least).then(|| {
        let message = format!(
            "a `singleton` whose node is cut off may still run for {least}: it is asked to stop within \
             {SELF_STOP}, and killed after `stop.grace`, which is {grace}"
        );
        let problem = Problem::new(path, message).considering("singleton");
        let problem = problem.considering("onPartition").considering("stop");
        problem.help(format!("at least {least}, or a shorter `stop.grace`"))
    })
}
