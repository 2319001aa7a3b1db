//! What the placeholders of an instance stand for on this host.

use super::{Config, Home, ports::Ports};
use crate::{
    model::{Assignment, Name, Run, placeholder},
    plan::agent::{NOT_ALLOWED, NotStarted},
};

/// The words of one instance.
pub(super) struct Words<'a> {
    pub(super) config: &'a Config,
    pub(super) home: &'a Home,
    pub(super) assignment: &'a Assignment,
    pub(super) ports: &'a Ports,
}

impl Words<'_> {
    /// The number of its first port.
    pub(super) fn first_port(&self) -> Option<u16> {
        let first = self.assignment.ports.first()?;
        self.ports.get(&first.name).copied()
    }

    /// A text with its placeholders replaced.
    pub(super) fn expand(&self, text: &str) -> Result<String, NotStarted> {
        placeholder::expand(text, |name| self.look_up(name)).map_err(|error| NotStarted {
            reason: "BadTemplate",
            message: format!("`{text}`: {error}"),
        })
    }

    /// A command with its placeholders replaced, if the owner of the host lets it be run.
    pub(super) fn command(&self, command: &[String]) -> Result<Vec<String>, NotStarted> {
        let words = command.iter().map(|text| self.expand(text));
        let words: Vec<String> = words.collect::<Result<_, _>>()?;
        let program = words.first().map_or("", String::as_str);
        let allowed = self.config.allowed.check_program(program);
        allowed.map_err(|why| NotStarted {
            reason: NOT_ALLOWED,
            message: format!("on {}, {why}", self.config.node),
        })?;
        Ok(words)
    }

    fn look_up(&self, name: &str) -> Option<String> {
        let instance = &self.assignment.instance;
        let has_files = match &self.assignment.run {
            Run::Process(template) => !template.files.is_empty(),
            Run::External { .. } => false,
        };
        match name {
            "host" => Some(self.config.address.clone()),
            "port" => self.first_port().map(|port| port.to_string()),
            "instance" => Some(instance.to_string()),
            "slot" => Some(instance.slot.to_string()),
            "node" => Some(self.config.node.to_string()),
            "service" => Some(instance.service.to_string()),
            "cluster" => Some(self.config.cluster.to_string()),
            "quaestor" => Some(self.config.quaestor.display().to_string()),
            placeholder::FILES if has_files => {
                Some(self.home.files(instance).display().to_string())
            }
            placeholder::ARTIFACT => {
                let digest = &self.assignment.run.artifact()?.sha256;
                Some(self.home.artifact(digest).display().to_string())
            }
            _ => {
                let port: Name = name.strip_prefix("port.")?.parse().ok()?;
                self.ports.get(&port).map(u16::to_string)
            }
        }
    }
}
