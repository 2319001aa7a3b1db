//! Replaces what has to be replaced, as far as the rollout's budget goes: in place, or elsewhere.

use std::collections::BTreeMap;

use crate::model::{Instance, Name};

use super::{
    cluster::Seat,
    course::Course,
    placement,
    rollout::{self, Member, Spare},
    roster::Place,
    running::held,
    service::Draft,
};

/// Why an instance that stays cannot stay as it is.
pub(super) struct Turn<'a> {
    pub(super) place: Place<'a>,
    /// It has to leave its node, for this reason. None: it gets a new process where it is.
    pub(super) leaves: Option<String>,
}

/// What became of a turn.
enum Turned {
    /// It is replaced where it is.
    Replaced,
    /// It goes elsewhere.
    Moved,
    /// It has to go elsewhere, and waits until nobody else is on the way.
    Waits,
}

/// Why an instance cannot be replaced now.
struct Obstacle {
    reason: String,
    /// It was only tried because nobody else is on the way elsewhere.
    by_move: bool,
}

/// An obstacle, and whether it was only met because something was to spare.
struct Stuck {
    obstacle: Obstacle,
    by_spare: bool,
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self {
            reason,
            by_move: false,
        }
    }
}

impl<'a> Draft<'a, '_> {
    /// Replaces those of the instances whose turn it is that the budget allows.
    pub(super) fn roll(&mut self, course: &mut Course<'a>, mut turns: BTreeMap<u32, Turn<'a>>) {
        let mut left: Vec<Member<'a>> = Vec::new();
        let mut spare = Spare::of(course.report.members.iter(), course.budget.least);
        let mut moves = self.departure().is_none();
        let mut stuck: Vec<Stuck> = Vec::new();
        for member in rollout::queue(&course.report.members) {
            let Some(turn) = turns.remove(&member.slot) else {
                continue;
            };
            if !spare.allows(&member) {
                left.push(member);
                continue;
            }
            match self.take_turn(course, member, turn, moves, spare) {
                Ok(Turned::Waits) => left.push(member),
                Ok(turned) => {
                    spare.take(&member);
                    moves &= !matches!(turned, Turned::Moved);
                }
                Err(Obstacle { reason, by_move }) => {
                    left.push(member);
                    let who = format!("{}-{} on {}", self.name, member.slot, member.node);
                    stuck.push(Stuck {
                        obstacle: Obstacle {
                            reason: format!("{who}: {reason}"),
                            by_move,
                        },
                        by_spare: member.is_ready(),
                    });
                }
            }
        }
        let held_up = left.iter().any(|member| !spare.allows(member));
        // Whether the others are still stuck will be seen when it is their turn.
        let told = stuck.into_iter();
        let told = told.filter(|it| (!it.by_spare || !held_up) && (!it.obstacle.by_move || moves));
        let told = told.map(|stuck| stuck.obstacle.reason);
        course.report.stuck.extend(told);
        if left.is_empty() {
            return;
        }
        if let Some(until) = self.awaited(course, spare, held_up) {
            self.wait("the next instance is replaced".to_owned(), until.clone());
            course.report.awaited = Some(until);
        }
    }

    /// What has to happen before another instance may be replaced.
    fn awaited(&self, course: &Course<'a>, spare: Spare, held_up: bool) -> Option<String> {
        if held_up {
            let members = course.report.members.iter();
            let first = members
                .filter(|member| !member.is_settled())
                .min_by_key(|member| (member.is_due(), member.slot));
            let first = first.map_or_else(
                || "all instances are there".to_owned(),
                |member| format!("this one is ready: {}", member.describe(self.name)),
            );
            return Some(match spare.least().saturating_sub(spare.settled()) {
                0 => first,
                missing => format!("{missing} more are available; {first}"),
            });
        }
        self.departure()
    }

    /// That an instance has left which is being stopped. One on a node without a session may take
    /// forever, and holds up nobody.
    fn departure(&self) -> Option<String> {
        let leaving = self.leaving.iter();
        let (instance, node) = leaving
            .filter(|(_, node)| self.cluster.is_live(node))
            .min()?;
        Some(format!("{instance} has left node {node}"))
    }

    /// Replaces `member`: in place, or elsewhere if it cannot stay or has no port numbers there. Who goes
    /// elsewhere has no other place until it has left, so that one at a time `moves`.
    ///
    /// # Errors
    /// Why that is not possible now.
    fn take_turn(
        &mut self,
        course: &mut Course<'a>,
        member: Member<'a>,
        turn: Turn<'a>,
        moves: bool,
        spare: Spare,
    ) -> Result<Turned, Obstacle> {
        let blueprint = course.blueprint_of(member.slot);
        let spec = blueprint.spec();
        let place = turn.place;
        let instance = Instance::new(self.name.clone(), place.slot);
        if let Some(reason) = turn.leaves {
            return self.move_away(course, place, instance, reason, moves);
        }
        if !member.live {
            return Err("the agent is not connected".to_owned().into());
        }
        let held = held(place.seat);
        let found = self
            .room
            .numbers(place.node, &instance, &spec.ports, &held, &course.numbers);
        let numbers = match found {
            Ok(numbers) => numbers,
            Err(reason) if spec.one_per_node => return Err(reason.into()),
            Err(reason) => return self.move_away(course, place, instance, reason, moves),
        };
        self.room
            .reserve(place.node, &instance, &numbers, &mut course.numbers);
        let target = course.assignment(blueprint, instance, &numbers);
        for listed in &mut course.report.members {
            if listed.slot == place.slot {
                listed.current = true;
                listed.steady = listed.shown;
                listed.generation = Some(target.generation);
            }
        }
        let cause = self.cause(course, place.seat, &target, member, spare);
        self.assign(place.node, target, cause);
        Ok(Turned::Replaced)
    }

    /// Why `target` takes the place of what runs.
    fn cause(
        &self,
        course: &Course<'a>,
        seat: &Seat,
        target: &crate::model::Assignment,
        member: Member<'a>,
        spare: Spare,
    ) -> String {
        let same = seat
            .asked()
            .is_some_and(|asked| (&asked.run, &asked.ports) == (&target.run, &target.ports));
        let restart = course.blueprint.restart_of(member.slot).filter(|_| same);
        let why = match (&course.report.rolled_back, restart) {
            (Some(failed), _) => format!(
                "revision {} comes back, as generation {} failed ({}), and",
                target.revision, failed.generation, failed.cause
            ),
            (None, Some(generation)) => format!("the restart asked for by generation {generation}"),
            (None, None) => format!("revision {}", target.revision),
        };
        match member.is_ready() {
            true => format!(
                "{why} replaces what runs; {} are available, {} have to be",
                spare.settled(),
                spare.least()
            ),
            false => format!("{why} replaces what is not ready anyway"),
        }
    }

    /// Takes an instance from its node if there is a place for it. What runs has to leave first, and
    /// holds no other place until then; what does not goes there at once.
    ///
    /// # Errors
    /// Why it has no other place, in words.
    fn move_away(
        &mut self,
        course: &mut Course<'a>,
        place: Place<'a>,
        instance: Instance,
        reason: String,
        moves: bool,
    ) -> Result<Turned, Obstacle> {
        if !moves {
            return Ok(Turned::Waits);
        }
        let only: Option<&'a Name> = course.blueprint.spec().one_per_node.then_some(place.node);
        let spec = course.blueprint.spec();
        let known = self.cluster.nodes().get(place.node);
        let is_unfit =
            known.is_some_and(|node| placement::objection(&spec.placement, node).is_some());
        let (node, numbers) = self
            .find(course, &instance, only)
            .map_err(|refusals| Obstacle {
                reason: format!("{reason}, but it has no other place: {refusals}"),
                by_move: true,
            })?;
        course.report.members.retain(|m| m.slot != place.slot);
        let serves = place.seat.observed().is_some_and(|state| state.ready);
        if serves && is_unfit && node != place.node && !spec.one_per_node && !spec.singleton {
            // It serves until its successor does.
            let cause = format!("it has to leave node {}: {reason}", place.node);
            self.start(course, node, instance, &numbers, cause);
            return Ok(Turned::Moved);
        }
        self.end(place, course.blueprint.generation(), reason.clone());
        match place.seat.state {
            Some(_) => course.report.leaving.push((place.slot, place.node)),
            None => self.start(course, node, instance, &numbers, reason),
        }
        Ok(Turned::Moved)
    }
}
