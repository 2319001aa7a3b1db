//! The machine, behind seams: clock, randomness, network, disk, and the manager of services.
//!
//! Roles reach the outside world only through a [`Host`], so that a whole cluster can run in one
//! process on virtual time. No implementation hides a thread.

mod clock;
mod disk;
mod entropy;
mod manager;
mod manifests;
pub mod network;

use std::sync::Arc;

use crate::metrics::Metrics;

pub use clock::{Clock, SystemClock};
pub use disk::{Disk, Foreign, Handed, Identity, LocalDisk, Parts, Tree};
pub use entropy::{Entropy, OsEntropy};
pub use manager::{Manager, Nobody, Pulse};
pub use manifests::{Unreadable, read_manifests};
pub use network::{Datagrams, Listener, Network, Peer, Stream, TcpNetwork};

/// What a role gets from the machine it runs on. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random numbers.
    pub entropy: Arc<dyn Entropy>,
    /// Connects and listens.
    pub network: Arc<dyn Network>,
    /// Keeps files.
    pub disk: Arc<dyn Disk>,
    /// Hears how this program is, where it runs as a service.
    pub manager: Arc<dyn Manager>,
    /// What the parts of this program count.
    pub metrics: Arc<Metrics>,
}

impl Host {
    /// The real machine.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy),
            network: Arc::new(TcpNetwork),
            disk: Arc::new(LocalDisk),
            manager: Arc::new(Nobody),
            metrics: Arc::default(),
        }
    }
}
