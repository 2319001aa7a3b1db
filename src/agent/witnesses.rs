//! Asking all balancers whether clients know that an endpoint goes ([`crate::plan::proof`]).

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{self, BoxFuture};

use crate::{
    keys::{Key, Keys},
    model::{Name, Presence},
    plan::proof::{Census, Doubt, Question, Resident, conclude},
    store::{Listing, Store},
};

/// The balancers, as far as they can be asked.
pub trait Witnesses: Send + Sync {
    /// Asks the one at `address`. The error says why its clients are not known to know.
    fn ask(
        &self,
        balancer: &Name,
        address: &str,
        question: &Question,
    ) -> BoxFuture<'static, Result<(), String>>;
}

/// Asks all balancers that there are. The question's own are filled in.
///
/// # Errors
/// Why it is not certain that all clients know.
pub(super) async fn inquire(
    store: Store,
    keys: Keys,
    witnesses: Arc<dyn Witnesses>,
    question: Question,
) -> Result<(), Doubt> {
    let before = census(&store, &keys).await?;
    let question = Question {
        balancers: before.balancers.keys().cloned().collect(),
        ..question
    };
    let asking = before.balancers.iter().map(async |(id, resident)| {
        let said = match &resident.address {
            Some(address) => witnesses.ask(id, address, &question).await,
            None => Err(Doubt::NoAddress.to_string()),
        };
        (id.clone(), said)
    });
    let said: BTreeMap<_, _> = future::join_all(asking).await.into_iter().collect();
    let after = census(&store, &keys).await?;
    conclude(question.revision, &before, &said, &after)
}

async fn census(store: &Store, keys: &Keys) -> Result<Census, Doubt> {
    let listing = store.list(&keys.balancers()).await;
    let listing = listing.map_err(|error| Doubt::Unlisted(error.to_string()))?;
    Ok(read(&listing, keys))
}

/// What cannot be read is a balancer that cannot be asked.
fn read(listing: &Listing, keys: &Keys) -> Census {
    let entries = listing.entries.iter();
    let balancers = entries.filter_map(|entry| match keys.parse(&entry.key) {
        Some(Key::Balancer(id)) => {
            let presence = serde_json::from_slice::<Presence>(&entry.value).ok();
            let resident = Resident {
                since: entry.create_revision,
                address: presence.and_then(|presence| presence.address),
            };
            Some((id, resident))
        }
        _ => None,
    });
    Census {
        revision: listing.revision,
        balancers: balancers.collect(),
    }
}
