//! Members by the value that their nodes have of a label: whom `prefer` prefers.
//!
//! Each value has members of its own, with its own tree, so that the least busy near an asker is found as fast as the
//! least busy of all. There, those that have no room count as taking no requests. A pick here or there is told to both.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Endpoint,
    members::{Candidate, Change, Members, Terms},
};

/// The members in normal use whose nodes have the label.
#[derive(Debug)]
pub(super) struct Near {
    label: String,
    groups: BTreeMap<String, Arc<Members>>,
}

impl Near {
    /// Those of `normal`, which are ordered by place; none where the terms prefer nobody.
    pub(super) fn new<'a>(
        terms: &Terms,
        normal: impl Iterator<Item = &'a Arc<Endpoint>>,
    ) -> Option<Self> {
        let prefer = terms.rules.spec.prefer.as_ref()?;
        let mut groups: BTreeMap<String, Vec<Arc<Endpoint>>> = BTreeMap::new();
        for endpoint in normal.filter(|endpoint| endpoint.node().is_trusted()) {
            if let Some(value) = endpoint.node().labels().get(&prefer.label) {
                let group = match groups.get_mut(value) {
                    Some(group) => group,
                    None => groups.entry(value.clone()).or_default(),
                };
                group.push(Arc::clone(endpoint));
            }
        }
        let group = |(value, endpoints)| {
            let terms = terms.up_to(prefer.bound());
            (value, Arc::new(Members::alike(endpoints, terms)))
        };
        Some(Self {
            label: prefer.label.clone(),
            groups: groups.into_iter().map(group).collect(),
        })
    }

    /// The same after some came or left, by the same terms. None where that cannot be told from the changes.
    pub(super) fn after(&self, terms: &Terms, changes: Vec<Change>) -> Option<Self> {
        let mut concerned: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        for Change {
            candidate,
            is_member,
        } in changes
        {
            let labels = candidate.endpoint.node().labels();
            if let Some(value) = labels.get(&self.label) {
                let change = Change {
                    is_member: is_member && !candidate.is_last(),
                    candidate: Candidate {
                        suspect: false,
                        ..candidate
                    },
                };
                concerned.entry(value.clone()).or_default().push(change);
            }
        }
        let bound = terms.rules.spec.prefer.as_ref()?.bound();
        let mut groups = self.groups.clone();
        for (value, changes) in concerned {
            let next = match groups.get(&value) {
                Some(group) => group.after(changes)?,
                None => Members::alike(Vec::new(), terms.up_to(bound)).after(changes)?,
            };
            match next.endpoints().len() {
                0 => groups.remove(&value),
                _ => groups.insert(value, Arc::new(next)),
            };
        }
        Some(Self {
            label: self.label.clone(),
            groups,
        })
    }

    /// The label by which they are told apart.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Those with this value of the label.
    pub(super) fn with(&self, value: &str) -> Option<&Members> {
        self.groups.get(value).map(|group| &**group)
    }

    /// Takes over the load of an endpoint, if it is one of them.
    pub(super) fn refresh(&self, endpoint: &Endpoint) {
        let labels = endpoint.node().labels();
        let value = labels.get(&self.label);
        if let Some(group) = value.and_then(|value| self.with(value)) {
            group.refresh_endpoint(endpoint);
        }
    }

    /// Takes over the loads of all.
    pub(super) fn refresh_all(&self) {
        self.groups.values().for_each(|group| group.refresh_all());
    }
}
