//! etcd v3 in memory: what `quaestor dev` and simulations run on. Production runs on etcd itself.
//!
//! It gives the answers of etcd 3.4, field by field (`tests/embedded_differential` compares), for
//! keys, transactions, watches, leases, and what `etcdctl` asks about a member. There is one
//! member, which always leads; nothing is kept on disk; nobody has to log in. The last 10 000
//! revisions or so are kept, older ones are compacted away as by etcd's automatic compaction.
//!
//! Pure, from the inside out:
//! - `interval`: ranges of keys
//! - `refusal`: etcd's errors
//! - `mvcc`: the multi-version map
//! - `lease`: the book of leases
//! - `kv`, `txn`: requests on the map
//! - `state`: map and leases together
//! - `watch`: the watchers of a stream
//!
//! Around it:
//! - `core`: the state behind one lock, on the injected clock
//! - `service`: the gRPC services
//! - `server`: the listener and its end

mod core;
mod interval;
mod kv;
mod lease;
mod mvcc;
mod refusal;
mod server;
mod service;
mod state;
mod txn;
mod watch;

use std::{io, sync::Arc};

use tokio_util::sync::CancellationToken;

use self::core::Core;
use crate::{
    grpc,
    host::{Host, Listener},
};

/// A store in memory. Clones share their content, which outlives [`Embedded::serve`]: served again,
/// it is the same store, as an etcd that was restarted.
#[derive(Clone)]
pub struct Embedded {
    core: Arc<Core>,
}

/// Why the store ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener has no address.
    #[error("the embedded store cannot tell where it listens: {0}")]
    Listener(#[source] io::Error),
    /// The gRPC server failed.
    #[error("the embedded store: {0}")]
    Server(#[from] grpc::Error),
}

impl Embedded {
    /// An empty store with a cluster id of its own, on the host's clock and randomness.
    pub fn new(host: &Host) -> Self {
        Self {
            core: Arc::new(Core::new(host)),
        }
    }

    /// Another store with what this one holds now, as an etcd that was restored from a snapshot: it has a cluster id of
    /// its own, keeps the revisions, and gives each lease its whole time again.
    #[must_use]
    pub fn restored(&self, host: &Host) -> Self {
        Self {
            core: Arc::new(self.core.copy(host)),
        }
    }

    /// Serves clients until `stop` is cancelled; then ends open streams at once, lets running requests
    /// finish, and closes the connections.
    ///
    /// # Errors
    /// When the listener or the server on it fails.
    pub async fn serve(
        &self,
        listener: Box<dyn Listener>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        server::serve(self.core.clone(), listener, stop).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Config, Store};

    #[tokio::test(start_paused = true)]
    async fn a_restored_store_holds_what_its_snapshot_did_and_leases_have_their_whole_time() {
        let host = Host::system();
        let store = Embedded::new(&host);
        let put = |store: &Embedded, key: &str, lease: i64| {
            let request = etcd_client::proto::PbPutRequest {
                key: key.as_bytes().to_vec(),
                lease,
                ..Default::default()
            };
            store.core.with(|state, _| state.put(&request)).unwrap();
        };
        let holds = |store: &Embedded, key: &str| {
            let key = key.as_bytes();
            (store.core).with(|state, _| state.map.get(key, i64::MAX).is_some())
        };
        let grant = |state: &mut state::State, now| state.leases.grant(1, 10, now);
        store.core.with(grant).unwrap();
        put(&store, "a", 1);
        let snapshot = store.restored(&host);
        host.clock.sleep(Duration::from_secs(9)).await;
        put(&store, "b", 0);
        host.clock.sleep(Duration::from_secs(9)).await;
        assert!(!holds(&store, "a") && holds(&store, "b"));
        let restored = snapshot.restored(&host);
        assert_ne!(restored.core.cluster, store.core.cluster);
        host.clock.sleep(Duration::from_secs(9)).await;
        assert!(holds(&restored, "a") && !holds(&restored, "b"));
        host.clock.sleep(Duration::from_secs(2)).await;
        assert!(!holds(&restored, "a"));
    }

    #[tokio::test]
    async fn a_store_whose_serving_is_dropped_takes_its_connections_with_it() {
        let host = Host::system();
        let listening = host.network.listen(([127, 0, 0, 1], 0).into());
        let listener = listening.await.unwrap();
        let address = listener.local_address().unwrap();
        let embedded = Embedded::new(&host);
        let mut config = Config::new([address.to_string()]);
        config.request_timeout = Duration::from_secs(1);
        let store = Store::new(config, host).unwrap();
        tokio::select! {
            served = embedded.serve(listener, CancellationToken::new()) => panic!("{served:?}"),
            read = store.get("/a") => assert_eq!(read.unwrap(), None),
        }
        // Over the connection that was open, or else over a new one, which nobody accepts.
        assert!(store.get("/a").await.is_err());
    }
}
