//! What instances printed, as it is read back: from the files that their shims write.
//!
//! - [`Logs`]: the logs of a node; [`Reader`]: those of one instance, in order, while more are written
//! - `walk`: from file to file, whatever is renamed or removed meanwhile
//! - `choice`: which of the lines are wanted
//!
//! A reader holds one file and one buffer, and reads on only when it is asked to: a slow one makes nothing
//! grow. It may fall behind so far that files are gone before it has read them; then it says so.

mod choice;
mod walk;

use std::{io, path::PathBuf, time::Duration};

use self::{
    choice::{Choice, Survey, Verdict},
    walk::{Step, Walk},
};
use crate::{
    host::Host,
    model::{Instance, LogBatch, LogLine, LogPosition, LogQuery, LogSource},
};

/// How often a follower looks for new lines.
const LOOK: Duration = Duration::from_millis(100);

/// So often a reader begins anew when files are renamed while it counts lines.
const ATTEMPTS: usize = 5;

/// Why logs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There are none.
    #[error("{0} has printed nothing on this node that is kept")]
    Unknown(Instance),
    /// The instance had one process only, as far as the logs reach.
    #[error("{0} had no process before the present one that its logs still know of")]
    NoPrevious(Instance),
    /// Files were removed while lines were counted.
    #[error("{0} prints faster than its lines can be counted: ask for other lines, or again")]
    TooFast(Instance),
    /// A file cannot be read.
    #[error("cannot read the logs in `{}`: {cause}", directory.display())]
    Disk {
        /// Where.
        directory: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The logs of a node's instances. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    directory: PathBuf,
    host: Host,
}

impl Logs {
    /// Those in an agent's state directory.
    pub fn new(state_directory: &std::path::Path, host: Host) -> Self {
        let directory = state_directory.join(super::home::LOGS);
        Self { directory, host }
    }

    /// Reads the wanted lines of an instance.
    ///
    /// # Errors
    /// See [`LogError`].
    pub async fn read(&self, instance: &Instance, query: LogQuery) -> Result<Reader, LogError> {
        let directory = self.directory.join(instance.to_string());
        let broken = |cause| LogError::Disk {
            directory: directory.clone(),
            cause,
        };
        let files = self.host.disk.list(&directory).map_err(broken)?;
        if files.is_empty() {
            return Err(LogError::Unknown(instance.clone()));
        }
        let since = query.max_age.map(|age| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            self.host.clock.timestamp().as_millis().saturating_sub(age)
        });
        let walk = || Walk::new(self.host.disk.clone(), directory.clone());
        let reader = |walk, choice| Reader {
            instance: instance.clone(),
            directory: directory.clone(),
            host: self.host.clone(),
            walk,
            choice,
            follow: query.follow,
            missed: false,
            caught_up: false,
        };
        if let Some(position) = query.after {
            let mut walk = walk();
            let is_found = walk.resume(position).map_err(broken)?;
            let since = (!is_found).then_some(position.at);
            return Ok(Reader {
                missed: !is_found,
                ..reader(walk, Choice::since(since))
            });
        }
        if query.tail.is_none() && !query.previous {
            return Ok(reader(walk(), Choice::since(since)));
        }
        for _ in 0..ATTEMPTS {
            let mut first = walk();
            let Some(survey) = survey(&mut first, since).await.map_err(broken)? else {
                continue;
            };
            let mut second = walk();
            let begins_alike = second.begin().map_err(broken)? == first.began_at();
            if begins_alike {
                let choice = survey.choose(since, query);
                let choice = choice.ok_or_else(|| LogError::NoPrevious(instance.clone()))?;
                return Ok(reader(second, choice));
            }
        }
        Err(LogError::TooFast(instance.clone()))
    }
}

/// Counts the lines that are there; none when files were removed meanwhile.
async fn survey(walk: &mut Walk, since: Option<i64>) -> io::Result<Option<Survey>> {
    let mut survey = Survey::new(since);
    loop {
        // Others run in between.
        tokio::task::yield_now().await;
        match walk.step()? {
            Step::Lines(text) => choice::lines(text).for_each(|line| survey.count(&line)),
            Step::Missed => return Ok(None),
            Step::End => return Ok(Some(survey)),
        }
    }
}

/// Reads the logs of one instance.
pub struct Reader {
    instance: Instance,
    directory: PathBuf,
    host: Host,
    walk: Walk,
    choice: Choice,
    follow: bool,
    /// Lines before the first one that is read are missing, which is still to be said.
    missed: bool,
    caught_up: bool,
}

impl Reader {
    /// The next lines; none after the last. Of a follower, waits for them.
    ///
    /// # Errors
    /// See [`LogError`].
    pub async fn next(&mut self) -> Result<Option<LogBatch>, LogError> {
        if std::mem::take(&mut self.missed) {
            return Ok(Some(LogBatch::Lines(vec![self.missed()])));
        }
        loop {
            tokio::task::yield_now().await;
            let step = self.walk.step().map_err(|cause| LogError::Disk {
                directory: self.directory.clone(),
                cause,
            })?;
            match step {
                Step::Lines(text) => {
                    let mut wanted = Vec::new();
                    let mut is_past = false;
                    for line in choice::lines(text) {
                        match self.choice.judge(&line) {
                            Verdict::Wanted => wanted.push(choice::owned(&line)),
                            Verdict::Unwanted => {}
                            Verdict::Past => {
                                is_past = true;
                                break;
                            }
                        }
                    }
                    if is_past {
                        self.walk.finish();
                    }
                    if !wanted.is_empty() {
                        return Ok(Some(LogBatch::Lines(wanted)));
                    }
                }
                Step::Missed if self.choice.counts() => {
                    return Err(LogError::TooFast(self.instance.clone()));
                }
                Step::Missed => return Ok(Some(LogBatch::Lines(vec![self.missed()]))),
                Step::End if !self.follow => return Ok(None),
                Step::End if !self.caught_up => {
                    self.caught_up = true;
                    return Ok(Some(LogBatch::CaughtUp));
                }
                Step::End => self.host.clock.sleep(LOOK).await,
            }
        }
    }

    /// Behind what was read so far: where another reader goes on (`LogQuery::after`).
    pub fn position(&self) -> LogPosition {
        self.walk.position()
    }

    fn missed(&self) -> LogLine {
        LogLine {
            at: self.host.clock.timestamp(),
            source: LogSource::Quaestor,
            continues: false,
            text: b"lines are missing: they were removed before they were read".to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
