//! Tasks with an owner: every task belongs to a role, stops with it, and ends it when it fails.

use std::{collections::HashMap, fmt, future::Future, time::Duration};

use tokio::task::{self, JoinSet};
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
    /// Each ends with the cause of its failure.
    running: JoinSet<Result<(), String>>,
    names: HashMap<task::Id, String>,
    stop: CancellationToken,
}

impl Tasks {
    /// An empty group that ends when `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            names: HashMap::new(),
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
        // `{:#}` prints the whole chain where the error type has one.
        let told = async { task.await.map_err(|error| format!("{error:#}")) };
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        let handle = self.running.spawn(told);
        self.names.insert(handle.id(), name.into());
    }

    /// Waits until all tasks are done, one fails, or `stop` is cancelled; then gives the others
    /// `grace` to end by themselves, whatever becomes of each, and aborts the rest. Returns the
    /// first failure.
    pub async fn run(mut self, grace: Duration) -> Result<(), Failure> {
        let stop = self.stop.clone();
        let mut first = tokio::select! {
            () = stop.cancelled() => None,
            failure = self.failure() => failure,
        };
        stop.cancel();
        let rest = async {
            while let Some(failure) = self.failure().await {
                tracing::error!(%failure, "a task failed while the others were ending");
                first.get_or_insert(failure);
            }
        };
        if tokio::time::timeout(grace, rest).await.is_err() {
            tracing::warn!(?grace, "tasks that did not end in time were aborted");
        }
        first.map_or(Ok(()), Err)
    }

    /// The next failure; none once all tasks are done. Cancel-safe.
    async fn failure(&mut self) -> Option<Failure> {
        while let Some(done) = self.running.join_next_with_id().await {
            let (id, cause) = match done {
                Ok((id, Err(cause))) => (id, cause),
                Err(error) if error.is_panic() => (error.id(), error.to_string()),
                Ok((id, Ok(()))) => {
                    self.names.remove(&id);
                    continue;
                }
                Err(_) => continue,
            };
            let task = self.names.remove(&id).unwrap_or_default();
            return Some(Failure { task, cause });
        }
        None
    }
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

    #[tokio::test]
    async fn a_task_that_panics_ends_the_group_and_is_named() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("clumsy", async {
            if true {
                panic!("oops");
            }
            Ok::<_, String>(())
        });
        let failure = tasks.run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(failure.task, "clumsy");
        assert!(failure.cause.contains("oops"), "{}", failure.cause);
    }

    #[tokio::test(start_paused = true)]
    async fn two_failures_do_not_keep_the_others_from_ending_in_order() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        let (done, mut is_done) = tokio::sync::watch::channel(false);
        tasks.spawn("first", async { Err("no luck") });
        let stopped = stop.clone();
        tasks.spawn("second", async move {
            stopped.cancelled().await;
            Err("no luck either")
        });
        tasks.spawn("orderly", async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            done.send_replace(true);
            Ok::<_, String>(())
        });
        let failure = tasks.run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(failure.task, "first");
        assert!(*is_done.borrow_and_update());
    }
}
