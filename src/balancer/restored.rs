//! What a restored store no longer says. A backup knows nothing of what came after it was made, and an etcd that
//! lost everything knows nothing at all; yet the instances run, and clients call them.
//!
//! So what vanished by a restore goes on being answered until those who know have spoken again: the states of a
//! node until its agent has had time to write them anew, a route until the leader writes it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    keys::{Key, Keys},
    model::{Moment, Name},
    store::{Change, Update},
};

/// Within this time an agent has written all its states, once it has a session.
const SETTLED: Duration = Duration::from_secs(5);

/// An agent that is not heard of for this long will not speak for its instances.
const PATIENCE: Duration = Duration::from_secs(60);

/// The deletions that are not believed yet.
pub(super) struct Restored {
    keys: Keys,
    routes: BTreeSet<String>,
    nodes: BTreeMap<Name, Vanished>,
}

/// The states of a node that vanished by a restore.
struct Vanished {
    keys: BTreeSet<String>,
    /// From when on what its agent has not written anew is gone.
    believed_at: Moment,
}

impl Restored {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            routes: BTreeSet::new(),
            nodes: BTreeMap::new(),
        }
    }

    /// What is to be believed of `update`.
    pub(super) fn sift(&mut self, update: Update, now: Moment) -> Vec<Change> {
        let mut changes = update.changes;
        if update.restored_from.is_some() {
            changes.retain(|change| match change {
                Change::Put(_) => true,
                Change::Delete { key, .. } => !self.withhold(key, now),
            });
        }
        changes.iter().for_each(|change| self.heard(change, now));
        changes
    }

    /// The deletions that are believed by now.
    pub(super) fn due(&mut self, now: Moment) -> Vec<Change> {
        let mut gone = Vec::new();
        self.nodes.retain(|_, vanished| {
            let is_due = vanished.believed_at <= now;
            if is_due {
                gone.extend(std::mem::take(&mut vanished.keys));
            }
            !is_due
        });
        let delete = |key| Change::Delete { key, revision: 0 };
        gone.into_iter().map(delete).collect()
    }

    /// Whether a deletion is not believed: that of a route or a state.
    fn withhold(&mut self, key: &str, now: Moment) -> bool {
        match self.keys.parse(key) {
            Some(Key::Route(_)) => self.routes.insert(key.to_owned()),
            Some(Key::State(node, _)) => {
                let vanished = self.nodes.entry(node).or_insert_with(|| Vanished {
                    keys: BTreeSet::new(),
                    believed_at: now + PATIENCE,
                });
                vanished.keys.insert(key.to_owned())
            }
            _ => false,
        }
    }

    /// Somebody who knows has spoken.
    fn heard(&mut self, change: &Change, now: Moment) {
        if self.routes.is_empty() && self.nodes.is_empty() {
            return;
        }
        self.routes.remove(change.key());
        match (self.keys.parse(change.key()), change) {
            (Some(Key::State(node, _)), _) => {
                if let Some(vanished) = self.nodes.get_mut(&node) {
                    vanished.keys.remove(change.key());
                }
            }
            (Some(Key::Session(node)), Change::Put(_)) => {
                if let Some(vanished) = self.nodes.get_mut(&node) {
                    vanished.believed_at = now + SETTLED;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

    fn put(key: &str) -> Change {
        Change::Put(Entry {
            key: format!("/quaestor/test/{key}"),
            value: Vec::new().into(),
            create_revision: 1,
            mod_revision: 1,
        })
    }

    fn delete(key: &str) -> Change {
        Change::Delete {
            key: format!("/quaestor/test/{key}"),
            revision: 1,
        }
    }

    fn update(changes: Vec<Change>, restored_from: Option<i64>) -> Update {
        Update {
            changes,
            revision: 1,
            restored_from,
        }
    }

    fn believed(changes: &[Change]) -> Vec<&str> {
        let keys = changes.iter().map(Change::key);
        keys.filter_map(|key| key.strip_prefix("/quaestor/test/"))
            .collect()
    }

    fn restored() -> Restored {
        Restored::new(Keys::new(&"test".parse().unwrap()))
    }

    #[test]
    fn what_vanished_by_a_restore_is_answered_until_its_agent_has_spoken() {
        let mut it = restored();
        let now = Moment::default();
        let all = vec![
            put("state/a/x-0"),
            delete("state/a/x-1"),
            delete("state/a/x-2"),
            delete("load/a"),
            delete("session/a"),
        ];
        let said = it.sift(update(all, Some(9)), now);
        assert_eq!(believed(&said), ["state/a/x-0", "load/a", "session/a"]);
        let late = now + Duration::from_secs(50);
        assert_eq!(it.due(late), []);

        // Its agent is back, and has one of the two.
        let said = it.sift(
            update(vec![put("session/a"), put("state/a/x-1")], None),
            late,
        );
        assert_eq!(believed(&said), ["session/a", "state/a/x-1"]);
        assert_eq!(it.due(late), []);
        let gone = it.due(late + SETTLED);
        assert_eq!(believed(&gone), ["state/a/x-2"]);
        assert_eq!(it.due(late + SETTLED), []);
    }

    #[test]
    fn an_agent_that_is_not_heard_of_speaks_for_nobody() {
        let mut it = restored();
        let now = Moment::default();
        let said = it.sift(
            update(
                vec![
                    put("session/a"),
                    delete("state/a/x-0"),
                    delete("state/b/x-1"),
                ],
                Some(9),
            ),
            now,
        );
        assert_eq!(believed(&said), ["session/a"]);
        assert_eq!(believed(&it.due(now + SETTLED)), ["state/a/x-0"]);
        assert_eq!(believed(&it.due(now + PATIENCE)), ["state/b/x-1"]);
    }

    #[test]
    fn a_route_that_vanished_by_a_restore_stays_until_it_is_written_again() {
        let mut it = restored();
        let now = Moment::default();
        let said = it.sift(
            update(vec![delete("route/x"), delete("route/y")], Some(9)),
            now,
        );
        assert_eq!(said, []);
        let said = it.sift(update(vec![put("route/x")], None), now);
        assert_eq!(believed(&said), ["route/x"]);
        // From then on its deletion is one like any other.
        let said = it.sift(update(vec![delete("route/x")], None), now);
        assert_eq!(believed(&said), ["route/x"]);
    }

    #[test]
    fn what_is_deleted_otherwise_is_gone_at_once() {
        let mut it = restored();
        let all = vec![delete("state/a/x-0"), delete("route/x")];
        let said = it.sift(update(all, None), Moment::default());
        assert_eq!(believed(&said), ["state/a/x-0", "route/x"]);
    }
}
