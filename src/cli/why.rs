//! `quaestor why` and `quaestor why-not`: the chain of causes for what is so.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::bail;

use super::{
    args::{OutputFormat, WhyArgs, WhyNotArgs},
    output::{print, unknown},
};
use crate::{
    host::Host,
    model::{Instance, Name, Timestamp, event::Object},
    operator::{Operator, observed::Observed},
    plan::{
        cluster::Cluster,
        why::{Cause, Health, named, text, why, why_not},
    },
};

/// Lines are no longer: what is read at night on a small terminal, and pasted into a ticket.
const WIDTH: usize = 80;

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: WhyArgs,
) -> anyhow::Result<ExitCode> {
    let observed = operator.observe().await?;
    let now = host.clock.timestamp();
    let seen = observed.seen(now);
    let objects = named(&observed.cluster, &args.object);
    let causes: Vec<Cause> = objects
        .iter()
        .filter_map(|object| why(&seen, object))
        .collect();
    if causes.is_empty() {
        bail!(nothing(&observed.cluster, &args.object));
    }
    show(args.shown.output, &causes, now)
}

pub(super) async fn not(
    operator: &Operator,
    host: &Host,
    args: WhyNotArgs,
) -> anyhow::Result<ExitCode> {
    let observed = operator.observe().await?;
    let now = host.clock.timestamp();
    let Observed { cluster, .. } = &observed;
    let (service, slot) = subject(cluster, &args.what)?;
    if !cluster.nodes().contains_key(&args.node) {
        let known = cluster.nodes().keys().map(Name::as_str);
        bail!(unknown("node", args.node.as_str(), known, "nodes"));
    }
    let causes: Vec<Cause> = why_not(&observed.seen(now), &service, slot, &args.node)
        .into_iter()
        .collect();
    show(args.shown.output, &causes, now)
}

/// A service, or one of its instances.
fn subject(cluster: &Cluster, text: &str) -> anyhow::Result<(Name, Option<u32>)> {
    for object in named(cluster, text) {
        match object {
            Object::Service(name) => return Ok((name, None)),
            Object::Instance(Instance { service, slot }) => return Ok((service, Some(slot))),
            Object::Node(_) | Object::Cluster => {}
        }
    }
    bail!(nothing(cluster, text))
}

/// There is nothing of that name.
fn nothing(cluster: &Cluster, name: &str) -> String {
    let mut known: Vec<String> = cluster.nodes().keys().map(ToString::to_string).collect();
    for (name, service) in cluster.services() {
        known.push(name.to_string());
        let slots = service.seats.keys();
        known.extend(slots.map(|(slot, _)| Instance::new(name.clone(), *slot).to_string()));
    }
    let known = known.iter().map(String::as_str);
    unknown("service, instance or node", name, known, "instances")
}

fn show(format: OutputFormat, causes: &[Cause], now: Timestamp) -> anyhow::Result<ExitCode> {
    print(format, causes, |causes| {
        let trees = causes
            .iter()
            .map(|cause| text::tree(cause, now, WIDTH, painted));
        trees.collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The name of an object in the colour of its health; taken out again where there is no terminal.
fn painted(health: Health, text: &str) -> String {
    let colour = match health {
        Health::Broken => AnsiColor::Red,
        Health::Waiting => AnsiColor::Yellow,
        Health::Fine => AnsiColor::Green,
    };
    let style: Style = colour.on_default().bold();
    format!("{style}{text}{style:#}")
}
