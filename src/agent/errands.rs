//! Short programs that are run beside an instance's process: the check by a command, and what comes before a
//! stop.

use futures::{FutureExt as _, future::BoxFuture};

use super::words::Words;
use crate::{
    plan::agent::NotStarted,
    probe::Unhealthy,
    process::{Errand, ErrandKind, Outcome, Process},
};

/// Whether the command of the health check says that the process is healthy.
pub(super) fn check(
    words: &Words<'_>,
    process: &dyn Process,
) -> BoxFuture<'static, Result<(), Unhealthy>> {
    let health = &words.assignment.health;
    let command = health.exec.as_ref().map_or(&[][..], |exec| &exec.command);
    let asked = format!("exec {}", command.first().map_or("", String::as_str));
    let timeout = health.timeout.get();
    let arguments = match words.command(command) {
        Ok(arguments) => arguments,
        Err(NotStarted { message, .. }) => {
            let cause = message;
            return futures::future::ready(Err(Unhealthy::Unreachable { asked, cause })).boxed();
        }
    };
    let running = process.run(Errand {
        kind: ErrandKind::Check,
        arguments,
        timeout,
    });
    let judge = move |outcome: Result<Outcome, String>| match outcome {
        Ok(outcome) => match (outcome.code, describe(&outcome)) {
            (Some(0), _) => Ok(()),
            (_, Some(answer)) => Err(Unhealthy::Answered { asked, answer }),
            (_, None) => Err(Unhealthy::Silent {
                asked,
                waited: timeout,
            }),
        },
        Err(cause) => Err(Unhealthy::Unreachable { asked, cause }),
    };
    running.map(judge).boxed()
}

/// Runs the command that comes before a stop; says what went wrong, if anything did.
pub(super) fn pre_stop(
    words: &Words<'_>,
    process: &dyn Process,
    timeout: std::time::Duration,
) -> BoxFuture<'static, Result<(), String>> {
    let hook = words.assignment.pre_stop.as_ref();
    let arguments = match words.command(hook.map_or(&[][..], |hook| &hook.command)) {
        Ok(arguments) => arguments,
        Err(NotStarted { message, .. }) => return futures::future::ready(Err(message)).boxed(),
    };
    let running = process.run(Errand {
        kind: ErrandKind::PreStop,
        arguments,
        timeout,
    });
    let judge = |outcome: Result<Outcome, String>| match outcome {
        Ok(Outcome { code: Some(0), .. }) => Ok(()),
        Ok(outcome) => {
            Err(describe(&outcome).unwrap_or_else(|| "killed before its end".to_owned()))
        }
        Err(why) => Err(why),
    };
    running.map(judge).boxed()
}

/// How it ended by itself, for people; none if it did not.
fn describe(outcome: &Outcome) -> Option<String> {
    let how = match (outcome.code, outcome.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => return None,
    };
    let said = outcome.text.lines().last().unwrap_or_default();
    Some(match said {
        "" => how,
        said => format!("{how}: {said}"),
    })
}
