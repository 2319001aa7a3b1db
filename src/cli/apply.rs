//! `quaestor apply`: manifests become desired state; waiting until they are reality.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use super::{
    args::ApplyArgs,
    exit, files,
    output::{clean, failure, note, say},
    progress::{Progress as Told, names},
    prune,
};
use crate::{
    host::Host,
    model::{Name, quantity::Period},
    operator::{
        Error, Operator,
        apply::{Applied, Kept, Manner, by},
        wait::{Goal, Progress},
    },
    store,
};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: ApplyArgs,
) -> anyhow::Result<ExitCode> {
    let manifests = files::manifests(&args.files)?;
    // What is to go is shown, and agreed to, before anything is changed.
    let surplus = match args.prune {
        true => prune::ask(operator, &manifests, &args).await?,
        false => Vec::new(),
    };
    let manner = Manner {
        dry_run: args.dry_run,
        force: args.force_conflicts,
    };
    let mut generations = BTreeMap::new();
    let mut failures = Vec::new();
    let mut errors = Vec::new();
    for manifest in &manifests {
        match operator.apply(manifest, manner).await {
            Ok(applied) => {
                print(&applied, args.dry_run)?;
                generations.insert(applied.name, applied.generation);
            }
            Err(error) => {
                let is_away = matches!(error, Error::Store(store::Error::Unavailable { .. }));
                failures.push(error.to_string());
                errors.push(error);
                if is_away {
                    break;
                }
            }
        }
    }
    if !failures.is_empty() {
        if !surplus.is_empty() {
            failures.push("so nothing was pruned".to_owned());
        }
        return Err(exit::of_changes(&errors, &failure(&failures)));
    }
    let gone = prune::carry_out(operator, host, &surplus, args.dry_run).await?;
    if args.wait {
        wait(operator, host, Goal::Ready(generations), args.timeout.get()).await?;
        wait(operator, host, Goal::Gone(gone), args.timeout.get()).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One line per service, as kubectl prints it, and what others keep in it.
pub(super) fn print(applied: &Applied, dry_run: bool) -> anyhow::Result<()> {
    let suffix = if dry_run { " (dry run)" } else { "" };
    say(format_args!(
        "service/{} {} (generation {}){suffix}",
        applied.name, applied.change, applied.generation
    ))?;
    for Kept { field, value, edit } in &applied.kept {
        let by = by(edit.as_ref());
        let text = format!("{}: {field} stays {value} ({by})", applied.name);
        note(clean(&text));
    }
    Ok(())
}

/// Waits for `goal`, says what is new, and fails with the reasons when it takes longer than `timeout`.
pub(super) async fn wait(
    operator: &Operator,
    host: &Host,
    goal: Goal,
    timeout: Duration,
) -> anyhow::Result<()> {
    let done = match &goal {
        Goal::Ready(_) => "ready",
        Goal::Gone(_) => "gone",
        Goal::Condition { .. } => "as wanted",
    };
    let mut waiter = operator.wait(goal);
    let mut deadline = host.clock.sleep(timeout);
    let mut last: BTreeMap<Name, Progress> = BTreeMap::new();
    let mut told = Told::new(host, timeout);
    told.wait_for("the store".to_owned());
    loop {
        let progress = tokio::select! {
            progress = waiter.next() => progress,
            () = told.tick() => continue,
            () = &mut deadline => return Err(overdue(&last, done, timeout, waiter.silence())),
        };
        for (name, progress) in &progress {
            if last.get(name) != Some(progress) {
                match progress {
                    Progress::Done => told.say(format_args!("{name}: {done}")),
                    Progress::Waiting(reason) => {
                        told.say(format_args!("{name}: {}", clean(reason)));
                    }
                    Progress::Ended(how) => told.say(format_args!("{name}: {}", clean(how))),
                    // The error says it.
                    Progress::Failed(_) => {}
                }
            }
        }
        let failed = |(name, progress): (&Name, &Progress)| match progress {
            Progress::Failed(why) => Some(format!("{name} failed: {}", clean(why))),
            _ => None,
        };
        let failures: Vec<String> = progress.iter().filter_map(failed).collect();
        if !failures.is_empty() {
            return Err(failure(&failures));
        }
        let over = |it: &Progress| matches!(it, Progress::Done | Progress::Ended(_));
        if progress.values().all(over) {
            return Ok(());
        }
        let waiting = progress.iter().filter(|(_, progress)| !over(progress));
        told.wait_for(names(waiting.map(|(name, _)| name)));
        last = progress;
    }
}

/// A store that was silent for longer than this did not answer: it is asked more often.
const SILENT: Duration = Duration::from_secs(15);

/// Why the wait has ended without success.
fn overdue(
    last: &BTreeMap<Name, Progress>,
    done: &str,
    timeout: Duration,
    silence: Duration,
) -> anyhow::Error {
    let reason = |(name, progress): (&Name, &Progress)| match progress {
        Progress::Waiting(reason) => Some(format!("\n  {name}: {}", clean(reason))),
        _ => None,
    };
    let reasons: String = last.iter().filter_map(reason).collect();
    let silent = match last.is_empty() || silence > SILENT {
        true => ": the store does not answer",
        false => "",
    };
    let first = last
        .iter()
        .find(|(_, it)| matches!(it, Progress::Waiting(_)));
    let remedy = first.map_or(String::new(), |(name, _)| {
        format!(
            "\n  `quaestor why {name}` says what it comes from; it goes on without being waited for"
        )
    });
    let text = format!(
        "not {done} within {}{silent}{reasons}{remedy}",
        Period(timeout)
    );
    exit::timed_out(text)
}

/// The names as a goal.
pub(super) fn gone(names: impl IntoIterator<Item = Name>) -> Goal {
    Goal::Gone(names.into_iter().collect::<BTreeSet<_>>())
}
