//! What operators do to nodes, and the cluster as a whole.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;

use super::{
    args::{ClusterArgs, ClusterCommand, Confirmation, DrainArgs, LabelArgs, NodesArgs},
    exit,
    output::{age, clean, or_dash, say, table},
    progress::{Progress, names},
};
use crate::{
    host::Host,
    model::{ConditionStatus, Name, quantity::Period},
    operator::{Operator, nodes::Confirmed},
};

/// How often it is looked how far a drain is.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn cordon(
    operator: &Operator,
    args: NodesArgs,
    cordoned: bool,
) -> anyhow::Result<ExitCode> {
    for node in &args.nodes {
        let changed = operator.change_node(node, |spec| {
            spec.cordoned = cordoned;
            spec.draining &= cordoned;
        });
        let word = match (changed.await?, cordoned) {
            (true, true) => "cordoned",
            (true, false) => "uncordoned",
            (false, _) => "unchanged",
        };
        say(format_args!("node/{node} {word}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn label(operator: &Operator, args: LabelArgs) -> anyhow::Result<ExitCode> {
    let changed = operator.change_node(&args.node, |spec| spec.labels.extend(args.labels));
    let word = if changed.await? {
        "labelled"
    } else {
        "unchanged"
    };
    say(format_args!("node/{} {word}", args.node))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn drain(
    operator: &Operator,
    host: &Host,
    args: DrainArgs,
) -> anyhow::Result<ExitCode> {
    let node = &args.node;
    operator
        .change_node(node, |spec| spec.draining = true)
        .await?;
    say(format_args!("node/{node} drains"))?;
    let timeout = args.timeout.get();
    if timeout.is_zero() {
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = host.clock.now() + timeout;
    let mut last = None;
    let mut told = Progress::new(host, timeout);
    loop {
        let left = operator.left_on(node).await?;
        if left.is_empty() {
            drop(told);
            say(format_args!("node/{node} drained"))?;
            return Ok(ExitCode::SUCCESS);
        }
        if last.as_ref() != Some(&left) {
            let words = left.iter().map(|(instance, leaves)| match leaves {
                true => format!("{instance} (stopping)"),
                false => instance.clone(),
            });
            let words: Vec<String> = words.collect();
            told.say(format_args!("{node}: still there: {}", words.join(", ")));
            last = Some(left);
        }
        told.wait_for(names(last.iter().flatten().map(|(instance, _)| instance)));
        if host.clock.now() >= deadline {
            return Err(exit::timed_out(format!(
                "node `{node}` is not drained within {}; it goes on: `quaestor why node/{node}` says what holds it \
                 up, `quaestor uncordon {node}` takes it back",
                Period(timeout)
            )));
        }
        host.clock.sleep(LOOK).await;
    }
}

pub(super) async fn delete(
    operator: &Operator,
    host: &Host,
    nodes: &[Name],
) -> anyhow::Result<ExitCode> {
    for node in nodes {
        operator.delete_node(node, host.clock.timestamp()).await?;
        say(format_args!("node/{node} deleted"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn cluster(
    operator: &Operator,
    host: &Host,
    args: ClusterArgs,
) -> anyhow::Result<ExitCode> {
    let now = host.clock.timestamp();
    let confirmed = match args.command {
        ClusterCommand::Status => {
            say(status(operator, host).await?.trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        ClusterCommand::Confirm { what } => match what {
            Confirmation::Restore => operator.confirm_restore().await?,
            Confirmation::Vanished => operator.confirm_vanished(now).await?,
        },
    };
    match confirmed {
        Confirmed::Nothing => {
            bail!("nothing waits for that; `quaestor cluster status` says what does")
        }
        Confirmed::Restore(from) => say(format_args!(
            "restore confirmed: what the store says is in force, although it had reached revision {from}"
        ))?,
        Confirmed::Deletions(names) => {
            for name in names {
                say(format_args!("service/{name} deleted"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(operator: &Operator, host: &Host) -> anyhow::Result<String> {
    let Some(status) = operator.cluster_status().await? else {
        bail!("no controller has led this cluster yet: start one with `quaestor controller`");
    };
    let now = host.clock.timestamp();
    let leader = match operator.is_led().await? {
        true => format!(
            "{}, for {}",
            clean(&status.leader),
            age(status.leading_since, now)
        ),
        false => format!("nobody; the last was {}", clean(&status.leader)),
    };
    let nodes = format!("{}, {} away", status.nodes, status.nodes_away);
    let vanished: Vec<String> = status.vanished.iter().map(Name::to_string).collect();
    let mut text = format!(
        "Leader:    {leader}\nNodes:     {nodes}\nVanished:  {}\n\n",
        or_dash(vanished.join(", "))
    );
    let rows = status.conditions.iter().map(|condition| {
        let holds = match condition.status {
            ConditionStatus::True => "yes",
            ConditionStatus::False => "no",
            ConditionStatus::Unknown => "unknown",
        };
        [
            condition.r#type.clone(),
            holds.to_owned(),
            age(Some(condition.last_transition_time), now),
            condition.reason.clone(),
            clean(&condition.message),
        ]
    });
    text.push_str(&table(
        ["CONDITION", "HOLDS", "FOR", "REASON", "MESSAGE"],
        rows,
        "none yet",
    ));
    Ok(text)
}
