//! That something has changed.

use super::Operator;
use crate::store::Follow;

/// Tells of changes of what there is to look at.
pub struct Changes {
    follow: Follow,
}

impl Operator {
    /// Begins to follow what [`Operator::inventory`] reads. The first change is all that there is.
    pub fn changes(&self) -> Changes {
        let keys = &self.keys;
        let prefixes = vec![
            keys.specs(),
            keys.assignments(),
            keys.states(),
            keys.sessions(),
            keys.statuses(),
            keys.loads(),
        ];
        Changes {
            follow: self.store.follow(prefixes),
        }
    }
}

impl Changes {
    /// Waits until something has changed. Cancel-safe; outages of the store are waited out.
    pub async fn next(&mut self) {
        self.follow.next().await;
    }
}
