//! The balancers that there are.

use super::{Error, Operator, decode};
use crate::model::Presence;

impl Operator {
    /// Where balancers are reached, of those that say so; sorted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn balancers(&self) -> Result<Vec<String>, Error> {
        let listing = self.store.list(&self.keys.balancers()).await?;
        let balancers = listing.entries.iter().filter_map(decode::<Presence>);
        let mut addresses: Vec<String> = balancers.filter_map(|it| it.address).collect();
        addresses.sort();
        Ok(addresses)
    }
}
