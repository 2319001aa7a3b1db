//! Turns changes of keys into facts. A value that cannot be read changes nothing: what it said last
//! stays in force, and the log says so once.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use crate::{
    keys::{Key, Keys},
    store::Change,
    view::Fact,
};

/// Reads the changes of one cluster.
pub(super) struct Reader {
    keys: Keys,
    /// Keys whose value cannot be read.
    malformed: BTreeSet<String>,
}

impl Reader {
    /// A reader of what lies under `keys`.
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            malformed: BTreeSet::new(),
        }
    }

    /// What `change` says; none for a key without a meaning here, or a value that cannot be read.
    pub(super) fn read(&mut self, change: Change) -> Option<Fact> {
        let (key, value) = match change {
            Change::Put(entry) => (entry.key, Some(entry.value)),
            Change::Delete { key, .. } => (key, None),
        };
        let value = value.as_deref();
        let Some(parsed) = self.keys.parse(&key) else {
            match value {
                Some(_) => self.complain(key, "the key is not part of the layout"),
                None => {
                    self.malformed.remove(&key);
                }
            }
            return None;
        };
        let fact = match parsed {
            Key::Route(service) => json(value).map(|route| Fact::Route(service, route)),
            Key::State(node, instance) => {
                json(value).map(|state| Fact::State(node, instance, state))
            }
            Key::Load(node) => json(value).map(|load| Fact::Load(node, load)),
            Key::Session(node) => json(value).map(|session| Fact::Session(node, session)),
            _ => return None,
        };
        match fact {
            Ok(fact) => {
                if self.malformed.remove(&key) && value.is_some() {
                    tracing::info!(key, "the value can be read again");
                }
                Some(fact)
            }
            Err(error) => {
                self.complain(key, &error.to_string());
                None
            }
        }
    }

    /// Warns, once per key until its value can be read.
    fn complain(&mut self, key: String, cause: &str) {
        if !self.malformed.contains(&key) {
            tracing::warn!(
                key,
                cause,
                "something in the store cannot be read; it is ignored"
            );
            self.malformed.insert(key);
        }
    }
}

fn json<T: DeserializeOwned>(value: Option<&[u8]>) -> serde_json::Result<Option<T>> {
    value.map(serde_json::from_slice).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

    fn reader() -> Reader {
        Reader::new(Keys::new(&"c".parse().unwrap()))
    }

    fn put(key: &str, value: &str) -> Change {
        Change::Put(Entry {
            key: format!("/quaestor/c/{key}"),
            value: value.to_owned().into(),
            create_revision: 1,
            mod_revision: 1,
        })
    }

    const ROUTE: &str =
        r#"{"service":"a","names":["A"],"published":true,"generation":1,"later":{}}"#;

    #[test]
    fn a_value_is_read_and_what_it_says_beyond_our_knowledge_is_ignored() {
        let fact = reader().read(put("route/a", ROUTE));
        let Some(Fact::Route(service, Some(route))) = fact else {
            panic!("{fact:?}");
        };
        assert_eq!((service.as_str(), route.names), ("a", vec!["A".to_owned()]));
    }

    #[test]
    fn a_malformed_value_changes_nothing_and_a_deletion_still_counts() {
        let mut reader = reader();
        for value in ["", "{", "null", "[]", "{\"names\":1}", "\u{0}"] {
            assert_eq!(reader.read(put("route/a", value)), None, "{value:?}");
        }
        assert_eq!(reader.malformed.len(), 1);
        let key = "/quaestor/c/route/a".to_owned();
        let gone = reader.read(Change::Delete { key, revision: 2 });
        assert_eq!(gone, Some(Fact::Route("a".parse().unwrap(), None)));
        assert!(reader.malformed.is_empty());
    }

    #[test]
    fn keys_without_a_meaning_here_are_ignored() {
        let mut reader = reader();
        for key in ["route/UPPER", "state/n", "leader", "load/n/x"] {
            assert_eq!(reader.read(put(key, "{}")), None, "{key}");
        }
    }
}
