//! How much memory and processor time an instance may have.

use super::{super::tree::Path, Problem};
use crate::model::{
    resources::{LEAST_CPU, LEAST_MEMORY},
    service::ServiceSpec,
};

/// What is wrong with `resources`.
pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let root = Path::of("spec.resources");
    let mut problems = Vec::new();
    if let Some(memory) = spec.resources.memory.filter(|it| *it < LEAST_MEMORY) {
        problems.push(
            Problem::new(
                root.clone().key("memory"),
                format!("nothing can be started in {memory} of memory"),
            )
            .help(format!("at least {LEAST_MEMORY}, as in 512MiB")),
        );
    }
    if let Some(cpu) = spec.resources.cpu
        && !(cpu >= LEAST_CPU && cpu.is_finite())
    {
        problems.push(
            Problem::new(root.key("cpu"), format!("{cpu} is no number of processors")).help(
                format!("at least {LEAST_CPU}, as in 1.5 for one and a half"),
            ),
        );
    }
    problems
}
