//! The store's identity and layout, created by the first controller.

use std::time::Duration;

use crate::{
    host::Host,
    keys::{Key, Keys},
    model::StoreIdentity,
    retry::Retry,
    store::{self, Guard, Store, Txn, Write},
};

use super::Error;

/// The layout of keys and values that this program reads and writes.
pub const LAYOUT: u32 = 1;

/// Reads the identity, or creates it. Waits for a store that is away.
///
/// # Errors
/// When the record cannot be read, or is of another layout.
pub async fn check(keys: &Keys, store: &Store, host: &Host) -> Result<StoreIdentity, Error> {
    let key = keys.of(&Key::Identity);
    let mut retry = Retry::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match attempt(&key, store, host).await {
            Ok(Some(identity)) if identity.layout == LAYOUT => return Ok(identity),
            Ok(Some(identity)) => {
                return Err(Error::Layout {
                    found: identity.layout,
                    known: LAYOUT,
                });
            }
            // Created just now, by this controller or another one: read it.
            Ok(None) => continue,
            Err(Error::Store(error)) if !matches!(error, store::Error::Refused { .. }) => {
                tracing::warn!(%error, "the identity of the store is not known yet");
            }
            Err(error) => return Err(error),
        }
        host.clock.sleep(retry.pause(&*host.entropy)).await;
    }
}

/// Reads the identity, or tries to create it; none when it has to be read again.
async fn attempt(key: &str, store: &Store, host: &Host) -> Result<Option<StoreIdentity>, Error> {
    let unreadable = |cause: serde_json::Error| Error::Identity {
        key: key.to_owned(),
        cause: cause.to_string(),
    };
    if let Some(entry) = store.get(key).await? {
        let identity = serde_json::from_slice(&entry.value).map_err(unreadable)?;
        return Ok(Some(identity));
    }
    let identity = StoreIdentity {
        uuid: host.entropy.uuid(),
        layout: LAYOUT,
    };
    let json = serde_json::to_vec(&identity).map_err(unreadable)?;
    let txn = Txn::new()
        .when(Guard::Absent(key.to_owned()))
        .then(Write::put(key, json));
    store.commit(txn).await?;
    Ok(None)
}
