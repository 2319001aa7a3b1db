//! `quaestor acquire`: an instance for oneself, for as long as a command runs.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use futures::StreamExt as _;

use super::{
    args::AcquireArgs,
    output::{clean, failure, note, say},
};
use crate::{
    balancer::reservations::{Progress, Refusal, Ticket},
    host::{Host, Network},
    model::{Moment, ticket::Age},
    process::{Foreground, Terminations},
    rpc::connections::Connections,
};

/// When no balancer answers, they are asked again after this time.
const AGAIN: Duration = Duration::from_millis(500);

/// So many times all of them are asked without any answer.
const ROUNDS: u32 = 6;

/// How long a release may take: a ticket that is not released ends by itself.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) async fn run(
    host: &Host,
    network: Arc<dyn Network>,
    args: AcquireArgs,
) -> anyhow::Result<ExitCode> {
    let desk = Desk {
        host: host.clone(),
        connections: Connections::new(network),
        balancers: args.balancer,
    };
    let mut signals = Terminations::listen().context("cannot listen for signals")?;
    let timeout = args.timeout.map(|timeout| timeout.get());
    let ticket = tokio::select! {
        ticket = desk.acquire(&args.service, timeout) => ticket?,
        // The queue is left with the connection.
        () = signals.next() => bail!("stopped while waiting"),
    };
    let outcome = desk.hold(&ticket, &args.command, &mut signals).await;
    desk.release(&ticket).await;
    outcome
}

struct Desk {
    host: Host,
    connections: Connections,
    balancers: Vec<String>,
}

impl Desk {
    /// Waits until there is a ticket; at another balancer when one is gone.
    async fn acquire(&self, service: &str, timeout: Option<Duration>) -> anyhow::Result<Ticket> {
        let clock = &self.host.clock;
        let start = clock.now();
        let mut failures = Vec::new();
        let mut unanswered = 0;
        let mut stamp = None;
        for balancer in self.balancers.iter().cycle() {
            let waited = clock.now().since(start);
            let patience = timeout.map(|timeout| timeout.saturating_sub(waited));
            if patience == Some(Duration::ZERO) {
                bail!("nothing was free in time");
            }
            let age = Age { waited, stamp };
            let mut progress = (self.connections).wait(balancer, service, age, patience);
            while let Some(step) = progress.next().await {
                match step {
                    Ok(Progress::Ticket(ticket)) => return Ok(ticket),
                    Ok(Progress::Waiting(waiting)) => {
                        unanswered = 0;
                        stamp = waiting.stamp;
                        failures.clear();
                        let out_of_reach = match waiting.unreachable.is_empty() {
                            true => String::new(),
                            false => {
                                let nodes = waiting.unreachable.iter().map(ToString::to_string);
                                let nodes = nodes.collect::<Vec<_>>().join(", ");
                                format!("; the agents of {nodes} cannot be reached")
                            }
                        };
                        note(format_args!(
                            "waiting: place {} of {} for {} units{out_of_reach}",
                            waiting.place, waiting.length, waiting.units
                        ));
                    }
                    Err(Refusal::Unavailable(why)) => {
                        failures.push(format!("{balancer}: {}", clean(&why)))
                    }
                    Err(Refusal::Moved) => {}
                    Err(refusal) => bail!(clean(&refusal.to_string())),
                }
            }
            unanswered += 1;
            if unanswered % self.balancers.len() == 0 {
                if unanswered >= self.balancers.len() * ROUNDS as usize {
                    break;
                }
                clock.sleep(AGAIN).await;
            }
        }
        failures.truncate(self.balancers.len());
        failures.push("name running balancers with --balancer or QUAESTOR_BALANCER".to_owned());
        Err(failure(&failures))
    }

    /// Keeps the ticket while the command runs, or until a signal.
    async fn hold(
        &self,
        ticket: &Ticket,
        command: &[String],
        signals: &mut Terminations,
    ) -> anyhow::Result<ExitCode> {
        let since = self.host.clock.now();
        let brackets = ticket.endpoint.host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        let endpoint = format!(
            "{open}{}{close}:{}",
            clean(&ticket.endpoint.host),
            ticket.endpoint.port
        );
        let mut lost = std::pin::pin!(self.keep(ticket, since));
        if command.is_empty() {
            say(&endpoint)?;
            note(format_args!("{} is held until Ctrl-C", ticket.id.instance));
            tokio::select! {
                () = signals.next() => return Ok(ExitCode::SUCCESS),
                () = &mut lost => bail!("the ticket is lost: somebody else may get {}", ticket.id.instance),
            }
        }
        note(format_args!("got {} at {endpoint}", ticket.id.instance));
        let env = [
            ("QUAESTOR_ENDPOINT", endpoint),
            ("QUAESTOR_TICKET", ticket.id.to_string()),
        ];
        let started = Foreground::start(command, &env);
        let mut running = started.with_context(|| format!("cannot run `{}`", command.join(" ")))?;
        let mut is_lost = false;
        loop {
            tokio::select! {
                code = running.ended() => {
                    let code = code.context("cannot wait for the command")?;
                    if is_lost {
                        bail!("the ticket was lost while the command ran: somebody else may have got {}", ticket.id.instance);
                    }
                    return Ok(ExitCode::from(code));
                }
                // It decides itself what to do about that; its end is waited for.
                () = signals.next() => running.terminate(),
                () = &mut lost, if !is_lost => {
                    is_lost = true;
                    note("the ticket is lost: the command is asked to end");
                    running.terminate();
                }
            }
        }
    }

    /// Renews the ticket; returns when it has come to its end, or may have.
    async fn keep(&self, ticket: &Ticket, since: Moment) {
        let clock = &self.host.clock;
        let mut ends = since + ticket.lasts;
        let mut lasts = ticket.lasts;
        loop {
            clock.sleep(lasts / 3).await;
            let mut renewed = false;
            for balancer in &self.balancers {
                let asked = clock.now();
                match self.connections.renew_at(balancer, &ticket.id).await {
                    Ok(Some(more)) => {
                        (ends, lasts, renewed) = (asked + more, more, true);
                        break;
                    }
                    Ok(None) => return,
                    Err(error) => tracing::debug!(balancer, %error, "not renewed"),
                }
            }
            if !renewed {
                if clock.now() >= ends {
                    return;
                }
                // Soon again, while there is time.
                lasts = (ends.since(clock.now()) / 2).clamp(AGAIN, ticket.lasts);
            }
        }
    }

    async fn release(&self, ticket: &Ticket) {
        let releasing = async {
            for balancer in &self.balancers {
                if self
                    .connections
                    .release_at(balancer, &ticket.id)
                    .await
                    .is_ok()
                {
                    return;
                }
            }
            note("the ticket cannot be given back now; it ends by itself");
        };
        tokio::select! {
            () = releasing => {}
            () = self.host.clock.sleep(FAREWELL) => {}
        }
    }
}
