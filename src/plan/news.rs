//! What of all that is written is an event: told from how states and conditions differ from those before.

use super::{
    controller::{Intent, Value},
    report,
};
use crate::{
    keys::Key,
    model::{
        Condition, ConditionStatus, Desired, ExitCause, Instance, InstanceState, Name, Phase,
        event::{Note, Object},
    },
};

/// The reasons of conditions that are no news: with many instances they come and go all the time, and what
/// they come from is told by itself.
const NO_NEWS: [&str; 2] = [super::conditions::UPDATED, super::conditions::READY];

/// The reason of an event: what an agent had written down of an instance could not be read.
pub const RECORD_BROKEN: &str = "RecordBroken";

/// That what was written down of an instance could not be read, by what is `said` about it.
pub fn of_broken_record(node: &Name, instance: Instance, said: &str) -> Note {
    Note {
        warning: true,
        node: Some(node.clone()),
        ..Note::new(
            Object::Instance(instance),
            RECORD_BROKEN,
            format!(
                "what its agent had written down of it cannot be read, so that it is started anew: {said}"
            ),
        )
    }
}

/// What happened to an instance from `before` to `after`. Of what nothing was known before, only what it is doing
/// is told.
pub fn of_instance(before: Option<&InstanceState>, after: &InstanceState) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut tell = |reason: &str, message: &str, warning: bool| {
        notes.push(Note {
            warning,
            node: Some(after.node.clone()),
            revision: after.revision.clone(),
            ..Note::new(Object::Instance(after.instance.clone()), reason, message)
        });
    };
    let is_new = before.is_none();
    let changed = |differs: fn(&InstanceState, &InstanceState) -> bool| {
        before.is_some_and(|before| differs(before, after))
    };
    if let Some(exit) = &after.last_exit
        && changed(|a, b| a.last_exit != b.last_exit)
    {
        let failed = matches!(
            after.phase,
            Phase::BackOff | Phase::CrashLoop | Phase::StartFailed | Phase::Failed
        );
        let reason = match exit.cause {
            Some(ExitCause::OutOfMemory) => "OutOfMemory",
            Some(ExitCause::Partition) => "Partition",
            Some(ExitCause::Unknown) | None => "Exited",
        };
        tell(
            reason,
            &report::describe(exit),
            failed || exit.cause.is_some(),
        );
    }
    if let Some(failure) = &after.pre_stop_failure
        && changed(|a, b| a.pre_stop_failure != b.pre_stop_failure)
    {
        let message = format!("its preStop command failed: {}", failure.message);
        tell("PreStopFailed", &message, true);
    }
    let has_new_process = after.pid.is_some()
        && (changed(|a, b| a.pid != b.pid) || (is_new && after.phase == Phase::Starting));
    if has_new_process {
        match after.restarts > before.map_or(0, |before| before.restarts) {
            true => tell(
                "Restarted",
                "a new process was started in place of one that ended",
                false,
            ),
            false => tell("Started", "its process was started", false),
        }
    }
    let says_else = changed(|a, b| (a.phase, &a.reason) != (b.phase, &b.reason));
    if says_else && !after.reason.is_empty() && after.reason != "Exited" {
        let warning = !matches!(
            after.phase,
            Phase::Pending | Phase::Starting | Phase::Draining | Phase::Stopping | Phase::Completed
        ) && after.reason != "Adopted";
        tell(&after.reason, &after.message, warning);
    }
    if changed(|a, b| !a.ready && b.ready) {
        tell("Ready", "it is ready: clients are sent to it", false);
    } else if changed(|a, b| a.ready && !b.ready) && after.reason.is_empty() && after.pid.is_some()
    {
        tell("NotReady", "clients are not sent to it any more", false);
    }
    notes
}

/// That nothing is left of an instance on its node.
pub fn of_end(before: &InstanceState) -> Note {
    Note {
        node: Some(before.node.clone()),
        revision: before.revision.clone(),
        ..Note::new(
            Object::Instance(before.instance.clone()),
            "Ended",
            "nothing of it is left on the node",
        )
    }
}

/// What a write of the leader's is news of. `before` are the conditions that were reported.
pub fn of_write(intent: &Intent, before: &[Condition]) -> Vec<Note> {
    match (&intent.key, &intent.value) {
        (Key::Assignment(node, instance), value) => {
            let (object, reason) = match value {
                None => (Object::Instance(instance.clone()), "Unassigned"),
                Some(Value::Assignment(to)) if to.desired == Desired::Absent => {
                    (Object::Instance(instance.clone()), "ToBeStopped")
                }
                Some(_) if intent.expects.is_none() => {
                    (Object::Instance(instance.clone()), "Assigned")
                }
                // It concerns many at a time: one event of the service, which counts them.
                Some(_) => (Object::Service(instance.service.clone()), "AssignedAnew"),
            };
            let revision = match value {
                Some(Value::Assignment(to)) => to.revision.clone(),
                _ => String::new(),
            };
            vec![Note {
                node: Some(node.clone()),
                revision,
                ..Note::new(object, reason, &intent.cause)
            }]
        }
        (Key::ServiceStatus(name), Some(Value::ServiceStatus(status))) => {
            let notes = of_conditions(Object::Service(name.clone()), before, &status.conditions);
            let revision = |note| Note {
                revision: status.revision.clone(),
                ..note
            };
            notes.map(revision).collect()
        }
        (Key::ServiceStatus(name), None) => {
            let object = Object::Service(name.clone());
            vec![Note::new(object, "Forgotten", &intent.cause)]
        }
        (Key::NodeStatus(name), Some(Value::NodeStatus(status))) => {
            let notes = of_conditions(Object::Node(name.clone()), before, &status.conditions);
            let node = |note| Note {
                node: Some(name.clone()),
                ..note
            };
            notes.map(node).collect()
        }
        (Key::ClusterStatus, Some(Value::ClusterStatus(status))) => {
            of_conditions(Object::Cluster, before, &status.conditions).collect()
        }
        _ => Vec::new(),
    }
}

/// That another controller leads from now on.
pub fn of_leader(name: &str) -> Note {
    Note::new(
        Object::Cluster,
        "Leading",
        format!("{name} leads from now on"),
    )
}

/// That an agent's session began.
pub fn of_session(node: &Name) -> Note {
    Note {
        node: Some(node.clone()),
        ..Note::new(
            Object::Node(node.clone()),
            "SessionBegan",
            "its agent is connected to the store",
        )
    }
}

/// The conditions whose status or reason is another one than before.
fn of_conditions(
    object: Object,
    before: &[Condition],
    after: &[Condition],
) -> impl Iterator<Item = Note> {
    let is_of_service = matches!(object, Object::Service(_));
    after.iter().filter_map(move |condition| {
        let earlier = super::conditions::find(before, &condition.r#type);
        let is_same = |earlier: &Condition| {
            (earlier.status, &earlier.reason) == (condition.status, &condition.reason)
        };
        // What holds from the beginning is no news.
        let is_news = match earlier {
            Some(earlier) => !is_same(earlier),
            None => condition.status != ConditionStatus::True,
        };
        if !is_news || (is_of_service && NO_NEWS.contains(&condition.r#type.as_str())) {
            return None;
        }
        Some(Note {
            warning: condition.status != ConditionStatus::True,
            ..Note::new(object.clone(), &condition.reason, &condition.message)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(more: serde_json::Value) -> InstanceState {
        let mut state = json!({
            "instance": "worker-0", "node": "n1", "phase": "Running", "ready": true, "pid": 7,
            "observedGeneration": 1, "revision": "a", "epoch": 3
        });
        let fields = state.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        serde_json::from_value(state).unwrap()
    }

    fn reasons(before: Option<&InstanceState>, after: &InstanceState) -> Vec<String> {
        let notes = of_instance(before, after);
        notes.into_iter().map(|note| note.reason).collect()
    }

    #[test]
    fn a_crash_tells_its_cause_and_then_the_restart() {
        let runs = state(json!({}));
        let exit = json!({"code": 3, "at": "2026-01-01T00:00:00Z"});
        let down = state(
            json!({"phase": "BackOff", "ready": false, "pid": null, "reason": "Exited",
                                "message": "exited with code 3", "lastExit": exit}),
        );
        let notes = of_instance(Some(&runs), &down);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(notes[0].reason, "Exited");
        assert_eq!(notes[0].message, "exited with code 3");
        assert!(notes[0].warning);
        assert_eq!(notes[0].revision, "a");
        let again = state(
            json!({"phase": "Starting", "ready": false, "pid": 8, "restarts": 1,
                                 "lastExit": exit}),
        );
        assert_eq!(reasons(Some(&down), &again), ["Restarted"]);
        let up = state(json!({"pid": 8, "restarts": 1, "lastExit": exit}));
        assert_eq!(reasons(Some(&again), &up), ["Ready"]);
    }

    #[test]
    fn an_agent_that_comes_back_tells_nothing_of_what_runs_on() {
        let runs = state(json!({}));
        assert_eq!(reasons(None, &runs), [""; 0]);
        assert_eq!(reasons(Some(&runs), &runs), [""; 0]);
    }

    #[test]
    fn a_failing_check_tells_why() {
        let runs = state(json!({}));
        let sick = state(json!({"ready": false, "reason": "Unhealthy", "message": "refused"}));
        let notes = of_instance(Some(&runs), &sick);
        assert_eq!(notes.len(), 1);
        assert_eq!(
            (notes[0].reason.as_str(), notes[0].message.as_str()),
            ("Unhealthy", "refused")
        );
        assert!(notes[0].warning);
    }

    #[test]
    fn a_command_before_a_stop_that_fails_is_told_once() {
        let failure = json!({"message": "exit code 1", "at": "2026-01-01T00:00:00Z"});
        let stops = json!({"phase": "Stopping", "reason": "Absent", "preStopFailure": failure});
        let stops = state(stops);
        let before = state(json!({"phase": "Stopping", "reason": "Absent"}));
        let notes = of_instance(Some(&before), &stops);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(notes[0].message, "its preStop command failed: exit code 1");
        let up = state(json!({"phase": "Stopping", "pid": null, "preStopFailure": failure}));
        assert_eq!(reasons(Some(&stops), &up), [""; 0]);
    }

    #[test]
    fn a_stop_that_was_wanted_is_nothing_to_worry_about() {
        let stops = state(
            json!({"phase": "Stopping", "ready": false, "reason": "Absent",
                                 "message": "asked to stop"}),
        );
        let notes = of_instance(Some(&state(json!({}))), &stops);
        assert!(notes.iter().all(|note| !note.warning), "{notes:?}");
        assert_eq!(notes[0].reason, "Absent");
    }

    fn condition(r#type: &str, status: &str, reason: &str) -> Condition {
        let json = json!({"type": r#type, "status": status, "reason": reason, "message": "m",
                          "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn conditions_are_news_when_their_status_or_reason_changes() {
        let node = Object::Node("n1".parse().unwrap());
        let up = [condition("Ready", "True", "Connected")];
        let away = [condition("Ready", "Unknown", "Disconnected")];
        let lost = [condition("Ready", "False", "Lost")];
        let reasons = |before: &[Condition], after: &[Condition]| -> Vec<(String, bool)> {
            of_conditions(node.clone(), before, after)
                .map(|note| (note.reason, note.warning))
                .collect()
        };
        assert_eq!(reasons(&[], &up), []);
        assert_eq!(reasons(&up, &up), []);
        assert_eq!(reasons(&up, &away), [("Disconnected".to_owned(), true)]);
        assert_eq!(reasons(&away, &lost), [("Lost".to_owned(), true)]);
        assert_eq!(reasons(&lost, &up), [("Connected".to_owned(), false)]);
    }
}
