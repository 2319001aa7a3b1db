//! What an agent says of a process that does not run, or is not ready.

use serde_json::{Value as Json, json};

use super::{Stage, says, service, settled};
use crate::{model::event::Event, plan::news};

/// One instance of which the agent says so.
fn stage(what: &Json) -> Stage {
    staged(&json!({}), what)
}

/// The same, with `more` in the manifest.
fn staged(more: &Json, what: &Json) -> Stage {
    let mut world = settled(&["a"], "worker", service(1, more));
    says(&mut world, "a", "worker-0", what);
    world.lead();
    Stage::from(world)
}

fn not_started(reason: &str, message: &str) -> Stage {
    stage(
        &json!({"phase": "StartFailed", "ready": false, "pid": null, "reason": reason,
        "message": message, "nextStartAt": "1970-01-01T00:15:07Z"}),
    )
}

fn ended(phase: &str, reason: &str, message: &str, code: Option<i32>) -> Json {
    json!({"phase": phase, "ready": false, "pid": null, "reason": reason, "message": message,
        "nextStartAt": "1970-01-01T00:15:30Z", "restarts": 4,
        "lastExit": {"code": code, "at": "1970-01-01T00:14:50Z"}})
}

const ONE: &str = "instance/worker-0";

#[test]
fn a_port_that_another_program_holds() {
    let stage = not_started(
        "PortInUse",
        "port 7000 (grpc) is in use by python3 (pid 4711)",
    );
    stage.tells("port-taken", "worker-0", &[(ONE, "PortInUse")]);
    stage.tells("port-taken-service", "worker", &[(ONE, "PortInUse")]);
    stage.tells("port-taken-node", "a", &[(ONE, "PortInUse")]);
}

#[test]
fn a_program_that_is_not_there() {
    let stage = not_started(
        "StartFailed",
        "cannot start `/opt/app`: No such file or directory (os error 2)",
    );
    stage.tells("bad-binary", "worker", &[(ONE, "NoProgram")]);
}

#[test]
fn a_working_directory_that_is_not_there() {
    let stage = not_started(
        "StartFailed",
        "cannot start in `/srv/app`: No such file or directory (os error 2)",
    );
    stage.tells(
        "missing-working-directory",
        "worker",
        &[(ONE, "NoWorkingDirectory")],
    );
}

#[test]
fn a_user_that_the_host_does_not_know() {
    let stage = not_started("StartFailed", "on a, there is no user `qa` in /etc/passwd");
    stage.tells("unknown-user", "worker", &[(ONE, "NoSuchUser")]);
}

#[test]
fn a_program_that_the_owner_of_the_host_does_not_allow() {
    let message = "on a, `/opt/app` may not be started here: --allow-program of the agent does not name it by this \
                   full path";
    not_started("NotAllowed", message).tells("not-allowed", "worker", &[(ONE, "NotAllowed")]);
}

#[test]
fn a_secret_that_cannot_be_read() {
    let message =
        "variable TOKEN: cannot read `/etc/worker/token`: Permission denied (os error 13)";
    not_started("SecretUnreadable", message).tells(
        "secret",
        "worker",
        &[(ONE, "SecretUnreadable")],
    );
}

#[test]
fn an_artifact_that_is_another_one_than_the_manifest_says() {
    let message = "https://example.org/app.tar.gz: its sha256 is 1f2e, and 3c4d is wanted";
    let waits = json!({"phase": "Pending", "ready": false, "pid": null, "reason": "ArtifactFailed",
        "message": message});
    stage(&waits).tells("artifact-mismatch", "worker", &[(ONE, "ArtifactFailed")]);
}

#[test]
fn a_process_that_ends_again_and_again() {
    let what = ended(
        "CrashLoop",
        "CrashLoop",
        "exited with code 1, 5 times in a row",
        Some(1),
    );
    stage(&what).tells("crash-loop", "worker", &[(ONE, "Exited")]);
    let mut first = ended("BackOff", "Exited", "ended by signal 11 (SIGSEGV)", None);
    first["lastExit"] = json!({"signal": 11, "at": "1970-01-01T00:14:50Z"});
    stage(&first).tells("back-off", "worker", &[(ONE, "Exited")]);
}

#[test]
fn a_process_that_takes_more_memory_than_it_may() {
    let message = "ended by signal 9 (SIGKILL): out of memory (limit 64MiB), 3 times in a row";
    let mut what = ended("CrashLoop", "CrashLoop", message, None);
    what["lastExit"] = json!({"signal": 9, "cause": "outOfMemory", "memoryLimit": "64MiB",
        "at": "1970-01-01T00:14:50Z"});
    stage(&what).tells("out-of-memory", "worker", &[(ONE, "Exited")]);
}

#[test]
fn checks_that_fail_are_told_with_what_they_said_last() {
    let health = json!({"health": {"grpc": {}, "interval": "1s"}, "ports": [{"name": "grpc", "range": "7000-7009"}]});
    let said = "127.0.0.1:7000 does not answer within 2s";
    let running = json!({"ready": false, "reason": "Unhealthy", "message": said,
        "startedAt": "1970-01-01T00:10:00Z"});
    staged(&health, &running).tells("failing-probe", "worker", &[(ONE, "Check")]);
    let message = format!("stopped: it is unhealthy: {said}, 4 times in a row");
    let restarted = ended("CrashLoop", "CrashLoop", &message, None);
    staged(&health, &restarted).tells("failing-probe-restarts", "worker", &[(ONE, "Check")]);
    let starting = json!({"phase": "Starting", "ready": false, "reason": "NotHealthyYet", "message": said,
        "startedAt": "1970-01-01T00:14:55Z"});
    staged(&health, &starting).tells("not-healthy-yet", "worker", &[(ONE, "Check")]);
}

#[test]
fn a_process_that_was_given_up_or_has_done_its_work() {
    let what = ended(
        "Failed",
        "TooManyAttempts",
        "exited with code 3; given up after 5 starts in a row: apply a new revision, or ask for a restart",
        Some(3),
    );
    stage(&what).tells("given-up", "worker", &[(ONE, "Exited")]);
    let mut what = ended("Completed", "Completed", "exited with code 2", Some(2));
    what["nextStartAt"] = Json::Null;
    let never = json!({"restart": {"policy": "never"}});
    staged(&never, &what).tells("completed-badly", "worker", &[(ONE, "Exited")]);
}

#[test]
fn a_record_that_could_not_be_read_is_told_of_while_that_is_remembered() {
    let world = settled(&["a"], "worker", service(1, &json!({})));
    let mut stage = Stage::from(world);
    let who = super::instance("worker-0");
    let said = "its end is missing; it is kept as /run/quaestor/worker-0.json.broken-17";
    stage.events.push(Event {
        note: news::of_broken_record(&super::name("a"), who, said),
        count: 1,
        first_at: crate::model::Timestamp::from_millis(840_000),
        last_at: crate::model::Timestamp::from_millis(840_000),
        by: "agent a".to_owned(),
    });
    stage.tells("quarantined-record", "worker-0", &[(ONE, "RecordBroken")]);
}
