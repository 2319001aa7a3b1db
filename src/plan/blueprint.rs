//! What a spec makes of one instance.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::model::{
    AssignedPort, Assignment, Desired, Instance, Name, Run, RunAs, ServiceObject, ServiceSpec,
    assignment::Template,
    service::{Digest, FileSpec, Hook, NotifySpec, PortSpec, Variable},
    state::Endpoint,
};

/// Digits of a revision: 40 bits tell apart all templates that one service will ever have.
const REVISION_DIGITS: usize = 10;

/// Makes the assignments of one service.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    object: &'a ServiceObject,
}

/// What needs a new process when it changes.
///
/// Fields added later must be left out of the JSON at their default: a new version of this program
/// would otherwise replace every process.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Substance<'a> {
    command: &'a [String],
    working_directory: Option<&'a str>,
    env: &'a std::collections::BTreeMap<String, Variable>,
    #[serde(skip_serializing_if = "<[FileSpec]>::is_empty")]
    files: &'a [FileSpec],
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_start: Option<&'a Hook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<&'a NotifySpec>,
    ports: Vec<PortSubstance<'a>>,
    /// The last request for a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<u64>,
    #[serde(flatten)]
    run_as: &'a RunAs,
    /// Whether it has resources of its own: a process that lives cannot be given them. How much is no part of
    /// this, as that reaches what lives.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    confined: bool,
}

/// Of a range only that there is one: within it, an instance keeps its number when bounds move, and
/// one whose number falls out of it is ended and placed anew.
#[derive(Serialize)]
struct PortSubstance<'a> {
    name: &'a Name,
    port: Option<u16>,
    ranged: bool,
}

impl<'a> Blueprint<'a> {
    /// The blueprint that `object` is.
    pub fn new(object: &'a ServiceObject) -> Self {
        Self { object }
    }

    /// Whether both are made from one object.
    pub fn is(self, other: Self) -> bool {
        std::ptr::eq(self.object, other.object)
    }

    /// Whether nothing is replaced until the operator says so.
    pub fn is_paused(self) -> bool {
        self.object.paused
    }

    /// The wanted spec.
    pub fn spec(self) -> &'a ServiceSpec {
        &self.object.spec
    }

    /// The generation of the spec.
    pub fn generation(self) -> u64 {
        self.object.generation
    }

    /// How many slots are wanted, where that does not depend on the nodes.
    pub fn replicas(self) -> usize {
        let spec = self.spec();
        if spec.external.is_empty() {
            spec.replicas.unwrap_or(1) as usize
        } else {
            spec.external.len()
        }
    }

    /// The revision of the service: a hash of what needs a new process, or of all external addresses.
    pub fn revision(self) -> String {
        let spec = self.spec();
        if !spec.external.is_empty() {
            return digest(&spec.external);
        }
        self.substance(self.object.restarts.of_all())
    }

    /// The hash of what needs a new process when it changes: the template, and the last request for a
    /// restart.
    fn substance(self, restart: Option<u64>) -> String {
        let spec = self.spec();
        digest(&Substance {
            command: &spec.command,
            working_directory: spec.working_directory.as_deref(),
            env: &spec.env,
            files: &spec.files,
            artifact: spec.artifact.as_ref().map(|artifact| &artifact.sha256),
            pre_start: spec.pre_start.as_ref(),
            notify: spec.health.notify.as_ref(),
            ports: spec
                .ports
                .iter()
                .map(|port| PortSubstance {
                    name: &port.name,
                    port: port.port,
                    ranged: port.range.is_some(),
                })
                .collect(),
            restart,
            run_as: &spec.run_as,
            confined: spec.resources.is_limited(),
        })
    }

    /// The revision of one instance: that of the service, unless a restart was asked for of it alone,
    /// or a hash of its own external address.
    pub fn revision_of(self, slot: u32) -> String {
        match self.spec().external.get(slot as usize) {
            Some(address) => digest(address),
            None if self.spec().external.is_empty() => {
                self.substance(self.object.restarts.of(slot))
            }
            None => self.revision(),
        }
    }

    /// The generation that asked last for a restart of the instance in `slot`.
    pub fn restart_of(self, slot: u32) -> Option<u64> {
        self.object.restarts.of(slot)
    }

    /// Whether every instance has the revision of the service.
    pub fn is_uniform(self) -> bool {
        self.spec().external.is_empty() && !self.object.restarts.singles()
    }

    /// The assignment of `instance` with `numbers` for its ports, in the order of the spec.
    pub fn assignment(
        self,
        instance: Instance,
        revision: String,
        numbers: &[Option<u16>],
    ) -> Assignment {
        let spec = self.spec();
        let external = spec.external.get(instance.slot as usize);
        let run = match external.and_then(|address| Endpoint::parse(address)) {
            Some(Endpoint { host, port }) => Run::External { host, port },
            None => Run::Process(Template {
                command: spec.command.clone(),
                artifact: spec.artifact.clone(),
                working_directory: spec.working_directory.clone(),
                env: spec.env.clone(),
                files: spec.files.clone(),
                pre_start: spec.pre_start.clone(),
                notify: spec.health.notify.clone(),
                run_as: spec.run_as.clone(),
            }),
        };
        let ports = spec.ports.iter().zip(numbers);
        Assignment {
            instance,
            desired: Desired::Present,
            generation: self.generation(),
            revision,
            run,
            replaced: false,
            requests: spec.requests,
            ports: ports
                .map(|(port, number)| AssignedPort {
                    name: port.name.clone(),
                    number: *number,
                    advertise: port.advertise.clone(),
                })
                .collect(),
            service_names: spec.service_names.clone(),
            published: spec.published,
            tickets: spec.balance.tickets(),
            resources: spec.resources.clone(),
            health: spec.health.clone(),
            load: spec.load.clone(),
            restart: spec.restart.clone(),
            recycle: spec.recycle.clone(),
            recycle_turn: None,
            min_ready: spec.min_ready(),
            pre_stop: spec.pre_stop.clone(),
            stop: spec.stop.clone(),
            on_agent_stop: spec.on_agent_stop,
            adopt: spec.adopt,
            on_partition: spec.on_partition,
            singleton: spec.singleton,
            logs: spec.logs.clone(),
        }
    }
}

/// Whether `number` is one that `port` allows.
pub fn admits(port: &PortSpec, number: u16) -> bool {
    match (port.port, port.range) {
        (Some(fixed), _) => fixed == number,
        (None, Some(range)) => range.ports().contains(&number),
        (None, None) => true,
    }
}

/// The first digits of the SHA-256 of the JSON of `value`.
fn digest(value: &impl Serialize) -> String {
    // Structs, texts and numbers always have a JSON form.
    let json = serde_json::to_vec(value).unwrap_or_default();
    let mut digits: String = Sha256::digest(json)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.truncate(REVISION_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_limit_needs_a_new_process_and_another_one_does_not() {
        let revision = |resources: &str| {
            let json = format!(
                r#"{{"metadata": {{"name": "worker"}}, "generation": 1,
                    "spec": {{"command": ["x"], "resources": {resources}}}}}"#
            );
            let object: ServiceObject = serde_json::from_str(&json).unwrap();
            Blueprint::new(&object).revision()
        };
        let (none, some) = (revision("{}"), revision(r#"{"memory": "1GiB"}"#));
        assert_ne!(none, some);
        assert_eq!(some, revision(r#"{"memory": "2GiB", "cpu": 2}"#));
        let old =
            r#"{"metadata": {"name": "worker"}, "generation": 1, "spec": {"command": ["x"]}}"#;
        let old: ServiceObject = serde_json::from_str(old).unwrap();
        assert_eq!(none, Blueprint::new(&old).revision());
    }
}
