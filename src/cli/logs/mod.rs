//! `quaestor logs`: what instances print, wherever they run.
//!
//! - `source`: the log of one instance on one node, whatever becomes of its agent
//! - `merge`: the lines of several instances as one sequence
//! - `show`: all of that printed, and who joins and leaves while it is followed
//! - `text`: a line as a terminal may show it
//!
//! As with docker, what a process writes to standard error comes out there. So do lines of Quaestor: that a
//! process started or ended, and that lines are missing.

mod merge;
mod show;
mod source;
mod text;

use std::process::ExitCode;

use anyhow::bail;

pub(super) use self::text::printable;

use self::show::Show;
use super::{
    args::LogsArgs,
    output::{note, unknown},
};
use crate::{
    host::Host,
    model::{LogQuery, Name},
    operator::{
        Operator,
        inventory::{InstanceInfo, Inventory},
        whereabouts::{Whereabouts, Whose},
    },
};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: LogsArgs,
) -> anyhow::Result<ExitCode> {
    let inventory = operator.inventory().await?;
    let whose = match &args.node {
        Some(node) => on(&inventory, &args.target, node)?,
        None => whose(&inventory, &args)?,
    };
    let query = LogQuery {
        max_age: args.since.map(|since| since.get()),
        tail: args.tail,
        follow: args.follow,
        previous: args.previous,
        after: None,
    };
    let whereabouts = Whereabouts::of(&inventory, &whose);
    if whereabouts.places.is_empty() {
        note(format_args!(
            "[quaestor] {} has no instances yet; what they print will be shown",
            args.target
        ));
    }
    let search = args.follow.then(|| operator.search(whose.clone()));
    Show::new(host, whose, query, whereabouts).run(search).await
}

/// The instance that the target means on a node.
fn on(inventory: &Inventory, target: &str, node: &Name) -> anyhow::Result<Whose> {
    let nodes = || inventory.nodes.iter().map(|it| it.name.as_str());
    if !nodes().any(|known| known == node.as_str()) {
        bail!(unknown("node", node.as_str(), nodes(), "nodes"));
    }
    let Ok(instance) = target.parse() else {
        bail!("with --node, name an instance, as in {target}-0");
    };
    Ok(Whose::On(node.clone(), instance))
}

/// The instances that the target means: those of a service, or one.
fn whose(inventory: &Inventory, args: &LogsArgs) -> anyhow::Result<Whose> {
    let name = args.target.as_str();
    // A service may be called like an instance of another one; it comes first.
    let services = &inventory.services;
    let service = services.iter().find(|it| it.name.as_str() == name);
    let is_meant = |it: &&InstanceInfo| match service {
        Some(service) => it.service == service.name,
        None => it.name.to_string() == name,
    };
    let found: Vec<&InstanceInfo> = inventory.instances.iter().filter(is_meant).collect();
    if !found.is_empty() && found.iter().all(|it| it.external) {
        bail!("{name} is run by somebody else: its logs are where they put them");
    }
    match (service, found.first()) {
        (Some(service), Some(_)) => Ok(Whose::Service(service.name.clone())),
        // Its instances are to come.
        (Some(service), None) if args.follow => Ok(Whose::Service(service.name.clone())),
        (Some(_), None) => {
            bail!("{name} has no instances yet; `quaestor describe service {name}` says why")
        }
        (None, Some(instance)) => Ok(Whose::Instance(instance.name.clone())),
        (None, None) => {
            let services = services.iter().map(|it| it.name.to_string());
            let instances = inventory.instances.iter().map(|it| it.name.to_string());
            let known: Vec<String> = services.chain(instances).collect();
            let known = known.iter().map(String::as_str);
            bail!(unknown("service or instance", name, known, "instances"))
        }
    }
}
