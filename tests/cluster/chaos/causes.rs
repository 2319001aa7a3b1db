//! Whether what ended was to end: a fault has killed it, or its agent has written down why it stopped it.

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
        let own: Vec<_> = lines[process.node.as_str()]
            .iter()
            .filter(|line| line.instance == process.instance)
            .collect();
        let own = about(process, life, &own);
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

/// The lines about one process of an instance. An agent that was away tells its end when it is back.
fn about<'a>(process: &Process, life: &Life, lines: &[&'a Line<'a>]) -> Vec<&'a Line<'a>> {
    let is_start = |line: &&&Line| line.text.contains(" started node=");
    let pid = format!(" pid={} ", process.pid);
    let own = lines
        .iter()
        .find(|line| is_start(line) && line.text.contains(&pid));
    let from = own.map_or(life.from, |line| line.at);
    let next = lines
        .iter()
        .find(|line| is_start(line) && line.at > from && line.at > life.until);
    let until = next.map_or(Timestamp::MAX, |line| line.at);
    let about = lines
        .iter()
        .filter(|line| line.at >= from && line.at <= until);
    about.copied().collect()
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
    // Its shim stops by itself what may not outlive its agent's session.
    if text.contains("(onPartition: stop)") {
        return Some("its agent lost its session, and it asked for that");
    }
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
    ];
    let cited = causes.iter().find(|(words, _)| text.contains(words));
    cited.map(|(_, cause)| *cause)
}
