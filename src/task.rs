//! Tasks with an owner: every task belongs to a role, stops with it, and ends it when it fails.

use std::{fmt, future::Future, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Why a role ended without having been asked to.
#[derive(Debug, thiserror::Error)]
#[error("{task}: {cause}")]
pub struct Failure {
    /// The task that failed.
    pub task: String,
    /// What happened, with its causes.
    pub cause: String,
}

/// The tasks of one role. Dropping it aborts those that still run.
pub struct Tasks {
    running: JoinSet<Result<(), Failure>>,
    stop: CancellationToken,
}

impl Tasks {
    /// An empty group that ends when `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            stop,
        }
    }

    /// Cancelled when the group is to end. Tasks that have something to put in order watch it.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs `task`. When it returns an error or panics, the whole group ends with a message that
    /// names it; when it returns `Ok`, it has done what it was for.
    pub fn spawn<E: fmt::Display>(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        let named = async move {
            // `{:#}` prints the whole chain where the error type has one.
            task.await.map_err(|error| Failure {
                task: name,
                cause: format!("{error:#}"),
            })
        };
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        self.running.spawn(named);
    }

    /// Waits until all tasks are done, one fails, or `stop` is cancelled; then gives the others
    /// `grace` to end by themselves and aborts the rest. Returns the first failure.
    pub async fn run(mut self, grace: Duration) -> Result<(), Failure> {
        let outcome = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            outcome = join(&mut self.running) => outcome,
        };
        self.stop.cancel();
        let rest = tokio::time::timeout(grace, join(&mut self.running)).await;
        if rest.is_err() {
            tracing::warn!(?grace, "tasks that did not end in time were aborted");
        }
        outcome.and(rest.unwrap_or(Ok(())))
    }
}

/// Waits for all tasks; the first failure ends the wait.
async fn join(running: &mut JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(done) = running.join_next().await {
        match done {
            Ok(result) => result?,
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                return Err(Failure {
                    task: "a task".to_owned(),
                    cause: error.to_string(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_task_ends_the_group_and_is_named() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        let waiting = stop.clone();
        tasks.spawn("patient", async move {
            waiting.cancelled().await;
            Ok::<_, String>(())
        });
        tasks.spawn("hasty", async { Err("no luck") });
        let failure = tasks.run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(failure.to_string(), "hasty: no luck");
        assert!(stop.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_the_stop_is_aborted_after_the_grace() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.spawn("deaf", std::future::pending::<Result<(), String>>());
        stop.cancel();
        assert!(tasks.run(Duration::from_secs(1)).await.is_ok());
    }
}
