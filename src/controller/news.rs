//! What the leader records as events: what it has written, as far as that is news.

use crate::{
    keys::{Key, Keys},
    model::{
        Condition,
        event::{Note, Recorder},
    },
    plan::{
        cluster::Cluster,
        controller::Step,
        news::{of_leader, of_write},
    },
    store::{Chronicle, Leadership, Store},
};

use super::Config;

/// So many events of the leader are kept.
const MOST: usize = 500;

/// What a leader records; that it leads, first of all.
pub(super) fn chronicle(
    config: &Config,
    store: &Store,
    keys: &Keys,
    leadership: &Leadership,
) -> Chronicle {
    let by = format!("controller {}", config.name);
    let mut chronicle = Chronicle::new(store.clone(), keys.clone(), Recorder::Leader, by, MOST);
    chronicle.guard(Some(leadership.guards()));
    chronicle.note([of_leader(&config.name)]);
    chronicle
}

/// What the writes of `steps` are news of, once they are made.
pub(super) fn of(steps: &[Step], cluster: &Cluster) -> Vec<(Key, Vec<Note>)> {
    let writes = steps.iter().flat_map(|step| &step.writes);
    let news = writes.map(|intent| {
        let notes = of_write(intent, reported(cluster, &intent.key));
        (intent.key.clone(), notes)
    });
    news.filter(|(_, notes)| !notes.is_empty()).collect()
}

/// The conditions that were reported under `key` before.
fn reported<'a>(cluster: &'a Cluster, key: &Key) -> &'a [Condition] {
    let conditions = match key {
        Key::ServiceStatus(name) => cluster.services().get(name).and_then(|service| {
            let status = service.status.as_ref()?.value.as_ref()?;
            Some(&status.conditions)
        }),
        Key::NodeStatus(name) => cluster.nodes().get(name).and_then(|node| {
            let status = node.status.as_ref()?.value.as_ref()?;
            Some(&status.conditions)
        }),
        Key::ClusterStatus => {
            let status = cluster
                .status
                .as_ref()
                .and_then(|stored| stored.value.as_ref());
            status.map(|status| &status.conditions)
        }
        _ => None,
    };
    conditions.map_or(&[], Vec::as_slice)
}
