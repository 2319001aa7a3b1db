//! Whether what ended was to end: a fault has killed it, or its agent has written down why it stopped it; and what that cites
//! is in the store's own history, as far as that could be followed.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{kind::AGENTS, report::Report};
use crate::{
    recorder::{Life, Process},
    world::{World, node},
};

/// How far two looks at the same end may be apart.
const SLACK: Duration = Duration::from_secs(3);

/// A line of an agent about an instance.
struct Line<'a> {
    at: Timestamp,
    instance: &'a str,
    text: &'a str,
}

/// The processes that ended without a cause on record. Counts the others.
pub(super) fn check(
    world: &World,
    lives: &BTreeMap<Process, Life>,
    killed: &[(Process, Timestamp)],
    report: &mut Report,
) -> Vec<String> {
    let living = world.recorder.living();
    let logs: BTreeMap<_, _> = AGENTS
        .map(|host| (node(host), world.log(&node(host))))
        .into();
    let lines: BTreeMap<_, Vec<Line>> = logs
        .iter()
        .map(|(node, log)| (node.as_str(), log.lines().filter_map(read).collect()))
        .collect();
    let mut wrong = Vec::new();
    for (process, life) in lives {
        report.started();
        if living.contains(process) {
            continue;
        }
        let own = lines[process.node.as_str()].iter();
        let own = own.filter(|line| {
            line.instance == process.instance
                && line.at >= life.from
                && line.at <= life.until + SLACK
        });
        let own: Vec<_> = own.collect();
        let by_fault = killed.iter().any(|(victim, at)| {
            victim == process && *at <= life.until + SLACK && *at + SLACK >= life.from
        });
        let told = own.iter().rev().find_map(|line| cause(line.text));
        match told {
            _ if by_fault => report.ended("a fault killed it"),
            Some(cause) => report.ended(cause),
            None => {
                let heard: Vec<_> = own.iter().map(|line| line.text).collect();
                wrong.push(format!(
                    "{process:?} ended at {} without a cause; its agent said: {heard:#?}",
                    life.until
                ));
            }
        }
    }
    wrong
}

/// `2026-01-01T00:00:00.000000Z  INFO quaestor::agent: text node=n1 instance=worker-0 ...`
fn read(text: &str) -> Option<Line<'_>> {
    let at = text.split(' ').next()?.parse().ok()?;
    let (_, rest) = text.split_once(" instance=")?;
    let instance = rest.split(' ').next()?;
    Some(Line { at, instance, text })
}

/// The cause that a line cites for a stop.
fn cause(text: &str) -> Option<&'static str> {
    let is_stop = [
        "asked to stop",
        "killed: its grace is over",
        "clients are sent elsewhere",
    ];
    if !is_stop.iter().any(|words| text.contains(words)) {
        return None;
    }
    let causes = [
        (
            "its assignment says absent (store revision ",
            "its assignment said absent",
        ),
        (
            "its assignment asks for revision ",
            "its assignment asked for another template",
        ),
        ("it is unhealthy: ", "its checks failed"),
        (
            "(onPartition: stop)",
            "its host was cut off, and it asked for that",
        ),
    ];
    let cited = causes.iter().find(|(words, _)| text.contains(words));
    cited.map(|(_, cause)| *cause)
}
