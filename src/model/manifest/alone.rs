//! What a balancer that has neither a store nor agents cannot do for a service.

use super::{Candidate, Source, diagnostic::Diagnostic, tree::Path};

/// What is wrong with a service for such a balancer.
pub(super) fn diagnose(candidate: &Candidate, sources: &[Source]) -> Vec<Diagnostic> {
    let (Some(metadata), Some(spec)) = (&candidate.metadata, &candidate.spec) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    if spec.external.is_empty() {
        let place = candidate.key_place(&Path::of("spec.command"), sources);
        let message = format!(
            "`{}` is run by agents, and a balancer without a store has none",
            metadata.name
        );
        let help = "here only `external` services are served, as in `external: [qa-1:5201]`";
        wrong.push(Diagnostic::new(place, message).help(help));
    }
    if spec.balance.exclusive {
        let path = Path::of("spec.balance.exclusive");
        let place = candidate.key_place(&path, sources);
        let message = "tickets are given by agents, and a balancer without a store has none";
        wrong.push(Diagnostic::new(place, message).help("remove `exclusive`"));
    }
    wrong
}
