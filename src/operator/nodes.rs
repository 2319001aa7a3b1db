//! What an operator wants of nodes, and what is confirmed of the cluster.

use std::collections::BTreeMap;

use super::{Error, Operator, decode, rewrite, to_json};
use crate::{
    keys::Key,
    model::{ClusterSpec, ClusterStatus, Name, NodeSpec, Timestamp, node::Closing},
    store::{Entry, Guard, Outcome, Txn, Write},
};

/// What was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Nothing waits for that.
    Nothing,
    /// That the store was restored, from this revision.
    Restore(i64),
    /// That services are deleted whose manifests had vanished.
    Deletions(Vec<Name>),
}

impl Operator {
    /// Changes what is wanted of a node by `change`. Whether that changed anything.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] for one that nothing is known of.
    pub async fn change_node(
        &self,
        node: &Name,
        change: impl FnOnce(&mut NodeSpec),
    ) -> Result<bool, Error> {
        let key = self.keys.of(&Key::NodeSpec(node.clone()));
        let stored = self.store.get(&key).await?;
        let session = self
            .store
            .get(&self.keys.of(&Key::Session(node.clone())))
            .await?;
        let status = self
            .store
            .get(&self.keys.of(&Key::NodeStatus(node.clone())))
            .await?;
        if session.is_none() && status.is_none() {
            return Err(Error::UnknownNode(node.clone()));
        }
        let mut spec: NodeSpec = stored.as_ref().and_then(decode).unwrap_or_default();
        let before = spec.clone();
        if session.is_some() {
            // It was said of an agent before this one.
            spec.deleted_at = None;
        }
        change(&mut spec);
        let closed = |spec: &NodeSpec| (spec.cordoned, spec.draining);
        if closed(&spec) != closed(&before) {
            let is_closed = spec.cordoned || spec.draining;
            spec.closing = is_closed.then(|| Closing {
                by: self.author.clone(),
                at: self.store.host().clock.timestamp(),
            });
        }
        if spec == before {
            return Ok(false);
        }
        let txn = Txn::new().when(unchanged(&key, stored.as_ref()));
        let value = rewrite(stored.as_ref(), &before, &spec);
        self.put_node(node, txn, &key, value).await?;
        Ok(true)
    }

    /// Says that a node is gone for good: what is stored of it is deleted.
    ///
    /// # Errors
    /// [`Error::NodeConnected`] while its agent is there, [`Error::UnknownNode`] for one that nothing is known of.
    pub async fn delete_node(&self, node: &Name, now: Timestamp) -> Result<(), Error> {
        let session = self.keys.of(&Key::Session(node.clone()));
        if self.store.get(&session).await?.is_some() {
            return Err(Error::NodeConnected(node.clone()));
        }
        if self
            .store
            .get(&self.keys.of(&Key::NodeStatus(node.clone())))
            .await?
            .is_none()
        {
            return Err(Error::UnknownNode(node.clone()));
        }
        let key = self.keys.of(&Key::NodeSpec(node.clone()));
        let stored = self.store.get(&key).await?;
        let spec = NodeSpec {
            deleted_at: Some(now),
            ..NodeSpec::default()
        };
        let txn = Txn::new()
            .when(Guard::Absent(session))
            .when(unchanged(&key, stored.as_ref()));
        self.put_node(node, txn, &key, to_json(&spec)).await
    }

    async fn put_node(
        &self,
        node: &Name,
        txn: Txn,
        key: &str,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        let written = match value == b"{}" {
            true => self.store.commit(txn.then(Write::delete(key))).await,
            false => self.store.commit(txn.then(Write::put(key, value))).await,
        };
        match written? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => Err(Error::NodeConflict(node.clone())),
        }
    }

    /// What is reported of the cluster as a whole; none before a controller has led.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cluster_status(&self) -> Result<Option<ClusterStatus>, Error> {
        let stored = self.store.get(&self.keys.of(&Key::ClusterStatus)).await?;
        Ok(stored.as_ref().and_then(decode))
    }

    /// Whether a controller leads now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_led(&self) -> Result<bool, Error> {
        Ok(self.store.get(&self.keys.of(&Key::Leader)).await?.is_some())
    }

    /// Confirms that the store was restored from a backup: what it says is in force from now on.
    ///
    /// # Errors
    /// When the store does not do its part.
    pub async fn confirm_restore(&self) -> Result<Confirmed, Error> {
        let from = self
            .cluster_status()
            .await?
            .and_then(|status| status.restored_from);
        let Some(from) = from else {
            return Ok(Confirmed::Nothing);
        };
        let spec = ClusterSpec {
            restore_confirmed: from,
        };
        let write = Write::put(self.keys.of(&Key::ClusterSpec), to_json(&spec));
        self.store.commit(Txn::new().then(write)).await?;
        Ok(Confirmed::Restore(from))
    }

    /// Confirms that the services whose manifests have vanished are to end: each is deleted.
    ///
    /// # Errors
    /// As [`Operator::delete`].
    pub async fn confirm_vanished(&self, now: Timestamp) -> Result<Confirmed, Error> {
        let status = self.cluster_status().await?.unwrap_or_default();
        for name in &status.vanished {
            self.delete(name, now).await?;
        }
        Ok(match status.vanished.is_empty() {
            true => Confirmed::Nothing,
            false => Confirmed::Deletions(status.vanished),
        })
    }

    /// How many instances are left on a node, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn left_on(&self, node: &Name) -> Result<BTreeMap<String, bool>, Error> {
        let listing = self.store.list(&self.keys.assignments_of(node)).await?;
        let instances = listing.entries.iter().filter_map(|entry| {
            let Some(Key::Assignment(_, instance)) = self.keys.parse(&entry.key) else {
                return None;
            };
            let asked: Option<crate::model::Assignment> = decode(entry);
            let leaves = asked.is_some_and(|a| a.desired == crate::model::Desired::Absent);
            Some((instance.to_string(), leaves))
        });
        Ok(instances.collect())
    }
}

fn unchanged(key: &str, read: Option<&Entry>) -> Guard {
    match read {
        Some(entry) => Guard::ModRevision(key.to_owned(), entry.mod_revision),
        None => Guard::Absent(key.to_owned()),
    }
}
