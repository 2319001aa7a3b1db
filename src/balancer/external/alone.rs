//! A balancer without a store: it answers for the services of its files, and asks their endpoints itself.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Inspector, Manifests};
use crate::{
    host::{Host, Pulse},
    task::Failure,
    view::{Directory, Index, TICK},
};

/// What answers call the node of such endpoints.
const NODE: &str = "static";

/// Keeps `directory` in line with `manifests`, and with what their endpoints say, until `stop`.
///
/// # Errors
/// None that is known.
pub async fn run(
    mut manifests: Manifests,
    host: Host,
    directory: Arc<Directory>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut inspector = Inspector::new(NODE, host.clone())?;
    let mut index = Index::new(Arc::clone(&directory));
    inspector.want(manifests.wanted().clone(), host.clock.now());
    let mut pulse = Pulse::new(&host);
    loop {
        let now = host.clock.now();
        if now >= manifests.next_look() && manifests.look(&*host.disk, now) {
            inspector.want(manifests.wanted().clone(), now);
        }
        let due = inspector.ask(now);
        // It is always heard: nobody stands between.
        directory.heard(now);
        let was_synced = directory.is_synced();
        if was_synced || inspector.is_complete() {
            index.apply(inspector.facts(), now);
        }
        if !was_synced && directory.is_synced() {
            tracing::info!("every endpoint was asked once; answering");
            pulse.ready();
        }
        pulse.status(status(&directory, manifests.complaint()));
        pulse.beat();
        let wake = due.map_or(now + TICK, |due| due.min(now + TICK));
        tokio::select! {
            () = stop.cancelled() => {
                pulse.ends();
                return Ok(());
            }
            () = inspector.answer() => {}
            () = host.clock.sleep_until(wake) => {}
            () = pulse.due() => {}
        }
    }
}

/// What a balancer is doing, in one line.
fn status(directory: &Directory, complaint: &str) -> String {
    let names = directory.names();
    match (directory.is_synced(), complaint.is_empty()) {
        (false, _) => "asks its endpoints for the first time".to_owned(),
        (true, true) => format!("answers for {names} names of its files"),
        (true, false) => {
            format!("answers for {names} names of its former files: the new are wrong")
        }
    }
}
