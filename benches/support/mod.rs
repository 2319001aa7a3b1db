//! A view with any number of endpoints, as a balancer would have it.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quaestor::{
    model::{
        Instance, InstanceState, LoadReport, Moment, NodeLoad, Phase, Route, ServerStats, Session,
        Timestamp, service::BalanceSpec, state,
    },
    view::{Directory, Fact, Index},
};

/// Instances on one node.
pub const PER_NODE: usize = 24;

/// Nodes are in so many zones, by turns, as their label `zone` says.
pub const ZONES: usize = 3;

/// The zone of a node.
pub fn zone(node: usize) -> String {
    format!("z{}", node % ZONES)
}

/// A service `worker`, found as `Worker`, with idle instances of capacity 4.
pub struct World {
    pub directory: Arc<Directory>,
    pub now: Moment,
    index: Index,
    capacity: i32,
}

impl World {
    pub fn new(size: usize) -> Self {
        Self::with(size, 4, BalanceSpec::default())
    }

    /// The same, of another capacity, and chosen by other rules.
    pub fn with(size: usize, capacity: i32, balance: BalanceSpec) -> Self {
        let directory = Arc::new(Directory::default());
        let now = Moment::new(Duration::from_secs(1_000));
        directory.heard(now);
        let mut index = Index::new(Arc::clone(&directory));
        let route = Route {
            service: "worker".parse().unwrap(),
            names: vec!["Worker".to_owned()],
            published: true,
            balance,
            generation: 1,
        };
        let mut facts = vec![Fact::Route("worker".parse().unwrap(), Some(route))];
        facts.extend((0..size.div_ceil(PER_NODE)).map(session));
        facts.extend((0..size).map(|at| ready(at, true)));
        facts.extend((0..size.div_ceil(PER_NODE)).map(|node| {
            let idle = (node * PER_NODE..size.min((node + 1) * PER_NODE)).map(|at| (at, 0));
            loads(node, capacity, idle)
        }));
        index.apply(facts, now);
        index.settle(now);
        Self {
            directory,
            now,
            index,
            capacity,
        }
    }

    /// Lets time go by.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.directory.heard(self.now);
        self.index.settle(self.now);
    }

    /// Lets time go by until `now`.
    pub fn pass_to(&mut self, now: Moment) {
        self.now = now;
        self.directory.heard(now);
        self.index.settle(now);
    }

    /// Says of all instances in `zone` how many requests they have.
    pub fn report_zone(&mut self, zone: usize, size: usize, current: i32) {
        for node in (zone..size.div_ceil(PER_NODE)).step_by(ZONES) {
            let all = node * PER_NODE..size.min((node + 1) * PER_NODE);
            self.report(node, all.map(|at| (at, current)));
        }
    }

    pub fn set_ready(&mut self, at: usize, is_ready: bool) {
        self.index.apply([ready(at, is_ready)], self.now);
    }

    /// A load record of one node whose only instance in it has so many requests.
    pub fn set_load(&mut self, at: usize, current: i32) {
        self.report(at / PER_NODE, [(at, current)]);
    }

    /// A load record of a node: how many requests each of its instances has.
    pub fn report(&mut self, node: usize, current: impl IntoIterator<Item = (usize, i32)>) {
        let record = loads(node, self.capacity, current);
        self.index.apply([record], self.now);
    }
}

fn instance(at: usize) -> Instance {
    format!("worker-{at}").parse().unwrap()
}

fn report(request_capacity: i32, current_requests: i32) -> LoadReport {
    LoadReport {
        known_rate: None,
        stats: Some(ServerStats {
            request_capacity,
            current_requests,
            ..ServerStats::default()
        }),
    }
}

fn session(node: usize) -> Fact {
    let session = Session {
        uuid: String::new(),
        node_uuid: String::new(),
        address: String::new(),
        agent_address: None,
        capacity: Default::default(),
        seen_revision: 0,
        fell_from: 0,
        labels: [("zone".to_owned(), zone(node))].into(),
        version: String::new(),
        started_at: Timestamp::from_millis(0),
        reconciled: true,
    };
    Fact::Session(format!("n{node}").parse().unwrap(), Some(session))
}

fn ready(at: usize, ready: bool) -> Fact {
    let node: quaestor::model::Name = format!("n{}", at / PER_NODE).parse().unwrap();
    let state = InstanceState {
        instance: instance(at),
        node: node.clone(),
        phase: Phase::Running,
        ready,
        pid: Some(1),
        endpoint: Some(state::Endpoint {
            host: format!("node-{}.example.com", at / PER_NODE),
            port: 5_200 + (at % PER_NODE) as u16,
        }),
        ports: BTreeMap::new(),
        settling: false,
        restarts: 0,
        reason: String::new(),
        message: String::new(),
        status_text: String::new(),
        last_exit: None,
        pre_stop_failure: None,
        recycle_due: false,
        started_at: None,
        next_start_at: None,
        observed_generation: 1,
        revision: String::new(),
        self_stop: None,
        epoch: 1,
    };
    Fact::State(node, instance(at), Some(Box::new(state)))
}

fn loads(node: usize, capacity: i32, current: impl IntoIterator<Item = (usize, i32)>) -> Fact {
    let current = current.into_iter();
    let record = NodeLoad {
        at: Timestamp::from_millis(0),
        instances: current
            .map(|(at, current)| (instance(at), report(capacity, current)))
            .collect(),
        usage: Default::default(),
    };
    Fact::Load(format!("n{node}").parse().unwrap(), Some(record))
}
