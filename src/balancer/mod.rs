//! The balancer's loop: follows what the leader and the agents write, and keeps the view current.
//!
//! - `reader`: turns changes of keys into facts
//! - [`answers`]: what clients are told, whatever they ask by
//! - `cache`: the view in a file, for a start while the store is away
//! - [`external`]: services that somebody else runs, asked by the balancer itself
//! - [`limits`]: how much it takes on
//! - [`registry`]: that of quaestor-mini-cluster, read and written
//! - [`reservations`]: tickets for exclusive services
//! - `restored`: what a restored store no longer says
//! - [`witness`]: whether clients know that an endpoint goes
//! - [`xds`]: what stock gRPC clients are told
//!
//! It decides nothing. While the store is away the view stays as it is and is answered from.

pub mod answers;
mod cache;
pub mod external;
pub mod limits;
mod reader;
pub mod registry;
pub mod reservations;
mod restored;
pub mod witness;
pub mod xds;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    host::{Host, Pulse},
    keys::{Keys, registry::Registry},
    model::Name,
    store::{Change, Store},
    task::Failure,
    view::{Directory, Fact, Index, TICK},
};

use cache::Cache;
use reader::Reader;
use registry::Import;
use restored::Restored;

/// What a balancer needs to be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster whose services it answers for.
    pub cluster: Name,
    /// The file that the view is kept in, to answer from if the store is away at the next start.
    pub view_cache: Option<PathBuf>,
    /// The registry of quaestor-mini-cluster whose workers are found as well.
    pub import: Option<Registry>,
    /// Whether the store says that this balancer is there; none: it never will. Agents ask those who are there whether
    /// clients know what goes: so nothing is answered before.
    pub announced: Option<watch::Receiver<bool>>,
}

/// The store says something at least every 10 seconds while it is there; after three times that it
/// counts as lost. Nothing but the log depends on it.
const LOST: Duration = Duration::from_secs(30);

/// A store that says nothing for this long after the start is taken to be away: answers come from the file.
const RESTORE_AFTER: Duration = Duration::from_secs(2);

/// Keeps `directory` current until `stop`. Never gives up: a store that is away is waited for.
///
/// # Errors
/// None that is known.
pub async fn run(
    config: Config,
    store: Store,
    host: Host,
    directory: Arc<Directory>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let started = host.clock.now();
    if let Some(mut announced) = config.announced {
        tokio::select! {
            _ = announced.wait_for(|it| *it) => {}
            () = host.clock.sleep(RESTORE_AFTER) => {}
            () = stop.cancelled() => {}
        }
    }
    let keys = Keys::new(&config.cluster);
    let states = keys.states();
    let mut prefixes = vec![keys.routes(), keys.states(), keys.loads(), keys.sessions()];
    let imported = config
        .import
        .as_ref()
        .map(|registry| registry.prefix().to_owned());
    prefixes.extend(imported.clone());
    let mut import = match config.import {
        Some(registry) => Some(Import::new(registry, host.clone())?),
        None => None,
    };
    // What is not said yet, because what is registered was not asked yet.
    let mut held: Vec<Fact> = Vec::new();
    let mut follow = store.follow(prefixes);
    let mut restored = Restored::new(keys.clone());
    let mut reader = Reader::new(keys);
    let mut index = Index::new(Arc::clone(&directory));
    let mut cache = config
        .view_cache
        .map(|path| Cache::new(path, config.cluster, imported, host.clone()));
    // Whether the store was read since the start, whether the file was tried, and whether either has told everything.
    let (mut is_read, mut is_restored, mut is_told) = (false, false, false);
    let mut lost = false;
    let mut pulse = Pulse::new(&host);
    loop {
        pulse.status(status(&directory, lost));
        if directory.is_synced() {
            pulse.ready();
        }
        pulse.beat();
        let now = host.clock.now();
        let due = import.as_mut().and_then(|import| import.ask(now));
        let wake = due.map_or(now + TICK, |due| due.min(now + TICK));
        let update = tokio::select! {
            () = stop.cancelled() => {
                if let Some(cache) = &mut cache {
                    cache.write(follow.silence());
                }
                pulse.ends();
                return Ok(());
            }
            update = follow.next() => Some(update),
            () = answer(&mut import) => None,
            () = host.clock.sleep_until(wake) => None,
            () = pulse.due() => None,
        };
        let silence = follow.silence();
        let now = host.clock.now();
        is_read |= update.is_some();
        if is_read {
            directory.heard(now - silence);
        }
        let was_synced = directory.is_synced();
        let is_patient = import.is_some() && !was_synced;
        let mut seen = None;
        let mut fact = |change| fact(change, &mut reader, &mut import);
        if let Some(update) = &update {
            if update.restored_from.is_some() {
                directory.note_seen(0);
            }
            let changes = update.changes.iter();
            let of_states = changes.filter(|change| change.key().starts_with(&states));
            seen = of_states.map(Change::revision).max();
        }
        let is_update = update.is_some();
        is_told |= is_update;
        let mut changes = restored.due(now);
        changes.extend(
            update
                .into_iter()
                .flat_map(|update| restored.sift(update, now)),
        );
        if is_update || !changes.is_empty() {
            let gone = cache
                .as_mut()
                .map(|cache| cache.follow(&changes))
                .unwrap_or_default();
            let facts = gone.into_iter().chain(changes).filter_map(&mut fact);
            match is_patient {
                true => held.extend(facts),
                false => index.apply(facts, now),
            }
        } else if !is_read && !is_restored && now.since(started) >= RESTORE_AFTER {
            is_restored = true;
            if let Some((changes, age)) = cache.as_mut().and_then(Cache::restore) {
                let facts = changes.into_iter().filter_map(&mut fact);
                match is_patient {
                    true => held.extend(facts),
                    false => index.apply(facts, now),
                }
                is_told = true;
                directory.heard_before(now, age);
                tracing::warn!(
                    ?age,
                    "the store is away; answering from the view that was kept"
                );
            }
        }
        // As with --static: what was not asked once is not known to be away.
        let mut is_known = is_told;
        if let Some(import) = &mut import {
            import.ask(now);
            held.extend(import.inspector().facts());
            is_known &= was_synced || import.inspector().is_complete();
        }
        if is_known {
            index.apply(std::mem::take(&mut held), now);
        }
        if let Some(seen) = seen {
            directory.note_seen(seen.max(directory.seen()));
        }
        if !was_synced && directory.is_synced() {
            let after = host.clock.now().since(started);
            tracing::info!(?after, "the view is complete; answering from it");
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

/// The fact that a change of the store is, unless it is one of the registry.
fn fact(change: Change, reader: &mut Reader, import: &mut Option<Import>) -> Option<Fact> {
    let Some(import) = import else {
        return reader.read(change);
    };
    if import.take(&change) {
        return None;
    }
    let fact = reader.read(change)?;
    import.note(&fact);
    Some(fact)
}

/// Takes in the next answer of a registered worker, once there is one. Cancel-safe.
async fn answer(import: &mut Option<Import>) {
    match import {
        Some(import) => import.inspector().answer().await,
        None => std::future::pending().await,
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
