//! The balancer's loop: follows what the leader and the agents write, and keeps the view current.
//!
//! - `reader`: turns changes of keys into facts
//! - [`answers`]: what clients are told, whatever they ask by
//! - `cache`: the view in a file, for a start while the store is away
//! - [`reservations`]: tickets for exclusive services
//! - [`xds`]: what stock gRPC clients are told
//!
//! It decides nothing. While the store is away the view stays as it is and is answered from.

pub mod answers;
mod cache;
mod reader;
pub mod reservations;
pub mod xds;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    host::{Host, Pulse},
    keys::Keys,
    model::Name,
    store::Store,
    task::Failure,
    view::{Directory, Index, TICK},
};

use cache::Cache;
use reader::Reader;

/// What a balancer needs to be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster whose services it answers for.
    pub cluster: Name,
    /// The file that the view is kept in, to answer from if the store is away at the next start.
    pub view_cache: Option<PathBuf>,
}

/// The store says something at least every 10 seconds while it is there; after three times that it
/// counts as lost. Nothing but the log depends on it.
const LOST: Duration = Duration::from_secs(30);

/// A store that says nothing for this long after the start is taken to be away: answers come from the file.
const RESTORE_AFTER: Duration = Duration::from_secs(2);

/// Keeps `directory` current until `stop`. Never gives up: a store that is away is waited for.
///
/// # Errors
/// None today.
pub async fn run(
    config: Config,
    store: Store,
    host: Host,
    directory: Arc<Directory>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let keys = Keys::new(&config.cluster);
    let prefixes = vec![keys.routes(), keys.states(), keys.loads(), keys.sessions()];
    let mut follow = store.follow(prefixes);
    let mut reader = Reader::new(keys);
    let mut index = Index::new(Arc::clone(&directory));
    let started = host.clock.now();
    let mut cache = config
        .view_cache
        .map(|path| Cache::new(path, config.cluster, host.clone()));
    // Whether the store was read since the start, and whether the file was.
    let (mut is_read, mut is_restored) = (false, false);
    let mut lost = false;
    let mut pulse = Pulse::new(&host);
    loop {
        pulse.status(status(&directory, lost));
        if directory.is_synced() {
            pulse.ready();
        }
        pulse.beat();
        let update = tokio::select! {
            () = stop.cancelled() => {
                if let Some(cache) = &mut cache {
                    cache.write(follow.silence());
                }
                pulse.ends();
                return Ok(());
            }
            update = follow.next() => Some(update),
            () = host.clock.sleep(TICK) => None,
            () = pulse.due() => None,
        };
        let silence = follow.silence();
        let now = host.clock.now();
        is_read |= update.is_some();
        if is_read {
            directory.heard(now - silence);
        }
        if let Some(update) = update {
            let first = !directory.is_synced();
            let gone = cache
                .as_mut()
                .map(|cache| cache.follow(&update.changes))
                .unwrap_or_default();
            let changes = gone.into_iter().chain(update.changes);
            index.apply(changes.filter_map(|change| reader.read(change)), now);
            if first {
                let (revision, after) = (update.revision, host.clock.now().since(started));
                tracing::info!(revision, ?after, "the view is complete; answering from it");
            }
        } else if !is_read && !is_restored && now.since(started) >= RESTORE_AFTER {
            is_restored = true;
            if let Some((changes, age)) = cache.as_mut().and_then(Cache::restore) {
                let facts = changes.into_iter().filter_map(|change| reader.read(change));
                index.apply(facts, now);
                directory.heard_before(now, age);
                tracing::warn!(
                    ?age,
                    "the store is away; answering from the view that was kept"
                );
            }
        } else {
            index.settle(now);
        }
        if let Some(cache) = &mut cache {
            cache.settle(silence);
        }
        if lost != (silence > LOST) {
            lost = !lost;
            match (lost, directory.is_synced()) {
                (false, _) => tracing::info!("the store is back"),
                (true, true) => {
                    tracing::warn!(?silence, "the store is lost; answering from the last view");
                }
                (true, false) => {
                    tracing::warn!(
                        ?silence,
                        "the store cannot be read; nothing to answer from yet"
                    );
                }
            }
        }
    }
}

/// What a balancer is doing, in one line.
fn status(directory: &Directory, lost: bool) -> String {
    match (directory.is_synced(), lost) {
        (false, _) => "reads the store; nothing to answer from yet".to_owned(),
        (true, false) => format!("answers for {} names", directory.names()),
        (true, true) => format!(
            "answers for {} names from its last view: the store is lost",
            directory.names()
        ),
    }
}
