//! Of those that steer rollouts, and wait.

use clap::{Args, Subcommand};

use super::OutputArgs;
use crate::model::{ConditionStatus, Name, quantity::Period};

/// What to do about a rollout.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Wait until a rollout is done, and say how it goes on; fails when it fails
    Status(StatusArgs),
    /// Show the templates that a service has and had
    History(HistoryArgs),
    /// Go back to the template before, or to one of the history
    Undo(UndoArgs),
    /// Replace nothing until it is resumed
    Pause(PauseArgs),
    /// Go on
    Resume(PauseArgs),
}

/// Arguments of `rollout status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: Name,
    /// How long to wait
    #[arg(long, default_value = "30m", value_name = "DURATION")]
    pub timeout: Period,
}

/// Arguments of `rollout history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: Name,
    /// How it is shown: as json or yaml with the whole templates.
    #[command(flatten)]
    pub shown: OutputArgs,
}

/// Arguments of `rollout undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: Name,
    /// The number of the revision, as `rollout history` shows it [default: the one before]
    #[arg(long, value_name = "N")]
    pub to_revision: Option<u64>,
    /// Wait until all instances have it
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Period,
}

/// Arguments of `rollout pause` and `rollout resume`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// The services
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<Name>,
}

/// What stands below the flags of `scale`.
const SCALE: &str = "\
Examples:
    quaestor scale worker --replicas 8 --wait";

/// What stands below the flags of `wait`.
const WAIT: &str = "\
Examples:
    quaestor wait worker http-server --timeout 2m
    quaestor wait worker --for condition=Progressing=False";

/// Arguments of `scale`.
#[derive(Debug, Args)]
#[command(after_help = SCALE)]
pub struct ScaleArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: Name,
    /// How many instances are wanted; an `apply` of a manifest that does not mention them keeps them
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub replicas: u32,
    /// Wait until all are ready
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Period,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
#[command(after_help = WAIT)]
pub struct WaitArgs {
    /// What to wait for: ready, delete, or condition=NAME[=STATUS], as in condition=Available or
    /// condition=Progressing=False
    #[arg(long = "for", value_name = "GOAL", value_parser = goal, default_value = "ready")]
    pub goal: WaitFor,
    /// The services
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<Name>,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Period,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum WaitFor {
    /// All replicas run what was applied last, and are ready.
    Ready,
    /// Nothing is left.
    Delete,
    /// A condition has a status.
    Condition {
        /// Its type.
        r#type: String,
        /// The status.
        status: ConditionStatus,
    },
}

fn goal(text: &str) -> Result<WaitFor, String> {
    let named = match text {
        "ready" => return Ok(WaitFor::Ready),
        "delete" => return Ok(WaitFor::Delete),
        _ => text.strip_prefix("condition="),
    };
    let Some(named) = named.filter(|named| !named.is_empty()) else {
        return Err("write ready, delete, or condition=NAME, as in condition=Available".to_owned());
    };
    let (r#type, status) = named.split_once('=').unwrap_or((named, "True"));
    let status = match status.to_ascii_lowercase().as_str() {
        "true" => ConditionStatus::True,
        "false" => ConditionStatus::False,
        "unknown" => ConditionStatus::Unknown,
        _ => return Err(format!("`{status}` is none of True, False and Unknown")),
    };
    let known = crate::plan::conditions::OF_SERVICES.iter();
    match known
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(r#type))
    {
        Some(known) => Ok(WaitFor::Condition {
            r#type: (*known).to_owned(),
            status,
        }),
        None => Err(format!(
            "there is no condition `{type}`; there are {}",
            crate::plan::conditions::OF_SERVICES.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_and_nonsense_is_refused_with_what_there_is() {
        assert_eq!(goal("ready"), Ok(WaitFor::Ready));
        let condition = |r#type: &str, status| {
            Ok(WaitFor::Condition {
                r#type: r#type.to_owned(),
                status,
            })
        };
        assert_eq!(
            goal("condition=available"),
            condition("Available", ConditionStatus::True)
        );
        assert_eq!(
            goal("condition=Progressing=false"),
            condition("Progressing", ConditionStatus::False)
        );
        for text in [
            "",
            "condition",
            "condition=",
            "condition=Nice",
            "condition=Ready=maybe",
        ] {
            assert!(goal(text).is_err(), "{text}");
        }
    }
}
