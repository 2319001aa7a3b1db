//! The controller's loop: campaign, follow, plan, write.
//!
//! - [`identity`]: the store's identity and layout, created by the first controller
//! - [`term`]: one time of leading
//! - `compaction`: keeps the store's history short
//! - `news`: what of it becomes events
//! - `past`: how far the store had come
//! - [`scribe`]: writes plans in guarded transactions, and knows which writes it has not seen yet
//!
//! Any number of controllers run; one leads. Every write of the leader compares the leadership and
//! the revision of the key that it was planned on, so whatever goes wrong (an answer lost, a cache
//! that is behind, a leader whose time is over) the worst is a write refused. Then the cache is
//! waited for, and planned on again.

mod compaction;
pub mod identity;
mod news;
mod past;
mod scribe;
mod term;

use std::{path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    host::{Host, Pulse},
    keys::{Key, Keys},
    model::Name,
    store::{self, Store},
};

use past::Past;
use term::Term;

/// How long the store waits for a silent leader before another one may lead.
const LEADER_TTL: Duration = Duration::from_secs(10);

/// What a controller needs to be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster that it looks after.
    pub cluster: Name,
    /// What it is called where one reads who leads: its host and process.
    pub name: String,
    /// How long a node has to be away before its instances are replaced, where its services do not say.
    pub node_grace: Duration,
    /// How often the leader compacts the store, so that its history does not grow for ever; none: never.
    pub compacts_every: Option<Duration>,
    /// Where it keeps how far it has seen the store come, to notice later that it was restored; none: nowhere.
    pub state_directory: Option<PathBuf>,
}

/// Why a controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store was laid out by another version.
    #[error(
        "the store is laid out as version {found}, this program knows version {known}: \
         run the version of quaestor that the cluster was made with, or another cluster name"
    )]
    Layout {
        /// The store's.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// The record of the store's identity is not one.
    #[error("`{key}` cannot be read: {cause}; restore it, or use another cluster name")]
    Identity {
        /// Its key.
        key: String,
        /// What is wrong.
        cause: String,
    },
    /// The store will not let this program lead, however often it is asked.
    #[error("the controller cannot lead: {0}")]
    Store(#[from] store::Error),
}

/// Leads the cluster, or waits to lead it, until `stop`. A store that is away is waited for.
///
/// # Errors
/// What only an operator can put right.
pub async fn run(
    config: Config,
    store: Store,
    host: Host,
    stop: CancellationToken,
) -> Result<(), Error> {
    let keys = Keys::new(&config.cluster);
    let identity = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        checked = identity::check(&keys, &store, &host) => checked?,
    };
    tracing::debug!(store = identity.uuid, "the store is known");
    let mut past = Past::recall(config.state_directory.as_deref(), identity.uuid, &host);
    let key = keys.of(&Key::Leader);
    let mut pulse = Pulse::new(&host);
    while !stop.is_cancelled() {
        if let Ok(Some(leader)) = store.get(&key).await {
            warn_of_squatter(&key, &leader);
            tracing::info!(cluster = %config.cluster, "standing by: another controller leads");
        }
        pulse.status("standby: another controller leads, or the store is away".to_owned());
        pulse.ready();
        let mut campaign = std::pin::pin!(store.campaign(&key, LEADER_TTL));
        let leadership = loop {
            pulse.beat();
            tokio::select! {
                () = stop.cancelled() => {
                    pulse.ends();
                    return Ok(());
                }
                won = &mut campaign => break won?,
                () = pulse.due() => {}
            }
        };
        tracing::info!(cluster = %config.cluster, name = config.name, "leading");
        host.metrics.controller.lead(true);
        let mut term = Term::new(
            &config,
            store.clone(),
            host.clone(),
            leadership.clone(),
            past,
        );
        tokio::select! {
            () = stop.cancelled() => {
                pulse.ends();
                host.metrics.controller.lead(false);
                // Dropped first, so that nothing is written after the resignation.
                drop(term);
                match leadership.resign().await {
                    Ok(()) => tracing::info!("resigned"),
                    Err(error) => tracing::warn!(%error, "could not resign; the lease will end"),
                }
                return Ok(());
            }
            () = leadership.hold() => tracing::warn!("no longer leading"),
            () = term.lead(&mut pulse) => {}
        }
        host.metrics.controller.lead(false);
        past = term.into_past();
    }
    Ok(())
}

/// Says so if `key` holds what no controller has written: it is bound to no lease and may stay for good. It is
/// left alone, since who wrote it may have meant to stop all control.
fn warn_of_squatter(key: &str, leader: &store::Entry) {
    let is_uuid = leader.value.len() == 32 && leader.value.iter().all(u8::is_ascii_hexdigit);
    if !is_uuid {
        tracing::error!(
            key,
            "the leader's key holds what no controller has written, so none can lead: delete it with \
             `etcdctl del {key}`"
        );
    }
}
