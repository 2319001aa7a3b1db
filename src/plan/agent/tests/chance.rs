//! What holds whatever happens to an instance.

use proptest::prelude::*;

use super::*;

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
    Session {
        lost: bool,
    },
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
        1 => any::<bool>().prop_map(|lost| Event::Session { lost }),
    ]
}

/// A machine that does what is decided, and complains about what must never be.
struct World {
    wanted: Assignment,
    stored_at: i64,
    orphaned: bool,
    agent_ends: bool,
    cut_off: bool,
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
            cut_off: false,
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
                    self.wanted.on_partition = OnPartition::Stop;
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
            Event::Session { lost } => self.cut_off = lost,
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
            reserved: false,
            cut_off: self.cut_off,
            lacks_artifact: false,
        };
        let aged = match recycle::next(&self.wanted, &life, self.now) {
            // Nothing is recycled without the store.
            recycle::Next::Turn(action) if !self.cut_off => Some(action),
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
                assert!(!self.cut_off || self.wanted.on_partition == OnPartition::Keep);
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
                    assert_eq!(drain.wait(&self.wanted, checks, false, self.now), None);
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
                    StopCause::Partition => panic!("the agent itself stops nothing for it"),
                }
                Some(life.stopping(&self.wanted, cause, self.now))
            }
            Action::Signal(_) => {
                assert_eq!(self.processes, 1);
                Some(life.signalled(&self.wanted, self.now))
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
