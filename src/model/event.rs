//! What happened, and why: events, as controllers and agents record them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    name::{Instance, Name},
    time::Timestamp,
};

/// What lies under `event/<writer>/<id>`: something that happened, once or several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What it happened to.
    #[serde(flatten)]
    pub note: Note,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
    /// Who recorded it: `agent qa-1`, `controller qa-1:4711`.
    pub by: String,
}

/// Something that happened. Two with the same object, reason and message are one event that happened twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// What it happened to.
    pub object: Object,
    /// What happened, one CamelCase word for programs.
    pub reason: String,
    /// What happened and why, for people.
    #[serde(default)]
    pub message: String,
    /// Whether somebody ought to look at it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// The node on which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// The revision of the process template that it is about, the last time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
}

/// What an event is about; in JSON a text, as in `instance/worker-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Object {
    /// A service.
    Service(Name),
    /// An instance.
    Instance(Instance),
    /// A host.
    Node(Name),
    /// All of it.
    Cluster,
}

/// Who records events. Each has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recorder {
    /// The controller that leads.
    Leader,
    /// The agent of a node.
    Agent(Name),
}

impl Note {
    /// A note without a node, a revision, or a reason to worry.
    pub fn new(object: Object, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            object,
            reason: reason.into(),
            message: message.into(),
            warning: false,
            node: None,
            revision: String::new(),
        }
    }
}

impl Event {
    /// Whether whoever asks for `wanted` asks for this: an object as in `node/qa-1`, or a bare name of one. What
    /// happens to an instance happens to its service, and on its node.
    pub fn concerns(&self, wanted: &str) -> bool {
        let (kind, name) = match wanted.split_once('/') {
            Some((kind, name)) => (Some(kind), name),
            None => (None, wanted),
        };
        let is =
            |candidate: &str, text: &str| kind.is_none_or(|kind| kind == candidate) && text == name;
        let on_node = self
            .note
            .node
            .as_ref()
            .is_some_and(|node| is("node", node.as_str()));
        on_node
            || match &self.note.object {
                Object::Service(service) => is("service", service.as_str()),
                Object::Instance(instance) => {
                    is("instance", &instance.to_string())
                        || is("service", instance.service.as_str())
                }
                Object::Node(node) => is("node", node.as_str()),
                Object::Cluster => wanted == "cluster",
            }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service/{name}"),
            Self::Instance(name) => write!(f, "instance/{name}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Cluster => f.write_str("cluster"),
        }
    }
}

impl From<Object> for String {
    fn from(object: Object) -> Self {
        object.to_string()
    }
}

impl TryFrom<String> for Object {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = || format!("`{text}` is no object");
        let object = match text.split_once('/') {
            Some(("service", name)) => Self::Service(name.parse().map_err(|_| unknown())?),
            Some(("instance", name)) => Self::Instance(name.parse().map_err(|_| unknown())?),
            Some(("node", name)) => Self::Node(name.parse().map_err(|_| unknown())?),
            None if text == "cluster" => Self::Cluster,
            _ => return Err(unknown()),
        };
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &str, node: Option<&str>) -> Event {
        let mut note = Note::new(object.to_owned().try_into().unwrap(), "Started", "");
        note.node = node.map(|node| node.parse().unwrap());
        Event {
            note,
            count: 1,
            first_at: Timestamp::from_millis(0),
            last_at: Timestamp::from_millis(0),
            by: "agent n1".to_owned(),
        }
    }

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        for object in ["service/a", "instance/a-0", "node/n", "cluster"] {
            let event = event(object, Some("n"));
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["object"], object);
            assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        }
    }

    #[test]
    fn what_happens_to_an_instance_concerns_its_service_and_its_node() {
        let event = event("instance/worker-0", Some("n1"));
        for wanted in [
            "worker-0",
            "worker",
            "service/worker",
            "instance/worker-0",
            "n1",
            "node/n1",
        ] {
            assert!(event.concerns(wanted), "{wanted}");
        }
        for other in ["worker-1", "service/n1", "node/worker", "cluster", "n"] {
            assert!(!event.concerns(other), "{other}");
        }
    }
}
