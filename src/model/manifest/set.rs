//! What is wrong with services only because of each other: one name, or one port, for two; services
//! that wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Source, diagnostic::Diagnostic, tree::Path};
use crate::model::{Name, service::Labels};

/// A fixed port of a service.
struct FixedPort<'a> {
    candidate: &'a Candidate,
    path: Path,
    service: &'a Name,
    selector: &'a Labels,
}

/// Every collision among `candidates`, told at the later of the two.
pub(super) fn diagnose(candidates: &[Candidate], sources: &[Source]) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    let mut names: BTreeMap<&Name, &Candidate> = BTreeMap::new();
    let mut ports: BTreeMap<u16, Vec<FixedPort<'_>>> = BTreeMap::new();
    for candidate in candidates {
        let Some(metadata) = &candidate.metadata else {
            continue;
        };
        let name = &metadata.name;
        if let Some(first) = names.get(name) {
            let path = Path::of("metadata.name");
            wrong.push(
                Diagnostic::new(
                    candidate.place(&path, sources),
                    format!("two services are called `{name}`"),
                )
                .related(first.place(&path, sources), "the first one")
                .help("rename or remove one of them"),
            );
            // Everything in it would collide with the first as well.
            continue;
        }
        names.insert(name, candidate);
        for port in fixed_ports(candidate, name) {
            let (number, port) = port;
            let others = ports.entry(number).or_default();
            let other = others
                .iter()
                .find(|other| other.service != name && may_meet(other.selector, port.selector));
            if let Some(other) = other {
                wrong.push(
                    Diagnostic::new(
                        port.candidate.place(&port.path, sources),
                        format!(
                            "port {number} is also fixed for the service `{}`, and both may run on one node",
                            other.service
                        ),
                    )
                    .related(other.candidate.place(&other.path, sources), "there")
                    .help("choose another number, or keep them apart by `placement.nodeSelector`"),
                );
            }
            others.push(port);
        }
    }
    wrong.extend(circles(&names, sources));
    wrong
}

/// Services that wait for each other, each circle told once.
fn circles(names: &BTreeMap<&Name, &Candidate>, sources: &[Source]) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    let mut first: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
    for (name, candidate) in names {
        let after = candidate.spec.iter().flat_map(|spec| &spec.after);
        for (index, before) in after.enumerate().filter(|(_, before)| before != name) {
            let path = Path::of("spec.after").index(index);
            if let Some(way) = way(&first, before, name) {
                let circle: Vec<String> = way.iter().map(|name| format!("`{name}`")).collect();
                wrong.push(
                    Diagnostic::new(
                        candidate.place(&path, sources),
                        format!(
                            "`{name}` waits for {}: none of them would ever start",
                            circle.join(", which waits for ")
                        ),
                    )
                    .help("remove one of these from an `after`"),
                );
            } else {
                first.entry(name).or_default().push(before);
            }
        }
    }
    wrong
}

/// The services from `from` to `to`, both included, each of which waits for the next.
fn way<'a>(
    first: &BTreeMap<&'a Name, Vec<&'a Name>>,
    from: &'a Name,
    to: &'a Name,
) -> Option<Vec<&'a Name>> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = vec![vec![from]];
    while let Some(way) = ways.pop() {
        let end = *way.last()?;
        if end == to {
            return Some(way);
        }
        for next in first.get(end).into_iter().flatten() {
            if seen.insert(next) {
                ways.push([way.as_slice(), &[*next]].concat());
            }
        }
    }
    None
}

/// The fixed ports of `candidate`, by number.
fn fixed_ports<'a>(candidate: &'a Candidate, service: &'a Name) -> Vec<(u16, FixedPort<'a>)> {
    let Some(spec) = &candidate.spec else {
        return Vec::new();
    };
    // Without the selector as it was written nobody knows where the service may run.
    if !candidate.intact(&Path::of("spec.placement")) || !candidate.intact(&Path::of("spec.ports"))
    {
        return Vec::new();
    }
    let ports = spec.ports.iter().enumerate().filter_map(|(at, port)| {
        let fixed = FixedPort {
            candidate,
            path: Path::of("spec.ports").index(at).key("port"),
            service,
            selector: &spec.placement.node_selector,
        };
        Some((port.port?, fixed))
    });
    ports.collect()
}

/// Whether one node can satisfy both selectors.
fn may_meet(a: &Labels, b: &Labels) -> bool {
    a.iter()
        .all(|(key, value)| b.get(key).is_none_or(|other| other == value))
}
