//! The plan for a service that is to run: bring what stays up to date, fill open slots, replace one.

use std::collections::BTreeMap;

use crate::model::{Assignment, Instance, Name, Run, ServiceObject};

use super::{
    blueprint::{self, Blueprint},
    cluster::Seat,
    conditions::Report,
    placement::{self, Candidates},
    rollout::{self, Member},
    room::Numbers,
    roster::{Opening, Place, Roster},
    service::Draft,
};

/// Why an instance that stays cannot stay as it is.
struct Turn<'a> {
    place: Place<'a>,
    /// It has to leave its node, for this reason. None: it gets a new process where it is.
    leaves: Option<String>,
}

/// What the steps of a plan for a running service share.
struct Course<'a> {
    blueprint: Blueprint<'a>,
    revision: String,
    numbers: Numbers,
    candidates: Option<Candidates<'a>>,
    report: Report<'a>,
}

impl Course<'_> {
    /// The current revision of one instance.
    fn revision_of(&self, slot: u32) -> String {
        match self.blueprint.spec().external.is_empty() {
            true => self.revision.clone(),
            false => self.blueprint.revision_of(slot),
        }
    }

    fn assignment(&self, instance: Instance, numbers: &[Option<u16>]) -> Assignment {
        let revision = self.revision_of(instance.slot);
        self.blueprint.assignment(instance, revision, numbers)
    }
}

impl<'a> Draft<'a, '_> {
    /// The service is to run like `object`.
    pub(super) fn run(&mut self, object: &'a ServiceObject) {
        let blueprint = Blueprint::new(object);
        let spec = blueprint.spec();
        let revision = blueprint.revision();
        let roster = Roster::new(self.cluster, self.service, blueprint);
        let mut course = Course {
            blueprint,
            report: Report {
                replicas: roster.stay.len() + roster.open.len(),
                problem: self
                    .service
                    .spec
                    .as_ref()
                    .and_then(|s| s.problem.as_deref()),
                ..Report::default()
            },
            revision,
            numbers: Numbers::of(self.service, !spec.one_per_node),
            candidates: None,
        };
        for (place, cause) in roster.end {
            self.end(place, object.generation, cause);
        }
        let mut turns = BTreeMap::new();
        for place in roster.stay {
            if let Some(turn) = self.stay(&mut course, place) {
                turns.insert(place.slot, turn);
            }
        }
        for opening in roster.open {
            self.fill(&mut course, opening);
        }
        self.roll(&mut course, turns);
        course.report.members.sort_by_key(|member| member.slot);
        if spec.one_per_node && course.report.replicas == 0 {
            let candidates = candidates(self, blueprint, &mut course.candidates);
            course.report.nowhere = Some(candidates.refusals().describe());
        }
        self.publish(object);
        let Course {
            revision, report, ..
        } = course;
        let status = report.status(
            self.name,
            object.generation,
            revision,
            self.before(),
            self.now,
        );
        self.report(status);
    }

    /// Brings an instance that stays up to date as far as that needs no new process. Returns its
    /// turn if it has to wait for one.
    fn stay(&mut self, course: &mut Course<'a>, place: Place<'a>) -> Option<Turn<'a>> {
        let spec = course.blueprint.spec();
        let asked = place.seat.asked();
        let state = place.seat.observed();
        let external = !spec.external.is_empty();
        let current = match (asked, state) {
            (Some(asked), _) => {
                let attached = matches!(asked.run, Run::External { .. });
                attached == external && (external || asked.revision == course.revision)
            }
            // Without a readable assignment, the revision of the process that runs decides.
            (None, Some(state)) => {
                external || state.revision.is_empty() || state.revision == course.revision
            }
            (None, None) => true,
        };
        let mut member = Member {
            slot: place.slot,
            node: place.node,
            live: self.cluster.is_live(place.node),
            state,
            current,
            shown: state.is_some_and(|state| state.revision == course.revision_of(place.slot)),
            generation: asked.map(|asked| asked.generation),
        };
        let leaves = self.misfit(course, place, current);
        if leaves.is_some() || !current {
            member.current = false;
            course.report.members.push(member);
            return Some(Turn { place, leaves });
        }
        let instance = Instance::new(self.name.clone(), place.slot);
        let held = held(place.seat);
        let kept: Option<Vec<Option<u16>>> = (spec.ports.iter())
            .map(|port| match (port.port, port.range) {
                (Some(fixed), _) => Some(Some(fixed)),
                (None, Some(_)) => held.get(&port.name).copied().map(Some),
                (None, None) => Some(None),
            })
            .collect();
        let numbers = match kept {
            Some(numbers) => numbers,
            None => {
                let found =
                    self.room
                        .numbers(place.node, &instance, &spec.ports, &held, &course.numbers);
                match found {
                    Ok(numbers) => numbers,
                    Err(reason) => {
                        course.report.stuck.push(format!("{instance}: {reason}"));
                        course.report.members.push(member);
                        return None;
                    }
                }
            }
        };
        self.room
            .reserve(place.node, &instance, &numbers, &mut course.numbers);
        let mut target = course.assignment(instance, &numbers);
        if let Some(asked) = asked {
            // A generation that changes nothing here is not worth a write.
            let generation = std::mem::replace(&mut target.generation, asked.generation);
            if target == *asked {
                course.report.members.push(member);
                return None;
            }
            target.generation = generation;
        }
        let cause = match (&place.seat.assignment, asked) {
            (None, _) => "it runs without an assignment, and is wanted".to_owned(),
            (Some(stored), None) => format!(
                "its assignment cannot be read: {}",
                stored.problem.as_deref().unwrap_or_default()
            ),
            _ => format!(
                "generation {} changes what needs no new process",
                target.generation
            ),
        };
        member.generation = Some(target.generation);
        course.report.members.push(member);
        self.assign(place.node, target, Some(place.seat), cause);
        None
    }

    /// Why an instance may not stay on its node, or with its port numbers.
    fn misfit(&self, course: &Course<'a>, place: Place<'a>, current: bool) -> Option<String> {
        let spec = course.blueprint.spec();
        let node = self.cluster.nodes().get(place.node)?;
        let objection = node
            .live()
            .and_then(|session| placement::objection(&spec.placement, session));
        if objection.is_some() || !current {
            return objection;
        }
        let held = held(place.seat);
        spec.ports.iter().find_map(|port| {
            let number = *held.get(&port.name)?;
            let range = port.range.filter(|_| !blueprint::admits(port, number))?;
            Some(format!("port {number} is not in {}", String::from(range)))
        })
    }

    /// Gives an open slot an instance.
    fn fill(&mut self, course: &mut Course<'a>, opening: Opening<'a>) {
        let instance = Instance::new(self.name.clone(), opening.slot);
        if let Some(place) = opening.leaving {
            if self.misfit(course, place, true).is_none() {
                let ports = &course.blueprint.spec().ports;
                let held = held(place.seat);
                let found = self
                    .room
                    .numbers(place.node, &instance, ports, &held, &course.numbers);
                if let Ok(numbers) = found {
                    let cause = "it is wanted again".to_owned();
                    return self.start(
                        course,
                        place.node,
                        instance,
                        &numbers,
                        Some(place.seat),
                        cause,
                    );
                }
            }
            if place.seat.state.is_some() {
                course.report.leaving.push((opening.slot, place.node));
                let cause = "it is being stopped".to_owned();
                return self.end(place, course.blueprint.generation(), cause);
            }
        }
        match self.find(course, &instance, opening.node) {
            Ok((node, numbers)) => {
                let cause = match opening.node {
                    Some(_) => "the node is to have one instance",
                    None => "of the nodes that admit it, this one has the fewest instances",
                };
                self.put_at(course, opening.leaving, node, instance, &numbers, cause);
            }
            Err(reason) => {
                course.report.unplaced.push((opening.slot, reason));
                if let Some(place) = opening.leaving {
                    let cause = "it is being stopped".to_owned();
                    self.end(place, course.blueprint.generation(), cause);
                }
            }
        }
    }

    /// A node for `instance`, or `only` that node, with port numbers there.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn find(
        &mut self,
        course: &mut Course<'a>,
        instance: &Instance,
        only: Option<&'a Name>,
    ) -> Result<(&'a Name, Vec<Option<u16>>), String> {
        let spec = course.blueprint.spec();
        let Some(node) = only else {
            let candidates = candidates(self, course.blueprint, &mut course.candidates);
            return candidates.take(self.room, &mut course.numbers, instance, spec);
        };
        let none = BTreeMap::new();
        self.room
            .numbers(node, instance, &spec.ports, &none, &course.numbers)
            .map(|numbers| (node, numbers))
            .map_err(|reason| format!("node {node}: {reason}"))
    }

    /// Assigns an instance that does not run now, in place of an assignment that it may have.
    fn put_at(
        &mut self,
        course: &mut Course<'a>,
        former: Option<Place<'a>>,
        node: &'a Name,
        instance: Instance,
        numbers: &[Option<u16>],
        cause: &str,
    ) {
        let cause = cause.to_owned();
        match former {
            Some(place) if place.node == node => {
                self.start(course, node, instance, numbers, Some(place.seat), cause);
            }
            former => {
                if let Some(place) = former {
                    let cause = format!("it goes to node {node}");
                    self.end(place, course.blueprint.generation(), cause);
                }
                self.start(course, node, instance, numbers, None, cause);
            }
        }
    }

    /// Assigns an instance that does not run now, or is stopping in this seat.
    fn start(
        &mut self,
        course: &mut Course<'a>,
        node: &'a Name,
        instance: Instance,
        numbers: &[Option<u16>],
        seat: Option<&'a Seat>,
        cause: String,
    ) {
        self.room
            .reserve(node, &instance, numbers, &mut course.numbers);
        let state = seat.and_then(Seat::observed);
        course.report.members.push(Member {
            slot: instance.slot,
            node,
            live: self.cluster.is_live(node),
            state,
            current: true,
            shown: state.is_some_and(|s| s.revision == course.revision_of(instance.slot)),
            generation: Some(course.blueprint.generation()),
        });
        let target = course.assignment(instance, numbers);
        self.assign(node, target, seat, cause);
    }

    /// Replaces one of the instances whose turn it may be, unless one is still under way.
    fn roll(&mut self, course: &mut Course<'a>, mut turns: BTreeMap<u32, Turn<'a>>) {
        let mut left = turns.len();
        if self.under_way(course).is_none() {
            let mut queue: Vec<Member<'a>> = (course.report.members.iter())
                .filter(|member| turns.contains_key(&member.slot))
                .copied()
                .collect();
            rollout::order(&mut queue);
            let mut stuck = Vec::new();
            for member in queue {
                let Some(turn) = turns.remove(&member.slot) else {
                    continue;
                };
                match self.take_turn(course, member, turn) {
                    Ok(()) => {
                        left -= 1;
                        // Whether the others are still stuck then will be seen when it is ready.
                        stuck.clear();
                        break;
                    }
                    Err(reason) => {
                        let who = format!("{}-{} on {}", self.name, member.slot, member.node);
                        stuck.push(format!("{who}: {reason}"));
                    }
                }
            }
            course.report.stuck.extend(stuck);
        }
        if left == 0 {
            return;
        }
        if let Some(until) = self.under_way(course) {
            self.wait("the next instance is replaced".to_owned(), until.clone());
            course.report.awaited = Some(until);
        }
    }

    /// What has to happen before another instance may be replaced.
    fn under_way(&self, course: &Course<'a>) -> Option<String> {
        if let Some(member) = rollout::in_flight(&course.report.members) {
            return Some(format!("this one is ready: {}", member.describe(self.name)));
        }
        let (slot, node) = course.report.leaving.first()?;
        Some(format!("{}-{slot} has left node {node}", self.name))
    }

    /// Replaces `member`: in place, or by ending it where a better place is free.
    ///
    /// # Errors
    /// Why that is not possible now, in words.
    fn take_turn(
        &mut self,
        course: &mut Course<'a>,
        member: Member<'a>,
        turn: Turn<'a>,
    ) -> Result<(), String> {
        let spec = course.blueprint.spec();
        let place = turn.place;
        let instance = Instance::new(self.name.clone(), place.slot);
        if let Some(reason) = turn.leaves {
            let only = spec.one_per_node.then_some(place.node);
            let (node, numbers) = self
                .find(course, &instance, only)
                .map_err(|refusals| format!("{reason}, but it has no other place: {refusals}"))?;
            course.report.members.retain(|m| m.slot != place.slot);
            if place.seat.state.is_none() {
                self.put_at(course, Some(place), node, instance, &numbers, &reason);
            } else {
                course.report.leaving.push((place.slot, place.node));
                self.end(place, course.blueprint.generation(), reason);
            }
            return Ok(());
        }
        if !member.live {
            return Err("the agent is not connected".to_owned());
        }
        let held = held(place.seat);
        let numbers =
            self.room
                .numbers(place.node, &instance, &spec.ports, &held, &course.numbers)?;
        self.room
            .reserve(place.node, &instance, &numbers, &mut course.numbers);
        let target = course.assignment(instance, &numbers);
        for listed in &mut course.report.members {
            if listed.slot == place.slot {
                listed.current = true;
                listed.generation = Some(target.generation);
            }
        }
        let cause = match member.is_ready() {
            true => format!(
                "revision {} replaces what runs; all others are ready",
                course.revision
            ),
            false => format!(
                "revision {} replaces what is not ready anyway",
                course.revision
            ),
        };
        self.assign(place.node, target, Some(place.seat), cause);
        Ok(())
    }
}

/// The nodes for new instances, ranked when the first one is needed.
fn candidates<'c, 'a>(
    draft: &Draft<'a, '_>,
    blueprint: Blueprint<'a>,
    ranked: &'c mut Option<Candidates<'a>>,
) -> &'c mut Candidates<'a> {
    ranked.get_or_insert_with(|| {
        Candidates::new(
            draft.cluster,
            draft.room,
            draft.name,
            &blueprint.spec().placement,
            &placement::own(draft.service),
        )
    })
}

/// The port numbers of an instance by name: those it was given, else those it uses.
fn held(seat: &Seat) -> BTreeMap<Name, u16> {
    let Some(asked) = seat.asked() else {
        let ports = seat.observed().into_iter().flat_map(|state| &state.ports);
        return ports
            .filter_map(|(name, number)| Some((name.parse().ok()?, *number)))
            .collect();
    };
    let ports = asked.ports.iter();
    ports
        .filter_map(|port| Some((port.name.clone(), port.number?)))
        .collect()
}
