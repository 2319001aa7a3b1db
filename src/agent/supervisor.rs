//! The loop that owns all instances of the node.
//!
//! Whatever happens only wakes an instance; what is done about it is decided from what is wanted and
//! what is. Everything that takes time (ends, checks, load reports, writes) is a future that the loop
//! polls, so nothing waits for anything else.

mod act;
mod adopt;
mod artifacts;
mod assigned;
mod claim;
mod confine;
mod end;
mod local;
mod notice;
mod partition;
mod proof;
mod recycle;
mod reserve;
mod rewound;
mod stranger;
mod tell;
mod turns;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Config, Home, Others,
    artifacts::Artifacts,
    instance::{Event, Managed, What},
    load::LoadRecord,
    local::Local,
    reporter::Reporter,
    reservations::Counter,
    session::Handle,
    wakes::Wakes,
    witnesses::Witnesses,
};
use crate::{
    host::{Host, Pulse},
    keys::{Key, Keys},
    model::{Assignment, Instance, InstanceState, Moment},
    plan::{
        agent::{Action, Decision, Goal, Life, Wait, decide},
        news,
    },
    process::Processes,
    store::{Chronicle, Store},
};

/// So many starts may be under way at once: enough that a hundred instances are up in a dozen waves,
/// few enough that the first are not slowed down by the last.
const STARTS: usize = 8;

/// A start counts as under way until the process is healthy, or for this long: slow starters mostly wait.
const START_TIME: Duration = Duration::from_secs(2);

/// So many instances are looked at before ends and answers are heard again: a start takes a millisecond
/// or two, and a process that ends meanwhile must not go unnoticed for long.
const CHUNK: usize = 16;

/// Every instance is looked at this often, whether or not something woke it.
const FULL_PASS: Duration = Duration::from_secs(30);

/// The store gets this long to say what is assigned before what the last agent was told is gone by: a
/// store that is there answers within milliseconds, and starting what is out of date helps nobody.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time between two lines for the service manager, which are for people.
const STATUS: Duration = Duration::from_secs(1);

/// After its processes are gone, an agent that ends tries this long to take back what it reported.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs the instances of a node.
pub(super) struct Supervisor {
    config: Config,
    home: Home,
    store: Store,
    host: Host,
    processes: Arc<dyn Processes>,
    counter: Counter,
    witnesses: Option<Arc<dyn Witnesses>>,
    session: Handle,
    keys: Keys,
    instances: BTreeMap<Instance, Box<Managed>>,
    wakes: Wakes,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Starts under way, and until when they count.
    starting: BTreeMap<Instance, Moment>,
    /// Those that wait for a start to be over.
    queued: BTreeSet<Instance>,
    /// Those that wait until the store has heard of them.
    unannounced: BTreeSet<Instance>,
    reporter: Reporter,
    /// What happens to instances, for people.
    chronicle: Chronicle,
    /// What waits while the store has fallen back in time.
    rewound: rewound::Rewound,
    artifacts: Artifacts,
    load: LoadRecord,
    usage: usage::Watch,
    /// Of the assignments known at first, those that nothing has been done about yet; none until they
    /// are known.
    unreconciled: Option<BTreeSet<Instance>>,
    /// Whether the node was this agent's at least once. Before that no assignment is looked at: they may
    /// be another agent's.
    admitted: bool,
    /// From then on, what the last agent was told counts until the store says more.
    trusts_memory_at: Moment,
    /// The agent's own manifests.
    local: Option<Local>,
    /// What their instances wait for, as it was last said.
    waiting: Vec<String>,
    /// Assignments whose names belong to the agent's own instances, with the store's revisions.
    shadowed: BTreeMap<Instance, (Assignment, i64)>,
    /// Whether one of the agent's own instances may have changed, what was last shown of them, and who is told.
    own_changed: bool,
    own_shown: Vec<u8>,
    own_told: watch::Sender<Vec<InstanceState>>,
    /// Tells the service manager how things are.
    pulse: Pulse,
    next_status: Moment,
    next_full_pass: Moment,
    /// Set when the agent is to end: when it ends at the latest.
    ends_by: Option<Moment>,
}

impl Supervisor {
    pub(super) fn new(
        config: Config,
        home: Home,
        store: Store,
        host: Host,
        processes: Arc<dyn Processes>,
        others: Others,
        session: Handle,
    ) -> Self {
        let keys = Keys::new(&config.cluster);
        let load = keys.of(&Key::Load(config.node.clone()));
        Self {
            reporter: Reporter::new(
                store.clone(),
                host.clone(),
                keys.clone(),
                config.node.clone(),
            ),
            artifacts: Artifacts::open(&host, home.artifacts(), config.artifact_ca.clone()),
            chronicle: tell::chronicle(&store, &keys, &config.node),
            load: LoadRecord::new(store.clone(), host.clone(), load),
            local: config.manifests.clone().map(Local::new),
            pulse: Pulse::new(&host),
            trusts_memory_at: host.clock.now() + PATIENCE,
            usage: usage::Watch::default(),
            rewound: rewound::Rewound::default(),
            config,
            home,
            store,
            host,
            processes,
            counter: others.counter,
            witnesses: others.witnesses,
            session,
            keys,
            instances: BTreeMap::new(),
            wakes: Wakes::default(),
            events: FuturesUnordered::new(),
            starting: BTreeMap::new(),
            queued: BTreeSet::new(),
            unannounced: BTreeSet::new(),
            unreconciled: None,
            admitted: false,
            waiting: Vec::new(),
            shadowed: BTreeMap::new(),
            own_changed: false,
            own_shown: Vec::new(),
            own_told: others.own,
            next_status: Moment::default(),
            next_full_pass: Moment::default(),
            ends_by: None,
        }
    }

    /// Runs until `stop` is cancelled and all processes that end with the agent have ended.
    pub(super) async fn run(&mut self, stop: &CancellationToken) {
        let assignments = self.keys.assignments_of(&self.config.node);
        let states = self.keys.states_of(&self.config.node);
        let mut follow = self.store.follow(vec![assignments, states]);
        let clock = Arc::clone(&self.host.clock);
        self.take_session();
        loop {
            let wake = self.pass().await;
            if self.is_over() {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.ends_by.is_none() => self.end(),
                Ok(()) = self.session.held.changed() => self.take_session(),
                Ok(()) = self.session.certain_until.changed() => self.take_confirmation(),
                done = self.reporter.done() => {
                    let trusted = self.reporter.absorb(done, clock.now());
                    self.doubt_unless(trusted);
                    self.wake_untold();
                    self.wake_unannounced();
                }
                done = self.load.done() => {
                    let trusted = self.load.absorb(done, clock.now());
                    self.doubt_unless(trusted);
                }
                done = self.chronicle.done() => self.chronicle.absorb(done, clock.now()),
                answer = self.rewound.answer() => self.hear_confirmation(answer),
                Some(asked) = self.counter.asked.recv() => self.reserve(asked),
                Some(fetched) = self.artifacts.next() => self.fetched(fetched),
                Some(event) = self.events.next() => self.hear(event),
                update = follow.next(), if self.admitted => self.follow(update),
                () = clock.sleep_until(wake) => {}
            }
        }
    }

    /// Looks at everyone who is due and writes what is to be written. Returns when to do so again.
    async fn pass(&mut self) -> Moment {
        let now = self.host.clock.now();
        if now >= self.next_full_pass {
            let jitter = FULL_PASS.mul_f64(self.host.entropy.fraction() / 2.0);
            self.next_full_pass = now + FULL_PASS - jitter;
            for instance in self.instances.keys() {
                self.wakes.by(instance, now);
            }
        }
        self.look_at_manifests(now);
        for _ in 0..CHUNK {
            let Some(instance) = self.wakes.pop(now) else {
                break;
            };
            self.settle(&instance).await;
            // Starts take their time, each for itself.
            self.pulse.beat();
        }
        let mut reporting = None;
        if self.unreconciled.is_some() {
            reporting = self.reporter.advance(now);
            self.check_reconciled();
        }
        let fetching = self.look_at_artifacts(now);
        let looking = self.look_at_usage(now);
        let loading = self.load.advance(now);
        let telling = self.chronicle.advance(now);
        self.show_own(now);
        let sign = self.tell_manager(now);
        let look = self.local.as_ref().map(Local::next_look);
        let next = self.wakes.next();
        let wakes = [
            next,
            reporting,
            fetching,
            looking,
            loading,
            telling,
            look,
            sign,
            self.ends_by,
        ];
        let wake = wakes.into_iter().flatten().min();
        wake.map_or(self.next_full_pass, |wake| wake.min(self.next_full_pass))
    }

    /// Decides and acts for one instance until there is nothing to do but wait.
    async fn settle(&mut self, name: &Instance) {
        let now = self.host.clock.now();
        if let (Some(_), Some(managed)) = (self.ends_by, self.instances.get(name))
            && self.is_kept(managed)
        {
            return;
        }
        self.listen(name, now);
        self.count_starts(now);
        self.reclaim(name, now);
        if let Some(managed) = self.instances.get_mut(name)
            && let Some(drain) = managed.untold()
            && self.reporter.says_unready(name)
        {
            drain.tell(now);
        }
        self.inquire(name);
        while let Some(managed) = self.instances.get(name) {
            if !self.is_known(managed, now) {
                self.wakes.by(name, self.trusts_memory_at);
                break;
            }
            if managed.doubt.is_some() {
                break;
            }
            let room = self.starting.len() < STARTS;
            let goal = Goal {
                cut_off: self.is_cut_off(now) && !managed.is_local,
                lacks_artifact: self.lacking(managed).is_some(),
                ..managed.goal(self.ends_by.is_some(), now)
            };
            match decide(&goal, &managed.life, room, now) {
                Decision::Do(Action::Start) if !self.is_announced(name, managed) => {
                    self.unannounced.insert(name.clone());
                    break;
                }
                Decision::Do(action) => self.act(name, action, now).await,
                Decision::Wait(wait) => {
                    if wait == Wait::Content
                        && let Some(action) = self.recycle(name, now)
                    {
                        self.act(name, action, now).await;
                        continue;
                    }
                    let mut wake = wait.wake();
                    if wait == Wait::Room {
                        self.queued.insert(name.clone());
                        wake = self.starting.values().min().copied();
                    }
                    if let Some(at) = wake {
                        self.wakes.by(name, at);
                    }
                    break;
                }
            }
        }
        let settled = self.instances.get_mut(name);
        let settled = settled.and_then(|managed| managed.note_readiness(now));
        if let Err(error) = self.remember(name) {
            tracing::error!(
                instance = %name, %error,
                "what the next agent has to know of it cannot be written down"
            );
        }
        let agent_ends = self.ends_by.is_some();
        let Some(managed) = self.instances.get_mut(name) else {
            self.own_changed |= self.local.is_some();
            self.tell_end(name);
            self.host.metrics.agent.show(name, None);
            self.reporter.want(name, None);
            self.load.set(name, None);
            self.counter.show(name, None);
            return;
        };
        managed.tell_deadline(*self.session.certain_until.borrow(), now);
        let (questions, next) = managed.ask(&self.config, &self.home, &self.host, now);
        self.events.extend(questions);
        if let Some(next) = next {
            self.wakes.by(name, next);
        }
        if let Some(settled) = settled {
            self.wakes.by(name, settled);
        }
        let lacking = artifacts::lacking(&self.artifacts, &managed.assignment);
        let state = managed.state(&self.config, agent_ends, settled.is_some(), lacking, now);
        self.host.metrics.agent.show(name, Some(&state));
        if managed.is_local {
            self.own_changed = true;
            self.load.set(name, None);
            self.counter.show(name, None);
            return;
        }
        let news = news::of_instance(self.reporter.last(name), &state);
        self.chronicle.note(news);
        self.reporter.announce_by(name, managed.announced_by());
        self.reporter.want(name, Some(state));
        self.load.set(name, managed.load_report(now));
        let units = managed.units(agent_ends);
        self.counter.show(name, units);
    }

    /// Whether what is wanted of an instance is known: once all assignments are, or once the store has been
    /// away for so long that the last one known has to do. The agent's own manifests need no store.
    fn is_known(&self, managed: &Managed, now: Moment) -> bool {
        self.unreconciled.is_some()
            || managed.is_local
            || self.ends_by.is_some()
            || now >= self.trusts_memory_at
    }

    /// Tells the service manager what there is to tell. Returns when to do so again.
    fn tell_manager(&mut self, now: Moment) -> Option<Moment> {
        if *self.session.reconciled.borrow() || now >= self.trusts_memory_at {
            self.pulse.ready();
        }
        let next = self.next_status;
        if now >= next {
            self.next_status = now + STATUS;
            self.pulse.status(self.status());
        }
        let status = (now < next).then_some(next);
        status.into_iter().chain(self.pulse.beat()).min()
    }

    /// How the agent is, in one line.
    fn status(&self) -> String {
        let is_away = self.session.held.borrow().is_none();
        let ready = self.instances.values().filter(|it| it.is_ready()).count();
        let mut status = format!("{ready} of {} instances ready", self.instances.len());
        if self.ends_by.is_some() {
            status.push_str("; ending");
        } else if is_away {
            status.push_str("; the store is away");
        }
        if self.local.as_ref().is_some_and(Local::is_troubled) {
            status.push_str("; the agent's own manifests are wrong: see the log");
        }
        status
    }

    /// Something has happened to an instance that the store has not been told yet. While the assignments
    /// are not known, the session must not say that all is reported.
    fn disturb(&self) {
        if self.unreconciled.is_none() && *self.session.reconciled.borrow() {
            self.session.reconciled.send_replace(false);
        }
    }

    /// Takes in what happened to an instance, unless it is news of an earlier run.
    fn hear(&mut self, event: Event) {
        let now = self.host.clock.now();
        let name = event.instance;
        let Some(managed) = self.instances.get_mut(&name) else {
            return;
        };
        if managed.run != event.run {
            return;
        }
        match event.what {
            What::Ended(end) => self.ended(&name, end, now),
            What::Checked { asked, result } => {
                let was = managed.is_ready();
                if let (true, Err(why)) = (was, &result) {
                    tracing::warn!(node = %self.config.node, instance = %name, %why, "not ready");
                }
                managed.checked(asked, result, now);
                self.note_readiness(&name, was);
            }
            What::PreStopped(result) => {
                if let Err(why) = &result {
                    tracing::warn!(node = %self.config.node, instance = %name, why, "preStop failed");
                }
                managed.pre_stopped(result, self.host.clock.timestamp());
                managed.change(|life| life.pre_stopped(now));
            }
            What::Found(found) => self.found(&name, found, now),
            What::Changed => {
                let was = managed.is_ready();
                managed.look_at_process(now);
                self.events.extend(managed.watch_process());
                self.note_readiness(&name, was);
            }
            What::Inquired { revision, known } => managed.inquired(revision, known, now),
            What::Loaded { asked, result } => managed.loaded(asked, result, now),
        }
        self.wakes.by(&name, now);
    }

    fn take_session(&mut self) {
        let held = self.session.held.borrow_and_update().clone();
        self.admitted |= held.is_some();
        self.host.metrics.agent.connect(held.is_some());
        self.tell_session(held.as_ref());
        self.reporter.session(held.clone());
        self.load.session(held);
    }

    fn doubt_unless(&self, trusted: bool) {
        if !trusted {
            self.session.doubt.send_replace(());
        }
    }

    /// Says so once every assignment known at first was acted on and reported.
    fn check_reconciled(&mut self) {
        if *self.session.reconciled.borrow() {
            return;
        }
        let instances = &self.instances;
        if let Some(names) = &mut self.unreconciled {
            names.retain(|name| {
                instances
                    .get(name)
                    .is_some_and(|managed| managed.life == Life::Fresh)
            });
            if names.is_empty() && self.reporter.is_settled() {
                self.session.reconciled.send_replace(true);
            }
        }
    }
}
