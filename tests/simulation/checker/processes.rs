//! Invariants of processes: one per instance and node (I1), no stop without a cause (I3, I4), no process without an
//! agent that looks after it (I5), no step back to an older template (I6), and what is to stop when it is cut off
//! does so in time (I16). Only that may stop while the store is away, and only what was asked for may start (I4);
//! what ends is not started again and again (I14). Clients have their time to hear of a stop, which is written to the
//! store first (I18). Whom agents signal (I2) is seen where they do.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::history::{History, Version, version_of};
use crate::{
    cast::{AGENTS, Cast, STORE, node},
    network::ProgramId,
    processes::{Pid, Record, Table},
};

/// An agent that lost the store may still act on what it heard so shortly before.
const ECHO: Duration = Duration::from_secs(1);

/// A new agent adopts what the one before it has left within this time.
const ADOPTION: Duration = Duration::from_secs(10);

/// What is to stop when it is cut off does so when its agent was without an answer for this long: its session
/// may be over then.
const SESSION: Duration = Duration::from_secs(20);

/// Renewals are under way, and looks take place, for less than this.
const SLACK: Duration = Duration::from_secs(9);

/// Longer than any grace of this world, and the looks of the checker.
const GRACE: Duration = Duration::from_secs(5);

/// Clients have so long to hear that something is not to be called any more, save for what a look takes.
const NOTICE: Duration = Duration::from_millis(490);

/// A stop that was asked for waits so long for the store to say so, and then for clients, save for what a look takes.
const PATIENCE: Duration = Duration::from_millis(2_490);

/// After a disturbance the answer to what was written before may take so long.
const ANSWER: Duration = Duration::from_secs(10);

/// So old may be what an undisturbed agent knows.
const NEWS: Duration = Duration::from_secs(10);

/// After a disturbance an agent may need this long to follow the store again.
const RECOVERY: Duration = Duration::from_secs(45);

/// Starts of an instance in ten seconds: 100 ms, doubled up to 5 s, allow seven; people and faults ask for more.
const MOST_STARTS: usize = 14;

/// What was looked at already.
#[derive(Default)]
pub struct Processes {
    started: BTreeSet<Pid>,
    stopped: BTreeSet<Pid>,
    lapsed: BTreeSet<Pid>,
}

impl Processes {
    pub fn check(
        &mut self,
        table: &Table,
        history: &History,
        cast: &Cast,
        now: Duration,
    ) -> Vec<(&'static str, String)> {
        let records = table.records();
        let mut wrong = Vec::new();
        for record in &records {
            if self.started.insert(record.pid) {
                wrong.extend(alone(record, &records, history));
                wrong.extend(no_step_back(record, &records, history));
                wrong.extend(may_start(record, history, cast));
                wrong.extend(no_spin(record, &records));
            }
            if let Some(at) = record.signalled
                && self.stopped.insert(record.pid)
            {
                wrong.extend(cause(record, at, history, cast));
                wrong.extend(heard_out(record, at, history, cast));
            }
            if record.lapsed.is_some() && self.lapsed.insert(record.pid) {
                wrong.extend(may_lapse(record, history, cast, now));
            }
            wrong.extend(lives_on(record, history, cast, now));
            let heir = cast.agent_since(&record.node, now.saturating_sub(ADOPTION));
            if record.ended.is_none() && heir.is_some_and(|heir| heir > record.agent) {
                wrong.push((
                    "I5",
                    format!("{} was not adopted by the next agent", describe(record)),
                ));
            }
        }
        wrong
    }
}

fn describe(record: &Record) -> String {
    format!(
        "process {} of {} on {}",
        record.pid, record.instance, record.node
    )
}

/// Whether its manifest asks for a stop when it is cut off.
fn stops_when_cut_off(record: &Record, history: &History) -> bool {
    let mut versions = history.versions(&seat(record)).iter();
    versions.any(|version| {
        let value = version.value.as_ref();
        value.is_some_and(|value| value["onPartition"] == "stop")
    })
}

/// A process stops by itself only if it is to, and if its agent may have been without an answer.
fn may_lapse(
    record: &Record,
    history: &History,
    cast: &Cast,
    now: Duration,
) -> Option<(&'static str, String)> {
    let host = AGENTS.into_iter().find(|host| node(*host) == record.node)?;
    let long = SESSION + SLACK;
    let before = now.saturating_sub(long);
    let undisturbed = cast.clear_for(host) > long
        && cast.agent_since(&record.node, now) == cast.agent_since(&record.node, before);
    let wanted = stops_when_cut_off(record, history);
    (undisturbed || !wanted).then(|| {
        let what = format!(
            "{} stopped by itself: asked for: {wanted}, agent undisturbed: {undisturbed}",
            describe(record)
        );
        ("I4", what)
    })
}

/// A process that is to stop when it is cut off does not live on.
fn lives_on(
    record: &Record,
    history: &History,
    cast: &Cast,
    now: Duration,
) -> Option<(&'static str, String)> {
    let host = AGENTS.into_iter().find(|host| node(*host) == record.node)?;
    let since = cast.silent_since(host)?;
    let overdue = record.ended.is_none()
        && now.saturating_sub(since) > SESSION + GRACE
        && stops_when_cut_off(record, history);
    overdue.then(|| {
        let what = format!("{} lives on, cut off since {since:?}", describe(record));
        ("I16", what)
    })
}

/// Whether it may not run on another node at the same time either.
fn is_singleton(history: &History, record: &Record) -> bool {
    let mut versions = history.versions(&seat(record)).iter();
    versions.any(|version| {
        version
            .value
            .as_ref()
            .is_some_and(|value| value["singleton"] == true)
    })
}

fn alone(record: &Record, records: &[Record], history: &History) -> Option<(&'static str, String)> {
    let other = records.iter().find(|other| {
        other.pid < record.pid
            && other.instance == record.instance
            && (other.node == record.node || is_singleton(history, record))
            && other.ended.is_none_or(|ended| ended > record.started)
    })?;
    Some((
        "I1",
        format!(
            "{} was started while {} lived",
            describe(record),
            describe(other)
        ),
    ))
}

/// A template that is older than what the instance had before is one that the leader went back to since.
fn no_step_back(
    record: &Record,
    records: &[Record],
    history: &History,
) -> Option<(&'static str, String)> {
    let newer = records.iter().find(|other| {
        other.pid < record.pid
            && other.instance == record.instance
            && other.node == record.node
            && other.version > record.version
    })?;
    let assignments = history.in_force(&seat(record), newer.started).skip(1);
    let mut versions = assignments.map(|value| version_of(&value["run"]["process"]));
    if versions.any(|version| version == Some(record.version)) {
        return None;
    }
    Some((
        "I6",
        format!(
            "{} runs version {} after {} ran {}",
            describe(record),
            record.version,
            describe(newer),
            newer.version
        ),
    ))
}

/// The assignment that a process is of.
fn seat(record: &Record) -> String {
    format!("assign/{}/{}", record.node, record.instance)
}

/// A process is only started if its agent heard that it is wanted, and not long after it is not any more.
fn may_start(record: &Record, history: &History, cast: &Cast) -> Option<(&'static str, String)> {
    let host = AGENTS.into_iter().find(|host| node(*host) == record.node)?;
    let heard = match cast.silent_since(host) {
        Some(since) => record.started.min(since),
        None => record.started,
    };
    let recovered = cast.clear_for(host) >= RECOVERY;
    let versions = history.versions(&seat(record));
    let asked = versions.iter().enumerate().any(|(index, version)| {
        let asks = version.value.as_ref().is_some_and(|value| {
            value["desired"] == "present"
                && version_of(&value["run"]["process"]) == Some(record.version)
        });
        let mut later = versions.iter().skip(index + 1);
        let overrules = |next: &Version| {
            let since = history.counts_since(next);
            since.is_some_and(|since| since + NEWS < record.started)
        };
        let stands = !recovered || !later.any(overrules);
        let known = since(history, cast, record.agent, version);
        asks && stands && known.is_some_and(|known| known <= heard + ECHO)
    });
    (!asked).then(|| {
        let what = format!(
            "{} was started at version {}, which nobody had asked for",
            describe(record),
            record.version
        );
        ("I4", what)
    })
}

/// What ends is started again after pauses that grow.
fn no_spin(record: &Record, records: &[Record]) -> Option<(&'static str, String)> {
    let lately = records.iter().filter(|other| {
        let same = other.node == record.node && other.instance == record.instance;
        same && other.pid <= record.pid && other.started + NEWS >= record.started
    });
    let count = lately.count();
    (count > MOST_STARTS).then(|| {
        let what = format!(
            "{} is start number {count} within {NEWS:?}",
            describe(record)
        );
        ("I14", what)
    })
}

/// What is stopped before clients have had their time was known to go by all of them.
fn heard_out(
    record: &Record,
    at: Duration,
    history: &History,
    cast: &Cast,
) -> Option<(&'static str, String)> {
    let called = record.called.as_ref()?;
    if cast.is_ending(record.agent) || record.unwell.is_some_and(|unwell| unwell < at) {
        return None;
    }
    let states = history.versions(&format!("state/{}/{}", record.node, record.instance));
    // What came back with a restore says nothing of what was said since.
    let is_of_it = |version: &&Version| {
        let value = version.value.as_ref();
        let is_written = version.restore.is_none() && version.at <= at;
        is_written && value.is_some_and(|state| state["pid"] == record.pid)
    };
    let states: Vec<&Version> = states.iter().filter(is_of_it).collect();
    let is_ready = |version: &&Version| {
        let value = version.value.as_ref();
        value.is_some_and(|state| state["ready"] == true)
    };
    let last = states.iter().rposition(is_ready)?;
    // From then on nobody was to call it, as far as the store knew.
    let Some(said) = states.get(last + 1) else {
        return untold(record, at, history, cast);
    };
    (at < said.at + NOTICE).then(|| {
        let what = format!(
            "{} was signalled {:?} after it was to be called no more, and is called by {called}",
            describe(record),
            at.saturating_sub(said.at)
        );
        ("I18", what)
    })
}

/// What is stopped without the store saying so was to stop on somebody's word, which does not wait for ever, and was
/// given that long; and its agent could not say so.
fn untold(
    record: &Record,
    at: Duration,
    history: &History,
    cast: &Cast,
) -> Option<(&'static str, String)> {
    let host = AGENTS.into_iter().find(|host| node(*host) == record.node)?;
    let begun = at.saturating_sub(PATIENCE);
    let ordered = Orders::of(record, history, cast).stop(begun, false);
    let sessions = history.versions(&format!("session/{}", record.node));
    let before = sessions.partition_point(|version| version.at <= begun);
    let is_own = |version: &Version| version.value.is_some() && version.by == Some(record.agent);
    let held = before > 0 && sessions[before - 1..].iter().all(is_own);
    let clear = cast.clear_for(host).min(cast.clear_for(STORE));
    let able = held && clear > PATIENCE + ANSWER;
    (able || !ordered).then(|| {
        let what = format!(
            "{} was signalled, and the store does not say that it leaves: ordered in time: {ordered}, session held: \
             {held}, undisturbed for {clear:?}",
            describe(record)
        );
        ("I18", what)
    })
}

/// Since when an agent may go by an assignment. By one that came back with a restore only once that is confirmed, if
/// it can know.
fn since(history: &History, cast: &Cast, agent: ProgramId, version: &Version) -> Option<Duration> {
    match cast.knows_of_restore(agent) {
        true => history.counts_since(version),
        false => Some(version.at),
    }
}

/// Whether there was a reason to stop the process.
fn cause(
    record: &Record,
    at: Duration,
    history: &History,
    cast: &Cast,
) -> Option<(&'static str, String)> {
    if cast.is_ending(record.agent) || record.unwell.is_some_and(|unwell| unwell < at) {
        return None;
    }
    let host = AGENTS.into_iter().find(|host| node(*host) == record.node);
    let cut_off = host.and_then(|host| cast.cut_off_since(host));
    let heard = cut_off.map_or(at, |since| at.min(since + ECHO));
    let orders = Orders::of(record, history, cast);
    if orders.stop(heard, true) {
        return None;
    }
    let invariant = if orders.stop(at, true) { "I4" } else { "I3" };
    Some((
        invariant,
        format!("{} was stopped without a cause", describe(record)),
    ))
}

/// What was asked for concerning a process.
struct Orders<'a> {
    record: &'a Record,
    history: &'a History,
    cast: &'a Cast,
    /// What it runs, as its agent once said of it; a restart on an operator's word changes only this.
    state: Option<&'a Value>,
}

impl<'a> Orders<'a> {
    fn of(record: &'a Record, history: &'a History, cast: &'a Cast) -> Self {
        let states = history.versions(&format!("state/{}/{}", record.node, record.instance));
        let mut states = states.iter().filter_map(|version| version.value.as_ref());
        let state = states.find(|state| state["pid"] == record.pid);
        Self {
            record,
            history,
            cast,
            state,
        }
    }

    /// Whether its agent knew at `upto` that it was to stop; because it is old (`turns`), too.
    fn stop(&self, upto: Duration, turns: bool) -> bool {
        let Self { record, .. } = self;
        let revision = self.state.map(|state| &state["revision"]);
        let versions = self.history.versions(&seat(record));
        versions.iter().enumerate().any(|(index, version)| {
            let in_force = versions
                .get(index + 1)
                .is_none_or(|next| next.at >= record.started);
            let asks = version.value.as_ref().is_some_and(|value| {
                value["desired"] == "absent"
                    || (turns && self.is_turn(value))
                    || version_of(&value["run"]["process"]) != Some(record.version)
                    || revision.is_none_or(|revision| value["revision"] != *revision)
            });
            let known = since(self.history, self.cast, record.agent, version);
            known.is_some_and(|known| known <= upto) && in_force && asks
        })
    }

    /// Whether it is its turn to be recycled.
    fn is_turn(&self, value: &Value) -> bool {
        let started = self.state.map(|state| &state["startedAt"]);
        !value["recycleTurn"].is_null() && Some(&value["recycleTurn"]) == started
    }
}
