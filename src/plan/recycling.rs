//! Whose turn it is to be recycled, on whatever nodes they are: so many at a time as a rollout may take, but
//! one at least, as nobody stands in for them.
//!
//! Agents ask for it when they have a process that is old and idle. A turn names the process by the time of its
//! start, so that it is void once that has ended. Until it was used or given back, it counts as if the process
//! had ended. What a rollout replaces needs no turn.

use crate::model::{Assignment, Instance};

use super::{
    cluster::Seat,
    course::Course,
    rollout::{Member, Spare},
    service::Draft,
};

impl<'a> Draft<'a, '_> {
    /// Gives turns to those whom the budget allows to go, and takes back those that were given back.
    pub(super) fn recycle(&mut self, course: &Course<'a>) {
        let members = &course.report.members;
        let rolls = members.iter().any(Member::is_due);
        let least = (course.budget.least).min(course.report.replicas.saturating_sub(1));
        let mut spare = Spare::of(members.iter(), least);
        // The oldest first: there may be too little time for all of them again and again.
        let mut members: Vec<&Member<'a>> = members.iter().collect();
        members.sort_by_key(|member| member.state.and_then(|state| state.started_at));
        for member in members {
            let Some(seat) = self.seat(member.slot, member.node) else {
                continue;
            };
            let (Some(asked), Some(state)) = (seat.asked(), member.state) else {
                continue;
            };
            if self.writes_to(member.slot, member.node) {
                continue;
            }
            if names_process(seat) {
                if !state.recycle_due {
                    let back = Assignment {
                        recycle_turn: None,
                        ..asked.clone()
                    };
                    let cause = "its turn to be recycled was given back".to_owned();
                    self.assign(member.node, back, cause);
                }
                continue;
            }
            let is_due = state.recycle_due && member.is_ready() && asked.recycle.is_some();
            if !is_due || state.started_at.is_none() {
                continue;
            }
            if rolls || !member.steady || !spare.allows(member) {
                let instance = Instance::new(self.name.clone(), member.slot);
                let until = match rolls {
                    true => "the rollout has nothing more to replace".to_owned(),
                    false => format!("more than {least} are available"),
                };
                self.wait(format!("{instance} is recycled"), until);
                continue;
            }
            let turn = Assignment {
                recycle_turn: state.started_at,
                ..asked.clone()
            };
            let cause = format!(
                "it is its turn to be recycled: {} are available, {least} have to be",
                spare.settled()
            );
            spare.take(member);
            self.assign(member.node, turn, cause);
        }
    }
}

/// Whether the process of `seat` may be recycled by its agent at any moment.
pub(super) fn has_turn(seat: &Seat) -> bool {
    names_process(seat) && seat.observed().is_some_and(|state| state.recycle_due)
}

/// Whether the turn that was given in `seat` is that of the process that lives.
fn names_process(seat: &Seat) -> bool {
    let turn = seat.asked().and_then(|asked| asked.recycle_turn);
    let started = seat.observed().and_then(|state| state.started_at);
    turn.is_some() && turn == started
}
