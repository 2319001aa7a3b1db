//! A cluster with an exclusive service, and its clients.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use quaestor::{
    balancer::reservations::{Progress, Refusal, Ticket, Unreachable},
    host::Host,
    keys::Keys,
    model::{Name, Presence, state::Endpoint, ticket::Age},
    plan::queue::keeper,
    proto::{
        demo::{WorkRequest, demo_worker_client::DemoWorkerClient},
        v1::{WatchUnitsRequest, agent_reservations_client::AgentReservationsClient},
    },
    rpc::connections::Connections,
    store::{self, Store},
};

use crate::support::{
    cluster::{QUAESTOR, demo_workers, kill_shims},
    etcd::Etcd,
    eventually,
    ports::free_port,
};

/// How long tickets last, where a test does not care.
const LASTS: Duration = Duration::from_secs(3);

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
        Self::of_tickets(LASTS, workers, agents, balancers, more)
    }

    /// The same; tickets last so long unless they are renewed.
    pub(crate) fn of_tickets(
        last: Duration,
        workers: u16,
        agents: usize,
        balancers: usize,
        more: &str,
    ) -> Self {
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
        let last = last.as_secs();
        let balance =
            format!("balance: {{exclusive: true, ticketTTL: {last}s, reclaimAfter: 10m}}");
        let manifest = demo_workers(workers, &format!("  {balance}\n  {more}\n")) + shared;
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
                    "20s",
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

    pub(crate) fn caller_at(&self, at: usize) -> Caller {
        let mut balancers = self.balancers.clone();
        let count = balancers.len();
        balancers.rotate_left(at % count);
        Caller {
            connections: Connections::new(Host::system().network),
            balancers,
        }
    }

    /// The name of the balancer that keeps the queue.
    pub(crate) async fn keeper(&self) -> String {
        let config = store::Config::new([self.etcd.endpoint()]);
        let store = Store::new(config, Host::system()).unwrap();
        let prefix = Keys::new(&"default".parse().unwrap()).balancers();
        let listing = store.list(&prefix).await.unwrap();
        let known = listing.entries.iter();
        let known = known.map(|entry| serde_json::from_slice::<Presence>(&entry.value).unwrap());
        let known: Vec<Presence> = known.collect();
        let service: Name = "worker".parse().unwrap();
        let id = keeper(&service, known.iter().map(|known| &known.id)).unwrap();
        let address = known
            .iter()
            .find(|known| known.id == *id)
            .unwrap()
            .address
            .clone();
        let at = self
            .balancers
            .iter()
            .position(|known| Some(known) == address.as_ref())
            .unwrap();
        format!("balancer-{at}")
    }

    /// How many units are taken, and how many there are, as the agents say.
    pub(crate) async fn units(&self) -> (u32, u32) {
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
        self.acquire_with(patience, || {}).await
    }

    /// The same; says when it hears its place.
    pub(crate) async fn acquire_with(
        &self,
        patience: Duration,
        mut told: impl FnMut(),
    ) -> Result<Ticket, Refusal> {
        let start = Instant::now();
        let mut stamp = None;
        loop {
            for balancer in &self.balancers {
                let waited = start.elapsed();
                let left = patience.saturating_sub(waited);
                let age = Age { waited, stamp };
                let mut steps = self.connections.wait(balancer, "Worker", age, Some(left));
                while let Some(step) = steps.next().await {
                    match step {
                        Ok(Progress::Ticket(ticket)) => return Ok(ticket),
                        Ok(Progress::Waiting(waiting)) => {
                            stamp = waiting.stamp.or(stamp);
                            told();
                        }
                        Err(Refusal::Unavailable(_) | Refusal::Moved) => {}
                        Err(refusal) => return Err(refusal),
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sees to it that its connection stands.
    pub(crate) async fn connect(&self) {
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
    pub(crate) async fn hold(&self, ticket: &Ticket, work: Duration) -> bool {
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
