//! `quaestor cancel`: ends the running requests of a user, wherever they run.

use std::{env, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use futures::future;

use super::{
    args::CancelArgs,
    output::{Lines, clean, unknown},
};
use crate::{
    host::Host,
    model::{Instance, state::Endpoint},
    operator::{
        Operator,
        inventory::{Inventory, Service},
    },
    rpc::worker_client::{self, Whose},
};

/// The variable with the password: arguments can be read by everybody on the host.
const PASSWORD: &str = "QUAESTOR_PASSWORD";

/// Succeeds when every instance has answered, and one of them had something to cancel.
pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: CancelArgs,
) -> anyhow::Result<ExitCode> {
    let password = password(args.password_file.as_deref())?;
    let inventory = operator.inventory().await?;
    let targets = targets(&inventory, &args.service)?;
    let width = targets.iter().map(|it| it.instance.to_string().len()).max();
    let width = width.unwrap_or_default();

    let asking = targets.iter().map(|target| {
        let whose = Whose {
            service_name: target.service_name.clone(),
            user_name: args.user.clone(),
            environment: args.environment.clone(),
            password: password.clone(),
        };
        let address = target.endpoint.to_string();
        let network = host.network.clone();
        let timeout = args.timeout.get();
        async move { worker_client::cancel(network, &address, whose, timeout).await }
    });
    let answers = future::join_all(asking).await;
    let mut output = Lines::default();
    let (mut cancelled, mut failed) = (false, false);
    for (target, answer) in targets.iter().zip(answers) {
        let instance = target.instance.to_string();
        let printed = match answer {
            Ok(true) => {
                cancelled = true;
                output.result(format_args!("{instance:width$}  cancelled"))?
            }
            Ok(false) => output.result(format_args!("{instance:width$}  nothing to cancel"))?,
            Err(error) => {
                failed = true;
                output.failure(clean(&format!("{instance}: {error}")));
                true
            }
        };
        if !printed {
            break;
        }
    }
    output.flush()?;
    if !cancelled && !failed {
        bail!(
            "{} has no running requests in {} on {}",
            clean(&args.user),
            clean(&args.environment),
            clean(&args.service)
        );
    }
    Ok(match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// The password for the workers; empty where nobody gave one.
fn password(file: Option<&Path>) -> anyhow::Result<String> {
    let text = match file {
        Some(file) => fs::read_to_string(file)
            .with_context(|| format!("cannot read the password in {}", file.display()))?,
        None => env::var(PASSWORD).unwrap_or_default(),
    };
    // Editors end files with one.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// An instance that is asked.
struct Target {
    instance: Instance,
    endpoint: Endpoint,
    service_name: String,
}

/// The instances that can be reached of the services that are called `name`, or found by clients under it.
fn targets(inventory: &Inventory, name: &str) -> anyhow::Result<Vec<Target>> {
    let is_found = |service: &&Service| {
        service.name.as_str() == name || service.service_names.iter().any(|it| it == name)
    };
    let services: Vec<&Service> = inventory.services.iter().filter(is_found).collect();
    if services.is_empty() {
        let known = inventory.services.iter().flat_map(|service| {
            let names = service.service_names.iter().map(String::as_str);
            names.chain([service.name.as_str()])
        });
        bail!(unknown("service", name, known, "services"));
    }
    let targets: Vec<Target> = services
        .into_iter()
        .flat_map(|service| {
            // What the ancestor's clients send; its workers do not look at it.
            let names = &service.service_names;
            let asked_for = names.iter().find(|it| *it == name);
            let service_name = asked_for.or(names.first()).cloned();
            inventory
                .instances
                .iter()
                .filter(|it| it.service == service.name)
                .filter_map(move |it| {
                    Some(Target {
                        instance: it.name.clone(),
                        endpoint: it.endpoint.clone()?,
                        service_name: service_name.clone().unwrap_or_default(),
                    })
                })
        })
        .collect();
    if targets.is_empty() {
        bail!("{name} has no instance that can be reached; `quaestor get instances` shows them");
    }
    Ok(targets)
}
