//! `quaestor restart`: new processes for what runs.

use std::{collections::BTreeMap, process::ExitCode};

use super::{apply::wait, args::RestartArgs};
use crate::{
    host::Host,
    operator::{Operator, wait::Goal},
};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: RestartArgs,
) -> anyhow::Result<ExitCode> {
    let mut generations = BTreeMap::new();
    for target in &args.targets {
        let requested = operator.restart(target).await?;
        let what = match &requested.instance {
            Some(instance) => format!("instance/{instance}"),
            None => format!("service/{}", requested.service),
        };
        anstream::println!("{what} restarts (generation {})", requested.generation);
        generations.insert(requested.service, requested.generation);
    }
    if args.wait {
        wait(operator, host, Goal::Ready(generations), args.timeout.get()).await?;
    }
    Ok(ExitCode::SUCCESS)
}
