//! A store that falls back in time, as it was restored from a backup. Until an operator confirms that, the leader writes
//! nothing but its own status, and no agent acts by what came back (I17; stops and starts: [`super::processes`]). This holds
//! for those who can know: who has not seen anything that is newer than the backup takes it for the present.

use std::{collections::BTreeMap, time::Duration};

use etcd_client::{GetOptions, WatchOptions, WatchStream};

use super::{
    Checker,
    history::{History, ROOT, Version},
};
use crate::cast::{Cast, Role};

/// So long after a restore balancers may still answer with what has vanished: they wait a minute for an agent.
pub const AFTERMATH: Duration = Duration::from_secs(75);

/// What is wrong with a write while a restore waits for its confirmation.
pub fn check(
    history: &History,
    cast: &Cast,
    key: &str,
    version: &Version,
) -> Option<(&'static str, String)> {
    let program = version.by?;
    let leads = cast.role(program) == Some(Role::Controller);
    let may = ["leader", "status/", "event/", "meta/"];
    let decides = leads && !may.iter().any(|prefix| key.starts_with(prefix));
    if !decides || !history.is_unconfirmed() || !cast.knows_of_restore(program) {
        return None;
    }
    let restored = history.last_restore().unwrap_or_default();
    let what = format!(
        "{key} is written by the leader, and nobody has confirmed the restore of {restored:?}"
    );
    Some(("I17", what))
}

impl Checker {
    /// Takes in what a restored store holds, and watches it from there on.
    pub(super) async fn look_back(
        &mut self,
        watch: &mut WatchStream,
    ) -> Result<(), etcd_client::Error> {
        let mut client = Self::client(&self.gate).await?;
        let listing = GetOptions::new().with_prefix();
        let listing = client.get(ROOT, Some(listing)).await?;
        let revision = listing.header().map_or(0, |header| header.revision());
        self.restores = self.gate.restores();
        let now = self.clock.elapsed();
        let number = self.history.restored(now);
        if revision >= std::mem::replace(&mut self.newest, revision) {
            // Nothing was lost, so that there is nothing to notice.
            self.history.confirmed(now);
        }
        self.trace
            .note(format!("the store is back at revision {revision}"));
        let mut found = BTreeMap::new();
        for entry in listing.kvs() {
            let key = String::from_utf8_lossy(entry.key()).into_owned();
            let Some(key) = key.strip_prefix(ROOT) else {
                continue;
            };
            let text = String::from_utf8_lossy(entry.value());
            let value = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
            found.insert(key.to_owned(), (entry.mod_revision(), value));
        }
        for key in self.history.keys() {
            found.entry(key).or_default();
        }
        for (key, (revision, value)) in found {
            let value = (revision > 0).then_some(value);
            let known = self.history.current(&key);
            if known.is_some_and(|known| known.revision == revision && known.value == value) {
                continue;
            }
            let version = Version {
                revision,
                at: now,
                value,
                by: self.gate.written(revision).map(|written| written.by),
                restore: Some(number),
            };
            if key == "leader" {
                self.cast.leads(version.value.as_ref().and(version.by));
            }
            self.history.add(&key, version);
        }
        self.answers.learn(&self.history, &self.names, now);
        let options = WatchOptions::new().with_prefix();
        let options = options.with_start_revision(revision + 1);
        *watch = client.watch(ROOT, Some(options)).await?;
        watch.message().await?;
        self.client = Some(client);
        Ok(())
    }
}
