//! The processes of a world: a table of all that ever ran, and what agents start them with.
//!
//! As with real shims, processes outlive their agents, and the next agent finds them.
//!
//! A fake process is a program on its agent's host that serves what real workers serve (gRPC health and load
//! reports, by the crate's own kit), so that checks are real. What goes wrong with it is the schedule's
//! doing, or its own nature: some start slowly, ignore SIGTERM, or end by themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use quaestor::{
    host::Host,
    model::{ExitCause, notice::Notice, service::StopSignal},
    process::{
        End, Ended, Errand, Found, Outcome, Place, Process, Processes, Program, StartError,
        Started, Used,
    },
    worker::{self, Kit, Unmeasured},
};
use tokio::{sync::watch, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use super::{
    cast::Cast,
    chance::Dice,
    machine::{Clock, Disk, machine},
    network::{HostId, Network, ProgramId, address},
    planted::Planted,
    trace::Trace,
};

pub type Pid = u32;

/// A client that has had no balancer for so long is not waited for.
const LOST: Duration = Duration::from_secs(8);

/// Within this time of an answer nothing that it names may be stopped, unless whoever was answered has said otherwise.
const LEARN: Duration = Duration::from_millis(490);

/// All processes of a world. Cheap to clone.
#[derive(Clone)]
pub struct Table {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
    cast: Cast,
    network: Network,
    trace: Trace,
}

struct Inner {
    dice: Dice,
    processes: BTreeMap<Pid, Entry>,
    /// What was started last where: of a node, in a directory.
    places: BTreeMap<(String, PathBuf), (u64, Pid)>,
    /// Nothing goes wrong by itself any more.
    calm: bool,
}

struct Entry {
    record: Record,
    host: HostId,
    port: Option<u16>,
    program: ProgramId,
    deaf: bool,
    stop: CancellationToken,
    /// When it stops by itself.
    deadline: Option<Duration>,
    grace: Duration,
    health: Option<worker::Health>,
    task: Option<AbortHandle>,
    end: watch::Sender<Option<End>>,
}

/// What is known of a process.
#[derive(Clone, Debug)]
pub struct Record {
    pub pid: Pid,
    pub node: String,
    pub instance: String,
    /// The `VERSION` of its environment: what of the service's templates it was made from.
    pub version: u64,
    /// The agent that started or adopted it.
    pub agent: ProgramId,
    pub started: Duration,
    pub ended: Option<Duration>,
    /// When it was first signalled by its agent.
    pub signalled: Option<Duration>,
    /// Who might call it then, if its agent did not give everybody the time to hear of it.
    pub called: Option<String>,
    /// When something first went wrong with it that checks may see.
    pub unwell: Option<Duration>,
    pub hung: bool,
    /// When its deadline passed, and it was stopped by itself.
    pub lapsed: Option<Duration>,
}

impl Table {
    pub fn new(dice: Dice, cast: &Cast, clock: &Clock, network: &Network, trace: &Trace) -> Self {
        let inner = Inner {
            dice,
            processes: BTreeMap::new(),
            places: BTreeMap::new(),
            calm: false,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            clock: clock.clone(),
            cast: cast.clone(),
            network: network.clone(),
            trace: trace.clone(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an agent starts processes with.
    pub fn of(
        &self,
        node: &str,
        host: HostId,
        agent: ProgramId,
        planted: Planted,
    ) -> Arc<dyn Processes> {
        Arc::new(Starter {
            table: self.clone(),
            node: node.to_owned(),
            host,
            agent,
            planted,
        })
    }

    /// All processes that ever ran.
    pub fn records(&self) -> Vec<Record> {
        let inner = self.inner();
        inner
            .processes
            .values()
            .map(|entry| entry.record.clone())
            .collect()
    }

    /// Those that run.
    pub fn living(&self) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.ended.is_none());
        records
    }

    /// From now on nothing goes wrong by itself, and who hung goes on.
    pub fn calm(&self) {
        let mut inner = self.inner();
        inner.calm = true;
        for entry in inner.processes.values_mut() {
            if std::mem::take(&mut entry.record.hung) {
                self.network.freeze(entry.program, false);
            }
        }
    }

    /// The process crashes.
    pub fn crash(&self, pid: Pid) {
        self.end(
            pid,
            End {
                code: None,
                signal: Some(11),
                at: None,
                moment: None,
                cause: None,
                of: Ended::Program,
            },
        );
    }

    /// The process hangs, with its port open.
    pub fn hang(&self, pid: Pid) {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        let Some(entry) = inner.processes.get_mut(&pid) else {
            return;
        };
        entry.record.hung = true;
        entry.record.unwell.get_or_insert(now);
        let program = entry.program;
        drop(inner);
        self.network.freeze(program, true);
    }

    /// The process says from now on that it is not healthy.
    pub async fn sicken(&self, pid: Pid) {
        let now = self.clock.elapsed();
        let health = {
            let mut inner = self.inner();
            let Some(entry) = inner.processes.get_mut(&pid) else {
                return;
            };
            entry.record.unwell.get_or_insert(now);
            entry.health.clone()
        };
        if let Some(health) = health {
            health.set(false).await;
        }
    }

    /// The process does not hear SIGTERM.
    pub fn deafen(&self, pid: Pid) {
        if let Some(entry) = self.inner().processes.get_mut(&pid) {
            entry.deaf = true;
        }
    }

    /// All processes of a node end with its host, and what kept track of them.
    pub fn end_all(&self, node: &str) {
        self.inner().places.retain(|(of, _), _| of != node);
        let living = self.living().into_iter();
        for record in living.filter(|record| record.node == node) {
            self.crash(record.pid);
        }
    }

    fn end(&self, pid: Pid, end: End) {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        let Some(entry) = inner.processes.get_mut(&pid) else {
            return;
        };
        if entry.record.ended.is_some() {
            return;
        }
        entry.record.ended = Some(now);
        let end = match entry.record.lapsed {
            Some(_) => End {
                cause: Some(ExitCause::Partition),
                ..end
            },
            None => end,
        };
        entry.health = None;
        let (program, task) = (entry.program, entry.task.take());
        let told = entry.end.clone();
        let line = format!(
            "process {pid} {} on {} ended: {:?}",
            entry.record.instance, entry.record.node, end
        );
        drop(inner);
        self.trace.note(line);
        self.network.kill(program, false);
        if let Some(task) = task {
            task.abort();
        }
        told.send_replace(Some(end));
    }

    /// Lets the process stop by itself after `time`, as its shim would see to.
    fn stop_within(&self, pid: Pid, time: Option<Duration>) {
        let deadline = time.map(|time| self.clock.elapsed() + time);
        if let Some(entry) = self.inner().processes.get_mut(&pid) {
            entry.deadline = deadline;
        }
        let (Some(time), table) = (time, self.clone()) else {
            return;
        };
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let Some(grace) = table.lapse(pid, deadline) else {
                return;
            };
            tokio::time::sleep(grace).await;
            table.end(
                pid,
                End {
                    of: Ended::Program,
                    code: None,
                    signal: Some(9),
                    at: None,
                    moment: None,
                    cause: Some(ExitCause::Partition),
                },
            );
        });
    }

    /// Asks the process to end if `deadline` still stands; none if it does not.
    fn lapse(&self, pid: Pid, deadline: Option<Duration>) -> Option<Duration> {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        let entry = inner.processes.get_mut(&pid)?;
        if entry.deadline != deadline || entry.record.ended.is_some() {
            return None;
        }
        entry.record.lapsed = Some(now);
        entry.record.unwell.get_or_insert(now);
        if !entry.deaf && !entry.record.hung {
            entry.stop.cancel();
        }
        self.trace.note(format!(
            "process {pid} {} on {} stops by itself",
            entry.record.instance, entry.record.node
        ));
        Some(entry.grace)
    }

    /// The agent `by` signals the process, which it takes for one of `instance`.
    fn signal(&self, pid: Pid, signal: StopSignal, by: ProgramId, instance: &str) {
        let now = self.clock.elapsed();
        let mut inner = self.inner();
        let Some(entry) = inner.processes.get_mut(&pid) else {
            return;
        };
        if entry.record.ended.is_some() {
            return;
        }
        if entry.record.agent != by || entry.record.instance != instance {
            let what = format!(
                "program {by} signals process {pid} of {}, of program {}, as one of {instance}",
                entry.record.instance, entry.record.agent
            );
            self.trace.violation("I2", what);
        }
        if entry.record.signalled.is_none() {
            entry.record.signalled = Some(now);
            let place = (address(entry.host).to_string(), entry.port.unwrap_or(0));
            entry.record.called = self.cast.caller(&place, LOST, LEARN);
        }
        let line = format!(
            "process {pid} {} on {} gets {signal:?}",
            entry.record.instance, entry.record.node
        );
        self.trace.note(line);
        if signal == StopSignal::SigKill {
            drop(inner);
            self.end(
                pid,
                End {
                    code: None,
                    signal: Some(9),
                    at: None,
                    moment: None,
                    cause: None,
                    of: Ended::Program,
                },
            );
        } else if !entry.deaf && !entry.record.hung {
            entry.stop.cancel();
        }
    }
}

/// Starts the processes of one run of an agent.
struct Starter {
    table: Table,
    node: String,
    host: HostId,
    agent: ProgramId,
    planted: Planted,
}

/// What a process is like.
struct Nature {
    /// It listens so long after its start.
    slow: Duration,
    deaf: bool,
    /// It ends by itself then.
    ends: Option<Duration>,
    /// It ends by itself whatever happens.
    hopeless: bool,
}

impl Nature {
    /// What chance gives, save for what is known of all that are made from a `bad` template.
    fn of(dice: &mut Dice, calm: bool, bad: bool, planted: Planted) -> Self {
        let slow = match dice.chance(10) && !calm {
            true => dice.between(1_000, 6_000),
            false => dice.between(5, 300),
        };
        let ends = dice.chance(8).then(|| dice.between(50, 20_000));
        let deaf = dice.chance(6) && !calm;
        let ends = match planted {
            Planted::Restless => Some(15_000),
            Planted::Spin => Some(50),
            _ if bad => Some(200),
            _ => ends.filter(|_| !calm),
        };
        Self {
            slow: Duration::from_millis(slow),
            deaf,
            ends: ends.map(Duration::from_millis),
            hopeless: bad || matches!(planted, Planted::Restless | Planted::Spin),
        }
    }
}

impl Processes for Starter {
    fn start<'a>(
        &'a self,
        place: &'a Place,
        incarnation: u64,
        program: &'a Program,
    ) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(async move {
            let refuse = {
                let mut inner = self.table.inner();
                let calm = inner.calm;
                inner.dice.chance(3) && !calm
            };
            if refuse {
                return Err(StartError::Refused("out of memory".to_owned()));
            }
            let instance = program.environment.get("QUAESTOR_INSTANCE");
            let instance = instance.cloned().unwrap_or_default();
            match self.planted {
                Planted::DoubleStart => _ = self.begin(program, &instance),
                Planted::Ghost => _ = self.begin(program, "ghost-0"),
                _ => {}
            }
            let pid = self.begin(program, &instance);
            if self.planted != Planted::Immortal {
                self.table.stop_within(pid, program.stop_within);
            }
            let at = (self.node.clone(), place.directory.clone());
            self.table.inner().places.insert(at, (incarnation, pid));
            Ok(self.table.started(pid, self.agent, self.planted))
        })
    }

    fn find<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, io::Result<Found>> {
        let at = (self.node.clone(), place.directory.clone());
        let mut inner = self.table.inner();
        let last = inner.places.get(&at).copied();
        let Some((incarnation, pid)) = last else {
            return Box::pin(async { Ok(Found::Idle { last: None }) });
        };
        if self.planted == Planted::Neglect && pid % 3 == 0 {
            return Box::pin(std::future::pending());
        }
        let entry = inner.processes.get_mut(&pid).expect("what was started");
        let end = *entry.end.borrow();
        if end.is_none() {
            entry.record.agent = self.agent;
        }
        drop(inner);
        Box::pin(async move {
            Ok(match end {
                Some(end) => Found::Idle {
                    last: Some((incarnation, end)),
                },
                None => Found::Running {
                    incarnation,
                    started: self.table.started(pid, self.agent, self.planted),
                },
            })
        })
    }

    fn usage(&self, pids: &BTreeSet<u32>) -> BTreeMap<u32, Used> {
        let now = self.table.clock.elapsed();
        let inner = self.table.inner();
        let living = pids.iter().filter_map(|pid| {
            let record = &inner.processes.get(pid)?.record;
            let used = Used {
                processor: (now - record.started) / 10,
                memory: 1 << 20,
                processes: 1,
            };
            record.ended.is_none().then_some((*pid, used))
        });
        living.collect()
    }

    fn processors(&self) -> f64 {
        4.0
    }

    fn forget<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let at = (self.node.clone(), place.directory.clone());
            let last = self.table.inner().places.remove(&at);
            if let Some((_, pid)) = last {
                // It is the place that is forgotten, whoever was there.
                let of = self.table.instance(pid);
                let agent = self.agent;
                self.table.signal(pid, StopSignal::SigKill, agent, &of);
            }
            Ok(())
        })
    }
}

impl Starter {
    fn begin(&self, program: &Program, instance: &str) -> Pid {
        let table = &self.table;
        let variable = |name: &str| program.environment.get(name).cloned().unwrap_or_default();
        let own = table.network.begin(self.host);
        let mut inner = table.inner();
        let calm = inner.calm;
        let pid = 1000 + inner.processes.len() as Pid;
        let dice = Dice::new(inner.dice.bits());
        let bad = variable("BAD") == "1";
        let nature = Nature::of(&mut inner.dice, calm, bad, self.planted);
        let mut others = inner.processes.values();
        let again = others.any(|other| other.record.instance == instance);
        let record = Record {
            pid,
            node: self.node.clone(),
            instance: instance.to_owned(),
            version: match self.planted == Planted::StepBack && again {
                true => 0,
                false => variable("VERSION").parse().unwrap_or(0),
            },
            agent: self.agent,
            started: table.clock.elapsed(),
            ended: None,
            signalled: None,
            called: None,
            unwell: None,
            hung: false,
            lapsed: None,
        };
        let line = format!(
            "process {pid} {} on {} started, version {}",
            record.instance, record.node, record.version
        );
        let stop = CancellationToken::new();
        let entry = Entry {
            record,
            host: self.host,
            port: variable("PORT").parse().ok(),
            program: own,
            deaf: nature.deaf,
            stop: stop.clone(),
            deadline: None,
            grace: program.stop.grace.get(),
            health: None,
            task: None,
            end: watch::Sender::new(None),
        };
        inner.processes.insert(pid, entry);
        drop(inner);
        table.trace.note(line);
        let host = machine(&table.clock, &table.network, own, dice, &Disk::default());
        let life = live(
            table.clone(),
            pid,
            host,
            variable("PORT").parse().ok(),
            variable("NAMES"),
            nature,
            stop,
        );
        let task = tokio::spawn(life).abort_handle();
        if self.planted == Planted::Whim {
            let (table, agent) = (table.clone(), self.agent);
            let instance = instance.to_owned();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(20)).await;
                table.signal(pid, StopSignal::SigTerm, agent, &instance);
            });
        }
        if let Some(entry) = table.inner().processes.get_mut(&pid) {
            entry.task = Some(task);
        }
        pid
    }
}

/// The life of a process.
async fn live(
    table: Table,
    pid: Pid,
    host: Host,
    port: Option<u16>,
    names: String,
    nature: Nature,
    stop: CancellationToken,
) {
    let serving = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => return 0,
            () = tokio::time::sleep(nature.slow) => {}
        }
        let Some(port) = port else {
            stop.cancelled().await;
            return 0;
        };
        let Ok(listener) = host.network.listen(([0, 0, 0, 0], port).into()).await else {
            return 98;
        };
        let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
        let machine = Arc::new(Unmeasured(host.clock.clone()));
        let kit = Kit::on(machine, names).capacity(4).limited();
        let server = worker::Server::new(kit, host.clock.clone()).await;
        if let Some(entry) = table.inner().processes.get_mut(&pid) {
            entry.health = Some(server.health());
        }
        let _ = server
            .run(listener, stop.clone(), Duration::from_millis(300))
            .await;
        0
    };
    let ending = async {
        tokio::time::sleep(nature.ends.unwrap_or_default()).await;
        // It was about to end by itself, but nothing goes wrong any more.
        if table.inner().calm && !nature.hopeless {
            std::future::pending().await
        }
        7
    };
    let code = tokio::select! {
        biased;
        code = serving => code,
        code = ending, if nature.ends.is_some() => code,
    };
    table.end(
        pid,
        End {
            code: Some(code),
            signal: None,
            at: None,
            moment: None,
            cause: None,
            of: Ended::Program,
        },
    );
}

/// A started process, as its agent has it.
struct Child {
    table: Table,
    pid: Pid,
    instance: String,
    agent: ProgramId,
    planted: Planted,
}

impl Process for Child {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn signal(&self, signal: StopSignal) -> io::Result<()> {
        let pid = match self.planted {
            Planted::Stranger => self.table.neighbour(self.pid),
            _ => self.pid,
        };
        self.table.signal(pid, signal, self.agent, &self.instance);
        Ok(())
    }

    fn stop_within(&self, time: Option<Duration>) -> io::Result<()> {
        if self.planted != Planted::Immortal {
            self.table.stop_within(self.pid, time);
        }
        Ok(())
    }

    /// Nothing prepares starts here.
    fn is_preparing(&self) -> bool {
        false
    }

    /// None is asked to say anything of itself.
    fn notice(&self) -> Option<Notice> {
        None
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    /// An errand takes a while, and as long as it may while the process hangs; it never fails by itself.
    fn run(&self, errand: Errand) -> BoxFuture<'static, Result<Outcome, String>> {
        let (table, pid) = (self.table.clone(), self.pid);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let hangs = (table.living().iter()).any(|record| record.pid == pid && record.hung);
            if hangs {
                tokio::time::sleep(errand.timeout).await;
            }
            let lives = table.living().iter().any(|record| record.pid == pid);
            Ok(Outcome {
                code: (lives && !hangs).then_some(0),
                signal: None,
                text: String::new(),
            })
        })
    }
}

impl Table {
    /// What the process is of.
    fn instance(&self, pid: Pid) -> String {
        let inner = self.inner();
        let entry = inner.processes.get(&pid);
        entry.map_or_else(String::new, |entry| entry.record.instance.clone())
    }

    /// Another living process, if there is one.
    fn neighbour(&self, pid: Pid) -> Pid {
        let mut living = self.living().into_iter().map(|record| record.pid);
        living.find(|other| *other != pid).unwrap_or(pid)
    }

    /// A process, for its `agent`.
    fn started(&self, pid: Pid, agent: ProgramId, planted: Planted) -> Started {
        let instance = self.instance(pid);
        let inner = self.inner();
        let entry = inner.processes.get(&pid);
        let end = entry.map(|entry| entry.end.subscribe());
        let ended = Box::pin(async move {
            let Some(mut end) = end else {
                return std::future::pending().await;
            };
            match end.wait_for(Option::is_some).await.map(|end| *end) {
                Ok(Some(end)) => end,
                _ => std::future::pending().await,
            }
        });
        let process = Box::new(Child {
            table: self.clone(),
            pid,
            instance,
            agent,
            planted,
        });
        Started { process, ended }
    }
}
