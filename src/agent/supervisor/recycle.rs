//! Processes that are replaced only because they are old.

use crate::{
    model::{Desired, Instance, Moment},
    plan::{
        agent::Action,
        recycle::{self, Next, Turn},
    },
};

use super::{super::instance::Managed, Supervisor};

impl Supervisor {
    /// What is to be done about the age of an instance that has nothing else to do. What is left running
    /// while the store is away is not restarted without need.
    pub(super) fn recycle(&mut self, name: &Instance, now: Moment) -> Option<Action> {
        let is_away = self.session.held.borrow().is_none() || self.is_cut_off(now);
        let managed = self.instances.get(name)?;
        // Nothing could be started in its place.
        let lacks = managed.assignment.recycle.is_some() && self.lacking(managed).is_some();
        let managed = self.instances.get_mut(name)?;
        if managed.assignment.recycle.is_none() {
            managed.turn = Turn::default();
            return None;
        }
        if is_away && !managed.is_local {
            return None;
        }
        let is_taken = lacks || managed.orphaned || !managed.tickets.is_empty();
        let next = match is_taken {
            true => Next::Pause,
            false => recycle::next(&managed.assignment, &managed.life, now),
        };
        let is_turn = match managed.is_local {
            true => self.others_are_ready(name),
            false => {
                let able = matches!(next, Next::Turn(_));
                let granted = managed.is_granted();
                managed.turn = managed.turn.advance(able, granted, now);
                if let Some(until) = managed.turn.until() {
                    self.wakes.by(name, until);
                }
                matches!(managed.turn, Turn::Held(_))
            }
        };
        match next {
            Next::Turn(action) if is_turn => return Some(action),
            Next::Age(due) => self.wakes.by(name, due),
            // Load reports wake it, and so do assignments and the next full pass.
            Next::Turn(_) | Next::Pause | Next::Never => {}
        }
        None
    }

    /// Whether all others of its service on this node are ready.
    fn others_are_ready(&self, name: &Instance) -> bool {
        let mut others = self.instances.iter().filter(|(other, managed)| {
            let stays = managed.assignment.desired == Desired::Present;
            other.service == name.service && *other != name && stays
        });
        others.all(|(_, other)| other.is_ready())
    }
}

impl Managed {
    /// Whether the leader says that its process, and no earlier one, may be recycled.
    fn is_granted(&self) -> bool {
        let turn = self.assignment.recycle_turn;
        turn.is_some() && turn == self.started_at
    }
}
