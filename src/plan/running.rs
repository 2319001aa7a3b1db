//! The plan for a service that is to run: bring what stays up to date, fill open slots, replace one.

use std::collections::BTreeMap;

use crate::model::{Assignment, Instance, Name, Run, ServiceObject, ServiceSpec};

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
        match self.blueprint.is_uniform() {
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
        let revision = course.revision_of(place.slot);
        let current = match (asked, state) {
            (Some(asked), _) => {
                let attached = matches!(asked.run, Run::External { .. });
                attached == external && (external || asked.revision == revision)
            }
            // Without a readable assignment, the revision of the process that runs decides.
            (None, Some(state)) => {
                external || state.revision.is_empty() || state.revision == revision
            }
            (None, None) => true,
        };
        let leaves = self.misfit(course, place, current);
        let mut member = Member {
            slot: place.slot,
            node: place.node,
            live: self.cluster.is_live(place.node),
            state,
            current,
            shown: state.is_some_and(|state| state.revision == revision),
            leaves: leaves.is_some(),
            generation: asked.map(|asked| asked.generation),
        };
        if member.is_due() {
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
        self.assign(place.node, target, cause);
        None
    }

    /// Why an instance may not stay on its node, or with its port numbers.
    fn misfit(&self, course: &Course<'a>, place: Place<'a>, current: bool) -> Option<String> {
        let spec = course.blueprint.spec();
        // A node without a session keeps what it has.
        let session = self.cluster.nodes().get(place.node)?.live()?;
        let objection = placement::objection(&spec.placement, session);
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
                    return self.start(course, place.node, instance, &numbers, cause);
                }
            }
            course.report.leaving.push((opening.slot, place.node));
            let cause = "it is being stopped".to_owned();
            return self.end(place, course.blueprint.generation(), cause);
        }
        if let Some(whom) = self.comes_after(course.blueprint.spec()) {
            self.wait(
                format!("{instance} is given a node"),
                format!("{whom} is ready"),
            );
            course.report.held.push((opening.slot, whom));
            return;
        }
        match self.find(course, &instance, opening.node) {
            Ok((node, numbers)) => {
                let cause = match opening.node {
                    Some(_) => "the node is to have one instance",
                    None => "of the nodes that admit it, this one has the fewest instances",
                };
                self.start(course, node, instance, &numbers, cause.to_owned());
            }
            Err(reason) => course.report.unplaced.push((opening.slot, reason)),
        }
    }

    /// The first of the services that come first which has no ready instance.
    fn comes_after(&self, spec: &ServiceSpec) -> Option<String> {
        spec.after.iter().find_map(|name| {
            match (self.cluster.serves(name), self.cluster.exists(name)) {
                (true, _) => None,
                (false, true) => Some(format!("{name}, of which no instance is ready")),
                (false, false) => Some(format!("{name}, which does not exist")),
            }
        })
    }

    /// A node for `instance`, or `only` that node, with port numbers there. Nothing is taken yet.
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
            return candidates.best(self.room, &course.numbers, instance, spec);
        };
        let none = BTreeMap::new();
        self.room
            .numbers(node, instance, &spec.ports, &none, &course.numbers)
            .map(|numbers| (node, numbers))
            .map_err(|reason| format!("node {node}: {reason}"))
    }

    /// Assigns an instance that does not run now, or is being stopped on `node`.
    fn start(
        &mut self,
        course: &mut Course<'a>,
        node: &'a Name,
        instance: Instance,
        numbers: &[Option<u16>],
        cause: String,
    ) {
        self.room
            .reserve(node, &instance, numbers, &mut course.numbers);
        self.room.add(node);
        if let Some(candidates) = &mut course.candidates {
            candidates.add(node);
        }
        let seat = self.seat(instance.slot, node);
        let state = seat.and_then(Seat::observed);
        course.report.members.push(Member {
            slot: instance.slot,
            node,
            live: self.cluster.is_live(node),
            state,
            current: true,
            shown: state.is_some_and(|s| s.revision == course.revision_of(instance.slot)),
            leaves: false,
            generation: Some(course.blueprint.generation()),
        });
        let target = course.assignment(instance, numbers);
        self.assign(node, target, cause);
    }

    /// Replaces one of the instances whose turn it may be, unless one is still under way.
    fn roll(&mut self, course: &mut Course<'a>, mut turns: BTreeMap<u32, Turn<'a>>) {
        let mut left = turns.len();
        if self.departure().is_none() {
            let queue = rollout::queue(&course.report.members);
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

    /// Replaces `member`: in place, or elsewhere if it cannot stay or has no port numbers there.
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
            return self.move_away(course, place, instance, reason);
        }
        if !member.live {
            return Err("the agent is not connected".to_owned());
        }
        let held = held(place.seat);
        let found = self
            .room
            .numbers(place.node, &instance, &spec.ports, &held, &course.numbers);
        let numbers = match found {
            Ok(numbers) => numbers,
            Err(reason) if spec.one_per_node => return Err(reason),
            Err(reason) => return self.move_away(course, place, instance, reason),
        };
        self.room
            .reserve(place.node, &instance, &numbers, &mut course.numbers);
        let target = course.assignment(instance, &numbers);
        for listed in &mut course.report.members {
            if listed.slot == place.slot {
                listed.current = true;
                listed.generation = Some(target.generation);
            }
        }
        let same = place
            .seat
            .asked()
            .is_some_and(|asked| (&asked.run, &asked.ports) == (&target.run, &target.ports));
        let why = match course.blueprint.restart_of(place.slot).filter(|_| same) {
            Some(generation) => format!("the restart asked for by generation {generation}"),
            None => format!("revision {}", target.revision),
        };
        let cause = match member.is_ready() {
            true => format!("{why} replaces what runs; all others are ready"),
            false => format!("{why} replaces what is not ready anyway"),
        };
        self.assign(place.node, target, cause);
        Ok(())
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
    ) -> Result<(), String> {
        let only = course.blueprint.spec().one_per_node.then_some(place.node);
        let (node, numbers) = self
            .find(course, &instance, only)
            .map_err(|refusals| format!("{reason}, but it has no other place: {refusals}"))?;
        course.report.members.retain(|m| m.slot != place.slot);
        self.end(place, course.blueprint.generation(), reason.clone());
        match place.seat.state {
            Some(_) => course.report.leaving.push((place.slot, place.node)),
            None => self.start(course, node, instance, &numbers, reason),
        }
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
