//! `quaestor wait`: until something is so.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use super::{
    apply,
    args::{WaitArgs, WaitFor},
};
use crate::{
    host::Host,
    operator::{Operator, wait::Goal},
};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: WaitArgs,
) -> anyhow::Result<ExitCode> {
    let goal = match args.goal {
        WaitFor::Delete => apply::gone(args.services),
        WaitFor::Ready => {
            let mut generations = BTreeMap::new();
            for service in args.services {
                let generation = operator.object(&service).await?.generation;
                generations.insert(service, generation);
            }
            Goal::Ready(generations)
        }
        WaitFor::Condition { r#type, status } => Goal::Condition {
            services: BTreeSet::from_iter(args.services),
            r#type,
            status,
        },
    };
    apply::wait(operator, host, goal, args.timeout.get()).await?;
    Ok(ExitCode::SUCCESS)
}
