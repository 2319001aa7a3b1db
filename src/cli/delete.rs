//! `quaestor delete`: the explicit end of services.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    apply::{gone, wait},
    args::DeleteArgs,
    files,
    output::say,
};
use crate::{host::Host, model::Name, operator::Operator};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: DeleteArgs,
) -> anyhow::Result<ExitCode> {
    let mut names: Vec<Name> = args.names;
    if !args.files.is_empty() {
        let manifests = files::manifests(&args.files)?;
        names.extend(manifests.into_iter().map(|manifest| manifest.metadata.name));
    }
    names.sort();
    names.dedup();
    let mut missing = Vec::new();
    for name in &names {
        if operator.delete(name, host.clock.timestamp()).await? {
            say(format_args!("service/{name} deleted"))?;
        } else {
            missing.push(name.to_string());
        }
    }
    if args.wait {
        wait(operator, host, gone(names), args.timeout.get()).await?;
    }
    if !missing.is_empty() {
        bail!(
            "there is no service {}; `quaestor get services` lists them",
            missing.join(", ")
        );
    }
    Ok(ExitCode::SUCCESS)
}
