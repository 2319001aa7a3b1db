//! `quaestor pick`: where to send the next request.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;

use super::{
    args::PickArgs,
    output::{clean, failure, say},
};
use crate::{host::Host, rpc::client};

/// How long one balancer may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(host: &Host, args: PickArgs) -> anyhow::Result<ExitCode> {
    let mut failures = Vec::new();
    for balancer in &args.balancer {
        let network = host.network.clone();
        match client::discover(network, balancer, &args.service, args.count, PATIENCE).await {
            Ok(endpoints) if endpoints.is_empty() => bail!(
                "no healthy instance is found as {}; `quaestor get services` shows what is found as what",
                args.service
            ),
            Ok(endpoints) => {
                for endpoint in endpoints {
                    let host = clean(&endpoint.host);
                    let brackets = host.contains(':');
                    let (open, close) = if brackets { ("[", "]") } else { ("", "") };
                    say(format_args!("{open}{host}{close}:{}", endpoint.port))?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => failures.push(clean(&error.to_string())),
        }
    }
    failures.push("name running balancers with --balancer or QUAESTOR_BALANCER".to_owned());
    Err(failure(&failures))
}
