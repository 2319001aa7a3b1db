//! `quaestor delete`: the explicit end of services.

use std::process::ExitCode;

use super::{
    apply::{gone, wait},
    args::DeleteArgs,
    files, nodes,
    output::{failure, say, unknown},
};
use crate::{
    host::Host,
    model::Name,
    operator::{Operator, delete::Deletion},
};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: DeleteArgs,
) -> anyhow::Result<ExitCode> {
    let mut names: Vec<Name> = args.names;
    // No service can be meant: one that is called `node` is deleted by itself.
    if names.len() > 1 && names.first().is_some_and(|first| first.as_str() == "node") {
        return nodes::delete(operator, host, &names[1..]).await;
    }
    if !args.files.is_empty() {
        let manifests = files::manifests(&args.files)?;
        names.extend(manifests.into_iter().map(|manifest| manifest.metadata.name));
    }
    names.sort();
    names.dedup();
    let mut missing = Vec::new();
    for name in &names {
        match operator.delete(name, host.clock.timestamp()).await? {
            Deletion::Begun => say(format_args!("service/{name} deleted"))?,
            Deletion::UnderWay => say(format_args!("service/{name} is being deleted"))?,
            Deletion::Unknown => missing.push(name),
        }
    }
    if args.wait {
        let goal = gone(names.iter().cloned());
        wait(operator, host, goal, args.timeout.get()).await?;
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let services = operator.inventory().await?.services;
    let known = || services.iter().map(|known| known.name.as_str());
    let missing: Vec<String> = (missing.into_iter())
        .map(|name| unknown("service", name.as_str(), known(), "services"))
        .collect();
    Err(failure(&missing))
}
