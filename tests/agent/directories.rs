//! A state directory that cannot be written any more, because it is full or read-only.

use std::{
    io,
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::io::Errno;

use super::{disk::Gated, *};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_state_directory_cannot_be_written_processes_run_on_and_none_is_started() {
    for error in [Errno::NOSPC, Errno::ROFS] {
        let world = World::new();
        // The system's number of the error; 0: there is none.
        let failing = Arc::new(AtomicI32::new(0));
        let asked = Arc::clone(&failing);
        let disk = Gated(move || match asked.load(Ordering::Relaxed) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        });
        let host = Host {
            disk: Arc::new(disk),
            ..Host::system()
        };
        let running = agent::run(
            world.config("a"),
            connect(&world.etcd),
            host,
            Arc::<ShimProcesses>::clone(&world.processes),
            agent::reservations::counter().1,
            CancellationToken::new(),
        );
        let agent = Agent {
            task: tokio::spawn(running),
            stop: CancellationToken::new(),
        };
        let named = |name: &str| Assignment {
            instance: instance(name),
            ..script("exec sleep 1000")
        };
        let (steady, victim, late) = (named("steady-0"), named("victim-0"), named("late-0"));
        world.assign(&steady).await;
        world.assign(&victim).await;
        let before = world.ready(&steady.instance).await;
        let killed = world.ready(&victim.instance).await.pid.unwrap();

        failing.store(error.raw_os_error(), Ordering::Relaxed);
        world.assign(&late).await;
        support::signal(killed, "KILL");
        for waiting in [&late, &victim] {
            let state = world
                .state_when(
                    &waiting.instance,
                    "it says why it is not started",
                    |state| state.reason == "StateDirectory",
                )
                .await;
            let why = io::Error::from(error).to_string();
            assert!(state.message.contains(&why), "{}", state.message);
            assert_eq!((state.pid, state.ready), (None, false));
        }
        assert!(!lives(killed) && lives(before.pid.unwrap()));
        assert_eq!(world.state(&steady.instance).await, Some(before.clone()));

        failing.store(0, Ordering::Relaxed);
        for waiting in [&late, &victim] {
            world.ready(&waiting.instance).await;
        }
        assert_eq!(world.state(&steady.instance).await, Some(before));
        drop(agent);
    }
}
