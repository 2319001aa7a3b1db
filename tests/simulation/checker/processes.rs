//! Invariants of processes: one per instance (I1), no stop without a cause (I3, I4), no process without an
//! agent that looks after it (I5), no step back to an older template (I6).

use std::{collections::BTreeSet, time::Duration};

use super::history::{History, version_of};
use crate::{
    cast::{AGENTS, Cast, node},
    processes::{Pid, Record, Table},
};

/// An agent that lost the store may still act on what it heard so shortly before.
const ECHO: Duration = Duration::from_secs(1);

/// A new agent adopts what the one before it has left within this time.
const ADOPTION: Duration = Duration::from_secs(10);

/// What was looked at already.
#[derive(Default)]
pub struct Processes {
    started: BTreeSet<Pid>,
    stopped: BTreeSet<Pid>,
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
                wrong.extend(alone(record, &records));
                wrong.extend(no_step_back(record, &records));
            }
            if let Some(at) = record.signalled
                && self.stopped.insert(record.pid)
            {
                wrong.extend(cause(record, at, history, cast));
            }
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

fn alone(record: &Record, records: &[Record]) -> Option<(&'static str, String)> {
    let other = records.iter().find(|other| {
        other.pid < record.pid
            && other.instance == record.instance
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

fn no_step_back(record: &Record, records: &[Record]) -> Option<(&'static str, String)> {
    let newer = records.iter().find(|other| {
        other.pid < record.pid
            && other.instance == record.instance
            && other.node == record.node
            && other.version > record.version
    })?;
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
    let key = format!("assign/{}/{}", record.node, record.instance);
    let versions = history.versions(&key);
    // What it runs, as its agent once said of it; a restart on an operator's word changes only this.
    let states = history.versions(&format!("state/{}/{}", record.node, record.instance));
    let mut states = states.iter().filter_map(|version| version.value.as_ref());
    let revision = states
        .find(|state| state["pid"] == record.pid)
        .map(|state| &state["revision"]);
    let asked = |upto: Duration| {
        versions.iter().enumerate().any(|(index, version)| {
            let in_force = versions
                .get(index + 1)
                .is_none_or(|next| next.at >= record.started);
            let asks = version.value.as_ref().is_some_and(|value| {
                value["desired"] == "absent"
                    || version_of(&value["run"]["process"]) != Some(record.version)
                    || revision.is_none_or(|revision| value["revision"] != *revision)
            });
            version.at <= upto && in_force && asks
        })
    };
    if asked(heard) {
        return None;
    }
    let invariant = if asked(at) { "I4" } else { "I3" };
    Some((
        invariant,
        format!("{} was stopped without a cause", describe(record)),
    ))
}
