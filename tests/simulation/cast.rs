//! Who plays in a world: which program has which role, and what was done to it. The checker knows from
//! here what may be expected of whom.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quaestor::view::Directory;

use super::{
    checker::answers::Place,
    machine::Clock,
    network::{HostId, ProgramId},
};

/// What a program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Operator,
    /// Somebody with etcdctl.
    Hand,
    Controller,
    /// The agent of this node.
    Agent(String),
    Balancer,
    Client,
}

/// Hosts of a world.
pub const STORE: HostId = 1;
pub const OPERATOR: HostId = 2;
pub const CLIENT: HostId = 3;
pub const CONTROLLERS: [HostId; 2] = [11, 12];
pub const AGENTS: [HostId; 3] = [21, 22, 23];
pub const BALANCERS: [HostId; 2] = [31, 32];

/// The node whose agent runs on `host`.
pub fn node(host: HostId) -> String {
    format!("n{}", host % 10)
}

/// A running balancer.
#[derive(Clone)]
pub struct Answering {
    pub host: HostId,
    pub since: Duration,
    pub directory: Arc<Directory>,
}

/// So many answers are kept: they are asked for every other second.
const LATELY: usize = 8;

/// All programs. Cheap to clone.
#[derive(Clone)]
pub struct Cast {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    roles: BTreeMap<ProgramId, Role>,
    entered: BTreeMap<ProgramId, Duration>,
    /// Agents that were asked to end.
    ending: BTreeMap<ProgramId, Duration>,
    balancers: BTreeMap<ProgramId, Answering>,
    leader: Option<ProgramId>,
    /// What a client was told last, by whom, about which name.
    answer: Option<(Answering, String, BTreeSet<Place>)>,
    /// The same for all answers of the last moments, with the time at which each came.
    lately: VecDeque<(Duration, BTreeSet<Place>)>,
    /// What clients by xDS have taken last, and since when those have no balancer that have none.
    taken: BTreeMap<usize, Taken>,
    /// What stands between a host and the store: how many things, and since when it is as it is.
    disturbances: BTreeMap<HostId, Disturbance>,
    hosts: BTreeMap<ProgramId, HostId>,
    /// Hosts whose programs cannot know that the store was restored.
    innocent: BTreeSet<HostId>,
}

#[derive(Default)]
struct Taken {
    places: BTreeSet<Place>,
    alone_since: Option<Duration>,
}

#[derive(Clone, Copy, Default)]
struct Disturbance {
    count: u32,
    /// Of these, how many let nothing at all through.
    total: u32,
    changed: Duration,
    /// Since when there is always one of those.
    total_since: Duration,
}

impl Cast {
    pub fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            inner: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, program: ProgramId, host: HostId, role: Role) {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        inner.hosts.insert(program, host);
        inner.roles.insert(program, role);
        inner.entered.insert(program, now);
    }

    /// The store was restored from a backup, and `innocent` hosts have seen nothing that is newer.
    pub fn restored(&self, innocent: BTreeSet<HostId>) {
        self.inner().innocent = innocent;
    }

    /// Whether the programs of that one's host have seen that the store was farther than its backup.
    pub fn knows_of_restore(&self, program: ProgramId) -> bool {
        let inner = self.inner();
        let host = inner.hosts.get(&program);
        host.is_some_and(|host| !inner.innocent.contains(host))
    }

    /// For how long the last program that entered on `host` has been there.
    pub fn runs_for(&self, host: HostId) -> Duration {
        let inner = self.inner();
        let last = inner.hosts.iter().rev().find(|(_, on)| **on == host);
        let entered = last.and_then(|(program, _)| inner.entered.get(program));
        entered.map_or(Duration::ZERO, |entered| self.clock.elapsed() - *entered)
    }

    /// The last agent of `node` among those that entered at `moment` or before.
    pub fn agent_since(&self, node: &str, moment: Duration) -> Option<ProgramId> {
        let inner = self.inner();
        let mut entered = inner.entered.iter().rev();
        let found = entered.find(|(program, entered)| {
            **entered <= moment
                && matches!(inner.roles.get(program), Some(Role::Agent(of)) if of == node)
        });
        found.map(|(program, _)| *program)
    }

    pub fn role(&self, program: ProgramId) -> Option<Role> {
        self.inner().roles.get(&program).cloned()
    }

    /// The agent was asked to end.
    pub fn ends(&self, program: ProgramId) {
        let now = self.clock.elapsed();
        self.inner().ending.insert(program, now);
    }

    pub fn is_ending(&self, program: ProgramId) -> bool {
        self.inner().ending.contains_key(&program)
    }

    pub fn answers(&self, program: ProgramId, host: HostId, directory: Arc<Directory>) {
        let since = self.clock.elapsed();
        let answering = Answering {
            host,
            since,
            directory,
        };
        self.inner().balancers.insert(program, answering);
    }

    pub fn answers_no_more(&self, program: ProgramId) {
        self.inner().balancers.remove(&program);
    }

    /// A client by xDS has taken this.
    pub fn subscribed(&self, client: usize, places: BTreeSet<Place>) {
        let alone_since = None;
        let taken = Taken {
            places,
            alone_since,
        };
        self.inner().taken.insert(client, taken);
    }

    /// It has lost its balancer, or has found none.
    pub fn unsubscribed(&self, client: usize) {
        let now = self.clock.elapsed();
        if let Some(taken) = self.inner().taken.get_mut(&client) {
            taken.alone_since.get_or_insert(now);
        }
    }

    /// Who may call `place` now, and would not be known to know otherwise: a client by xDS that has not been without
    /// a balancer for `lost`, or somebody who was answered within `fresh`.
    pub fn caller(&self, place: &Place, lost: Duration, fresh: Duration) -> Option<String> {
        let now = self.clock.elapsed();
        let inner = self.inner();
        let knows = |taken: &Taken| {
            let alone = taken.alone_since.is_some_and(|since| since + lost < now);
            !alone && taken.places.contains(place)
        };
        let subscriber = inner.taken.iter().find(|(_, taken)| knows(taken));
        let answered = inner.lately.iter().rev();
        let answered = answered
            .take_while(|(at, _)| *at + fresh > now)
            .find(|(_, places)| places.contains(place));
        match (subscriber, answered) {
            (Some((number, _)), _) => Some(format!("xDS client {number}")),
            (None, Some((at, _))) => Some(format!("who was answered at {at:?}")),
            (None, None) => None,
        }
    }

    /// A client was told this by the balancer on `host`.
    pub fn answered(&self, host: HostId, name: &str, answer: BTreeSet<Place>) {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        inner.lately.push_back((now, answer.clone()));
        if inner.lately.len() > LATELY {
            inner.lately.pop_front();
        }
        let balancer = inner
            .balancers
            .values()
            .find(|one| one.host == host)
            .cloned();
        inner.answer = balancer.map(|balancer| (balancer, name.to_owned(), answer));
    }

    /// What a client was told, once.
    pub fn take_answer(&self) -> Option<(Answering, String, BTreeSet<Place>)> {
        self.inner().answer.take()
    }

    /// Who leads, as the store says.
    pub fn leader(&self) -> Option<ProgramId> {
        self.inner().leader
    }

    pub fn leads(&self, program: Option<ProgramId>) {
        self.inner().leader = program;
    }

    /// The running balancers.
    pub fn answering(&self) -> Vec<(ProgramId, Answering)> {
        let inner = self.inner();
        let running = inner.balancers.iter();
        running
            .map(|(program, answering)| (*program, answering.clone()))
            .collect()
    }

    /// Something comes between `host` and the store (`more`), or goes. `total`: nothing gets through.
    pub fn disturb(&self, host: HostId, more: bool, total: bool) {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        let disturbance = inner.disturbances.entry(host).or_default();
        let change = |count: &mut u32| match more {
            true => *count += 1,
            false => *count = count.saturating_sub(1),
        };
        change(&mut disturbance.count);
        if total {
            if disturbance.total == 0 {
                disturbance.total_since = now;
            }
            change(&mut disturbance.total);
        }
        disturbance.changed = now;
    }

    /// Nothing stands between any host and the store any more.
    pub fn undisturbed(&self) {
        let now = self.clock.elapsed();
        for disturbance in self.inner().disturbances.values_mut() {
            *disturbance = Disturbance {
                changed: now,
                ..Disturbance::default()
            };
        }
    }

    /// For how long nothing has stood between `host` and the store.
    pub fn clear_for(&self, host: HostId) -> Duration {
        let now = self.clock.elapsed();
        match self.inner().disturbances.get(&host) {
            Some(disturbance) if disturbance.count > 0 => Duration::ZERO,
            Some(disturbance) => now - disturbance.changed,
            None => now,
        }
    }

    /// Since when nothing at all has got through between `host` and the store.
    pub fn cut_off_since(&self, host: HostId) -> Option<Duration> {
        let inner = self.inner();
        let disturbance = inner.disturbances.get(&host)?;
        (disturbance.total > 0).then_some(disturbance.changed)
    }

    /// The same, whatever else came and went meanwhile.
    pub fn silent_since(&self, host: HostId) -> Option<Duration> {
        let inner = self.inner();
        let disturbance = inner.disturbances.get(&host)?;
        (disturbance.total > 0).then_some(disturbance.total_since)
    }
}
