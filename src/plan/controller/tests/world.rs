//! A cluster in memory, with agents that do at once what they are asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value as Json, json};

use crate::{
    keys::Key,
    model::{
        Assignment, Condition, ConditionStatus, Desired, Instance, InstanceState, Moment, Name,
        Phase, ServiceStatus, Timestamp,
        service::{OnPartition, SELF_STOP},
    },
    plan::{
        check,
        cluster::Cluster,
        conditions,
        controller::{Intent, Plan, Value, plan},
        scope::Scope,
    },
};

pub(in crate::plan) struct World {
    pub(in crate::plan) cluster: Cluster,
    pub(in crate::plan) revision: i64,
    /// Wall clock; moves on with every plan, so that nothing may depend on it.
    now: i64,
    /// Instances whose processes do not become ready.
    pub(in crate::plan) broken: BTreeSet<Instance>,
    /// What the agents have running, and say of it.
    running: BTreeMap<(Name, Instance), InstanceState>,
    /// Of those, the ones that were started as singletons, and are still meant to be.
    singletons: BTreeSet<(Name, Instance)>,
    /// Since when nodes are away.
    away: BTreeMap<Name, Moment>,
    /// Nodes that an operator has given up once: what runs there is not looked for.
    given_up: BTreeSet<Name>,
}

pub(in crate::plan) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(in crate::plan) fn instance(text: &str) -> Instance {
    text.parse().unwrap()
}

/// What a plan writes, short enough to read.
fn brief(plan: &Plan) -> Vec<String> {
    let line = |intent: &Intent| {
        let value = match &intent.value {
            Some(Value::Assignment(asked)) => format!("{:?} {}", asked.desired, asked.generation),
            Some(Value::ServiceStatus(status)) => format!("{status:?}"),
            Some(_) => "written".to_owned(),
            None => "deleted".to_owned(),
        };
        format!("{:?}: {value}: {}", intent.key, intent.cause)
    };
    plan.writes().map(line).collect()
}

impl World {
    pub(in crate::plan) fn new() -> Self {
        Self {
            cluster: Cluster::default(),
            revision: 0,
            now: 0,
            broken: BTreeSet::new(),
            running: BTreeMap::new(),
            singletons: BTreeSet::new(),
            away: BTreeMap::new(),
            given_up: BTreeSet::new(),
        }
    }

    /// A world with live nodes without labels.
    pub(in crate::plan) fn with_nodes(nodes: &[&str]) -> Self {
        let mut world = Self::new();
        for node in nodes {
            world.node(node, json!({}));
        }
        world
    }

    pub(in crate::plan) fn put(&mut self, key: Key, value: &Json) {
        self.put_text(key, &value.to_string());
    }

    pub(in crate::plan) fn put_text(&mut self, key: Key, text: &str) {
        self.revision += 1;
        self.cluster.put(&key, text.as_bytes(), self.revision);
    }

    pub(in crate::plan) fn node(&mut self, node: &str, labels: Json) {
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": "127.0.0.1", "labels": labels,
            "version": "0", "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
            "capacity": {"memory": "3GiB", "cpu": 2},
        });
        self.away.remove(&name(node));
        self.put(Key::Session(name(node)), &session);
    }

    pub(in crate::plan) fn lose_node(&mut self, node: &str) {
        self.cluster.delete(&Key::Session(name(node)));
        self.away.entry(name(node)).or_insert(self.cluster.now());
    }

    /// The node's host fails: nothing runs there any more.
    pub(in crate::plan) fn crash_node(&mut self, node: &str) {
        self.lose_node(node);
        self.running.retain(|(on, _), _| *on != name(node));
    }

    /// What an operator wants of a node; null takes it back.
    pub(in crate::plan) fn wish(&mut self, node: &str, spec: &Json) {
        let key = Key::NodeSpec(name(node));
        if !spec["deletedAt"].is_null() && !self.cluster.is_live(&name(node)) {
            self.given_up.insert(name(node));
        }
        match spec {
            Json::Null => self.cluster.delete(&key),
            spec => self.put(key, spec),
        }
    }

    /// What the instances on a node work on.
    pub(in crate::plan) fn load(&mut self, node: &str, busy: &[&str]) {
        let stats = |requests| {
            json!({"stats": {"currentRequests": requests, "requestCapacity": 1,
            "serverUtilization": 0.0, "serverMemoryUsagePercent": 0.0}})
        };
        let instances: BTreeMap<&str, Json> = busy.iter().map(|who| (*who, stats(1))).collect();
        self.put(
            Key::Load(name(node)),
            &json!({"at": "2026-01-01T00:00:00Z", "instances": instances}),
        );
    }

    /// Time passes.
    pub(in crate::plan) fn pass(&mut self, seconds: u64) {
        let now = self.cluster.now() + Duration::from_secs(seconds);
        self.cluster.advance(now);
        // What stops by itself has, at the last moment that it may.
        let away = &self.away;
        self.running.retain(|(node, _), state| {
            let bound = state.self_stop.map(|grace| SELF_STOP.get() + grace.get());
            let until = away
                .get(node)
                .zip(bound)
                .map(|(since, bound)| *since + bound);
            until.is_none_or(|until| now < until)
        });
    }

    pub(in crate::plan) fn spec(&mut self, service: &str, generation: u64, spec: Json) {
        if spec["singleton"] != true {
            (self.singletons).retain(|(_, instance)| instance.service.as_str() != service);
        }
        let object = json!({
            "metadata": {"name": service}, "generation": generation, "spec": spec,
        });
        self.cluster.delete(&Key::Tombstone(name(service)));
        self.put(Key::ServiceSpec(name(service)), &object);
    }

    /// An operator asks for a restart, if there is a service.
    pub(in crate::plan) fn restart(&mut self, service: &str, slot: Option<u32>, generation: u64) {
        let known = self.cluster.services().get(&name(service));
        let stored = known.and_then(|known| known.spec.as_ref()?.value.clone());
        if let Some(mut object) = stored {
            object.generation = generation;
            object.restarts.request(slot, generation);
            let json = serde_json::to_value(object).unwrap();
            self.put(Key::ServiceSpec(name(service)), &json);
        }
    }

    /// An operator holds a rollout, or lets it go on.
    pub(in crate::plan) fn pause(&mut self, service: &str, generation: u64, paused: bool) {
        let stored = self.cluster.services()[&name(service)].spec.clone();
        let mut object = stored.unwrap().value.unwrap();
        (object.generation, object.paused) = (generation, paused);
        let json = serde_json::to_value(object).unwrap();
        self.put(Key::ServiceSpec(name(service)), &json);
    }

    /// Time has passed: everything is looked at again.
    pub(in crate::plan) fn touch(&mut self) {
        let plan = self.plan(&Scope::everything());
        check::carry_out(&mut self.cluster, &plan, &mut self.revision);
    }

    pub(in crate::plan) fn delete(&mut self, service: &str, generation: u64) {
        self.cluster.delete(&Key::ServiceSpec(name(service)));
        let tombstone = json!({"generation": generation, "deletedAt": "2026-01-01T00:00:00Z"});
        self.put(Key::Tombstone(name(service)), &tombstone);
    }

    pub(in crate::plan) fn plan(&mut self, scope: &Scope) -> Plan {
        self.now += 1000;
        let plan = plan(&self.cluster, scope, Timestamp::from_millis(self.now));
        let violations = check::violations(&self.cluster, &plan);
        assert!(violations.is_empty(), "{violations:#?}\n{plan:#?}");
        plan
    }

    /// Plans what was touched, writes it, and checks that the same then needs no further write, save
    /// by those that waited for a port which the plan gave back. In the end nothing at all needs a
    /// write, not even what was not touched. Returns how much was written.
    pub(in crate::plan) fn lead(&mut self) -> usize {
        let mut written = 0;
        for _ in 0..10 {
            let touched = self.cluster.take_touched();
            let plan = self.plan(&touched);
            let held = self.held();
            // What runs without an assignment takes room only when it gets one again, which services that are
            // planned before its own cannot know.
            let adopts = plan.writes().any(|intent| self.is_adoption(intent));
            check::carry_out(&mut self.cluster, &plan, &mut self.revision);
            written += plan.writes().count();
            if plan.steps.is_empty() {
                let all = self.plan(&Scope::everything());
                assert_eq!(all.steps, [], "nothing of it was touched");
                return written;
            }
            let again = self.plan(&touched);
            let gave_back = !held.is_subset(&self.held());
            assert!(
                gave_back || adopts || again.steps.is_empty(),
                "{:#?} after {:#?}",
                brief(&again),
                brief(&plan)
            );
        }
        panic!("the leader does not come to rest");
    }

    /// Whether it assigns what runs already.
    fn is_adoption(&self, intent: &Intent) -> bool {
        let Key::Assignment(node, who) = &intent.key else {
            return false;
        };
        let seats = &self.cluster.services()[&who.service].seats;
        let seat = seats.get(&(who.slot, node.clone()));
        seat.is_some_and(|seat| seat.assignment.is_none() && seat.state.is_some())
    }

    /// Which numbers are held on which nodes, and which instances are there.
    fn held(&self) -> BTreeSet<(Name, String)> {
        let nodes = self.cluster.nodes().iter();
        nodes
            .flat_map(|(name, node)| {
                let numbers = node.ports.keys().map(u16::to_string);
                let instances = node.assigned.iter().map(|instance| {
                    let service = &self.cluster.services()[&instance.service];
                    let seat = &service.seats[&(instance.slot, name.clone())];
                    format!("{instance} {:?}", seat.requests())
                });
                numbers.chain(instances).map(|held| (name.clone(), held))
            })
            .collect()
    }

    /// Every key that is about a service, but for what operators write.
    pub(in crate::plan) fn keys_of(&self, service: &str) -> Vec<Key> {
        let Some(known) = self.cluster.services().get(&name(service)) else {
            return Vec::new();
        };
        let seats = known.seats.iter().flat_map(|((slot, node), seat)| {
            let who = Instance::new(name(service), *slot);
            let assignment = Key::Assignment(node.clone(), who.clone());
            let state = Key::State(node.clone(), who);
            let assignment = seat.assignment.as_ref().map(|_| assignment);
            assignment
                .into_iter()
                .chain(seat.state.as_ref().map(|_| state))
        });
        let revisions = known.revisions.keys();
        let revisions = revisions.map(|hash| Key::Revision(name(service), hash.clone()));
        let route = known.route.as_ref().map(|_| Key::Route(name(service)));
        let status = known
            .status
            .as_ref()
            .map(|_| Key::ServiceStatus(name(service)));
        seats.chain(revisions).chain(route).chain(status).collect()
    }

    /// What nodes are asked to run.
    pub(in crate::plan) fn assignments(&self) -> Vec<(Name, Assignment)> {
        let services = self.cluster.services().values();
        services
            .flat_map(|service| &service.seats)
            .filter_map(|((_, node), seat)| Some((node.clone(), seat.asked()?.clone())))
            .collect()
    }

    /// The first instance whose assignment carries out `generation`.
    pub(in crate::plan) fn first_of(&self, generation: u64) -> Instance {
        let mut all = self.assignments().into_iter();
        let (_, first) = all
            .find(|(_, asked)| asked.generation == generation)
            .unwrap();
        first.instance
    }

    /// Every live agent does what it is asked. Returns whether anything changed.
    pub(in crate::plan) fn act(&mut self) -> bool {
        let mut acted = false;
        for (node, asked) in self.assignments() {
            if self.cluster.is_live(&node) {
                acted |= self.act_on(&node, &asked);
            }
        }
        let orphans = self.running.clone();
        for ((node, who), state) in orphans {
            if self.cluster.is_live(&node) && self.state(&node, &who).is_none() {
                self.put(Key::State(node, who), &serde_json::to_value(state).unwrap());
                acted = true;
            }
        }
        acted
    }

    pub(in crate::plan) fn act_on(&mut self, node: &Name, asked: &Assignment) -> bool {
        let key = Key::State(node.clone(), asked.instance.clone());
        let known = self.state(node, &asked.instance);
        if asked.desired == Desired::Absent {
            self.cluster.delete(&key);
            self.running.remove(&(node.clone(), asked.instance.clone()));
            return known.is_some();
        }
        let runs = (self.running).contains_key(&(node.clone(), asked.instance.clone()));
        if asked.replaced && !runs {
            self.cluster.delete(&key);
            return known.is_some();
        }
        let broken = self.broken.contains(&asked.instance);
        let (phase, reason, message) = match broken {
            true => (Phase::CrashLoop, "CrashLoop", "exited with code 1"),
            false => (Phase::Running, "", ""),
        };
        if asked.singleton && !runs {
            let elsewhere = self.running.keys().find(|(other, who)| {
                let same = *who == asked.instance && !self.given_up.contains(other);
                same && self.singletons.contains(&(other.clone(), who.clone()))
            });
            assert_eq!(elsewhere, None, "{} is started on {node}", asked.instance);
            (self.singletons).insert((node.clone(), asked.instance.clone()));
        }
        let numbers = asked.ports.iter();
        let state = InstanceState {
            instance: asked.instance.clone(),
            node: node.clone(),
            phase,
            ready: !broken,
            settling: false,
            pid: Some(1),
            endpoint: None,
            ports: numbers
                .filter_map(|port| Some((port.name.to_string(), port.number?)))
                .collect(),
            restarts: 0,
            reason: reason.to_owned(),
            message: message.to_owned(),
            status_text: String::new(),
            last_exit: None,
            pre_stop_failure: None,
            recycle_due: false,
            started_at: None,
            next_start_at: None,
            observed_generation: asked.generation,
            revision: asked.revision.clone(),
            self_stop: (asked.on_partition == OnPartition::Stop).then_some(asked.stop.grace),
            epoch: 1,
        };
        (self.running).insert((node.clone(), asked.instance.clone()), state.clone());
        if known.as_ref() == Some(&state) {
            return false;
        }
        self.put(key, &serde_json::to_value(state).unwrap());
        true
    }

    /// Leader and agents take turns until nothing changes any more. Returns how much the leader wrote.
    pub(in crate::plan) fn settle(&mut self) -> usize {
        let mut written = 0;
        for _ in 0..1_000 {
            let led = self.lead();
            written += led;
            if !self.act() && led == 0 {
                return written;
            }
        }
        panic!("the world does not settle");
    }

    fn state(&self, node: &Name, instance: &Instance) -> Option<InstanceState> {
        let service = self.cluster.services().get(&instance.service)?;
        let seat = service.seats.get(&(instance.slot, node.clone()))?;
        seat.observed().cloned()
    }

    /// `worker-0@a:5161`, for those that are to run.
    pub(in crate::plan) fn placed(&self, service: &str) -> Vec<String> {
        let present = self.assignments().into_iter().filter(|(_, asked)| {
            asked.desired == Desired::Present && asked.instance.service.as_str() == service
        });
        present
            .map(|(node, asked)| {
                let numbers = asked.ports.iter().filter_map(|port| port.number);
                let numbers: String = numbers.map(|number| format!(":{number}")).collect();
                format!("{}@{node}{numbers}", asked.instance)
            })
            .collect()
    }

    pub(in crate::plan) fn status(&self, service: &str) -> ServiceStatus {
        let service = &self.cluster.services()[&name(service)];
        service.status.clone().unwrap().value.unwrap()
    }

    pub(in crate::plan) fn condition(&self, service: &str, r#type: &str) -> Condition {
        let status = self.status(service);
        conditions::find(&status.conditions, r#type)
            .unwrap()
            .clone()
    }

    /// Status, reason and message of a condition.
    pub(in crate::plan) fn verdict(
        &self,
        service: &str,
        r#type: &str,
    ) -> (ConditionStatus, String, String) {
        let condition = self.condition(service, r#type);
        (condition.status, condition.reason, condition.message)
    }
}
