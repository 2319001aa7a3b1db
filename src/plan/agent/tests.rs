//! What is decided in each life, and that carrying it out comes to rest.

mod chance;

use super::{time::HUNG_GRACE, *};
use crate::model::{
    ExitCause, LoadReport, ServerStats, Timestamp,
    assignment::Template,
    quantity::{Percent, Period},
    service::{HealthSpec, LoadSpec, PortCheck, RecycleSpec, RecycleWhen, RestartSpec, StopSpec},
};
use crate::plan::{health::Failure, restart::BackOff};

fn at(secs: u64) -> Moment {
    Moment::new(Duration::from_secs(secs))
}

fn assignment(revision: &str, desired: Desired) -> Assignment {
    Assignment {
        instance: "worker-0".parse().unwrap(),
        desired,
        generation: 1,
        revision: revision.to_owned(),
        run: Run::Process(Template {
            command: vec!["/bin/true".to_owned()],
            ..Template::default()
        }),
        replaced: false,
        requests: Default::default(),
        ports: Vec::new(),
        service_names: Vec::new(),
        published: true,
        health: HealthSpec {
            tcp: Some(PortCheck::default()),
            failure_threshold: 1,
            ..HealthSpec::default()
        },
        load: LoadSpec::default(),
        restart: RestartSpec::default(),
        recycle: None,
        recycle_turn: None,
        min_ready: crate::model::quantity::Period::from_secs(0),
        pre_stop: None,
        resources: Default::default(),
        stop: StopSpec {
            grace: Period::from_secs(10),
            ..StopSpec::default()
        },
        on_agent_stop: Default::default(),
        adopt: false,
        tickets: None,
        on_partition: Default::default(),
        singleton: false,
        logs: Default::default(),
    }
}

fn goal(assignment: &Assignment) -> Goal<'_> {
    Goal {
        assignment,
        stored_at: 42,
        orphaned: false,
        agent_ends: false,
        reserved: false,
        cut_off: false,
        lacks_artifact: false,
    }
}

fn exit(code: i32) -> Exit {
    Exit {
        code: Some(code),
        signal: None,
        at: Timestamp::from_millis(0),
        cause: None,
        memory_limit: None,
    }
}

fn hung() -> Failure {
    Failure {
        why: "no answer".to_owned(),
        silent: true,
    }
}

#[test]
fn an_assigned_instance_is_started_once_there_is_room() {
    let wanted = assignment("a", Desired::Present);
    let decide = |room| decide(&goal(&wanted), &Life::Fresh, room, at(0));
    assert_eq!(decide(true), Decision::Do(Action::Start));
    assert_eq!(decide(false), Decision::Wait(Wait::Room));
}

#[test]
fn what_stops_when_cut_off_is_started_again_only_once_the_session_is_confirmed() {
    let mut wanted = assignment("a", Desired::Present);
    let keeps = wanted.clone();
    wanted.on_partition = OnPartition::Stop;
    let decide = |wanted: &Assignment, life: &Life, cut_off| {
        let goal = Goal {
            cut_off,
            ..goal(wanted)
        };
        decide(&goal, life, true, at(30))
    };
    let alive = Life::started("a", at(0));
    assert_eq!(
        decide(&wanted, &alive, true),
        Decision::Wait(Wait::Content),
        "the agent itself stops nothing"
    );
    let by_itself = Exit {
        cause: Some(ExitCause::Partition),
        memory_limit: None,
        ..exit(0)
    };
    let mut back_off = BackOff::default();
    let ended = alive.ended(&wanted.restart, &mut back_off, by_itself, 0.5, at(30));
    assert!(
        matches!(
            &ended,
            Life::Ended {
                how: HowEnded::Stopped(StopCause::Partition),
                streak: 0,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(decide(&wanted, &ended, true), Decision::Wait(Wait::Session));
    assert_eq!(
        decide(&wanted, &Life::Fresh, true),
        Decision::Wait(Wait::Session)
    );
    assert_eq!(decide(&wanted, &ended, false), Decision::Do(Action::Start));
    assert_eq!(
        decide(&keeps, &Life::Fresh, true),
        Decision::Do(Action::Start)
    );
}

#[test]
fn a_stop_cites_the_store_revision_that_asks_for_it() {
    let absent = assignment("a", Desired::Absent);
    let alive = Life::started("a", at(0));
    let cause = StopCause::Absent { stored_at: 42 };
    assert_eq!(
        decide(&goal(&absent), &alive, true, at(1)),
        Decision::Do(Action::Stop(cause))
    );
    let changed = assignment("b", Desired::Present);
    let cause = StopCause::Replaced {
        by: "b".to_owned(),
        stored_at: 42,
    };
    assert_eq!(
        decide(&goal(&changed), &alive, true, at(1)),
        Decision::Do(Action::Stop(cause))
    );
}

#[test]
fn clients_are_sent_elsewhere_before_a_process_is_asked_to_stop() {
    let mut absent = assignment("a", Desired::Absent);
    absent.stop.drain = Period::from_secs(60);
    let cause = StopCause::Absent { stored_at: 42 };
    let fresh = Life::started("a", at(0));
    assert_eq!(
        decide(&goal(&absent), &fresh, true, at(1)),
        Decision::Do(Action::Stop(cause.clone())),
        "no client ever heard of it"
    );
    let mut served = fresh;
    let checks = served.checks_mut().unwrap();
    checks.record(&absent.health, at(1), Ok(()), at(1));
    assert_eq!(
        decide(&goal(&absent), &served, true, at(1)),
        Decision::Do(Action::Drain(cause.clone()))
    );
    let life = served.draining(cause.clone(), at(1));
    let decide = |life: &Life, goal: &Goal<'_>, now| decide(goal, life, true, now);
    let wait = decide(&life, &goal(&absent), at(2));
    assert_eq!(wait, Decision::Wait(Wait::Idle(at(61))));
    assert_eq!(
        decide(&life, &goal(&absent), at(61)),
        Decision::Do(Action::Stop(cause))
    );

    // Wanted again, it goes on; and what hangs is not waited for.
    let mut present = absent.clone();
    present.desired = Desired::Present;
    assert_eq!(
        decide(&life, &goal(&present), at(2)),
        Decision::Do(Action::Resume)
    );
    let mut hangs = life;
    let checks = hangs.checks_mut().unwrap();
    checks.record(&absent.health, at(3), Err(hung()), at(3));
    assert_eq!(
        decide(&hangs, &goal(&absent), at(3)),
        Decision::Do(Action::Stop(StopCause::Unhealthy(hung())))
    );
}

#[test]
fn what_is_only_old_goes_on_when_the_store_goes_away_before_it_was_told() {
    let mut wanted = assignment("a", Desired::Present);
    wanted.published = true;
    wanted.ports = serde_json::from_str(r#"[{"name": "grpc"}]"#).unwrap();
    let age = Duration::from_secs(9);
    let life = Life::started("a", at(0)).draining(StopCause::Recycled { age }, at(1));
    let decide = |cut_off| {
        let goal = Goal {
            cut_off,
            ..goal(&wanted)
        };
        decide(&goal, &life, true, at(90))
    };
    assert_eq!(decide(false), Decision::Wait(Wait::Told(None)));
    assert_eq!(decide(true), Decision::Do(Action::Resume));
}

#[test]
fn what_is_only_old_waits_no_longer_than_others_once_it_is_to_stop() {
    let mut absent = assignment("a", Desired::Absent);
    absent.published = true;
    absent.ports = serde_json::from_str(r#"[{"name": "grpc"}]"#).unwrap();
    let age = Duration::from_secs(9);
    let life = Life::started("a", at(0)).draining(StopCause::Recycled { age }, at(1));
    let cause = StopCause::Absent { stored_at: 42 };
    assert_eq!(
        decide(&goal(&absent), &life, true, at(9)),
        Decision::Do(Action::Drain(cause.clone()))
    );
    let life = life.draining(cause, at(9));
    assert_eq!(
        decide(&goal(&absent), &life, true, at(9)),
        Decision::Wait(Wait::Told(Some(at(11))))
    );
}

#[test]
fn a_process_is_killed_only_after_its_grace() {
    let absent = assignment("a", Desired::Absent);
    let cause = StopCause::Absent { stored_at: 42 };
    let life = Life::started("a", at(0)).stopping(&absent, cause.clone(), at(5));
    let decide = |life: &Life, now| decide(&goal(&absent), life, true, now);
    assert_eq!(decide(&life, at(14)), Decision::Wait(Wait::Grace(at(15))));
    assert_eq!(decide(&life, at(15)), Decision::Do(Action::Kill(cause)));
    assert_eq!(decide(&life.killed(), at(99)), Decision::Wait(Wait::Death));
}

#[test]
fn a_hung_process_gets_a_short_grace_and_one_that_answers_gets_its_own() {
    let wanted = assignment("a", Desired::Present);
    let answering = Failure {
        silent: false,
        ..hung()
    };
    assert_eq!(grace(&wanted, &StopCause::Unhealthy(hung())), HUNG_GRACE);
    assert_eq!(
        grace(&wanted, &StopCause::Unhealthy(answering)),
        wanted.stop.grace.get()
    );
}

#[test]
fn an_unhealthy_process_is_stopped_and_started_again_after_the_delay() {
    let wanted = assignment("a", Desired::Present);
    let mut life = Life::started("a", at(0));
    let checks = life.checks_mut().unwrap();
    checks.record(&wanted.health, at(1), Ok(()), at(1));
    checks.record(&wanted.health, at(2), Err(hung()), at(2));
    let cause = StopCause::Unhealthy(hung());
    assert_eq!(
        decide(&goal(&wanted), &life, true, at(2)),
        Decision::Do(Action::Stop(cause.clone()))
    );
    // Even when it exits with success.
    let mut back_off = BackOff::default();
    let life = life.stopping(&wanted, cause, at(2)).ended(
        &wanted.restart,
        &mut back_off,
        exit(0),
        0.5,
        at(3),
    );
    let until = at(3) + wanted.restart.delay.get();
    let decide = |now| decide(&goal(&wanted), &life, true, now);
    assert_eq!(decide(at(3)), Decision::Wait(Wait::BackOff(until)));
    assert_eq!(decide(until), Decision::Do(Action::Start));
}

#[test]
fn a_replaced_process_is_followed_at_once_by_the_new_one() {
    let wanted = assignment("b", Desired::Present);
    let cause = StopCause::Replaced {
        by: "b".to_owned(),
        stored_at: 42,
    };
    let life = Life::started("a", at(0))
        .stopping(&wanted, cause, at(1))
        .ended(
            &wanted.restart,
            &mut BackOff::default(),
            exit(1),
            0.5,
            at(2),
        );
    assert_eq!(
        decide(&goal(&wanted), &life, true, at(2)),
        Decision::Do(Action::Start)
    );
}

#[test]
fn a_back_off_ends_early_for_a_new_revision_and_for_good_when_absent() {
    let life = Life::Ended {
        revision: "a".to_owned(),
        until: at(1000),
        how: HowEnded::Exited(exit(1)),
        streak: 9,
    };
    let changed = assignment("b", Desired::Present);
    assert_eq!(
        decide(&goal(&changed), &life, true, at(1)),
        Decision::Do(Action::Start)
    );
    let absent = assignment("a", Desired::Absent);
    assert_eq!(
        decide(&goal(&absent), &life, true, at(1)),
        Decision::Do(Action::Forget)
    );
}

#[test]
fn a_singleton_that_was_taken_from_its_node_is_not_started_there_again() {
    let mut wanted = assignment("a", Desired::Present);
    let mut back_off = BackOff::default();
    let alive = Life::started("a", at(0));
    let ended = alive
        .clone()
        .ended(&wanted.restart, &mut back_off, exit(1), 0.5, at(1));
    let orphan = |wanted: &Assignment, life: &Life| {
        let goal = Goal {
            orphaned: true,
            ..goal(wanted)
        };
        decide(&goal, life, true, at(600))
    };
    assert_eq!(orphan(&wanted, &ended), Decision::Do(Action::Start));
    wanted.singleton = true;
    assert_eq!(orphan(&wanted, &ended), Decision::Do(Action::Forget));
    assert_eq!(orphan(&wanted, &alive), Decision::Wait(Wait::Content));
}

#[test]
fn an_orphan_is_left_as_it_is() {
    let wanted = assignment("a", Desired::Present);
    let orphan = Goal {
        orphaned: true,
        ..goal(&wanted)
    };
    let alive = Life::started("a", at(0));
    assert_eq!(
        decide(&orphan, &alive, true, at(1)),
        Decision::Wait(Wait::Content)
    );
    assert_eq!(
        decide(&orphan, &Life::Fresh, true, at(1)),
        Decision::Do(Action::Forget)
    );
}

#[test]
fn a_failed_instance_is_tried_again_only_for_a_new_revision() {
    let mut wanted = assignment("a", Desired::Present);
    wanted.restart.max_attempts = Some(2);
    let mut back_off = BackOff::default();
    let mut end = |life: Life| life.ended(&wanted.restart, &mut back_off, exit(1), 0.5, at(1));
    let once = end(Life::started("a", at(0)));
    assert!(matches!(once, Life::Ended { streak: 1, .. }), "{once:?}");
    let twice = end(Life::started("a", at(0)));
    assert!(
        matches!(twice, Life::Failed { attempts: 2, .. }),
        "{twice:?}"
    );
    let decide = |wanted: &Assignment| decide(&goal(wanted), &twice, true, at(9999));
    assert_eq!(decide(&wanted), Decision::Wait(Wait::Revision));
    let changed = assignment("b", Desired::Present);
    assert_eq!(decide(&changed), Decision::Do(Action::Start));
    let absent = assignment("a", Desired::Absent);
    assert_eq!(decide(&absent), Decision::Do(Action::Forget));
}

#[test]
fn a_completed_process_waits_for_a_new_revision() {
    let life = Life::Completed {
        revision: "a".to_owned(),
        how: HowEnded::Exited(exit(0)),
    };
    let same = assignment("a", Desired::Present);
    assert_eq!(
        decide(&goal(&same), &life, true, at(1)),
        Decision::Wait(Wait::Revision)
    );
    let changed = assignment("b", Desired::Present);
    assert_eq!(
        decide(&goal(&changed), &life, true, at(1)),
        Decision::Do(Action::Start)
    );
}

#[test]
fn the_command_before_a_stop_has_its_time_and_the_signal_follows_its_end() {
    let mut absent = assignment("a", Desired::Absent);
    absent.pre_stop = serde_json::from_str(r#"{"command": ["x"], "timeout": "3s"}"#).unwrap();
    let cause = StopCause::Absent { stored_at: 42 };
    let life = Life::started("a", at(0)).stopping(&absent, cause.clone(), at(5));
    let decide = |life: &Life, now| decide(&goal(&absent), life, true, now);
    assert_eq!(decide(&life, at(7)), Decision::Wait(Wait::PreStop(at(8))));
    let signal = Decision::Do(Action::Signal(cause));
    assert_eq!(decide(&life, at(8)), signal);
    let ended = life.pre_stopped(at(6));
    assert_eq!(decide(&ended, at(6)), signal);
    // From the signal on it has the whole of its grace.
    let signalled = ended.signalled(&absent, at(6));
    let grace = Wait::Grace(at(6) + absent.stop.grace.get());
    assert_eq!(decide(&signalled, at(6)), Decision::Wait(grace));
}

#[test]
fn what_prepares_a_start_is_stopped_without_ado() {
    let mut absent = assignment("a", Desired::Absent);
    absent.pre_stop = serde_json::from_str(r#"{"command": ["x"]}"#).unwrap();
    let life = Life::preparing("a", at(0));
    let wanted = assignment("a", Desired::Present);
    let waits = decide(&goal(&wanted), &life, true, at(9));
    assert_eq!(waits, Decision::Wait(Wait::Prepared));
    let cause = StopCause::Absent { stored_at: 42 };
    let stop = decide(&goal(&absent), &life, true, at(9));
    assert_eq!(stop, Decision::Do(Action::Stop(cause.clone())));
    let stopping = life.clone().stopping(&absent, cause, at(9));
    assert!(matches!(stopping, Life::Stopping { asked_at: None, .. }));
    // Its checks begin with the process itself.
    assert_eq!(life.prepared(at(9)), Life::started("a", at(9)));
}

#[test]
fn nothing_is_stopped_or_started_for_an_artifact_that_is_not_there() {
    let wanted = assignment("b", Desired::Present);
    let decide = |life: &Life, lacks_artifact| {
        let goal = Goal {
            lacks_artifact,
            ..goal(&wanted)
        };
        decide(&goal, life, true, at(30))
    };
    let old = Life::started("a", at(0));
    assert_eq!(decide(&old, true), Decision::Wait(Wait::Content));
    assert!(matches!(decide(&old, false), Decision::Do(_)));
    assert_eq!(decide(&Life::Fresh, true), Decision::Wait(Wait::Artifact));
    assert_eq!(decide(&Life::Fresh, false), Decision::Do(Action::Start));
}
