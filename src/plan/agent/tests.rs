//! What is decided in each life, and that carrying it out comes to rest.

use proptest::prelude::*;

use super::*;
use crate::model::{
    LoadReport, ServerStats, Timestamp,
    assignment::Template,
    quantity::{Percent, Period},
    service::{HealthSpec, LoadSpec, PortCheck, RecycleSpec, RecycleWhen},
};

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
            working_directory: None,
            env: Default::default(),
        }),
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
        stop: StopSpec {
            grace: Period::from_secs(10),
            ..StopSpec::default()
        },
    }
}

fn goal(assignment: &Assignment) -> Goal<'_> {
    Goal {
        assignment,
        stored_at: 42,
        orphaned: false,
        agent_ends: false,
    }
}

fn exit(code: i32) -> Exit {
    Exit {
        code: Some(code),
        signal: None,
        at: Timestamp::from_millis(0),
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
fn a_process_is_killed_only_after_its_grace() {
    let absent = assignment("a", Desired::Absent);
    let cause = StopCause::Absent { stored_at: 42 };
    let life = Life::started("a", at(0)).stopping(&absent.stop, cause.clone(), at(5));
    let decide = |life: &Life, now| decide(&goal(&absent), life, true, now);
    assert_eq!(decide(&life, at(14)), Decision::Wait(Wait::Grace(at(15))));
    assert_eq!(decide(&life, at(15)), Decision::Do(Action::Kill(cause)));
    assert_eq!(decide(&life.killed(), at(99)), Decision::Wait(Wait::Death));
}

#[test]
fn a_hung_process_gets_a_short_grace_and_one_that_answers_gets_its_own() {
    let spec = assignment("a", Desired::Present).stop;
    let answering = Failure {
        silent: false,
        ..hung()
    };
    assert_eq!(grace(&spec, &StopCause::Unhealthy(hung())), HUNG_GRACE);
    assert_eq!(
        grace(&spec, &StopCause::Unhealthy(answering)),
        spec.grace.get()
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
    let life = life.stopping(&wanted.stop, cause, at(2)).ended(
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
        .stopping(&wanted.stop, cause, at(1))
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

/// What happens to an instance from outside.
#[derive(Clone, Debug)]
enum Event {
    Assign {
        revision: u8,
        absent: bool,
        external: bool,
    },
    Vanish,
    Exit {
        code: i32,
    },
    Check {
        healthy: bool,
    },
    Load {
        requests: i32,
    },
    Told,
    CannotStart,
    Pass {
        secs: u64,
    },
    AgentEnds,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..3_u8, prop::bool::weighted(0.3), prop::bool::weighted(0.1)).prop_map(
            |(revision, absent, external)| Event::Assign { revision, absent, external }
        ),
        1 => Just(Event::Vanish),
        3 => (0..2).prop_map(|code| Event::Exit { code }),
        3 => any::<bool>().prop_map(|healthy| Event::Check { healthy }),
        2 => (0..2).prop_map(|requests| Event::Load { requests }),
        2 => Just(Event::Told),
        1 => Just(Event::CannotStart),
        4 => (0..20_u64).prop_map(|secs| Event::Pass { secs }),
        1 => Just(Event::AgentEnds),
    ]
}

/// A machine that does what is decided, and complains about what must never be.
struct World {
    wanted: Assignment,
    stored_at: i64,
    orphaned: bool,
    agent_ends: bool,
    /// None: forgotten.
    life: Option<Life>,
    processes: u32,
    can_start: bool,
    back_off: BackOff,
    now: Moment,
}

impl World {
    fn new() -> Self {
        Self {
            wanted: assignment("0", Desired::Present),
            stored_at: 1,
            orphaned: false,
            agent_ends: false,
            life: Some(Life::Fresh),
            processes: 0,
            can_start: true,
            back_off: BackOff::default(),
            now: at(0),
        }
    }

    fn happen(&mut self, event: Event) {
        let restart = self.wanted.restart.clone();
        self.can_start = !matches!(event, Event::CannotStart);
        match event {
            Event::Assign {
                revision,
                absent,
                external,
            } => {
                let desired = if absent {
                    Desired::Absent
                } else {
                    Desired::Present
                };
                self.wanted = assignment(&revision.to_string(), desired);
                if external {
                    self.wanted.revision.push('x');
                    self.wanted.run = Run::External {
                        host: "h".to_owned(),
                        port: 1,
                    };
                }
                self.wanted.restart.max_attempts = (revision == 1).then_some(2);
                if revision == 0 {
                    self.wanted.recycle = Some(RecycleSpec {
                        every: Period::from_secs(20),
                        jitter: Percent::new(50),
                        when: RecycleWhen::Idle,
                    });
                }
                if revision == 2 {
                    self.wanted.stop.drain = Period::from_secs(30);
                }
                self.stored_at += 1;
                self.orphaned = false;
                self.life.get_or_insert(Life::Fresh);
            }
            Event::Vanish => self.orphaned = true,
            Event::Exit { code } if self.processes == 1 => {
                self.processes = 0;
                let life = self.life.take().unwrap();
                self.life =
                    Some(life.ended(&restart, &mut self.back_off, exit(code), 0.5, self.now));
            }
            Event::Check { healthy } => {
                let result = if healthy { Ok(()) } else { Err(hung()) };
                if let Some(checks) = self.life.as_mut().and_then(Life::checks_mut) {
                    checks.record(&self.wanted.health, self.now, result, self.now);
                }
            }
            Event::Load { requests } => {
                let stats = ServerStats {
                    request_capacity: 1,
                    current_requests: requests,
                    ..ServerStats::default()
                };
                let report = LoadReport {
                    known_rate: None,
                    stats: Some(stats),
                };
                if let Some(checks) = self.life.as_mut().and_then(Life::checks_mut) {
                    checks.record_load(self.now, &report, 0);
                }
            }
            Event::Told => {
                if let Some(Life::Draining { drain, .. }) = &mut self.life {
                    drain.tell(self.now);
                }
            }
            Event::Pass { secs } => self.now = self.now + Duration::from_secs(secs),
            Event::AgentEnds => self.agent_ends = true,
            Event::CannotStart | Event::Exit { .. } => {}
        }
    }

    /// Decides and does one step; says whether there was one.
    fn step(&mut self) -> bool {
        let Some(life) = self.life.clone() else {
            return false;
        };
        let goal = Goal {
            assignment: &self.wanted,
            stored_at: self.stored_at,
            orphaned: self.orphaned,
            agent_ends: self.agent_ends,
        };
        let aged = match recycle::next(&self.wanted, &life, true, self.now) {
            recycle::Next::Do(action) => Some(action),
            _ => None,
        };
        let action = match (decide(&goal, &life, true, self.now), aged) {
            (Decision::Do(action), _) | (Decision::Wait(Wait::Content), Some(action)) => action,
            (Decision::Wait(wait), _) => {
                assert!(wait.wake().is_none_or(|wake| wake > self.now), "{wait:?}");
                return false;
            }
        };
        let (absent, revision) = (
            self.wanted.desired == Desired::Absent,
            self.wanted.revision.clone(),
        );
        self.life = match action {
            Action::Start => {
                assert_eq!(self.processes, 0, "a start while a process lives");
                assert!(!absent && !self.agent_ends);
                if self.can_start {
                    self.processes = 1;
                    Some(Life::started(&revision, self.now))
                } else {
                    let why = NotStarted {
                        reason: "StartFailed",
                        message: String::new(),
                    };
                    Some(Life::not_started(
                        &revision,
                        &self.wanted.restart,
                        &mut self.back_off,
                        why,
                        0.5,
                        self.now,
                    ))
                }
            }
            Action::Attach => {
                assert_eq!(self.processes, 0, "an external endpoint beside a process");
                Some(Life::attached(&revision, self.now))
            }
            Action::Drain(cause) => {
                assert_eq!(self.processes, 1);
                Some(life.draining(cause, self.now))
            }
            Action::Resume => {
                assert!(!absent && !self.agent_ends && life.revision() == revision);
                Some(life.resumed())
            }
            Action::Stop(cause) => {
                assert_eq!(self.processes, 1);
                let checks = life.checks().unwrap();
                if drain::is_due(&self.wanted, checks, &cause) {
                    let Life::Draining { drain, .. } = &life else {
                        panic!("nobody was sent elsewhere before the stop");
                    };
                    assert_eq!(drain.wait(&self.wanted, checks, self.now), None);
                }
                match &cause {
                    StopCause::Absent { stored_at } => {
                        assert!(absent && *stored_at == self.stored_at);
                    }
                    StopCause::Replaced { by, stored_at } => {
                        assert!(*by == revision && *stored_at == self.stored_at);
                    }
                    StopCause::Unhealthy(_) => {}
                    StopCause::Recycled { .. } => {
                        assert!(self.wanted.recycle.is_some() && !absent);
                        assert!(life.checks().unwrap().idle_since(at(0)), "it works");
                    }
                    StopCause::AgentEnds => assert!(self.agent_ends),
                }
                Some(life.stopping(&self.wanted.stop, cause, self.now))
            }
            Action::Kill(_) => {
                assert_eq!(self.processes, 1);
                Some(life.killed())
            }
            Action::Forget => {
                assert_eq!(self.processes, 0, "a living process is forgotten");
                None
            }
        };
        true
    }
}

proptest! {
    #[test]
    fn whatever_happens_one_process_lives_at_most_and_deciding_comes_to_rest(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            let steps = (0..10).take_while(|_| world.step()).count();
            prop_assert!(steps < 4, "does not come to rest: {:?}", world.life);
            // What lives in the plan lives in the world, and the other way round.
            let lives = world.life.as_ref().is_some_and(Life::lives);
            prop_assert_eq!(lives, world.processes == 1);
        }
    }

    #[test]
    fn what_is_wanted_runs_in_the_end(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            while world.step() {}
        }
        // The world calms down, every signal is obeyed, and one process is wanted.
        world.agent_ends = false;
        world.happen(Event::Assign { revision: 9, absent: false, external: false });
        for _ in 0..10 {
            world.happen(Event::Pass { secs: 1000 });
            while world.step() {}
            if matches!(world.life, Some(Life::Stopping { .. })) {
                world.happen(Event::Exit { code: 0 });
            }
        }
        let runs = matches!(&world.life, Some(Life::Alive { revision, .. }) if revision == "9");
        prop_assert!(runs, "{:?}", world.life);
    }
}
