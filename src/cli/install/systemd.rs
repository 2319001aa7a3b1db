//! Telling systemd what to do, and saying so.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::super::output::say;
use crate::process::errand;

const PROGRAM: &str = "systemctl";

/// A systemd: the host's, or a user's own.
pub(super) struct Systemd {
    user: bool,
}

impl Systemd {
    pub(super) fn new(user: bool) -> Self {
        Self { user }
    }

    /// How people call it.
    pub(super) fn command(&self) -> &'static str {
        match self.user {
            true => "systemctl --user",
            false => "systemctl",
        }
    }

    fn arguments<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        let user = self.user.then_some("--user");
        user.into_iter().chain(words.iter().copied()).collect()
    }

    /// Whether it runs: it is neither missing, nor `offline`, as in a container.
    pub(super) async fn runs(&self) -> bool {
        let state = self.ask(&["is-system-running"]).await;
        !matches!(state.trim(), "" | "offline" | "unknown")
    }

    /// What it answers; nothing where it cannot.
    pub(super) async fn ask(&self, words: &[&str]) -> String {
        let ran = errand::run(PROGRAM, &self.arguments(words)).await;
        ran.map(|ran| ran.output).unwrap_or_default()
    }

    /// Has it do something.
    ///
    /// # Errors
    /// What it said when it did not.
    pub(super) async fn tell(&self, words: &[&str]) -> anyhow::Result<()> {
        let line = format!("{} {}", self.command(), words.join(" "));
        let ran = errand::run(PROGRAM, &self.arguments(words)).await;
        let ran = ran.with_context(|| format!("cannot run `{line}`"))?;
        if !ran.succeeded {
            bail!("`{line}` failed: {}", ran.errors.trim());
        }
        say(line)
    }

    /// Whether the service of a unit runs `program` as it is now; none where it does not run at all.
    pub(super) async fn runs_program(&self, unit: &str, program: &Path) -> Option<bool> {
        let words = ["show", "--property=MainPID", "--value", unit];
        let pid: u32 = self
            .ask(&words)
            .await
            .trim()
            .parse()
            .ok()
            .filter(|pid| *pid > 0)?;
        // The link of a program that was replaced since ends with a remark that it is gone.
        let runs = std::fs::read_link(format!("/proc/{pid}/exe"));
        Some(runs.is_ok_and(|runs| runs == program))
    }
}
