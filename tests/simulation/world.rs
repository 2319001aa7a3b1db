//! A world: a store, two controllers, three agents, two balancers and people, all in this thread on virtual
//! time. The roles are the real ones; what is around them is simulated.
//!
//! - [`roles`]: how they are started; [`clients`]: who asks the balancers
//! - [`strike`]: faults, done to it; [`plant`]: bugs, put into it

mod clients;
mod plant;
mod roles;
mod strike;

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use quaestor::{
    host::Host,
    store::{Config, Store},
};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::{
    cast::{AGENTS, BALANCERS, CONTROLLERS, Cast, OPERATOR, Role, STORE, node},
    chance::Dice,
    checker::Checker,
    gate::{self, Gate},
    machine::{Clock, Disk, machine},
    network::{HostId, Network, ProgramId, address},
    operators::{Operators, SERVICES},
    planted::Planted,
    processes::Table,
    schedule::{Edition, Event, Fault, schedule},
    trace::Trace,
};

/// A node that is away for so long is lost: short, so that faults last longer.
const GRACE: Duration = Duration::from_secs(10);

/// After the faults have stopped, everything is as it is to be within this time (L1).
const CONVERGENCE: Duration = Duration::from_secs(60);

/// Then nothing is written for so long.
const REST: Duration = Duration::from_secs(70);

/// After this time a role is started again that ended by itself.
const PAUSE: Duration = Duration::from_secs(2);

/// A role that was asked to end has ended after this time.
const FAREWELL: Duration = Duration::from_secs(100);

/// A world. Cheap to clone.
#[derive(Clone)]
pub struct World {
    seed: u64,
    planted: Planted,
    clock: Clock,
    network: Network,
    gate: Gate,
    cast: Cast,
    table: Table,
    trace: Trace,
    disks: Arc<BTreeMap<HostId, Disk>>,
    running: Arc<Mutex<BTreeMap<HostId, Running>>>,
}

/// A role that runs.
struct Running {
    program: ProgramId,
    stop: CancellationToken,
    task: AbortHandle,
}

/// What became of a world.
pub struct Outcome {
    pub trace: Trace,
    /// Virtual time that passed.
    pub elapsed: Duration,
}

/// Lets the world of `seed` run, with its faults or some of them.
pub fn run(seed: u64, kept: Option<&[usize]>, planted: Planted) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let world = World::new(seed, planted);
        let (trace, shown) = (world.trace.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            trace.violation("panic", panic.to_string());
            shown(panic);
        }));
        world.live(schedule(seed, kept)).await;
        // What the end of the world does to those in it is not part of the story.
        world.trace.close();
        Outcome {
            trace: world.trace.clone(),
            elapsed: world.clock.elapsed(),
        }
    })
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let clock = Clock::new();
        let trace = Trace::new(clock.clone());
        let network = Network::new(Dice::of(seed, "network"));
        let store = machine(
            &clock,
            &network,
            0,
            Dice::of(seed, "store"),
            &Disk::default(),
        );
        let gate = Gate::new(
            &network,
            STORE,
            &clock,
            &trace,
            (&store, Dice::of(seed, "gate")),
        );
        let cast = Cast::new(&clock);
        let dice = Dice::of(seed, "processes");
        let table = Table::new(dice, &cast, &clock, &network, &trace);
        let disks = AGENTS.into_iter().chain(CONTROLLERS);
        let disks = disks.map(|host| (host, Disk::default()));
        Self {
            seed,
            planted,
            cast,
            disks: Arc::new(disks.collect()),
            running: Arc::default(),
            clock,
            network,
            gate,
            table,
            trace,
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<HostId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the first moment to the end of the checks.
    async fn live(&self, events: Vec<Event>) {
        let mut client = Checker::client(&self.gate)
            .await
            .expect("the back door is open");
        let names = SERVICES
            .iter()
            .map(|(_, name)| (*name).to_owned())
            .collect();
        let mut checker = Checker::new(
            (&self.clock, &self.gate),
            (&self.cast, &self.table, &self.trace),
            self.planted,
            names,
        );
        let mut watch = checker
            .begin(&mut client)
            .await
            .expect("the store can be watched");

        self.gate.open();
        for host in self.hosts() {
            self.start(host);
        }
        let operators = self.operators();
        for service in 0..SERVICES.len() {
            let operators = operators.clone();
            tokio::spawn(async move { operators.apply(service).await });
        }
        self.plant();
        self.ask();
        if self.edition() == Edition::Second {
            self.subscribe();
        }
        let restores = |event: &Event| matches!(event.fault, Fault::Restore { .. });
        let restores = events.iter().any(restores);
        if restores {
            self.gate.back_up();
        }
        let story = {
            let (world, operators) = (self.clone(), operators.clone());
            tokio::spawn(async move {
                for event in events {
                    tokio::time::sleep(event.at.saturating_sub(world.clock.elapsed())).await;
                    world.trace.note(format!("FAULT {:?}", event.fault));
                    world.strike(event.fault, &operators).await;
                }
                // What is put right by itself is, before the end.
                tokio::time::sleep(Duration::from_secs(5)).await;
            })
        };
        let patience = Duration::from_secs(3_600);
        if !checker
            .watch(&mut watch, patience, |_| story.is_finished())
            .await
        {
            return;
        }

        self.trace.note("the faults stop");
        self.calm().await;
        if restores {
            let operators = operators.clone();
            tokio::spawn(async move { operators.confirm_always().await });
        }
        let repaired = {
            let operators = operators.clone();
            tokio::spawn(async move {
                for host in AGENTS {
                    while !operators.close(&node(host), false, false).await {}
                }
                for service in 0..SERVICES.len() {
                    operators.settle(service);
                    while !operators.apply(service).await {}
                }
            })
        };
        let rests = |checker: &Checker| repaired.is_finished() && checker.missing().is_none();
        if !checker.watch(&mut watch, CONVERGENCE, rests).await {
            if let Some(missing) = checker.missing() {
                self.trace
                    .violation("L1", format!("not within {CONVERGENCE:?}: {missing}"));
            }
            return;
        }
        self.trace.note("everything is as it is to be");
        // A status may still be on its way.
        checker
            .watch(&mut watch, Duration::from_secs(5), |_| false)
            .await;
        checker.rest();
        checker.watch(&mut watch, REST, |_| false).await;
        let busiest = checker.busiest;
        self.trace.note(format!(
            "the busiest program sent {busiest} transactions in ten seconds"
        ));
        if let Some(missing) = checker.missing() {
            self.trace
                .violation("L1", format!("it did not stay so: {missing}"));
        }
    }

    fn edition(&self) -> Edition {
        Edition::of(self.seed)
    }

    fn hosts(&self) -> Vec<HostId> {
        [&CONTROLLERS[..], &AGENTS, &BALANCERS].concat()
    }

    fn store(&self, host: &Host) -> Store {
        let endpoint = format!("http://{}:{}", address(STORE), gate::PORT);
        Store::new(Config::new([endpoint]), host.clone()).expect("an address")
    }

    fn operators(&self) -> Operators {
        let (host, _) = self.guest(OPERATOR, Role::Operator);
        let (hand, _) = self.guest(OPERATOR, Role::Hand);
        Operators::new(
            self.store(&host),
            self.store(&hand),
            host,
            &self.trace,
            (self.planted, self.edition()),
        )
    }

    /// The machine of a new program on `host`.
    fn guest(&self, host: HostId, role: Role) -> (Host, ProgramId) {
        let program = self.network.begin(host);
        self.cast.enter(program, host, role);
        let mut dice = Dice::of(self.seed, &format!("program {program}"));
        let disk = self.disks.get(&host).cloned().unwrap_or_default();
        // Some wall clocks are off by up to an hour.
        let skew = match dice.chance(20) {
            true => dice.between(0, 7_200_000) as i64 - 3_600_000,
            false => 0,
        };
        let clock = self.clock.skewed(skew);
        (
            machine(&clock, &self.network, program, dice, &disk),
            program,
        )
    }

    /// Runs a role until it ends; that it ends with an error is a violation, unless its disk is full: then it is started
    /// again, as the manager of a host's services does.
    fn spawn<E: fmt::Display>(
        &self,
        host: HostId,
        program: ProgramId,
        role: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> AbortHandle {
        let world = self.clone();
        let task = tokio::spawn(async move {
            let outcome = thawed(role, &world.network, program).await;
            if let Err(error) = outcome {
                let what = format!("program {program} on 10.0.0.{host} ended: {error}");
                match world.disks.get(&host).is_some_and(Disk::fails) {
                    true => {
                        world.trace.note(what);
                        world.start_after(host, PAUSE);
                    }
                    false => world.trace.violation("role", what),
                }
            }
            world.network.kill(program, false);
            world.cast.answers_no_more(program);
            let mut running = world.running();
            if running
                .get(&host)
                .is_some_and(|running| running.program == program)
            {
                running.remove(&host);
            }
        });
        task.abort_handle()
    }

    /// Ends the role of a host without a word.
    fn crash(&self, host: HostId, silent: bool) {
        let Some(running) = self.running().remove(&host) else {
            return;
        };
        self.network.kill(running.program, silent);
        self.cast.answers_no_more(running.program);
        running.task.abort();
    }

    /// Starts the role again after `span`.
    fn start_after(&self, host: HostId, span: Duration) {
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            world.start(host);
        });
    }

    /// Undoes something after `span`, and until then says that it stands between a host and the store.
    fn disturb(
        &self,
        hosts: Vec<HostId>,
        total: bool,
        span: Duration,
        undo: impl FnOnce(&World) + Send + 'static,
    ) {
        for host in &hosts {
            self.cast.disturb(*host, true, total);
        }
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            undo(&world);
            for host in hosts {
                world.cast.disturb(host, false, total);
            }
        });
    }

    /// The `nth` of the living processes.
    fn process(&self, nth: u64) -> Option<u32> {
        let living = self.table.living();
        let index = nth.checked_rem(living.len() as u64)?;
        Some(living[index as usize].pid)
    }

    fn leads(&self, host: HostId) -> bool {
        let program = self.running().get(&host).map(|running| running.program);
        program.is_some() && self.cast.leader() == program
    }

    /// Asks the role of a host to end, and starts it again `span` after it has.
    fn end(&self, host: HostId, span: Duration) {
        let (program, stop) = match self.running().get(&host) {
            Some(running) => (running.program, running.stop.clone()),
            None => return,
        };
        self.cast.ends(program);
        stop.cancel();
        let world = self.clone();
        tokio::spawn(async move {
            let end = tokio::time::Instant::now() + FAREWELL;
            let ended = || {
                let running = world.running();
                running
                    .get(&host)
                    .is_none_or(|running| running.program != program)
            };
            while !ended() && tokio::time::Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(span).await;
            world.start(host);
        });
    }

    /// Puts everything right.
    async fn calm(&self) {
        self.table.calm();
        self.network.mend();
        self.gate.behave();
        self.disks.values().for_each(|disk| disk.fail(false));
        self.cast.undisturbed();
        // Who is ending ends first, and is then started by who asked for it.
        for host in self.hosts() {
            self.start(host);
        }
    }
}

/// Polls `role` only while its program is not frozen.
async fn thawed<T>(role: impl Future<Output = T>, network: &Network, program: ProgramId) -> T {
    let mut role = pin!(role);
    poll_fn(|cx| {
        if network.is_frozen(program, cx.waker()) {
            return Poll::Pending;
        }
        role.as_mut().poll(cx)
    })
    .await
}
