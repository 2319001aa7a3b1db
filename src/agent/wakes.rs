//! Who is to be looked at, and when: one moment per instance, the earliest wins.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Instance, Moment};

/// Moments at which instances are due.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// In the order in which they are due.
    due: BTreeSet<(Moment, Instance)>,
    /// The same, by instance.
    at: BTreeMap<Instance, Moment>,
}

impl Wakes {
    /// Makes `instance` due at `moment`, or earlier if it already is.
    pub(super) fn by(&mut self, instance: &Instance, moment: Moment) {
        match self.at.get(instance) {
            Some(at) if *at <= moment => return,
            Some(at) => {
                self.due.remove(&(*at, instance.clone()));
            }
            None => {}
        }
        self.at.insert(instance.clone(), moment);
        self.due.insert((moment, instance.clone()));
    }

    /// An instance that is due at `now`; it is not due any more.
    pub(super) fn pop(&mut self, now: Moment) -> Option<Instance> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, instance) = self.due.pop_first()?;
        self.at.remove(&instance);
        Some(instance)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.due.first().map(|(moment, _)| *moment)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_is_due_once_at_its_earliest_moment() {
        let at = |secs| Moment::new(Duration::from_secs(secs));
        let [a, b]: [Instance; 2] = ["a-0", "b-0"].map(|text| text.parse().unwrap());
        let mut wakes = Wakes::default();
        wakes.by(&a, at(5));
        wakes.by(&b, at(3));
        wakes.by(&a, at(2));
        wakes.by(&a, at(9));
        assert_eq!(wakes.next(), Some(at(2)));
        assert_eq!(wakes.pop(at(1)), None);
        assert_eq!(wakes.pop(at(9)), Some(a));
        assert_eq!(wakes.pop(at(9)), Some(b));
        assert_eq!(wakes.pop(at(9)), None);
        assert_eq!(wakes.next(), None);
    }
}
