//! At most one leader, fenced.

use super::{Error, Guard, Lease};

/// The right to write as the leader. Every leader-only transaction carries its guards, so that the
/// store itself refuses a leader whose time is over.
#[derive(Clone)]
pub struct Leadership {}

#[expect(clippy::todo)]
impl Leadership {
    /// What must hold for a leader's write: the key's create-revision and its value.
    pub fn guards(&self) -> Vec<Guard> {
        todo!()
    }

    /// The lease to keep while leading.
    pub fn lease(&self) -> &Lease {
        todo!()
    }

    /// Lets the next one lead at once.
    pub async fn resign(self) -> Result<(), Error> {
        todo!()
    }
}
