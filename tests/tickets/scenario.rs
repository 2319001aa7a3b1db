//! A cluster with an exclusive service, its callers, and what happens to them.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use quaestor::{
    balancer::reservations::{Progress, Refusal, Ticket, Unreachable},
    host::Host,
    model::state::Endpoint,
    proto::{
        demo::{WorkRequest, demo_worker_client::DemoWorkerClient},
        v1::{WatchUnitsRequest, agent_reservations_client::AgentReservationsClient},
    },
    rpc::connections::Connections,
};

use crate::support::{
    cluster::{QUAESTOR, demo_workers, kill_shims},
    etcd::{Etcd, free_port},
    eventually,
};

/// What the service is given by.
const BALANCE: &str = "balance: {exclusive: true, ticketTTL: 3s, reclaimAfter: 10m}";

/// An etcd and the roles.
pub(crate) struct World {
    etcd: Etcd,
    directory: tempfile::TempDir,
    running: Vec<(String, Child)>,
    balancers: Vec<String>,
    agents: Vec<String>,
}

impl World {
    /// `agents` and `balancers`, with `workers` ready.
    pub(crate) fn start(workers: u16, agents: usize, balancers: usize, more: &str) -> Self {
        let mut world = Self {
            etcd: Etcd::start(),
            directory: tempfile::tempdir().unwrap(),
            running: Vec::new(),
            balancers: (0..balancers)
                .map(|_| format!("127.0.0.1:{}", free_port()))
                .collect(),
            agents: (0..agents)
                .map(|_| format!("127.0.0.1:{}", free_port()))
                .collect(),
        };
        world.spawn("controller", &["controller"]);
        for at in 0..agents {
            world.start_agent(at);
        }
        for at in 0..balancers {
            let listen = world.balancers[at].clone();
            world.spawn(
                &format!("balancer-{at}"),
                &["balancer", "--listen", &listen],
            );
        }
        let shared = r#"
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: shared}
spec: {replicas: 0, command: [x], ports: [{name: grpc}], serviceNames: [Shared]}
"#;
        let manifest = demo_workers(workers, &format!("  {BALANCE}\n  {more}\n")) + shared;
        let file = world.directory.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        let applied = world.quaestor(&["apply", "-f", file.to_str().unwrap(), "--wait"]);
        assert!(applied.status.success(), "{applied:?}");
        eventually("all balancers know all workers", || {
            let ask = |balancer: &String| {
                let args = [
                    "acquire",
                    "Worker",
                    "--timeout",
                    "2s",
                    "--balancer",
                    balancer,
                    "--",
                    "true",
                ];
                world.quaestor(&args).status.success()
            };
            world.balancers.iter().all(ask)
        });
        world
    }

    fn spawn(&mut self, name: &str, arguments: &[&str]) {
        let log = std::fs::File::create(self.directory.path().join(format!("{name}.log"))).unwrap();
        let child = Command::new(QUAESTOR)
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push((name.to_owned(), child));
    }

    pub(crate) fn start_agent(&mut self, at: usize) {
        let node = format!("n{at}");
        let state = self
            .directory
            .path()
            .join(&node)
            .to_str()
            .unwrap()
            .to_owned();
        let listen = self.agents[at].clone();
        let arguments = [
            "agent",
            "--node",
            &node,
            "--state-dir",
            &state,
            "--listen",
            &listen,
        ];
        self.spawn(&node, &arguments);
    }

    pub(crate) fn kill_agent(&mut self, at: usize) {
        self.kill(&format!("n{at}"));
    }

    pub(crate) fn kill(&mut self, name: &str) {
        let place = self
            .running
            .iter()
            .position(|(role, _)| role == name)
            .unwrap();
        let (_, mut child) = self.running.remove(place);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn balancers(&self) -> &[String] {
        &self.balancers
    }

    pub(crate) fn quaestor(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint());
        command
            .env("QUAESTOR_BALANCER", self.balancers.join(","))
            .output()
            .unwrap()
    }

    /// A client of its own, that begins with another balancer than the one before.
    pub(crate) fn caller(&self) -> Caller {
        self.caller_at(0)
    }

    fn caller_at(&self, at: usize) -> Caller {
        let mut balancers = self.balancers.clone();
        let count = balancers.len();
        balancers.rotate_left(at % count);
        Caller {
            connections: Connections::new(Host::system().network),
            balancers,
        }
    }

    /// How many units are taken, and how many there are, as the agents say.
    async fn units(&self) -> (u32, u32) {
        let mut sum = (0, 0);
        for (at, address) in self.agents.iter().enumerate() {
            let client = AgentReservationsClient::connect(format!("http://{address}")).await;
            let Ok(mut client) = client else {
                return (u32::MAX, 0);
            };
            let request = WatchUnitsRequest {
                node: format!("n{at}"),
            };
            let said = client
                .watch_units(request)
                .await
                .unwrap()
                .into_inner()
                .next()
                .await;
            let Some(Ok(board)) = said else {
                return (u32::MAX, 0);
            };
            for of in board.instances {
                sum = (sum.0 + of.taken, sum.1 + of.capacity);
            }
        }
        sum
    }

    fn log(&self, name: &str) -> String {
        let file = self.directory.path().join(format!("{name}.log"));
        std::fs::read_to_string(file).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (name, _) in &self.running {
                let log = self.log(name);
                let lines: Vec<_> = log.lines().collect();
                let last = lines.len().saturating_sub(30);
                eprintln!("--- {name} ---\n{}", lines[last..].join("\n"));
            }
        }
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        kill_shims(Path::new(self.directory.path()));
    }
}

/// A client.
pub(crate) struct Caller {
    connections: Connections,
    balancers: Vec<String>,
}

impl Caller {
    /// Waits for a ticket, at one balancer after the other.
    pub(crate) async fn acquire(&self, patience: Duration) -> Result<Ticket, Refusal> {
        let start = Instant::now();
        loop {
            for balancer in &self.balancers {
                let waited = start.elapsed();
                let left = patience.saturating_sub(waited);
                let mut steps = self
                    .connections
                    .wait(balancer, "Worker", waited, Some(left));
                while let Some(step) = steps.next().await {
                    match step {
                        Ok(Progress::Ticket(ticket)) => return Ok(ticket),
                        Ok(Progress::Waiting(_))
                        | Err(Refusal::Unavailable(_) | Refusal::Moved) => {}
                        Err(refusal) => return Err(refusal),
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sees to it that its connection stands.
    async fn connect(&self) {
        let nobody = format!("none/none-0/{}", "0".repeat(32));
        let _ = (self.connections)
            .renew_at(&self.balancers[0], &nobody.parse().unwrap())
            .await;
    }

    pub(crate) async fn renew(&self, ticket: &Ticket) -> Result<Option<Duration>, Unreachable> {
        let mut renewed = Err(Unreachable(String::new()));
        for balancer in &self.balancers {
            renewed = self.connections.renew_at(balancer, &ticket.id).await;
            if renewed.is_ok() {
                break;
            }
        }
        renewed
    }

    pub(crate) async fn release(&self, ticket: &Ticket) {
        for balancer in &self.balancers {
            if self
                .connections
                .release_at(balancer, &ticket.id)
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    /// Works at the worker; whether it took the work.
    pub(crate) async fn work(endpoint: Endpoint, millis: u32) -> bool {
        let address = format!("http://{}:{}", endpoint.host, endpoint.port);
        let mut client = DemoWorkerClient::connect(address).await.unwrap();
        let request = WorkRequest {
            millis,
            ..WorkRequest::default()
        };
        match client.work(request).await {
            Ok(_) => true,
            Err(status) if status.code() == tonic::Code::ResourceExhausted => false,
            Err(status) => panic!("{status}"),
        }
    }

    /// Works as long as `work` takes, with a ticket that is renewed. Whether the worker took it.
    async fn hold(&self, ticket: &Ticket, work: Duration) -> bool {
        let millis = u32::try_from(work.as_millis()).unwrap();
        let working = Self::work(ticket.endpoint.clone(), millis);
        let renewing = async {
            loop {
                tokio::time::sleep(ticket.lasts / 3).await;
                if let Ok(None) = self.renew(ticket).await {
                    panic!("{} was lost while it was renewed", ticket.id);
                }
            }
        };
        tokio::select! {
            taken = working => taken,
            () = renewing => false,
        }
    }
}

/// Many callers at once.
pub(crate) struct Scenario {
    pub(crate) agents: usize,
    pub(crate) workers: u16,
    pub(crate) callers: usize,
    /// In this time all of them come.
    pub(crate) spread: Duration,
    /// So long each of them works.
    pub(crate) work: Duration,
}

/// What came out.
pub(crate) struct Outcome {
    callers: usize,
    served: usize,
    refused: usize,
    /// Served callers whom more than ten later ones have overtaken.
    overtaken: usize,
    most_overtaken: usize,
    leaked: u32,
    units: u32,
    took: Duration,
    until_clean: Duration,
}

/// What is noted of the callers.
#[derive(Default)]
struct Notes {
    /// How many have asked.
    arrived: usize,
    /// The order of tickets, by the order in which they were asked for.
    granted: Vec<usize>,
    refused: usize,
}

impl Scenario {
    /// Lets all of it happen: a fifth of the clients is killed, a balancer too, and an agent, which is started
    /// again.
    pub(crate) async fn run(self) -> Outcome {
        let mut world = World::start(self.workers, self.agents, 3, "stop: {grace: 1s}");
        let notes = Arc::new(Mutex::new(Notes::default()));
        let start = Instant::now();
        let gap = self.spread / u32::try_from(self.callers).unwrap();
        let mut tasks = BTreeMap::new();
        for at in 0..self.callers {
            let caller = world.caller_at(at);
            let notes = Arc::clone(&notes);
            // From half of it to one and a half, so that units are not free all at once.
            let work = self
                .work
                .mul_f64(0.5 + (at * 7_919 % 1_000) as f64 / 1_000.0);
            tasks.insert(
                at,
                tokio::spawn(async move {
                    caller.connect().await;
                    let turn = {
                        let mut notes = notes.lock().unwrap();
                        notes.arrived += 1;
                        notes.arrived
                    };
                    let ticket = caller.acquire(Duration::from_secs(240)).await.unwrap();
                    notes.lock().unwrap().granted.push(turn);
                    if !caller.hold(&ticket, work).await {
                        notes.lock().unwrap().refused += 1;
                    }
                    caller.release(&ticket).await;
                }),
            );
            tokio::time::sleep(gap).await;
        }
        // Every fifth is killed, in turn while it has a ticket and while it waits.
        let doomed: Vec<usize> = (0..self.callers).filter(|at| at % 5 == 2).collect();
        for (count, at) in doomed.iter().enumerate() {
            let early = if count % 2 == 0 {
                0
            } else {
                usize::from(self.workers) / 2
            };
            let gone = count + 1;
            while notes.lock().unwrap().granted.len() + gone / 2 + early < *at
                && start.elapsed() < Duration::from_secs(200)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tasks[at].abort();
            if count == doomed.len() / 4 {
                world.kill("balancer-1");
            }
            if count == doomed.len() / 2 {
                world.kill_agent(0);
            }
            if count == doomed.len() * 3 / 4 {
                world.start_agent(0);
            }
        }
        for (at, task) in tasks {
            if let Err(error) = task.await {
                assert!(error.is_cancelled() && at % 5 == 2, "{at}: {error}");
            }
        }
        let took = start.elapsed();
        let (mut taken, mut units) = world.units().await;
        while taken > 0 && start.elapsed() < took + Duration::from_secs(30) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            (taken, units) = world.units().await;
        }
        let notes = notes.lock().unwrap();
        let mut most_overtaken = 0;
        let mut overtaken = 0;
        for (turn, at) in notes.granted.iter().enumerate() {
            let later = notes.granted[..turn]
                .iter()
                .filter(|other| *other > at)
                .count();
            overtaken += usize::from(later > 10);
            most_overtaken = most_overtaken.max(later);
        }
        Outcome {
            callers: self.callers,
            served: notes.granted.len(),
            refused: notes.refused,
            overtaken,
            most_overtaken,
            leaked: taken,
            units,
            took,
            until_clean: start.elapsed().saturating_sub(took),
        }
    }
}

impl Outcome {
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_eq!(self.refused, 0, "a worker was given twice: {self}");
        assert_eq!(self.leaked, 0, "tickets leaked: {self}");
        assert!(self.served >= self.callers * 4 / 5, "{self}");
        assert!(
            self.overtaken * 20 <= self.callers,
            "it was not fair: {self}"
        );
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} callers served in {:.1?} on {} units; refused by a worker: {}; overtaken by more than 10 \
             later ones: {} (most: {}); tickets left after {:.1?}: {}",
            self.served,
            self.callers,
            self.took,
            self.units,
            self.refused,
            self.overtaken,
            self.most_overtaken,
            self.until_clean,
            self.leaked
        )
    }
}
