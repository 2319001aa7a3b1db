//! One client, from its first word to its last.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use super::{Assigned, Client, Published, Shared, lock};
use crate::plan::xds::{Heard, Kind, Push, Request, TooMuch};

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Its id, and what it says to belong to, by its bootstrap file.
    pub node: String,
    /// See `node`.
    pub cluster: String,
    /// The library that it uses.
    pub agent: String,
}

/// What a client is to be told now.
#[derive(Debug)]
pub struct Update {
    /// The kind.
    pub kind: Kind,
    /// The newest version in it.
    pub version: u64,
    /// How its answer is known.
    pub nonce: u64,
    /// What it has.
    pub resources: Vec<(Arc<str>, Arc<Assigned>)>,
}

/// A client that is connected, until this is dropped.
pub struct Connection {
    id: u64,
    client: Arc<Mutex<Client>>,
    shared: Arc<Shared>,
    published: watch::Receiver<Published>,
    /// The names that it has asked the publisher for.
    names: BTreeSet<Arc<str>>,
}

impl Connection {
    pub(super) fn new(id: u64, client: Arc<Mutex<Client>>, shared: Arc<Shared>) -> Self {
        shared.host.metrics.balancer.xds_came();
        Self {
            id,
            client,
            published: shared.published.subscribe(),
            shared,
            names: BTreeSet::new(),
        }
    }

    /// Takes in what the client says, and what it says of itself where it does.
    ///
    /// # Errors
    /// When it wants too much; it is to be sent away.
    pub fn hear(&mut self, who: Option<Who>, mut request: Request) -> Result<(), TooMuch> {
        self.admit(&mut request.names)?;
        let (kind, refusal) = (request.kind, request.refusal.clone());
        let mut client = lock(&self.client);
        if let Some(who) = who {
            client.who = who;
        }
        let heard = client.stream.hear(request)?;
        if matches!(heard, Heard::Refused(_)) {
            self.shared.host.metrics.balancer.xds_refused();
        }
        if let (Heard::Refused(true), Some(words)) = (&heard, refusal) {
            tracing::warn!(
                client = client.who.node,
                agent = client.who.agent,
                ?kind,
                words,
                "an xDS client does not take what it was sent"
            );
        }
        tracing::debug!(
            client = client.who.node,
            agent = client.who.agent,
            ?kind,
            ?heard,
            "heard"
        );
        let names = client.stream.names();
        drop(client);
        self.want(names);
        Ok(())
    }

    /// What the client is to be told next, if there is anything.
    pub fn update(&mut self) -> Option<Update> {
        let published = self.published.borrow_and_update().clone();
        let now = self.shared.host.clock.now();
        let mut client = lock(&self.client);
        let push = client.stream.next(&published, now)?;
        tracing::debug!(
            client = client.who.node,
            agent = client.who.agent,
            ?push,
            "told"
        );
        drop(client);
        let Push {
            kind,
            names,
            version,
            nonce,
        } = push;
        // All of them are there: otherwise they would have no version.
        let resource = |name: Arc<str>| Some((published.get(&name)?.clone(), name));
        let resources = names.into_iter().filter_map(resource);
        Some(Update {
            kind,
            version,
            nonce,
            resources: resources.map(|(assigned, name)| (name, assigned)).collect(),
        })
    }

    /// Resolves when there may be something to tell. Cancel-safe.
    pub async fn changed(&mut self) {
        let wake_at = lock(&self.client).stream.wake_at();
        let clock = &self.shared.host.clock;
        let patience = async {
            match wake_at {
                Some(moment) => clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender lives as long as we do.
            _ = self.published.changed() => {}
            () = patience => {}
        }
    }

    /// Turns the client away if all clients together want too much with these names, which become those that others
    /// have asked for.
    fn admit(&self, names: &mut [Arc<str>]) -> Result<(), TooMuch> {
        let directory = &self.shared.directory;
        let demand = lock(&self.shared.demand);
        // What a view that is not complete does not have may well be served.
        let is_known = |name: &str| !directory.is_synced() || directory.has(name);
        demand.admit(&self.names, names, is_known)?;
        for name in names {
            *name = demand.shared(name);
        }
        Ok(())
    }

    /// Asks the publisher for these names and no others.
    fn want(&mut self, names: BTreeSet<Arc<str>>) {
        if names != self.names {
            let is_new = lock(&self.shared.demand).change(&self.names, &names);
            self.names = names;
            if is_new {
                self.shared.changed.notify_one();
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Before it is nobody's client: there must be no moment at which it is not known at all.
        self.shared.note_left(&self.names);
        self.want(BTreeSet::new());
        lock(&self.shared.clients).remove(&self.id);
        self.shared.host.metrics.balancer.xds_went();
    }
}
