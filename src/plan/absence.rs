//! How long nodes have been away, and what follows from it.
//!
//! ```text
//! connected --session gone--> Unknown --grace--> Lost: its instances are replaced elsewhere
//!     ^                          |                 |
//!     +-------- session ---------+-----------------+
//! ```
//!
//! Where [`MASS`] of the nodes or more are away, it is rather the store or the network that is at fault
//! than each of them: then nothing is moved. A singleton is lost only once it has stopped by itself (`onPartition:
//! stop`), as its agent has told its shim. What one leader has seen of an absence says nothing to the next,
//! which waits for the whole grace again.

use std::{collections::BTreeSet, time::Duration};

use crate::model::{
    Moment, Name, ServiceSpec,
    service::{OnPartition, SELF_STOP},
};

use super::{
    cluster::{Cluster, Seat, Service},
    node::Node,
};

/// How long a node has to be away before its instances are replaced, where nobody says otherwise.
pub const GRACE: Duration = Duration::from_secs(60);

/// Of a hundred nodes, so many that are away at once stop all moving.
const MASS: usize = 55;

/// An agent that is back gets so long to say what its instances work on.
const SETTLING: Duration = Duration::from_secs(10);

/// How many nodes there are, and how many of them are away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Nodes of the cluster.
    pub known: usize,
    /// Those whose agent is not there.
    pub away: usize,
}

impl Tally {
    /// Whether so many are away that nothing is moved.
    pub fn is_mass_loss(self) -> bool {
        self.away > 0 && self.away * 100 >= self.known * MASS
    }

    pub(super) fn count(&mut self, node: &Node, add: bool) {
        let change = |count: &mut usize, holds: bool| match (holds, add) {
            (true, true) => *count += 1,
            (true, false) => *count = count.saturating_sub(1),
            (false, _) => {}
        };
        change(&mut self.known, node.is_known());
        change(&mut self.away, node.is_away());
    }
}

impl Cluster {
    /// Whether `node` counts as lost.
    pub fn has_lost(&self, node: &Name) -> bool {
        self.is_away_for(node, Some(self.grace()))
    }

    /// Whether what a service has on `node` counts as lost, so that it is replaced elsewhere. `spec`: that of
    /// the service, where it is known.
    pub fn has_lost_seat(&self, node: &Name, seat: &Seat, spec: Option<&ServiceSpec>) -> bool {
        self.is_away_for(node, self.patience(seat, spec))
    }

    /// Whether `node` is gone for good, or has been away for so long while most others are there.
    fn is_away_for(&self, node: &Name, patience: Option<Duration>) -> bool {
        let Some(node) = self.nodes().get(node) else {
            return false;
        };
        let over = patience.is_some_and(|patience| self.now() >= node.since + patience);
        let is_lost = over && node.is_away() && !self.tally().is_mass_loss();
        node.is_deleted() || is_lost
    }

    /// How long the node of an instance has to be away before it is replaced; none: for ever. A singleton has to
    /// have stopped by itself.
    fn patience(&self, seat: &Seat, spec: Option<&ServiceSpec>) -> Option<Duration> {
        let grace = self.grace_of(spec);
        let was_singleton = || seat.asked().is_some_and(|asked| asked.singleton);
        match spec.map_or_else(was_singleton, |spec| spec.singleton) {
            true => seat.stops_within().map(|bound| bound.max(grace)),
            false => Some(grace),
        }
    }

    /// Whether an agent that is back has had the time to say how its instances are.
    pub fn has_settled(&self, node: &Node) -> bool {
        let reconciled = node.live().is_some_and(|session| session.reconciled);
        reconciled && (node.load.is_some() || self.now() >= node.since + SETTLING)
    }

    fn grace_of(&self, spec: Option<&ServiceSpec>) -> Duration {
        let own = spec.and_then(|spec| spec.placement.replace_after);
        own.map_or(self.grace(), |period| period.get())
    }

    /// When something follows from the time that has passed alone.
    pub fn next_deadline(&self) -> Option<Moment> {
        let due = self.deadlines();
        due.into_iter().find(|at| *at > self.now())
    }

    /// Every moment at which something follows from time alone.
    pub(super) fn deadlines(&self) -> BTreeSet<Moment> {
        let mut due = BTreeSet::new();
        let mut away = self
            .nodes()
            .values()
            .filter(|node| node.is_away())
            .peekable();
        if away.peek().is_some() {
            let spec = |service: &Service| -> Option<Duration> {
                let object = service.spec.as_ref()?.value.as_ref()?;
                Some(self.grace_of(Some(&object.spec)))
            };
            let mut graces: BTreeSet<Duration> =
                self.services().values().filter_map(spec).collect();
            graces.insert(self.grace());
            due.extend(away.flat_map(|node| graces.iter().map(|grace| node.since + *grace)));
            due.extend(
                self.services()
                    .values()
                    .flat_map(|service| self.patiences(service)),
            );
        }
        let back = self.nodes().values().filter(|node| node.live().is_some());
        due.extend(back.map(|node| node.since + SETTLING));
        due
    }

    /// Until when the nodes of a service's singletons may be away.
    fn patiences(&self, service: &Service) -> impl Iterator<Item = Moment> {
        let spec = service.spec.as_ref().and_then(|spec| spec.value.as_ref());
        let spec = spec.map(|object| &object.spec);
        let may_wait = spec.is_none_or(|spec| spec.singleton);
        let seats = service.seats.iter().filter(move |_| may_wait);
        seats.filter_map(move |((_, name), seat)| {
            let node = self.nodes().get(name).filter(|node| node.is_away())?;
            Some(node.since + self.patience(seat, spec)?)
        })
    }
}

impl Seat {
    /// Within this time after its node's session has ended it has stopped by itself; none: it may run on. What was
    /// not announced in the store has not started.
    pub fn stops_within(&self) -> Option<Duration> {
        let asked = self.asked()?;
        let grace = match &self.state {
            Some(_) => self.observed()?.self_stop?.max(asked.stop.grace),
            None if asked.singleton => asked.stop.grace,
            None => return None,
        };
        let stops = asked.on_partition == OnPartition::Stop && !asked.adopt;
        stops.then(|| SELF_STOP.get() + grace.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_moved_where_more_than_half_of_the_nodes_are_away() {
        let tally = |away, known| Tally { known, away }.is_mass_loss();
        assert!(!tally(0, 0) && !tally(0, 3));
        assert!(tally(1, 1) && !tally(1, 2) && !tally(1, 3) && tally(2, 3));
        assert!(!tally(54, 100) && tally(55, 100));
    }
}
