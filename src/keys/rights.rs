//! What each role may do to which keys, as etcd can enforce it: the table of writers in `ARCHITECTURE.md`, and what
//! each of them has to read.

use super::{Key, Keys};
use crate::model::{Name, Role, event::Recorder};

/// What may be done to keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// A key, or the beginning of many: that ends in a slash, so that `load/h1` never means `load/h10`.
    pub key: String,
    /// What may be done.
    pub access: Access,
}

/// Reading alone, or writing as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To look at it, and to hear of changes.
    Read,
    /// To change it as well.
    Write,
}

impl Right {
    /// Whether it is about all keys that begin so.
    pub fn is_prefix(&self) -> bool {
        self.key.ends_with('/')
    }
}

impl Keys {
    /// The rights of the role of that name; `node` is that of an agent. Clients have none.
    pub fn rights(&self, role: Role, node: &Name) -> Vec<Right> {
        let read = |key: String| Right {
            key,
            access: Access::Read,
        };
        let write = |key: String| Right {
            key,
            access: Access::Write,
        };
        match role {
            Role::Controller => vec![
                read(self.root.clone()),
                write(format!("{}meta/", self.root)),
                write(self.assignments()),
                // It deletes those of nodes that are lost.
                write(self.states()),
                write(self.routes()),
                write(self.statuses()),
                write(self.revisions()),
                write(self.of(&Key::Leader)),
                write(self.events_of(&Recorder::Leader)),
            ],
            Role::Agent => vec![
                // Whether the store was restored from a backup, and whether that is meant.
                read(self.of(&Key::Identity)),
                read(self.of(&Key::ClusterSpec)),
                read(self.assignments_of(node)),
                write(self.states_of(node)),
                write(self.of(&Key::Load(node.clone()))),
                write(self.of(&Key::Session(node.clone()))),
                write(self.events_of(&Recorder::Agent(node.clone()))),
                // It asks them whether clients know what goes.
                read(self.balancers()),
            ],
            Role::Balancer => vec![
                read(self.routes()),
                read(self.states()),
                read(self.loads()),
                read(self.sessions()),
                // Their names are drawn anew at each start.
                write(self.balancers()),
            ],
            Role::Operator => vec![read(self.root.clone()), write(self.specs())],
            Role::Client => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_write(role: Role, node: &str, key: &str) -> bool {
        let keys = Keys::new(&"c".parse().unwrap());
        let rights = keys.rights(role, &node.parse().unwrap());
        rights.iter().any(|right| {
            right.access == Access::Write
                && match right.is_prefix() {
                    true => key.starts_with(&right.key),
                    false => key == right.key,
                }
        })
    }

    #[test]
    fn each_key_has_the_writers_that_it_should_have() {
        let writers = |key: &str| {
            let roles = Role::ALL.into_iter();
            let writers =
                roles.filter(|role| may_write(*role, "h1", &format!("/quaestor/c/{key}")));
            writers.collect::<Vec<_>>()
        };
        for (key, expected) in [
            ("spec/service/a", vec![Role::Operator]),
            ("spec/deleted/a", vec![Role::Operator]),
            ("spec/applied/a", vec![Role::Operator]),
            ("spec/node/h1", vec![Role::Operator]),
            ("spec/cluster", vec![Role::Operator]),
            ("assign/h1/a-0", vec![Role::Controller]),
            ("state/h1/a-0", vec![Role::Controller, Role::Agent]),
            ("state/h10/a-0", vec![Role::Controller]),
            ("load/h1", vec![Role::Agent]),
            ("load/h10", vec![]),
            ("session/h1", vec![Role::Agent]),
            ("session/h10", vec![]),
            ("route/a", vec![Role::Controller]),
            ("status/service/a", vec![Role::Controller]),
            ("revision/a/00", vec![Role::Controller]),
            ("leader", vec![Role::Controller]),
            ("meta/identity", vec![Role::Controller]),
            ("balancer/b", vec![Role::Balancer]),
            ("event/controller/leader/0", vec![Role::Controller]),
            ("event/agent/h1/0", vec![Role::Agent]),
            ("event/agent/h10/0", vec![]),
        ] {
            assert_eq!(writers(key), expected, "{key}");
        }
        assert!(!may_write(
            Role::Operator,
            "h1",
            "/quaestor/other/spec/service/a"
        ));
    }
}
