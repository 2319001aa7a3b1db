//! The names that all clients together have subscribed to, and how many more there may be: what one client wants
//! never costs another one what it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::TooMuch;

/// Names that nobody may serve. Each is kept current while somebody wants it, and takes about a kilobyte.
const MOST_UNKNOWN: usize = 10_000;

/// Subscriptions of all clients to names. Each takes some 250 bytes.
const MOST: usize = 250_000;

/// A client with no more names than this is not turned away for what others want: as many watches as there may be
/// take no more than a part of [`MOST`] with so many each.
const FEW: usize = 16;

/// How many clients want each name.
#[derive(Debug, Default)]
pub struct Demand {
    names: BTreeMap<Arc<str>, usize>,
    /// Subscriptions of all clients.
    total: usize,
}

impl Demand {
    /// Whether a client that wants `own` may want `names` as well. What somebody serves is known.
    ///
    /// # Errors
    /// When all clients together want too much, and it is not one of the modest.
    pub fn admit(
        &self,
        own: &BTreeSet<Arc<str>>,
        names: &[Arc<str>],
        is_known: impl Fn(&str) -> bool,
    ) -> Result<(), TooMuch> {
        let more: BTreeSet<_> = names.iter().filter(|name| !own.contains(*name)).collect();
        let is_modest = own.len() + more.len() <= FEW;
        if !more.is_empty() && !is_modest && self.total + more.len() > MOST {
            return Err(TooMuch::Together);
        }
        let new = more.iter().filter(|name| !self.names.contains_key(**name));
        let unknown = new.filter(|name| !is_known(name)).count();
        if unknown > 0 && self.names.len() + unknown > MOST_UNKNOWN {
            return Err(TooMuch::Together);
        }
        Ok(())
    }

    /// A client wants `now` instead of `before`. Returns whether there are names that nobody else wants or wanted.
    pub fn change(&mut self, before: &BTreeSet<Arc<str>>, now: &BTreeSet<Arc<str>>) -> bool {
        self.total = (self.total + now.len()).saturating_sub(before.len());
        let mut is_new = false;
        for name in now.difference(before) {
            let count = self.names.entry(Arc::clone(name)).or_default();
            *count += 1;
            is_new |= *count == 1;
        }
        for name in before.difference(now) {
            if let Some(count) = self.names.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.names.remove(name);
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// The names that somebody wants.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    /// The same name; where somebody wants it already, in no memory of its own.
    pub fn shared(&self, name: &Arc<str>) -> Arc<str> {
        let known = self.names.get_key_value(name);
        Arc::clone(known.map_or(name, |(known, _)| known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, count: usize) -> BTreeSet<Arc<str>> {
        let name = |number| format!("{prefix}{number}").into();
        (0..count).map(name).collect()
    }

    fn list(names: &BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
        names.iter().cloned().collect()
    }

    /// Demand of clients that each want a thousand names of their own, until one is turned away.
    fn crowd(is_known: bool) -> (Demand, Vec<BTreeSet<Arc<str>>>) {
        let (mut demand, mut clients) = (Demand::default(), Vec::new());
        let none = BTreeSet::new();
        loop {
            let own = names(&format!("{}-", clients.len()), 1000);
            if demand.admit(&none, &list(&own), |_| is_known).is_err() {
                return (demand, clients);
            }
            demand.change(&none, &own);
            clients.push(own);
        }
    }

    #[test]
    fn names_that_nobody_serves_are_bounded_and_keep_out_neither_what_is_served_nor_who_is_there() {
        let (mut demand, clients) = crowd(false);
        assert_eq!(clients.len(), MOST_UNKNOWN / 1000);
        let none = BTreeSet::new();
        let worker = [Arc::from("Worker")];
        let served = |name: &str| name == "Worker";
        assert_eq!(demand.admit(&none, &worker, served), Ok(()));
        let other = [Arc::from("Other")];
        assert_eq!(demand.admit(&none, &other, served), Err(TooMuch::Together));
        // Whoever has its names keeps them, and another one may share them.
        let own = &clients[0];
        assert_eq!(demand.admit(own, &list(own), served), Ok(()));
        assert_eq!(demand.admit(&none, &list(own), served), Ok(()));
        for own in &clients {
            demand.change(own, &none);
        }
        assert_eq!(demand.admit(&none, &other, served), Ok(()));
        assert_eq!((demand.names().count(), demand.total), (0, 0));
    }

    #[test]
    fn subscriptions_are_bounded_and_modest_clients_are_let_in_all_the_same() {
        let (demand, clients) = crowd(true);
        assert_eq!(clients.len(), MOST / 1000);
        let none = BTreeSet::new();
        let admit = |count| demand.admit(&none, &list(&names("n", count)), |_| true);
        assert_eq!(
            (admit(FEW), admit(FEW + 1)),
            (Ok(()), Err(TooMuch::Together))
        );
    }

    #[test]
    fn a_change_tells_whether_there_is_a_name_more_or_less_and_names_are_shared() {
        let mut demand = Demand::default();
        let (none, two) = (BTreeSet::new(), names("n", 2));
        assert!(demand.change(&none, &two));
        assert!(!demand.change(&none, &two), "another client's");
        let again: Arc<str> = "n0".into();
        let known = two.get("n0").unwrap();
        assert!(Arc::ptr_eq(&demand.shared(&again), known));
        assert!(!demand.change(&two, &none));
        assert!(demand.change(&two, &none));
        assert!(Arc::ptr_eq(&demand.shared(&again), &again));
    }
}
