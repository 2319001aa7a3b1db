//! `placement` and `singleton`: what has no meaning beside each other.

use super::Problem;
use crate::model::{manifest::tree::Path, service::ServiceSpec};

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
    if spec.singleton && spec.placement.replace_after.is_some() {
        let message = "a `singleton` is not replaced by itself, so `replaceAfter` means nothing";
        let path = path.key("placement").key("replaceAfter");
        let problem = Problem::new(path, message).considering("singleton");
        problems.push(problem.help("remove one of them").at_key());
    }
    problems
}
