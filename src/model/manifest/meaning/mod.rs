//! Checks what one service means: the parts fit each other, and all of it can work.
//!
//! | module | about |
//! |---|---|
//! | `workload` | what runs: `command`, `env`, placeholders, or `external` |
//! | `artifact` | where software comes from |
//! | `run_as` | `user`, `group`, `nice`, `oomScoreAdjust` |
//! | `placement` | `placement`, `singleton` |
//! | `resources` | `resources` |
//! | `network` | `ports`, `serviceNames`, `external` addresses |
//! | `choice` | `balance`, as far as it is about choosing |
//! | `tickets` | `balance`, as far as it is about tickets |
//! | `rollout` | `rollout`, and the ports that stand-ins need |
//! | `upkeep` | `health`, `load`, `restart`, `logs` |

mod artifact;
mod choice;
mod network;
mod placement;
mod resources;
mod rollout;
mod run_as;
mod tickets;
mod upkeep;
mod workload;

use std::fmt;

use super::{
    Candidate, Source,
    diagnostic::{Diagnostic, advice},
    tree::Path,
};
use crate::model::{
    Name,
    service::{Labels, Metadata, ServiceSpec},
};

/// A larger spec is refused: it is copied into the assignment of every instance, and etcd takes
/// 1.5 MiB per request.
const LARGEST_SPEC: usize = 256 * 1024;

/// Something about a service that cannot be as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field that it is about.
    pub path: Path,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Whether it is about the key of `path`, not about its value.
    at_key: bool,
    /// The byte of the text at `path` that it begins at.
    within: Option<(String, usize)>,
    /// What it was found out from; when some of that is not as written, it is not certain.
    concerns: Vec<Path>,
}

impl Problem {
    fn new(path: Path, message: impl Into<String>) -> Self {
        Self {
            concerns: vec![path.clone()],
            path,
            message: message.into(),
            help: None,
            at_key: false,
            within: None,
        }
    }

    /// A problem as told by an error that ends with what to do.
    fn told(path: Path, error: &impl fmt::Display) -> Self {
        let (message, help) = advice(&error.to_string());
        Self {
            help,
            ..Self::new(path, message)
        }
    }

    /// It is about the key of the path.
    fn at_key(mut self) -> Self {
        self.at_key = true;
        self
    }

    /// It begins at byte `at` of `text`, which is the value of the path.
    fn within(mut self, text: &str, at: usize) -> Self {
        self.within = Some((text.to_owned(), at));
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// It was found out from `field` of the spec as well.
    fn considering(mut self, field: &str) -> Self {
        self.concerns.push(Path::of("spec").key(field));
        self
    }

    /// It was found out only from `fields` of the spec, and not from all that `path` leads to.
    fn judging_by(mut self, fields: &[&str]) -> Self {
        self.concerns = fields
            .iter()
            .map(|field| Path::of("spec").key(field))
            .collect();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Everything that is wrong with a service by itself; for manifests and for what lies in the
/// store, where anybody may have written it.
pub fn check(metadata: &Metadata, spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = check_metadata(metadata);
    problems.extend(check_spec(spec));
    problems.extend(check_order(&metadata.name, spec));
    problems
}

/// What is wrong with what could be read of `candidate`, in its place.
pub(super) fn diagnose(candidate: &Candidate, sources: &[Source]) -> Vec<Diagnostic> {
    let metadata = candidate.metadata.iter().flat_map(check_metadata);
    let spec = candidate.spec.iter().flat_map(check_spec);
    let order = (candidate.metadata.iter().zip(&candidate.spec))
        .flat_map(|(metadata, spec)| check_order(&metadata.name, spec));
    metadata
        .chain(spec)
        .chain(order)
        .filter(|problem| problem.concerns.iter().all(|path| candidate.intact(path)))
        .map(|problem| {
            let place = match problem.at_key {
                true => candidate.key_place(&problem.path, sources),
                false => candidate.place(&problem.path, sources),
            };
            let place = match &problem.within {
                Some((text, at)) => place.within(sources, text, *at),
                None => place,
            };
            Diagnostic::new(place, problem.message).help_if(problem.help)
        })
        .collect()
}

fn check_metadata(metadata: &Metadata) -> Vec<Problem> {
    check_labels(&Path::of("metadata.labels"), &metadata.labels)
}

fn check_spec(spec: &ServiceSpec) -> Vec<Problem> {
    let size = serde_json::to_vec(spec).map_or(0, |json| json.len());
    if size > LARGEST_SPEC {
        // Nothing else is looked at: who writes garbage must not keep us busy.
        let message = format!("the spec takes {size} bytes, more than {LARGEST_SPEC}");
        return vec![
            Problem::new(Path::of("spec"), message)
                .judging_by(&[])
                .help("keep large texts in files of the host and name those"),
        ];
    }
    let mut problems = workload::check(spec);
    problems.extend(artifact::check(spec));
    problems.extend(run_as::check(spec));
    problems.extend(resources::check(spec));
    problems.extend(network::check(spec));
    problems.extend(choice::check(&spec.balance));
    problems.extend(placement::check(spec));
    problems.extend(tickets::check(spec));
    problems.extend(rollout::check(spec));
    problems.extend(upkeep::check(spec));
    problems.extend(check_labels(
        &Path::of("spec.placement.nodeSelector"),
        &spec.placement.node_selector,
    ));
    problems
}

/// What is wrong with the services that come first.
fn check_order(name: &Name, spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, first) in spec.after.iter().enumerate() {
        let path = Path::of("spec.after").index(index);
        if first == name {
            problems.push(
                Problem::new(path, format!("`{name}` waits for itself"))
                    .help("name the services that have to be ready before it"),
            );
        } else if spec.after[..index].contains(first) {
            problems
                .push(Problem::new(path, format!("`{first}` is listed twice")).help("remove one"));
        }
    }
    problems
}

fn check_labels(path: &Path, labels: &Labels) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in labels {
        let path = path.clone().key(key);
        if key.is_empty() || key.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control())
        {
            problems.push(
                Problem::new(
                    path.clone(),
                    format!("`{key}` cannot be the name of a label"),
                )
                .help("use a text without `=` and spaces")
                .at_key(),
            );
        }
        if value.contains(char::is_control) {
            problems.push(Problem::new(
                path,
                format!("the value of label `{key}` has control characters"),
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`check`] says of a stored spec.
    fn told(spec: &str) -> Vec<String> {
        let metadata = serde_json::from_str(r#"{"name": "a"}"#).unwrap();
        let spec = serde_json::from_str(spec).unwrap();
        check(&metadata, &spec)
            .iter()
            .map(Problem::to_string)
            .collect()
    }

    #[test]
    fn a_stored_spec_is_checked_without_its_manifest() {
        assert_eq!(told(r#"{"command": ["a"], "later": 1}"#), [""; 0]);
        assert_eq!(
            told("{}"),
            ["spec: nothing is to run: `command` is missing"]
        );
        assert_eq!(
            told(
                r#"{"command": ["a", "{x}"], "ports": [{"name": "p", "port": 0}],
                    "health": {"tcp": {"port": "q"}, "failureThreshold": 0}}"#
            ),
            [
                "spec.command[1]: there is no placeholder `{x}`",
                "spec.ports[0].port: port `p` has the number 0",
                "spec.health.tcp.port: there is no port `q`",
                "spec.health.failureThreshold: no check can fail 0 times in a row",
            ]
        );
    }
}
