//! The plan for a service that is to run: bring what stays up to date, fill open slots, replace what the
//! rollout allows.

use std::collections::BTreeMap;

use crate::model::{Instance, Name, Run, ServiceObject, ServiceSpec};

use super::{
    blueprint::{self, Blueprint},
    cluster::Seat,
    conditions::Report,
    course::Course,
    lineage,
    placement::{self, Candidates},
    recycling,
    replacing::Turn,
    rollout::Member,
    room::Numbers,
    roster::{Opening, Place, Roster},
    service::Draft,
    stored::Stored,
};

impl<'a> Draft<'a, '_> {
    /// The service is to run like `object`.
    pub(super) fn run(&mut self, object: &'a ServiceObject) {
        let manifest = self.service.spec.as_ref().and_then(|s| s.value.as_ref());
        let manifest = manifest.unwrap_or(object);
        let (object, rolled_back, fate) = self.in_force(object);
        self.remember(manifest);
        let blueprint = Blueprint::new(object);
        let spec = blueprint.spec();
        let roster = Roster::new(self.cluster, self.service, blueprint);
        let replicas = roster.wanted;
        let stable = self.service.templates.stable();
        let mut course = Course {
            blueprint,
            stable: stable
                .map(Blueprint::new)
                .filter(|stable| !stable.is(blueprint)),
            revision: blueprint.revision(),
            budget: lineage::budget(object, replicas),
            report: Report {
                replicas,
                problem: self
                    .service
                    .spec
                    .as_ref()
                    .and_then(|s| s.problem.as_deref()),
                paused: object.paused,
                failure: fate.failure.as_ref().map(|it| (it.reason(), it.describe())),
                rolled_back,
                ..Report::default()
            },
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
        let stands_in = self.is_under_way(&course, roster.open.len());
        course.report.under_way = stands_in;
        let mut closed: BTreeMap<u32, String> = BTreeMap::new();
        for (place, cause) in roster.surplus {
            if stands_in && course.report.stand_ins.len() < course.budget.surge {
                course.report.stand_ins.insert(place.slot);
                if let Some(turn) = self.stay(&mut course, place) {
                    turns.insert(place.slot, turn);
                }
            } else {
                closed.insert(place.slot, cause.clone());
                self.end(place, object.generation, cause);
            }
        }
        for (place, why) in roster.spare {
            match closed.get(&place.slot) {
                // Who it goes on beside ends, and its slot is not wanted.
                Some(cause) if !self.is_lost(place) => {
                    self.end(place, object.generation, cause.clone());
                }
                _ => self.spare(place, why, spec),
            }
        }
        let guests = roster.guests.iter().map(|place| (place.slot, place.node));
        course.report.leaving.extend(guests);
        if spec.one_per_node {
            // What becomes of a node that is away is not known; the others go on.
            let away = course.report.members.iter().filter(|m| !m.live).count();
            course.budget = lineage::budget(object, replicas - away.min(replicas));
        }
        course.report.least = course.budget.least;
        let openings: Vec<u32> = roster.open.iter().map(|opening| opening.slot).collect();
        for opening in roster.open {
            self.fill(&mut course, opening);
        }
        if stands_in && self.needs_stand_ins(&course) {
            let missing = course.budget.surge - course.report.stand_ins.len();
            for slot in self.beyond(&openings).take(missing) {
                course.report.stand_ins.insert(slot);
                let opening = Opening {
                    slot,
                    node: None,
                    leaving: None,
                };
                self.fill(&mut course, opening);
            }
        }
        self.roll(&mut course, turns);
        course.report.members.sort_by_key(|member| member.slot);
        self.recycle(&course);
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
        self.prune(
            manifest,
            &[
                status.stable_revision.as_ref(),
                status.rolled_back.as_ref().map(|failed| &failed.to),
            ],
        );
        if let Some(deadline) = fate.deadline {
            self.wake(deadline);
        }
        self.report(status);
    }

    /// Whether the rollout still has something to do, so that stand-ins that are there stay. The stable revision may
    /// have to be rolled out again: an operator takes a template back half-way, or a node returns with what it ran
    /// before.
    fn is_under_way(&self, course: &Course<'a>, open: usize) -> bool {
        let members = &course.report.members;
        let rolls = self.changes(course)
            || self.before().is_some_and(lineage::goes_on)
            || members.iter().any(Member::is_outdated);
        rolls && (open > 0 || members.iter().any(|member| !member.is_finished()))
    }

    /// Whether another revision than the stable one is in force. A rollout may begin before any was.
    fn changes(&self, course: &Course<'a>) -> bool {
        let before = self.before().and_then(|s| s.stable_revision.as_ref());
        course.report.rolled_back.is_some()
            || before.is_none_or(|stable| *stable != course.revision)
    }

    /// Whether something would be missed while it is replaced.
    fn needs_stand_ins(&self, course: &Course<'a>) -> bool {
        let changes = self.changes(course);
        let members = &course.report.members;
        members
            .iter()
            .any(|m| m.is_due() && m.is_settled() && (changes || m.is_outdated()))
    }

    /// Slots above all that are in use or are to be.
    fn beyond(&self, openings: &[u32]) -> std::ops::RangeFrom<u32> {
        let used = self.service.seats.keys().map(|(slot, _)| *slot);
        let highest = used.chain(openings.iter().copied()).max();
        highest.map_or(0, |slot| slot.saturating_add(1))..
    }

    /// Brings an instance that stays up to date as far as that needs no new process. Returns its
    /// turn if it has to wait for one.
    fn stay(&mut self, course: &mut Course<'a>, place: Place<'a>) -> Option<Turn<'a>> {
        let asked = place.seat.asked();
        let state = place.seat.observed();
        let runs = match (asked, state) {
            (Some(asked), _) => Some(asked.revision.as_str()),
            (None, state) => state.map(|state| state.revision.as_str()),
        };
        let runs = runs.filter(|revision| !revision.is_empty());
        let holds = course.holds(place.slot);
        let stable = course.stable.filter(|_| holds);
        let stable = stable.filter(|it| runs == Some(it.revision_of(place.slot).as_str()));
        let blueprint = stable.unwrap_or(course.blueprint);
        let spec = blueprint.spec();
        let is_lost = self.is_lost(place);
        if is_lost {
            // One per node waits for its node; clients are sent elsewhere.
            self.forget_state(place, "its node has been away for too long");
        }
        let state = state.filter(|_| !is_lost);
        let external = !spec.external.is_empty();
        let revision = course.revision_of(blueprint, place.slot);
        let current = match asked {
            Some(asked) => {
                let attached = matches!(asked.run, Run::External { .. });
                attached == external && (external || asked.revision == revision)
            }
            // Without a readable assignment, the revision of the process that runs decides.
            None => external || runs.is_none_or(|runs| runs == revision),
        };
        let leaves = self.misfit(blueprint, place, current);
        let shown = state.is_some_and(|state| state.revision == revision);
        let mut member = Member {
            slot: place.slot,
            node: place.node,
            live: self.cluster.is_live(place.node),
            state,
            current,
            shown,
            leaves: leaves.is_some(),
            held: holds && (stable.is_some() || !current),
            // Another address needs no turn: this plan assigns it.
            steady: match external && current {
                true => shown,
                false => state.is_some_and(|state| runs == Some(state.revision.as_str())),
            },
            recycled: recycling::has_turn(place.seat),
            generation: asked.map(|asked| asked.generation),
        };
        if member.is_due() {
            course.report.members.push(member);
            return Some(Turn { place, leaves });
        }
        if spec.singleton && !member.live {
            // What its agent has not taken up would say what is not so: whether it stops by itself, for one.
            course.report.members.push(member);
            return None;
        }
        if !current {
            // Of its template nothing more is known than its assignment, so that is left as it is.
            course.report.members.push(member);
            return None;
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
        let mut target = course.assignment(blueprint, instance, &numbers);
        if let Some(asked) = asked {
            // A generation that changes nothing here is not worth a write.
            let generation = std::mem::replace(&mut target.generation, asked.generation);
            target.recycle_turn = asked.recycle_turn;
            let stored = place.seat.assignment.as_ref();
            if stored.is_some_and(|stored| stored.holds(&target)) {
                course.report.members.push(member);
                return None;
            }
            target.generation = generation;
        }
        let cause = match (&place.seat.assignment, asked) {
            (None, _) => "it runs without an assignment, and is wanted".to_owned(),
            (
                Some(Stored {
                    problem: Some(problem),
                    ..
                }),
                _,
            ) => format!("its assignment cannot be read: {problem}"),
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
    fn misfit(&self, blueprint: Blueprint<'a>, place: Place<'a>, current: bool) -> Option<String> {
        let spec = blueprint.spec();
        // A node without a session keeps what it has.
        let node = self.cluster.nodes().get(place.node)?;
        node.live()?;
        let objection = placement::objection(&spec.placement, node);
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
        let blueprint = course.blueprint_of(opening.slot);
        if let Some(place) = opening.leaving {
            if self.misfit(blueprint, place, true).is_none() {
                let ports = &blueprint.spec().ports;
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
    pub(super) fn find(
        &mut self,
        course: &mut Course<'a>,
        instance: &Instance,
        only: Option<&'a Name>,
    ) -> Result<(&'a Name, Vec<Option<u16>>), String> {
        let spec = course.blueprint_of(instance.slot).spec();
        let Some(node) = only else {
            let candidates = candidates(self, course.blueprint, &mut course.candidates);
            return candidates.best(self.room, &course.numbers, instance, spec);
        };
        self.room
            .place(node, instance, spec, &course.numbers)
            .map(|numbers| (node, numbers))
            .map_err(|reason| format!("node {node}: {reason}"))
    }

    /// Assigns an instance that does not run now, or is being stopped on `node`.
    pub(super) fn start(
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
        let blueprint = course.blueprint_of(instance.slot);
        let target = course.assignment(blueprint, instance, numbers);
        let shown = state.is_some_and(|s| s.revision == target.revision);
        course.report.members.push(Member {
            slot: target.instance.slot,
            node,
            live: self.cluster.is_live(node),
            state,
            current: true,
            shown,
            leaves: false,
            held: !blueprint.is(course.blueprint),
            steady: shown,
            recycled: false,
            generation: Some(target.generation),
        });
        self.assign(node, target, cause);
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
            &placement::own(draft.cluster, draft.service, blueprint.spec()),
        )
    })
}

/// The port numbers of an instance by name: those it was given, else those it uses.
pub(super) fn held(seat: &Seat) -> BTreeMap<Name, u16> {
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
