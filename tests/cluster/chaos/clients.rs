//! Who calls all the time: each asks a balancer for a worker and calls it; when that fails, it says so, asks another balancer
//! for another worker, and calls that, once.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use quaestor::proto::{
    demo::{WorkRequest, demo_worker_client::DemoWorkerClient},
    v1::{
        Address, Endpoint as Picked, Outcome, PickRequest, ReportOutcomeRequest,
        balancer_client::BalancerClient,
    },
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    network::enter,
    recorder::{Life, Process},
};

const CLIENTS: usize = 4;

/// Between two calls of a client.
const PAUSE: Duration = Duration::from_millis(60);

/// How long a balancer, and a worker, may take to answer before the next one is asked.
const ASKING: Duration = Duration::from_secs(3);
const CALLING: Duration = Duration::from_secs(6);

/// How long, where there is no next one: a machine that is busy with other tests is no fault.
const WAITING: Duration = Duration::from_secs(20);

/// What a call takes.
const WORK: u32 = 10;

/// What clients saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Calls that were answered.
    pub(super) calls: u64,
    /// Why first attempts failed.
    pub(super) retried: BTreeMap<String, u64>,
    /// Calls that failed for good.
    pub(super) failed: Vec<String>,
    /// The longest time without an answered call.
    pub(super) longest_gap: Duration,
    /// The oldest view that was answered from.
    pub(super) oldest_view: Duration,
    /// Who did not answer, and when.
    pub(super) missed: Vec<(Timestamp, String, String)>,
    /// Who answered: node, instance and process.
    pub(super) answered: BTreeMap<(String, String, u32), u64>,
    last: Option<Instant>,
}

pub(super) struct Clients {
    tally: Arc<Mutex<Tally>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    /// Clients in that namespace, of balancers at these places.
    pub(super) fn start(balancers: [String; 2], space: Option<File>) -> Self {
        let mut clients = Self {
            tally: Arc::default(),
            over: Arc::default(),
            thread: None,
        };
        let (tally, over) = (clients.tally.clone(), clients.over.clone());
        clients.thread = Some(std::thread::spawn(move || {
            enter(space.as_ref());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let client = |number: usize| {
                    let balancers = balancers.clone().map(|place| {
                        let place = Endpoint::from_shared(format!("http://{place}")).unwrap();
                        place.connect_timeout(ASKING).connect_lazy()
                    });
                    let client = Client { number, balancers };
                    client.run(&tally, &over)
                };
                futures::future::join_all((0..CLIENTS).map(client)).await;
            });
        }));
        clients
    }

    /// Ends them.
    pub(super) fn end(mut self) -> Tally {
        self.join();
        self.tally.lock().unwrap().clone()
    }

    fn join(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.join();
    }
}

struct Client {
    number: usize,
    balancers: [Channel; 2],
}

/// Why an attempt failed, and whom it meant.
struct Miss {
    why: String,
    picked: Option<Picked>,
}

impl Client {
    async fn run(self, tally: &Mutex<Tally>, over: &AtomicBool) {
        let mut turn = self.number;
        while !over.load(Ordering::Relaxed) {
            turn += 1;
            let begun = Timestamp::now();
            let attempt = self.attempt(turn, Vec::new(), CALLING, tally);
            if let Err(first) = attempt.await {
                let excluded = first.picked.as_ref().and_then(|one| one.address.clone());
                if let Some(address) = &excluded {
                    self.report(turn, address.clone()).await;
                }
                let excluded = excluded.into_iter().collect();
                let second = self.attempt(turn + 1, excluded, WAITING, tally).await;
                let mut tally = tally.lock().unwrap();
                let why = second.as_ref().err().map(|miss| miss.words());
                if let Some(why) = why {
                    let first = first.words();
                    tally
                        .failed
                        .push(format!("begun {begun}: {first}; then {why}"));
                }
                *tally.retried.entry(first.why).or_default() += 1;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(
        &self,
        turn: usize,
        exclude: Vec<Address>,
        patience: Duration,
        tally: &Mutex<Tally>,
    ) -> Result<(), Miss> {
        let picked = self.pick(turn, exclude, tally).await;
        let picked = picked.map_err(|why| Miss { why, picked: None })?;
        let worked = tokio::time::timeout(patience, work(&picked)).await;
        let worked = worked.unwrap_or_else(|_| Err("the worker does not answer".to_owned()));
        let mut tally = tally.lock().unwrap();
        match worked {
            Ok((instance, pid)) => {
                tally.calls += 1;
                let who = (picked.node, instance, pid);
                *tally.answered.entry(who).or_default() += 1;
                let now = Instant::now();
                let gap = tally.last.map_or(Duration::ZERO, |last| now - last);
                tally.longest_gap = tally.longest_gap.max(gap);
                tally.last = Some(now);
                Ok(())
            }
            Err(why) => {
                let (node, instance) = (picked.node.clone(), picked.instance.clone());
                tally.missed.push((Timestamp::now(), node, instance));
                Err(Miss {
                    why,
                    picked: Some(picked),
                })
            }
        }
    }

    /// A worker, from the balancer whose turn it is, else from the other one.
    async fn pick(
        &self,
        turn: usize,
        exclude: Vec<Address>,
        tally: &Mutex<Tally>,
    ) -> Result<Picked, String> {
        let mut why = String::new();
        for (at, patience) in [(turn, ASKING), (turn + 1, WAITING)] {
            let request = PickRequest {
                service: "Worker".to_owned(),
                count: 1,
                exclude: exclude.clone(),
                ..PickRequest::default()
            };
            let mut balancer = BalancerClient::new(self.balancers[at % 2].clone());
            let asked = tokio::time::timeout(patience, balancer.pick(request)).await;
            match asked {
                Ok(Ok(answer)) => {
                    let answer = answer.into_inner();
                    let age = Duration::from_millis(answer.view_age_millis);
                    let mut tally = tally.lock().unwrap();
                    tally.oldest_view = tally.oldest_view.max(age);
                    match answer.endpoints.into_iter().next() {
                        Some(picked) => return Ok(picked),
                        None => "an empty answer".clone_into(&mut why),
                    }
                }
                Ok(Err(status)) => why = format!("a balancer: {:?}", status.code()),
                Err(_) => "a balancer does not answer".clone_into(&mut why),
            }
        }
        Err(why)
    }

    /// Says that a call failed. Nothing waits for it.
    async fn report(&self, turn: usize, address: Address) {
        let outcome = Outcome {
            address: Some(address),
            successes: 0,
            failures: 1,
        };
        for at in [turn, turn + 1] {
            let request = ReportOutcomeRequest {
                service: "Worker".to_owned(),
                client: format!("client-{}", self.number),
                outcomes: vec![outcome.clone()],
            };
            let mut balancer = BalancerClient::new(self.balancers[at % 2].clone());
            let told = balancer.report_outcome(request);
            let _ = tokio::time::timeout(Duration::from_millis(500), told).await;
        }
    }
}

impl Miss {
    fn words(&self) -> String {
        match &self.picked {
            Some(picked) => format!("{} on {}: {}", picked.instance, picked.node, self.why),
            None => self.why.clone(),
        }
    }
}

/// Lets a worker work: which instance, and which process, did.
async fn work(picked: &Picked) -> Result<(String, u32), String> {
    let address = picked.address.clone().unwrap_or_default();
    let place = format!("http://{}:{}", address.host, address.port);
    let channel = Endpoint::from_shared(place).unwrap().connect().await;
    let channel = channel.map_err(|_| "the worker takes no connection".to_owned())?;
    let request = WorkRequest {
        millis: WORK,
        ..WorkRequest::default()
    };
    let worked = DemoWorkerClient::new(channel).work(request).await;
    let worked = worked.map_err(|status| format!("the worker: {:?}", status.code()))?;
    let worked = worked.into_inner();
    Ok((worked.instance, worked.pid))
}

impl Tally {
    /// What clients saw that must not be.
    pub(super) fn check(&self, lives: &BTreeMap<Process, Life>) -> Vec<String> {
        let mut wrong = self.failed.clone();
        for ((node, instance, pid), count) in &self.answered {
            let process = Process {
                node: node.clone(),
                instance: instance.clone(),
                pid: *pid,
            };
            if !lives.contains_key(&process) {
                wrong.push(format!("{count} answers of {process:?}, which never was"));
            }
        }
        wrong
    }
}
