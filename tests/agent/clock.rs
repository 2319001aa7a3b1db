//! A wall clock that jumps by an hour, as after a wrong battery or by a careless hand. Decisions go by a clock
//! that nobody sets; the wall clock is only shown.

use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::BoxFuture;
use quaestor::{
    host::{Clock, SystemClock},
    model::{Moment, Timestamp},
};

use super::*;

const HOUR: i64 = 3_600_000;

/// The machine's clocks; the wall clock is ahead by some milliseconds.
struct Jumping {
    machine: SystemClock,
    ahead: AtomicI64,
}

impl Clock for Jumping {
    fn now(&self) -> Moment {
        self.machine.now()
    }

    fn timestamp(&self) -> Timestamp {
        let millis = self.machine.timestamp().as_millis();
        Timestamp::from_millis(millis + self.ahead.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, moment: Moment) -> BoxFuture<'static, ()> {
        self.machine.sleep_until(moment)
    }
}

fn clock(ahead: i64) -> Arc<Jumping> {
    Arc::new(Jumping {
        machine: SystemClock::new(),
        ahead: AtomicI64::new(ahead),
    })
}

fn host(clock: &Arc<Jumping>) -> Host {
    Host {
        clock: Arc::<Jumping>::clone(clock),
        ..Host::system()
    }
}

/// A program that waits for `pause` after each of its ends.
fn pausing(name: &str, text: &str, pause: Period) -> Assignment {
    let mut wanted = Assignment {
        instance: instance(name),
        on_agent_stop: OnAgentStop::Keep,
        ..script(text)
    };
    wanted.restart.delay = pause;
    wanted.restart.max_delay = pause;
    wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_agent_runs_neither_session_nor_back_off_takes_notice() {
    for jump in [HOUR, -HOUR] {
        let world = World::new();
        let clock = clock(0);
        let _agent = world.agent_on(host(&clock), world.config("a"));
        let steady = pausing("steady-0", "exec sleep 1000", Period::from_secs(1));
        let patient = pausing("patient-0", "exit 3", Period::from_secs(3_600));
        // An hour would also be enough to forget earlier ends.
        let mut crashing = pausing("crashing-0", "exit 3", Period::from_millis(300));
        crashing.restart.max_attempts = Some(6);
        for wanted in [&steady, &patient, &crashing] {
            world.assign(wanted).await;
        }
        let pid = world.ready(&steady.instance).await.pid;
        let before = world.session().await.unwrap().uuid;
        for waiting in [&patient, &crashing] {
            world
                .state_when(&waiting.instance, "it has ended once", |state| {
                    state.last_exit.is_some()
                })
                .await;
        }

        clock.ahead.store(jump, Ordering::Relaxed);
        let given_up = world
            .state_when(&crashing.instance, "it is given up", |state| {
                state.phase == Phase::Failed
            })
            .await;
        assert_eq!(given_up.restarts, 5);
        let waiting = world.state(&patient.instance).await.unwrap();
        assert_eq!((waiting.phase, waiting.restarts), (Phase::BackOff, 0));
        assert_eq!(world.state(&steady.instance).await.unwrap().pid, pid);
        assert_eq!(world.session().await.unwrap().uuid, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_while_no_agent_is_there_shortens_and_prolongs_no_back_off() {
    for jump in [2 * HOUR, -2 * HOUR] {
        let world = World::new();
        let first = world.agent("a");
        let wanted = pausing("patient-0", "exec sleep 1000", Period::from_secs(3_600));
        world.assign(&wanted).await;
        let before = world.ready(&wanted.instance).await;
        first.crash().await;
        support::signal(before.pid.unwrap(), "KILL");
        gone(before.pid.unwrap()).await;

        let _second = world.agent_on(host(&clock(jump)), world.config("a"));
        let after = world
            .state_when(&wanted.instance, "its end is known", |state| {
                state.last_exit.is_some() && state.epoch > before.epoch
            })
            .await;
        assert_eq!((after.phase, after.restarts), (Phase::BackOff, 0));
        let shown = after.next_start_at.unwrap().since(clock(jump).timestamp());
        assert!((3_000..=4_000).contains(&shown.as_secs()), "{shown:?}");
    }
}
