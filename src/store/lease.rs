//! Leases that survive reconnects.

/// A lease of the store, kept alive for as long as [`Lease::keep`] is polled.
#[derive(Clone)]
pub struct Lease {}

#[expect(clippy::todo)]
impl Lease {
    /// The lease's id, for [`super::Write::put_leased`].
    pub fn id(&self) -> i64 {
        todo!()
    }

    /// Renews the lease over and over; resolves when it has ended in the store (expired or
    /// revoked), or may have: its time has passed without an answer.
    pub async fn keep(&self) {
        todo!()
    }

    /// Ends the lease, and with it every key bound to it.
    pub async fn revoke(&self) -> Result<(), super::Error> {
        todo!()
    }
}
