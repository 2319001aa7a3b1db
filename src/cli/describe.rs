//! `quaestor describe`: all there is to know of one thing.

use std::{collections::BTreeSet, fmt::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};

use super::{
    args::{DescribeArgs, DescribeKind},
    events, get,
    output::{age, clean, or_dash, say, unknown},
};
use crate::{
    host::Host,
    model::{Condition, Exit, ExitCause, LoadReport, Name, Timestamp, Usage},
    operator::{
        Operator,
        inventory::{InstanceInfo, Inventory},
    },
    plan::report::out_of_memory,
};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: DescribeArgs,
) -> anyhow::Result<ExitCode> {
    let inventory = operator.inventory().await?;
    let now = host.clock.timestamp();
    let mut page = match args.kind {
        DescribeKind::Service => service(&inventory, &args.name, now)?,
        DescribeKind::Instance => instance(&inventory, &args.name, now)?,
        DescribeKind::Node => node(&inventory, &args.name, now)?,
    };
    let kind = match args.kind {
        DescribeKind::Service => "service",
        DescribeKind::Instance => "instance",
        DescribeKind::Node => "node",
    };
    let object = format!("{kind}/{}", args.name);
    let happened = operator
        .events_about(&object, whereabouts(&inventory, args.kind, &args.name))
        .await?;
    page.block("Events", &events::recent(&happened, now));
    say(page.text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The nodes on which it is now.
fn whereabouts(inventory: &Inventory, kind: DescribeKind, name: &str) -> BTreeSet<Name> {
    let is_there = |instance: &&InstanceInfo| match kind {
        DescribeKind::Service => instance.service.as_str() == name,
        DescribeKind::Instance => instance.name.to_string() == name,
        DescribeKind::Node => false,
    };
    let instances = inventory.instances.iter().filter(is_there);
    let itself = (kind == DescribeKind::Node).then(|| name.parse().ok());
    let nodes = instances.map(|instance| instance.node.clone());
    nodes.chain(itself.flatten()).collect()
}

/// A page of labelled lines.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, label: &str, value: impl AsRef<str>) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "{:<15}{}",
            format!("{label}:"),
            clean(value.as_ref())
        );
    }

    fn block(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.text, "{label}:");
        for line in text.lines() {
            let _ = writeln!(self.text, "  {}", clean(line));
        }
    }

    fn conditions(&mut self, conditions: &[Condition], now: Timestamp) {
        let rows = conditions.iter().map(|condition| {
            [
                condition.r#type.clone(),
                format!("{:?}", condition.status),
                age(Some(condition.last_transition_time), now),
                or_dash(condition.reason.clone()),
                or_dash(condition.message.clone()),
            ]
        });
        let table = super::output::table(
            ["TYPE", "STATUS", "FOR", "REASON", "MESSAGE"],
            rows,
            "none yet",
        );
        self.block("Conditions", &table);
    }
}

fn service(inventory: &Inventory, name: &str, now: Timestamp) -> anyhow::Result<Page> {
    let Some(service) = inventory
        .services
        .iter()
        .find(|service| service.name.as_str() == name)
    else {
        let known = inventory.services.iter().map(|known| known.name.as_str());
        bail!(unknown("service", name, known, "services"));
    };
    let mut page = Page::default();
    page.line("Service", name);
    page.line("Status", get::summary(service));
    page.line("Found as", or_dash(service.service_names.join(", ")));
    let wanted = service
        .replicas
        .map_or("?".to_owned(), |wanted| wanted.to_string());
    page.line(
        "Replicas",
        format!(
            "{wanted} wanted, {} updated, {} ready",
            service.updated, service.ready
        ),
    );
    let generation = service
        .generation
        .map_or("-".to_owned(), |generation| generation.to_string());
    page.line(
        "Generation",
        format!("{generation}, planned {}", service.observed_generation),
    );
    page.conditions(&service.conditions, now);
    let instances: Vec<InstanceInfo> = inventory
        .instances
        .iter()
        .filter(|instance| instance.service == service.name)
        .cloned()
        .collect();
    page.block("Instances", &get::instances(&instances, now));
    if let Some(object) = inventory.objects.get(&service.name) {
        let spec = serde_yaml::to_string(&object.spec).context("cannot print the manifest")?;
        page.block("Spec", &spec);
    }
    Ok(page)
}

fn instance(inventory: &Inventory, name: &str, now: Timestamp) -> anyhow::Result<Page> {
    let Some(found) = inventory
        .instances
        .iter()
        .find(|found| found.name.to_string() == name)
    else {
        let known: Vec<String> = (inventory.instances.iter())
            .map(|known| known.name.to_string())
            .collect();
        let known = known.iter().map(String::as_str);
        bail!(unknown("instance", name, known, "instances"));
    };
    let mut page = Page::default();
    page.line("Instance", name);
    page.line("Service", found.service.as_str());
    page.line("Node", found.node.as_str());
    page.line("Phase", get::phase(found));
    page.line("Ready", if found.ready { "yes" } else { "no" });
    page.line("Reason", or_dash(found.reason.clone()));
    page.line("Message", or_dash(found.message.clone()));
    if !found.status_text.is_empty() {
        page.line("Says", &found.status_text);
    }
    page.line(
        "Pid",
        found.pid.map_or("-".to_owned(), |pid| pid.to_string()),
    );
    let ports: Vec<String> = found
        .ports
        .iter()
        .map(|(name, port)| format!("{name} {port}"))
        .collect();
    page.line("Ports", or_dash(ports.join(", ")));
    page.line("Restarts", found.restarts.to_string());
    page.line(
        "Started",
        age(found.started_at, now)
            + if found.started_at.is_some() {
                " ago"
            } else {
                ""
            },
    );
    page.line(
        "Last exit",
        found
            .last_exit
            .as_ref()
            .map_or("-".to_owned(), |exit| ended(exit, now)),
    );
    if let Some(failure) = &found.pre_stop_failure {
        let when = age(Some(failure.at), now);
        page.line(
            "Last preStop",
            format!("failed {when} ago: {}", failure.message),
        );
    }
    page.line("Load", found.load.as_ref().map_or("-".to_owned(), load));
    page.line("Uses", found.usage.as_ref().map_or("-".to_owned(), usage));
    page.line("Revision", or_dash(found.revision.clone()));
    Ok(page)
}

fn node(inventory: &Inventory, name: &str, now: Timestamp) -> anyhow::Result<Page> {
    let Some(node) = inventory
        .nodes
        .iter()
        .find(|node| node.name.as_str() == name)
    else {
        let known = inventory.nodes.iter().map(|known| known.name.as_str());
        bail!(unknown("node", name, known, "nodes"));
    };
    let mut page = Page::default();
    page.line("Node", name);
    page.line("Status", &node.status);
    page.line("Address", or_dash(node.address.clone()));
    let labels: Vec<String> = node
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    page.line("Labels", or_dash(labels.join(", ")));
    let memory = node
        .capacity
        .memory
        .map(|size| format!("{}MiB memory", size.bytes() >> 20));
    let cores = node.capacity.cpu.map(|cores| format!("{cores} cores"));
    let capacity: Vec<String> = memory.into_iter().chain(cores).collect();
    page.line("Capacity", or_dash(capacity.join(", ")));
    page.line("Agent", or_dash(node.version.clone()));
    page.line("Session since", age(node.started_at, now));
    page.conditions(&node.conditions, now);
    let instances: Vec<InstanceInfo> = inventory
        .instances
        .iter()
        .filter(|instance| instance.node == node.name)
        .cloned()
        .collect();
    page.block("Instances", &get::instances(&instances, now));
    Ok(page)
}

fn ended(exit: &Exit, now: Timestamp) -> String {
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    };
    let why = match exit.cause {
        Some(ExitCause::OutOfMemory) => format!(", {}", out_of_memory(exit)),
        _ => String::new(),
    };
    format!("{how}{why}, {} ago", age(Some(exit.at), now))
}

fn usage(usage: &Usage) -> String {
    let (cpu, memory) = get::usage(usage);
    let processes = usage.processes;
    let noun = if processes == 1 {
        "process"
    } else {
        "processes"
    };
    format!("{cpu} cores, {memory} resident, {processes} {noun}")
}

fn load(report: &LoadReport) -> String {
    match (report.known_rate, report.stats) {
        (Some(rate), _) => format!("rate {rate:.2}"),
        (None, Some(stats)) => format!(
            "{} of {} requests, host {:.0} % busy",
            stats.current_requests,
            stats.request_capacity,
            stats.server_utilization * 100.0
        ),
        (None, None) => "-".to_owned(),
    }
}
