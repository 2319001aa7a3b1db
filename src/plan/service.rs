//! The plan for one service.

use crate::{
    keys::Key,
    model::{
        Assignment, Desired, Instance, Moment, Name, Route, Run, ServiceObject, ServiceSpec,
        ServiceStatus, Timestamp, assignment::Template, quantity::Period,
    },
};

use super::{
    cluster::{Cluster, Seat, Service, Wish},
    conditions,
    controller::{Intent, Value, Waiting},
    node::Node,
    room::Room,
    roster::{self, Place, Spare},
};

/// What is to be written about `service`, and what is waited for.
pub fn plan<'a>(
    cluster: &'a Cluster,
    room: &mut Room<'a>,
    name: &'a Name,
    service: &'a Service,
    now: Timestamp,
) -> Planned {
    let mut draft = Draft {
        cluster,
        room,
        name,
        service,
        now,
        leaving: Vec::new(),
        writes: Vec::new(),
        waiting: Vec::new(),
        wake: None,
    };
    match service.wish() {
        Wish::Run(object) => draft.run(object),
        Wish::Delete(tombstone) => draft.delete(tombstone.generation),
        Wish::Unreadable(problem) => {
            let message = format!(
                "the stored spec cannot be read, so nothing is changed: {problem}; apply it again"
            );
            draft.leave_alone("SpecUnreadable", message);
        }
        Wish::Vanished => {
            let message = "the spec is gone without a deletion, so its instances are left as they \
                           are; apply it again, or delete the service";
            draft.leave_alone("SpecVanished", message.to_owned());
        }
    }
    Planned {
        writes: draft.writes,
        waiting: draft.waiting,
        wake: draft.wake,
    }
}

/// The plan for one service.
pub struct Planned {
    /// What is to be written.
    pub writes: Vec<Intent>,
    /// What is waited for.
    pub waiting: Vec<Waiting>,
    /// When to plan again, though nothing may have changed.
    pub wake: Option<Moment>,
}

/// A plan for one service in the making.
pub(super) struct Draft<'a, 'r> {
    pub(super) cluster: &'a Cluster,
    pub(super) room: &'r mut Room<'a>,
    pub(super) name: &'a Name,
    pub(super) service: &'a Service,
    pub(super) now: Timestamp,
    /// Instances that are to stop and have not left yet.
    pub(super) leaving: Vec<(Instance, Name)>,
    writes: Vec<Intent>,
    waiting: Vec<Waiting>,
    wake: Option<Moment>,
}

impl<'a> Draft<'a, '_> {
    /// The service was deleted: its instances end, and when they are gone so does what the leader
    /// wrote about it. The record of the deletion stays.
    fn delete(&mut self, generation: u64) {
        for place in roster::places(self.service) {
            self.end(place, generation, "the service was deleted".to_owned());
        }
        if self.leaving.is_empty() {
            self.forget("the service was deleted, and its instances are gone");
            return;
        }
        let leaving: Vec<String> = (self.leaving.iter())
            .map(|(instance, node)| format!("{instance} on {node}"))
            .collect();
        let status = conditions::deleting(self.name, self.service, generation, &leaving, self.now);
        self.report(status);
    }

    /// Nobody says what is wanted: what runs goes on, and the status says so. Only what is already
    /// on its way out goes on leaving.
    fn leave_alone(&mut self, reason: &str, message: String) {
        for place in roster::places(self.service) {
            if !roster::is_kept(place.seat) {
                self.end(place, 0, "it is being stopped".to_owned());
            }
        }
        let empty = self.service.seats.values().all(roster::has_left);
        if self.service.spec.is_none() && empty {
            self.forget("nothing is left of the service");
            return;
        }
        let status = conditions::left_alone(
            self.cluster,
            self.name,
            self.service,
            reason,
            message,
            self.now,
        );
        self.report(status);
    }

    /// Deletes what the leader wrote about the service.
    fn forget(&mut self, cause: &str) {
        let route = self.service.route.as_ref().map(|stored| stored.revision);
        let status = self.service.status.as_ref().map(|stored| stored.revision);
        let revisions = self.service.revisions.iter();
        let revisions = revisions.map(|(hash, stored)| {
            (
                Key::Revision(self.name.clone(), hash.clone()),
                Some(stored.revision),
            )
        });
        let keys = revisions.chain([
            (Key::Route(self.name.clone()), route),
            (Key::ServiceStatus(self.name.clone()), status),
        ]);
        for (key, revision) in keys {
            if revision.is_some() {
                self.write(key, None, revision, cause.to_owned());
            }
        }
    }

    /// Ends an instance: asks its agent to stop it, waits until the agent has, then deletes the
    /// assignment. What was never started needs no stop; should its agent be about to start it, the
    /// state that then appears without an assignment is ended in turn.
    pub(super) fn end(&mut self, place: Place<'_>, generation: u64, cause: String) {
        let Place { slot, node, seat } = place;
        let instance = Instance::new(self.name.clone(), slot);
        if seat.state.is_none() {
            self.writes.push(Intent {
                key: Key::Assignment(node.clone(), instance.clone()),
                value: None,
                expects: seat.assignment.as_ref().map(|stored| stored.revision),
                unless: Some(Key::State(node.clone(), instance)),
                cause: format!("{cause}, and nothing of it runs"),
            });
            return;
        }
        if self.is_lost(place) {
            return self.give_up(place, format!("{cause}, and its node is lost"));
        }
        self.leaving.push((instance.clone(), node.clone()));
        if roster::is_kept(seat) {
            let mut assignment = match seat.asked() {
                Some(asked) => asked.clone(),
                None => bare(&instance, seat),
            };
            assignment.desired = Desired::Absent;
            assignment.generation = assignment.generation.max(generation);
            self.assign(node, assignment, cause);
        } else {
            self.wait(
                format!("the assignment of {instance} to node {node} is deleted"),
                "its agent has stopped it and deleted its state".to_owned(),
            );
        }
    }

    /// Whether an instance counts as lost: if it is to end, nobody is there to end it.
    pub(super) fn is_lost(&self, place: Place<'_>) -> bool {
        let spec = self
            .service
            .spec
            .as_ref()
            .and_then(|spec| spec.value.as_ref());
        let spec = spec.map(|object| &object.spec);
        self.cluster.has_lost_seat(place.node, place.seat, spec)
    }

    /// Leaves an instance as it is beside the one that stays, as far as `why` lets it be. What is lost is not
    /// answered to clients any more, and says that it is replaced.
    pub(super) fn spare(&mut self, place: Place<'_>, why: Spare, spec: &ServiceSpec) {
        let is_fit = roster::is_fit(self.cluster, spec, place.node);
        if why == Spare::Serving && is_fit {
            let cause = "the one on a node that is back works on something, and stays".to_owned();
            return self.mark_replaced(place, cause, None);
        }
        if why != Spare::Away || !self.is_lost(place) {
            return;
        }
        let is_deleted = (self.cluster.nodes().get(place.node)).is_some_and(Node::is_deleted);
        if is_deleted {
            let cause = "its node was deleted".to_owned();
            return self.give_up(place, cause);
        }
        let cause = "its node has been away for too long";
        // Should its agent be back, it may go on after all.
        let unless = Key::Session(place.node.clone());
        self.mark_replaced(place, cause.to_owned(), Some(unless));
        self.forget_state(place, cause);
    }

    /// Says that an instance runs elsewhere as well, and is not to be started again here.
    fn mark_replaced(&mut self, place: Place<'_>, cause: String, unless: Option<Key>) {
        if let Some(asked) = place.seat.asked().filter(|asked| !asked.replaced) {
            let mut assignment = asked.clone();
            assignment.replaced = true;
            self.assign(place.node, assignment, cause);
            if let Some(write) = self.writes.last_mut() {
                write.unless = unless;
            }
        }
    }

    /// Deletes all that is stored of an instance whose node is not there to end it. Should it come back with a
    /// process, the state that then appears without an assignment is ended in turn.
    fn give_up(&mut self, place: Place<'_>, cause: String) {
        self.forget_state(place, &cause);
        let Some(assignment) = &place.seat.assignment else {
            return;
        };
        let instance = Instance::new(self.name.clone(), place.slot);
        self.writes.push(Intent {
            key: Key::Assignment(place.node.clone(), instance),
            value: None,
            expects: Some(assignment.revision),
            unless: Some(Key::Session(place.node.clone())),
            cause,
        });
    }

    /// Deletes what an agent once said of an instance, unless that agent is back.
    pub(super) fn forget_state(&mut self, place: Place<'_>, cause: &str) {
        let Some(state) = &place.seat.state else {
            return;
        };
        let instance = Instance::new(self.name.clone(), place.slot);
        self.writes.push(Intent {
            key: Key::State(place.node.clone(), instance),
            value: None,
            expects: Some(state.revision),
            unless: Some(Key::Session(place.node.clone())),
            cause: cause.to_owned(),
        });
    }

    /// Writes an assignment, over what is stored in its place.
    pub(super) fn assign(&mut self, node: &Name, value: Assignment, cause: String) {
        let seat = self.seat(value.instance.slot, node);
        let before = seat.and_then(Seat::requests).unwrap_or_default();
        self.room.request(node, before, value.requests);
        let stored = seat.and_then(|seat| seat.assignment.as_ref());
        let expects = stored.map(|stored| stored.revision);
        let key = Key::Assignment(node.clone(), value.instance.clone());
        if seat.is_some_and(|seat| seat.state.is_none()) {
            // Its deletion was planned before it was known that the place is taken again.
            self.writes.retain(|intent| intent.key != key);
        }
        let value = Value::Assignment(Box::new(value));
        self.write(key, Some(value), expects, cause);
    }

    /// Whether this plan writes what a slot on `node` is to do.
    pub(super) fn writes_to(&self, slot: u32, node: &Name) -> bool {
        let instance = Instance::new(self.name.clone(), slot);
        let key = Key::Assignment(node.clone(), instance);
        self.writes.iter().any(|intent| intent.key == key)
    }

    /// What is asked and observed of a slot on `node`.
    pub(super) fn seat(&self, slot: u32, node: &Name) -> Option<&'a Seat> {
        self.service.seats.get(&(slot, node.clone()))
    }

    /// Tells balancers how to find the service.
    pub(super) fn publish(&mut self, object: &ServiceObject) {
        let names = object.spec.discovery_names(self.name);
        let route = Route {
            service: self.name.clone(),
            names: names.into_iter().map(str::to_owned).collect(),
            published: object.spec.published,
            balance: object.spec.balance.clone(),
            generation: object.generation,
        };
        let stored = self.service.route.as_ref();
        if !stored.is_some_and(|stored| stored.holds(&route)) {
            let cause = format!("generation {} is in force", object.generation);
            let expects = stored.map(|stored| stored.revision);
            let key = Key::Route(self.name.clone());
            self.write(key, Some(Value::Route(route)), expects, cause);
        }
    }

    /// What was reported last.
    pub(super) fn before(&self) -> Option<&ServiceStatus> {
        self.service.status.as_ref()?.value.as_ref()
    }

    /// Reports the service, if that differs from what was reported last.
    pub(super) fn report(&mut self, status: ServiceStatus) {
        let stored = self.service.status.as_ref();
        if !stored.is_some_and(|stored| stored.holds(&status)) {
            let expects = stored.map(|stored| stored.revision);
            let key = Key::ServiceStatus(self.name.clone());
            let cause = "what is reported of the service changed".to_owned();
            self.write(key, Some(Value::ServiceStatus(status)), expects, cause);
        }
    }

    /// Notes what is waited for.
    pub(super) fn wait(&mut self, what: String, until: String) {
        self.waiting.push(Waiting {
            service: self.name.clone(),
            what,
            until,
        });
    }

    /// Has the service planned again at `at`.
    pub(super) fn wake(&mut self, at: Moment) {
        self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn write(
        &mut self,
        key: Key,
        value: Option<Value>,
        expects: Option<i64>,
        cause: String,
    ) {
        self.writes.push(Intent {
            key,
            value,
            expects,
            unless: None,
            cause,
        });
    }
}

/// An assignment for an instance that is to stop, and of which only the state is known.
fn bare(instance: &Instance, seat: &Seat) -> Assignment {
    let state = seat.observed();
    Assignment {
        instance: instance.clone(),
        desired: Desired::Absent,
        generation: state.map_or(0, |state| state.observed_generation),
        revision: state.map_or_else(String::new, |state| state.revision.clone()),
        run: Run::Process(Template {
            command: Vec::new(),
            artifact: None,
            working_directory: None,
            env: Default::default(),
            files: Vec::new(),
            pre_start: None,
            notify: None,
            run_as: Default::default(),
        }),
        replaced: false,
        requests: Default::default(),
        ports: Vec::new(),
        service_names: Vec::new(),
        published: true,
        health: Default::default(),
        load: Default::default(),
        restart: Default::default(),
        recycle: None,
        recycle_turn: None,
        min_ready: Period::from_secs(0),
        pre_stop: None,
        resources: Default::default(),
        stop: Default::default(),
        on_agent_stop: Default::default(),
        adopt: false,
        tickets: None,
        on_partition: Default::default(),
        singleton: false,
        logs: Default::default(),
    }
}
