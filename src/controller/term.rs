//! One time of leading: follow, plan, write, until the leadership ends.

use std::{collections::BTreeMap, time::Duration};

use futures::FutureExt as _;

use crate::{
    host::{Host, Pulse},
    keys::Keys,
    model::{Moment, Name},
    plan::{
        cluster::Cluster,
        controller::{Waiting, plan},
        scope::Scope,
    },
    retry::Retry,
    store::{Change, Chronicle, Follow, Leadership, Store, Update},
};

use super::{
    Config,
    compaction::Compaction,
    news,
    past::Past,
    scribe::{Scribe, Written},
};

/// The shortest and longest time between full passes. What is touched is planned at once; a full
/// pass only makes good what a fault of this program left undone.
const FULL_PASS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

/// A write that has not come back through the follow for this long is not waited for any more: it may
/// have been undone while the stream was down. Planning on is safe, as every write is guarded.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a refused write, growing while refusals go on.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// What a leader knows and still has to do.
pub(super) struct Term {
    keys: Keys,
    host: Host,
    follow: Follow,
    cluster: Cluster,
    /// How far the store had come.
    past: Past,
    /// Whether everything has been read once.
    listed: bool,
    /// None: others look after the store's history.
    compaction: Option<Compaction>,
    store: Store,
    scribe: Scribe,
    /// What is decided and reported, for people.
    chronicle: Chronicle,
    retry: Retry,
    /// What has to be planned.
    due: Scope,
    /// When it is planned at the earliest, after a write that failed.
    not_before: Moment,
    /// When everything is planned again.
    full_pass: Moment,
    waiting: Vec<Waiting>,
    /// Services to be planned again at a time.
    wakes: BTreeMap<Name, Moment>,
}

impl Term {
    /// A term that begins. It knows nothing yet, save how far the store had come.
    pub(super) fn new(
        config: &Config,
        store: Store,
        host: Host,
        leadership: Leadership,
        past: Past,
    ) -> Self {
        let keys = Keys::new(&config.cluster);
        let follow = store.follow(vec![
            keys.specs(),
            keys.assignments(),
            keys.states(),
            keys.sessions(),
            keys.loads(),
            keys.routes(),
            keys.statuses(),
            keys.revisions(),
        ]);
        Self {
            chronicle: news::chronicle(config, &store, &keys, &leadership),
            compaction: (config.compacts_every)
                .map(|every| Compaction::new(every, host.clock.now())),
            scribe: Scribe::new(keys.clone(), store.clone(), leadership),
            store,
            retry: Retry::new(PAUSES.0, PAUSES.1),
            cluster: Cluster::new(
                config.name.clone(),
                host.clock.timestamp(),
                config.node_grace,
            ),
            past,
            listed: false,
            due: Scope::everything(),
            not_before: host.clock.now(),
            full_pass: host.clock.now(),
            waiting: Vec::new(),
            wakes: BTreeMap::new(),
            keys,
            host,
            follow,
        }
    }

    /// Leads. Does not end by itself.
    pub(super) async fn lead(&mut self, pulse: &mut Pulse) {
        pulse.status("leads; reads the store".to_owned());
        // Nothing is decided before everything is known.
        loop {
            pulse.beat();
            tokio::select! {
                first = self.follow.next() => break self.take_in(first),
                () = pulse.due() => {}
            }
        }
        self.schedule_full_pass();
        loop {
            self.plan_and_write().await;
            let services = self.cluster.services().len();
            let nodes = self.cluster.nodes().len();
            pulse.status(format!("leads; {services} services, {nodes} nodes"));
            pulse.beat();
            if let Some(compaction) = &mut self.compaction {
                compaction
                    .advance(&self.store, &*self.host.clock, self.past.seen())
                    .await;
            }
            let now = self.host.clock.now();
            let later = [self.chronicle.advance(now), self.past.keep(now)];
            let later = later.into_iter().flatten().min();
            let wake = later.map_or(self.wake(), |at| at.min(self.wake()));
            tokio::select! {
                done = self.chronicle.done() => {
                    self.chronicle.absorb(done, self.host.clock.now());
                }
                update = self.follow.next() => self.take_in(update),
                () = self.host.clock.sleep_until(wake) => {}
                () = pulse.due() => {}
            }
            // A burst is planned for once.
            while let Some(update) = self.follow.next().now_or_never() {
                self.take_in(update);
            }
            let now = self.host.clock.now();
            if self.scribe.give_up(now, PATIENCE) {
                self.due = Scope::everything();
            }
            while let Some(name) = self.awake(now) {
                self.wakes.remove(&name);
                self.due.add(name);
            }
            self.cluster.advance(now);
            self.due.extend(self.cluster.take_touched());
            if now >= self.full_pass {
                self.due = Scope::everything();
                self.schedule_full_pass();
            }
        }
    }

    /// How far the store had come, for the next term.
    pub(super) fn into_past(self) -> Past {
        self.past
    }

    fn take_in(&mut self, update: Update) {
        self.cluster.advance(self.host.clock.now());
        // The first update is a listing, so that it is not older than what was seen before.
        let is_first = !std::mem::replace(&mut self.listed, true);
        let fallen = is_first && update.revision < self.past.seen();
        if fallen {
            self.cluster.fell_from(self.past.seen());
        }
        if update.restored_from.is_some() {
            self.cluster.fell_again_from(self.past.seen());
        }
        self.past.note(update.revision);
        for change in update.changes {
            let (text, revision) = (change.key(), change.revision());
            self.scribe.seen(text, revision);
            let Some(key) = self.keys.parse(text) else {
                tracing::debug!(
                    key = text,
                    "a key that is not part of the layout is ignored"
                );
                continue;
            };
            match &change {
                Change::Put(entry) => self.cluster.put(&key, &entry.value, revision),
                Change::Delete { .. } => self.cluster.delete(&key),
            }
        }
        self.due.extend(self.cluster.take_touched());
    }

    /// Plans what is due and writes it, unless own writes have not been seen yet.
    async fn plan_and_write(&mut self) {
        let now = self.host.clock.now();
        if self.due.is_empty() || self.scribe.is_waiting() || now < self.not_before {
            return;
        }
        self.cluster.advance(now);
        let plan = plan(&self.cluster, &self.due, self.host.clock.timestamp());
        let took = self.host.clock.now().since(now);
        for (name, _) in self.due.services(&self.cluster) {
            self.wakes.remove(name);
        }
        self.wakes.extend(plan.wakes);
        self.explain(plan.waiting);
        let news = news::of(&plan.steps, &self.cluster);
        let written = self.scribe.write(plan.steps, &*self.host.clock).await;
        let fresh = self.scribe.take_fresh();
        let news = news.into_iter().filter(|(key, _)| fresh.contains(key));
        self.chronicle.note(news.flat_map(|(_, notes)| notes));
        let metrics = &self.host.metrics.controller;
        metrics.planned(took, written == Written::All);
        let nodes = self.cluster.nodes().len();
        let connected = self.cluster.nodes().values();
        let connected = connected.filter(|node| node.live().is_some()).count();
        let services = self.cluster.services().len();
        metrics.looks_after(services, connected, nodes - connected, self.waiting.len());
        match written {
            Written::All => {
                self.due = Scope::default();
                self.retry.reset();
            }
            Written::NotAll => {
                self.not_before = self.host.clock.now() + self.retry.pause(&*self.host.entropy);
            }
        }
    }

    /// Says what is waited for, once.
    fn explain(&mut self, waiting: Vec<Waiting>) {
        for wait in waiting.iter().filter(|wait| !self.waiting.contains(wait)) {
            tracing::debug!(service = %wait.service, "{}: waiting until {}", wait.what, wait.until);
        }
        self.waiting = waiting;
    }

    /// A service whose time to be planned again has come.
    fn awake(&self, now: Moment) -> Option<Name> {
        let due = self.wakes.iter().find(|(_, at)| now >= **at);
        due.map(|(name, _)| name.clone())
    }

    /// When there is something to do although nothing has changed.
    fn wake(&self) -> Moment {
        let wake = self.wake_to_plan();
        let compaction = self.compaction.as_ref();
        compaction.map_or(wake, |compaction| wake.min(compaction.due()))
    }

    fn wake_to_plan(&self) -> Moment {
        let next = self.wakes.values().copied();
        let next = next.chain(self.cluster.next_deadline()).min();
        let rest = next.map_or(self.full_pass, |next| next.min(self.full_pass));
        if self.scribe.is_waiting() {
            self.host.clock.now() + PATIENCE
        } else if self.due.is_empty() {
            rest
        } else {
            self.not_before
        }
    }

    fn schedule_full_pass(&mut self) {
        let (shortest, longest) = FULL_PASS;
        let jitter = (longest - shortest).mul_f64(self.host.entropy.fraction());
        self.full_pass = self.host.clock.now() + shortest + jitter;
    }
}
