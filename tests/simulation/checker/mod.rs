//! The independent checker: it reads the store's history through a door of its own and the table of
//! processes, knows nothing of the program's decisions, and says what must not happen.
//!
//! - [`history`]: what the store held when
//! - [`writes`]: I7, I8, I15
//! - [`rollouts`]: the budgets of rollouts, I13
//! - [`processes`]: I1, I3, I4, I5, I6, I16, I18, and starts (I14)
//! - [`answers`]: I9, I10, I11
//! - [`rest`]: L1, once the faults have stopped
//! - [`restores`]: a store that falls back in time, and what waits then (I17)
//!
//! How many writes there are (I14) is counted here; whom agents signal (I2) is seen by the processes.

pub mod answers;
pub mod history;
pub mod processes;
pub mod rest;
pub mod restores;
pub mod rollouts;
pub mod writes;

use std::{collections::BTreeSet, time::Duration};

use etcd_client::{Client, ConnectOptions, EventType, WatchOptions, WatchResponse, WatchStream};
use hyper_util::rt::TokioIo;
use tokio::time::MissedTickBehavior;

use self::{
    answers::Answers,
    history::{History, ROOT, Version},
    processes::Processes,
};
use crate::{
    cast::{Answering, Cast},
    gate::Gate,
    machine::Clock,
    planted::Planted,
    processes::Table,
    trace::Trace,
};

/// How often processes and answers are looked at, apart from every change of the store.
const TICK: Duration = Duration::from_millis(250);

/// Transactions that one program may send in ten seconds (I14): several times what the busiest honest one needs.
const MOST_WRITES: usize = 150;

/// The checker of a world.
pub struct Checker {
    pub clock: Clock,
    pub gate: Gate,
    pub cast: Cast,
    pub table: Table,
    pub trace: Trace,
    pub planted: Planted,
    /// The names that clients ask for.
    pub names: Vec<String>,
    history: History,
    processes: Processes,
    answers: Answers,
    /// The store is to rest: further writes are wrong.
    resting: bool,
    /// So many restores of the store are known.
    restores: usize,
    /// The newest revision of the store.
    newest: i64,
    /// Keeps the watch of a restored store open.
    client: Option<Client>,
    /// The most transactions that a program has sent in ten seconds.
    pub busiest: usize,
}

impl Checker {
    pub fn new(
        (clock, gate): (&Clock, &Gate),
        (cast, table, trace): (&Cast, &Table, &Trace),
        planted: Planted,
        names: Vec<String>,
    ) -> Self {
        Self {
            clock: clock.clone(),
            gate: gate.clone(),
            cast: cast.clone(),
            table: table.clone(),
            trace: trace.clone(),
            planted,
            names,
            history: History::default(),
            processes: Processes::default(),
            answers: Answers::default(),
            resting: false,
            restores: 0,
            newest: 0,
            client: None,
            busiest: 0,
        }
    }

    /// A client of the store that nothing disturbs.
    pub async fn client(gate: &Gate) -> Result<Client, etcd_client::Error> {
        let gate = gate.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let door = gate.back_door().map(TokioIo::new);
            async move { door }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://store");
        let channel = endpoint.connect_with_connector_lazy(connector);
        Client::from_channel(
            etcd_client::Channel::Tonic(channel),
            Some(ConnectOptions::new()),
        )
        .await
    }

    /// Checks until `goal` says so, a violation is found, or `limit` is over. Whether the goal was reached.
    pub async fn watch(
        &mut self,
        watch: &mut WatchStream,
        limit: Duration,
        goal: impl Fn(&Self) -> bool,
    ) -> bool {
        let end = tokio::time::Instant::now() + limit;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.trace.first_violation().is_some() {
                return false;
            }
            tokio::select! {
                biased;
                answer = watch.message() => match answer {
                    Ok(Some(answer)) => self.hear(&answer).await,
                    _ if self.gate.restores() > self.restores => {
                        if let Err(error) = self.look_back(watch).await {
                            self.trace.violation("checker", format!("the store is gone: {error}"));
                            return false;
                        }
                    }
                    other => {
                        self.trace.violation("checker", format!("its watch ended: {other:?}"));
                        return false;
                    }
                },
                _ = ticks.tick() => {
                    self.look();
                    if goal(self) {
                        return true;
                    }
                }
                () = tokio::time::sleep_until(end) => return false,
            }
        }
    }

    /// Begins to watch the store.
    pub async fn begin(&self, client: &mut Client) -> Result<WatchStream, etcd_client::Error> {
        let options = WatchOptions::new().with_prefix().with_start_revision(1);
        let mut watch = client.watch(ROOT, Some(options)).await?;
        watch.message().await?;
        Ok(watch)
    }

    /// What is not yet as it is to be.
    pub fn missing(&self) -> Option<String> {
        rest::missing(&self.history, &self.table, &self.cast, &self.names)
    }

    /// From now on further writes are wrong.
    pub fn rest(&mut self) {
        self.resting = true;
    }

    async fn hear(&mut self, answer: &WatchResponse) {
        // The door notes who wrote when it has the answer: in this moment, but perhaps after this.
        tokio::time::sleep(Duration::from_millis(1)).await;
        for event in answer.events() {
            let Some(entry) = event.kv() else { continue };
            let key = String::from_utf8_lossy(entry.key()).into_owned();
            let Some(key) = key.strip_prefix(ROOT) else {
                continue;
            };
            let written = self.gate.written(entry.mod_revision());
            let value = match event.event_type() {
                EventType::Put => {
                    let text = serde_json::from_slice(entry.value());
                    Some(text.unwrap_or_else(|_| String::from_utf8_lossy(entry.value()).into()))
                }
                EventType::Delete => None,
            };
            let version = Version {
                revision: entry.mod_revision(),
                at: written
                    .as_ref()
                    .map_or_else(|| self.clock.elapsed(), |written| written.at),
                value,
                by: written.map(|written| written.by),
                restore: None,
            };
            self.take(key, version);
        }
    }

    fn take(&mut self, key: &str, version: Version) {
        self.newest = self.newest.max(version.revision);
        let is_load = key.starts_with("load/");
        if !is_load {
            let by = version.by.and_then(|by| self.cast.role(by));
            let value = version
                .value
                .as_ref()
                .map_or("deleted".to_owned(), |value| summary(key, value));
            self.trace.note(format!(
                "{key} {value} (revision {}, by {by:?})",
                version.revision
            ));
        }
        let wrong = writes::check(&self.history, &self.cast, key, &version);
        let wrong = wrong.or_else(|| restores::check(&self.history, &self.cast, key, &version));
        if let Some((invariant, what)) = wrong {
            self.trace.violation(invariant, what);
        }
        if key == "spec/cluster" && version.value.is_some() {
            self.history.confirmed(version.at);
        }
        // Events are told late where the store was away; what they tell of shows in other keys as well.
        let is_event = key.starts_with("event/");
        if self.resting && !is_load && !is_event {
            self.trace
                .violation("L1", format!("{key} was written although everything rests"));
        }
        if key == "leader" {
            self.cast.leads(version.value.as_ref().and(version.by));
        }
        self.history.add(key, version);
        self.answers
            .learn(&self.history, &self.names, self.clock.elapsed());
    }

    fn look(&mut self) {
        let now = self.clock.elapsed();
        let wrong = self
            .processes
            .check(&self.table, &self.history, &self.cast, now);
        for (invariant, what) in wrong {
            self.trace.violation(invariant, what);
        }
        for (program, count) in self.gate.asked(now.saturating_sub(Duration::from_secs(10))) {
            self.busiest = self.busiest.max(count);
            if count > MOST_WRITES {
                let role = self.cast.role(program);
                self.trace.violation(
                    "I14",
                    format!("{role:?} sent {count} transactions in ten seconds"),
                );
            }
        }
        self.answers.learn(&self.history, &self.names, now);
        for (_, balancer) in self.cast.answering() {
            for name in &self.names {
                let Ok(answer) = balancer.directory.random(name, usize::MAX, 0) else {
                    continue;
                };
                let mut answer: BTreeSet<answers::Place> = answer
                    .iter()
                    .map(|endpoint| (endpoint.host().to_owned(), endpoint.port()))
                    .collect();
                match self.planted {
                    Planted::EmptyLie if now > Duration::from_secs(40) => answer.clear(),
                    // Who forgets the only one says that nobody serves, which is another lie.
                    Planted::Omission if answer.len() > 1 => _ = answer.pop_first(),
                    Planted::Invention => answer.extend([("10.0.0.99".to_owned(), 1)]),
                    _ => {}
                }
                self.judge(&balancer, name, &answer, now);
            }
        }
        if let Some((balancer, name, answer)) = self.cast.take_answer() {
            self.judge(&balancer, &name, &answer, now);
        }
    }

    fn judge(
        &self,
        balancer: &Answering,
        name: &str,
        answer: &BTreeSet<answers::Place>,
        now: Duration,
    ) {
        let clear = self.cast.clear_for(balancer.host);
        // What vanished by a restore is answered until those who know have spoken.
        let since = self.history.last_restore();
        let clear = since.map_or(clear, |since| {
            clear.min(now.saturating_sub(since + restores::AFTERMATH))
        });
        if let Some((invariant, what)) = self.answers.check(balancer, name, answer, clear, now) {
            self.trace.violation(invariant, what);
        }
    }
}

/// A value in a few words.
fn summary(key: &str, value: &serde_json::Value) -> String {
    let show = |fields: &[&str]| {
        let shown = fields.iter().filter_map(|field| {
            let found = &value[*field];
            (!found.is_null()).then(|| format!("{field}={found}"))
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    match key.split('/').next() {
        Some("assign") => {
            let version = history::version_of(&value["run"]["process"]);
            format!(
                "{} version={version:?}",
                show(&["desired", "generation", "revision"])
            )
        }
        Some("state") => show(&[
            "phase",
            "ready",
            "pid",
            "reason",
            "epoch",
            "observedGeneration",
        ]),
        Some("session") => show(&["uuid", "reconciled"]),
        Some("status") => {
            let conditions = value["conditions"].as_array().into_iter().flatten();
            let conditions: Vec<String> = conditions
                .map(|one| format!("{}={} {}", one["type"], one["status"], one["reason"]))
                .collect();
            format!(
                "{} {}",
                show(&["ready", "observedGeneration"]),
                conditions.join(", ")
            )
        }
        Some("spec") => format!(
            "{} replicas={} version={:?}",
            show(&["generation"]),
            value["spec"]["replicas"],
            history::version_of(&value["spec"])
        ),
        _ => value.to_string(),
    }
}
