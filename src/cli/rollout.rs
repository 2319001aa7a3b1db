//! `quaestor rollout` and `quaestor scale`: how a rollout goes on, and what there was before.

use std::{collections::BTreeMap, process::ExitCode};

use super::{
    apply::wait,
    args::{HistoryArgs, PauseArgs, RolloutCommand, ScaleArgs, StatusArgs, UndoArgs},
    output::{age, note, print, say, table},
};
use crate::{
    host::Host,
    model::Name,
    operator::{Operator, rollout::Remembered, rollout::Requested, wait::Goal},
};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    command: RolloutCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        RolloutCommand::Status(args) => status(operator, host, args).await,
        RolloutCommand::History(args) => history(operator, host, args).await,
        RolloutCommand::Undo(args) => undo(operator, host, args).await,
        RolloutCommand::Pause(args) => pause(operator, args, true).await,
        RolloutCommand::Resume(args) => pause(operator, args, false).await,
    }
}

async fn status(operator: &Operator, host: &Host, args: StatusArgs) -> anyhow::Result<ExitCode> {
    let generation = operator.object(&args.service).await?.generation;
    let goal = Goal::Ready(BTreeMap::from([(args.service, generation)]));
    wait(operator, host, goal, args.timeout.get()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn history(operator: &Operator, host: &Host, args: HistoryArgs) -> anyhow::Result<ExitCode> {
    let known = operator.history(&args.service).await?;
    let now = host.clock.timestamp();
    let row = |known: &Remembered| {
        let revision = &known.revision;
        let words = [
            (known.wanted, "wanted"),
            (known.in_force, "in force"),
            (known.stable, "stable"),
        ];
        let words: Vec<&str> = (words.into_iter())
            .filter(|(holds, _)| *holds)
            .map(|(_, word)| word)
            .collect();
        [
            revision.number.to_string(),
            revision.revision.clone(),
            revision.generation.to_string(),
            age(Some(revision.created_at), now),
            super::output::or_dash(words.join(", ")),
            revision.spec.command.join(" "),
        ]
    };
    print(args.shown.output, &known, |known| {
        table(
            ["REVISION", "HASH", "GENERATION", "AGE", "IS", "COMMAND"],
            known.iter().map(row),
            "Nothing is remembered yet: no controller has planned the service.",
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn undo(operator: &Operator, host: &Host, args: UndoArgs) -> anyhow::Result<ExitCode> {
    let service = args.service;
    let (revision, requested) = operator.undo(&service, args.to_revision).await?;
    match requested {
        Requested::Changed(generation) => say(format_args!(
            "service/{service} goes back to revision {} (generation {generation})",
            revision.number
        ))?,
        Requested::AsItWas(_) => say(format_args!(
            "service/{service} has revision {} already",
            revision.number
        ))?,
    }
    let generation = requested.generation();
    wait_if(
        args.wait,
        operator,
        host,
        (service, generation),
        args.timeout.get(),
    )
    .await
}

async fn pause(operator: &Operator, args: PauseArgs, paused: bool) -> anyhow::Result<ExitCode> {
    let word = if paused { "paused" } else { "resumed" };
    for service in args.services {
        match operator.pause(&service, paused).await? {
            Requested::Changed(generation) => {
                say(format_args!(
                    "service/{service} {word} (generation {generation})"
                ))?;
            }
            Requested::AsItWas(_) => say(format_args!("service/{service} was {word} before"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `quaestor scale`.
pub(super) async fn scale(
    operator: &Operator,
    host: &Host,
    args: ScaleArgs,
) -> anyhow::Result<ExitCode> {
    let ScaleArgs {
        service, replicas, ..
    } = args;
    let requested = operator.scale(&service, replicas).await?;
    match requested {
        Requested::Changed(generation) => {
            say(format_args!(
                "service/{service} scaled to {replicas} (generation {generation})"
            ))?;
            note("an `apply` of a manifest that does not mention `replicas` keeps them");
        }
        Requested::AsItWas(_) => say(format_args!("service/{service} has {replicas} already"))?,
    }
    let generation = requested.generation();
    wait_if(
        args.wait,
        operator,
        host,
        (service, generation),
        args.timeout.get(),
    )
    .await
}

/// Waits for the generation of a service, if that is asked for.
async fn wait_if(
    wanted: bool,
    operator: &Operator,
    host: &Host,
    goal: (Name, u64),
    timeout: std::time::Duration,
) -> anyhow::Result<ExitCode> {
    if wanted {
        wait(operator, host, Goal::Ready(BTreeMap::from([goal])), timeout).await?;
    }
    Ok(ExitCode::SUCCESS)
}
