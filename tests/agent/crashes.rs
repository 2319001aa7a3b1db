//! An agent that is killed at every one of its steps, from its beginning until everything is done: whatever it
//! was about, the next one goes on with exactly one process, and knows how each ended.
//!
//! Steps are what others could see: before, amid and behind every change of a file, and whenever the agent waits
//! for anything: a shim, the store, the time.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use quaestor::{
    host::{Disk as _, LocalDisk},
    process::Processes,
};
use support::cluster::shims;

use super::{disk::Gated, *};

/// So many agents are killed side by side.
const WIDTH: usize = 12;

/// Counts the steps of an agent, and kills it at one of them.
struct Steps {
    taken: AtomicUsize,
    last: usize,
}

/// What a killed agent's call stack is unwound with.
struct Killed;

impl Steps {
    fn step(&self) {
        if self.taken.fetch_add(1, Ordering::Relaxed) == self.last {
            resume_unwind(Box::new(Killed));
        }
    }
}

/// Runs an agent until it is killed. Nothing of it is left then but what it has done.
async fn until_killed(agent: impl Future<Output = Result<(), agent::Error>>, steps: &Steps) {
    let mut agent = Box::pin(agent);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            steps.step();
            agent.as_mut().poll(context)
        }));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(ended)) => panic!("the agent has ended: {ended:?}"),
            Err(killed) if <dyn Any>::is::<Killed>(&*killed) => Poll::Ready(()),
            Err(failure) => resume_unwind(failure),
        }
    })
    .await;
}

impl World {
    /// An agent that is killed at its step number `last`, and the next one, which lives. Says how many were killed.
    fn agent_killed_at(self: &Arc<Self>, last: usize) -> (JoinHandle<()>, Arc<AtomicUsize>) {
        let steps = Arc::new(Steps {
            taken: AtomicUsize::new(0),
            last,
        });
        let killed = Arc::new(AtomicUsize::new(0));
        let (world, kills) = (Arc::clone(self), Arc::clone(&killed));
        let counted = Arc::clone(&steps);
        let disk = Gated(move || {
            counted.step();
            Ok(())
        });
        let host = Host {
            disk: Arc::new(disk),
            ..Host::system()
        };
        let shim = env!("CARGO_BIN_EXE_quaestor-shim").into();
        let processes = ShimProcesses::by(shim, &host).tethered().unwrap();
        let processes: Arc<dyn Processes> = Arc::new(processes);
        let task = tokio::spawn(async move {
            // They outlive their agent.
            let kept = Arc::clone(&processes);
            let agent = agent::run(
                world.config("a"),
                connect(&world.etcd),
                host,
                processes,
                agent::reservations::counter().1,
                CancellationToken::new(),
            );
            until_killed(agent, &steps).await;
            kills.fetch_add(1, Ordering::Relaxed);
            let mut next = world.agent("a");
            let ended = (&mut next.task).await;
            drop(kept);
            panic!("the next agent has ended: {ended:?}");
        });
        (task, killed)
    }

    /// What the processes have said at their starts, once that is `count` lines.
    async fn starts(&self, count: usize) -> Vec<String> {
        let read = || std::fs::read_to_string(self.path("starts")).unwrap_or_default();
        let lines = || read().lines().map(str::to_owned).collect::<Vec<_>>();
        eventually_async("it says that it starts", async || lines().len() >= count).await;
        let lines = lines();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }
}

/// A process fails, is replaced by another revision and ends for good, while its agent is killed at a step. Whether
/// there was such a step.
async fn story(etcd: Arc<Etcd>, last: usize) -> bool {
    let world = Arc::new(World::on(etcd, &format!("n{last}")));
    let (agents, killed) = world.agent_killed_at(last);
    let [starts, lock] = ["starts", "lock"].map(|name| world.path(name));
    let (starts, lock) = (starts.display(), lock.display());
    // The first start fails. None may begin while another one lives.
    let mut wanted = Assignment {
        on_agent_stop: OnAgentStop::Keep,
        ..script(&format!(
            "exec 9>{lock}; flock -n 9 || echo DOUBLE >> {starts}; echo $$ >> {starts}; \
             test $(wc -l < {starts}) = 1 && exit 7; exec sleep 1000"
        ))
    };
    wanted.restart.delay = Period::from_millis(1);
    world.assign(&wanted).await;
    let what = format!("killed at step {last}: it runs after a failure");
    let first = world
        .state_when(&wanted.instance, &what, |state| {
            state.ready && state.last_exit.is_some()
        })
        .await;
    let exit = first.last_exit.as_ref().unwrap();
    let pid = first.pid.unwrap();
    assert_eq!((exit.code, first.restarts), (Some(7), 1), "at {last}");
    assert_eq!(world.starts(2).await[1], pid.to_string(), "at {last}");

    wanted.revision = "r2".to_owned();
    world.assign(&wanted).await;
    let what = format!("killed at step {last}: it runs anew");
    let second = world
        .state_when(&wanted.instance, &what, |state| {
            state.ready && state.revision == "r2"
        })
        .await;
    let exit = second.last_exit.as_ref().unwrap();
    assert_eq!((exit.code, exit.signal), (None, Some(15)), "at {last}");
    assert!(!lives(pid), "at {last}");
    let pid = second.pid.unwrap();
    assert_eq!(world.starts(3).await[2], pid.to_string(), "at {last}");

    wanted.desired = Desired::Absent;
    world.assign(&wanted).await;
    world.forgotten(&wanted.instance).await;
    assert!(!lives(pid), "at {last}");
    eventually_async("nothing is left of it", async || {
        let runtime = LocalDisk.list(&world.path("a").join("runtime")).unwrap();
        let of_it = |path: &PathBuf| path.to_str().unwrap().contains("worker-0");
        shims(world.directory.path()).is_empty() && !runtime.iter().any(of_it)
    })
    .await;
    world.starts(3).await;
    agents.abort();
    killed.load(Ordering::Relaxed) > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_at_any_step_leaves_exactly_one_process_and_all_exit_codes() {
    let etcd = Arc::new(Etcd::start());
    let mut kills = 0;
    for first in (0..).step_by(WIDTH) {
        let steps = first..first + WIDTH;
        let stories = steps.map(|last| story(Arc::clone(&etcd), last));
        let killed = futures::future::join_all(stories).await;
        let killed = killed.iter().filter(|killed| **killed).count();
        kills += killed;
        if killed == 0 {
            break;
        }
    }
    println!("killed at {kills} steps");
    assert!(kills > 50, "only {kills} steps");
}
