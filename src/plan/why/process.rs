//! Why the process of an instance is as it is, by what its agent says of it.

use std::time::Duration;

use super::{Cause, Health, Seen, counted};
use crate::{
    model::{
        Assignment, ExitCause, Instance, InstanceState, Phase, Timestamp, event::Object,
        service::HealthSpec,
    },
    plan::{
        agent::{
            NOT_ALLOWED, PORT_IN_USE, PRE_START_FAILED, SECRET_UNREADABLE, START_FAILED, UNHEALTHY,
        },
        artifact,
        news::RECORD_BROKEN,
        report,
    },
};

/// An end that long ago says nothing of now.
const RECENT: Duration = Duration::from_secs(600);

/// Why an instance is as it is whose agent is there.
pub(super) fn of(
    seen: &Seen<'_>,
    who: &Instance,
    asked: &Assignment,
    state: &InstanceState,
) -> Cause {
    let told = Told {
        who,
        asked,
        state,
        now: seen.now,
    };
    let cause = told.phase();
    let broken_record = broken_record(seen, who);
    cause.because(broken_record)
}

/// What is asked of an instance, and what its agent says.
#[derive(Clone, Copy)]
struct Told<'a> {
    who: &'a Instance,
    asked: &'a Assignment,
    state: &'a InstanceState,
    now: Timestamp,
}

impl Told<'_> {
    fn about(&self, health: Health, reason: &str, sentence: impl Into<String>) -> Cause {
        Cause::of_instance(self.who, health, reason, sentence)
    }

    fn phase(&self) -> Cause {
        let Self { asked, state, .. } = *self;
        let (node, revision) = (&state.node, &state.revision);
        let message = state.message.as_str();
        match state.phase {
            Phase::Running if state.ready => {
                let mut sentence = format!("is ready: revision {revision} runs on node {node}");
                if state.settling {
                    sentence.push_str(", for too short a time yet for a rollout to build on it");
                }
                if revision != &asked.revision && !revision.is_empty() {
                    let word = format!("; revision {} is about to replace it", asked.revision);
                    sentence.push_str(&word);
                    return self
                        .about(Health::Waiting, "Replaced", sentence)
                        .since(state.started_at);
                }
                let health = match state.settling {
                    true => Health::Waiting,
                    false => Health::Fine,
                };
                let cause = self
                    .about(health, "Ready", sentence)
                    .since(state.started_at);
                cause.because(self.earlier_end())
            }
            Phase::Pending => {
                let sentence = format!("is to be started on node {node}");
                let cause = self.about(Health::Waiting, "Pending", sentence);
                cause.because(self.obstacle())
            }
            Phase::Starting | Phase::Running => {
                let health = match (state.reason.as_str(), state.phase) {
                    ("Busy", _) => Health::Waiting,
                    (_, Phase::Running) => Health::Broken,
                    ("Unhealthy", _) => Health::Broken,
                    _ => Health::Waiting,
                };
                let word = match state.phase {
                    Phase::Running => "is not ready any more",
                    _ => "is not ready yet",
                };
                let sentence = format!("{word}: revision {revision} runs on node {node}");
                let cause = self
                    .about(health, "NotReady", sentence)
                    .since(state.started_at);
                cause
                    .because(Some(self.check()))
                    .because(self.earlier_end())
            }
            Phase::Draining | Phase::Stopping => {
                let sentence = format!("ends on node {node}: {message}");
                self.about(Health::Waiting, "Ending", sentence)
            }
            Phase::BackOff | Phase::CrashLoop | Phase::StartFailed => {
                let (reason, what) = match state.phase {
                    Phase::CrashLoop => ("CrashLoop", "ends again and again"),
                    Phase::StartFailed => ("StartFailed", "cannot be started"),
                    _ => ("BackOff", "has ended, and is started again after a pause"),
                };
                let sentence = format!("{what} on node {node}, as revision {}", asked.revision);
                let health = match state.phase {
                    Phase::BackOff => Health::Waiting,
                    _ => Health::Broken,
                };
                self.about(health, reason, sentence)
                    .until(state.next_start_at)
                    .because([self.end()])
            }
            Phase::Completed => {
                let failed = state
                    .last_exit
                    .as_ref()
                    .is_some_and(|exit| exit.code != Some(0));
                let health = match failed {
                    true => Health::Broken,
                    false => Health::Fine,
                };
                let policy = serde_json::to_value(asked.restart.policy).unwrap_or_default();
                let policy = policy.as_str().unwrap_or_default();
                let sentence = format!(
                    "has ended on node {node}, and is not to be started again (`restart.policy: {policy}`)"
                );
                self.about(health, "Completed", sentence)
                    .because([self.end()])
            }
            Phase::Failed => {
                let sentence = format!(
                    "is given up on node {node}: as often as `restart.maxAttempts` allows, its \
                                        start was followed by an end"
                );
                let remedy = format!(
                    "apply a manifest that works, or `quaestor restart {}`",
                    self.who
                );
                self.about(Health::Broken, "GivenUp", sentence)
                    .remedy(remedy)
                    .because([self.end()])
            }
        }
    }

    /// Why a process that is to start has not been started.
    fn obstacle(&self) -> Option<Cause> {
        let state = self.state;
        let health = match state.reason.as_str() {
            artifact::FAILED => Health::Broken,
            _ => Health::Waiting,
        };
        let cause = self.about(health, &state.reason, state.message.clone());
        (!state.message.is_empty()).then(|| self.with_remedy(cause))
    }

    /// What its checks say.
    fn check(&self) -> Cause {
        let Self { asked, state, .. } = *self;
        let probe = probe(&asked.health);
        let (health, sentence) = match state.message.as_str() {
            "" => (Health::Waiting, format!("{probe} has not succeeded yet")),
            said => (Health::Broken, format!("{probe} says: {said}")),
        };
        let remedy = format!(
            "`quaestor logs {}` shows what it prints, and `spec.health` what is asked of it",
            self.who
        );
        self.about(health, "Check", sentence).remedy(remedy)
    }

    /// How it ended last, or why it could not be started.
    fn end(&self) -> Cause {
        let Self { asked, state, .. } = *self;
        let message = state.message.clone();
        if message.contains(UNHEALTHY) {
            let sentence = format!("{message}. That was {}", probe(&asked.health));
            let cause = self.about(Health::Broken, "Check", sentence);
            let remedy = format!(
                "`quaestor logs {} --previous` shows what it printed before; `spec.health` says what is asked of it",
                self.who
            );
            return cause.since(self.ended_at()).remedy(remedy);
        }
        let reason = match state.phase {
            Phase::CrashLoop | Phase::Completed | Phase::Failed => "Exited",
            _ => state.reason.as_str(),
        };
        let cause = self.about(Health::Broken, reason, message);
        let since = self
            .ended_at()
            .filter(|_| state.phase != Phase::StartFailed);
        self.with_remedy(cause.since(since))
    }

    /// What keeps a program from being started, by the words of the shim and the agent.
    fn start_failed(&self, cause: Cause) -> Cause {
        let (node, service) = (&self.state.node, &self.who.service);
        let said = |words: &str| cause.sentence.contains(words);
        let (reason, remedy) = if said("cannot start in `") {
            let remedy =
                format!("make that directory on {node}, or set another `workingDirectory`");
            ("NoWorkingDirectory", remedy)
        } else if said("there is no user") || said("there is no group") {
            let remedy =
                format!("make that user or group on {node}, or set another `user` and `group`");
            ("NoSuchUser", remedy)
        } else if said("cannot start `") {
            let remedy =
                format!("install the program on {node}, or set another `command` for {service}");
            ("NoProgram", remedy)
        } else {
            let remedy =
                format!("the log of the agent on {node} says more: `journalctl -u quaestor-agent`");
            (START_FAILED, remedy)
        };
        Cause {
            reason: reason.to_owned(),
            ..cause
        }
        .remedy(remedy)
    }

    fn ended_at(&self) -> Option<Timestamp> {
        self.state.last_exit.as_ref().map(|exit| exit.at)
    }

    /// Of a process that runs: why it had to be started again, while that is recent.
    fn earlier_end(&self) -> Option<Cause> {
        let exit = self.state.last_exit.as_ref()?;
        let restarts = self.state.restarts;
        if restarts == 0 || self.now.since(exit.at) > RECENT {
            return None;
        }
        let sentence = format!(
            "the process before it {} ({} on this node)",
            report::describe(exit),
            counted(restarts as usize, "restart")
        );
        let cause = self
            .about(Health::Fine, "Restarted", sentence)
            .since(exit.at);
        Some(cause.remedy(format!(
            "`quaestor logs {} --previous` shows what it printed",
            self.who
        )))
    }

    /// What to do about a start that failed, or an end.
    fn with_remedy(&self, cause: Cause) -> Cause {
        let who = self.who;
        let out_of_memory = (self.state.last_exit.as_ref())
            .is_some_and(|exit| exit.cause == Some(ExitCause::OutOfMemory));
        let node = &self.state.node;
        let remedy = match cause.reason.as_str() {
            _ if out_of_memory => {
                "raise `resources.memory`, or find out what takes it all".to_owned()
            }
            PORT_IN_USE => {
                "stop what holds the port, or give the instance another one (`ports`)".to_owned()
            }
            NOT_ALLOWED => {
                format!("the owner of {node} says what may run there: flags --allow-* of its agent")
            }
            SECRET_UNREADABLE => format!("look at the file on {node}, and who may read it"),
            PRE_START_FAILED => format!("`quaestor logs {who}` shows what `preStart` printed"),
            artifact::FAILED => {
                "look at `artifact` in the manifest: where it is fetched from, and its sha256"
                    .to_owned()
            }
            artifact::FETCHING | "Queued" => return cause,
            START_FAILED => return self.start_failed(cause),
            _ => format!("`quaestor logs {who} --previous` shows what it printed"),
        };
        cause.remedy(remedy)
    }
}

/// What its checks ask, for people.
fn probe(health: &HealthSpec) -> String {
    let port = |port: &Option<crate::model::Name>| match port {
        Some(name) => format!("port {name}"),
        None => "the first port".to_owned(),
    };
    let kind = if let Some(check) = &health.grpc {
        format!("its gRPC check of {}", port(&check.port))
    } else if let Some(check) = &health.http {
        format!("its HTTP check of {} at {}", port(&check.port), check.path)
    } else if let Some(check) = &health.tcp {
        format!("its TCP check of {}", port(&check.port))
    } else if let Some(check) = &health.exec {
        format!("its check by `{}`", check.command.join(" "))
    } else if health.notify.is_some() {
        "what it says of itself (`health.notify`)".to_owned()
    } else {
        return "its agent".to_owned();
    };
    format!(
        "{kind} (every {}, {} failures restart it)",
        health.interval, health.failure_threshold
    )
}

/// That the record of an instance could not be read, as its agent found out when it came.
fn broken_record(seen: &Seen<'_>, who: &Instance) -> Option<Cause> {
    let object = Object::Instance(who.clone());
    let event = (seen.events.iter().rev())
        .find(|event| event.note.object == object && event.note.reason == RECORD_BROKEN)?;
    let cause = Cause::of_instance(who, Health::Fine, RECORD_BROKEN, event.note.message.clone());
    let remedy = "look at that host's disk and memory; the file that was put aside may be deleted";
    Some(cause.since(event.last_at).remedy(remedy))
}
