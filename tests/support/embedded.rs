//! An embedded store on a free port, for one test.

use quaestor::{host::Host, store::embedded::Embedded};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A served store; it ends with the test's runtime, or by [`Served::stop`].
pub struct Served {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    /// Serves `store` on a free port.
    pub async fn start(store: Embedded) -> Self {
        let network = Host::system().network;
        let listener = network.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_address().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { store.serve(listener, stopped).await.unwrap() });
        Self {
            address,
            stop,
            task,
        }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it and waits until it has.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}
