//! The balancers that there are.

use super::{Error, Operator, decode};
use crate::model::Presence;

impl Operator {
    /// The balancers that others can reach, by address.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn balancers(&self) -> Result<Vec<Presence>, Error> {
        let listing = self.store.list(&self.keys.balancers()).await?;
        let mut balancers: Vec<Presence> = listing.entries.iter().filter_map(decode).collect();
        balancers.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(balancers)
    }
}
