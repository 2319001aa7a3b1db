//! Asking agents for units, and balancers for tickets.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use tonic::{Code, Request, Status, transport::Channel};

use super::{
    connect::{Timeouts, connect_lazily, words},
    reservations::{read_stamp, stamp},
    trace,
};
use crate::{
    balancer::reservations::{
        Agent, Agents, Answer, Peers, Progress, Refusal, Ticket, Unreachable, Waiting,
    },
    host::Network,
    model::{
        Instance, TicketId, Units,
        state::Endpoint,
        ticket::{Age, Board},
    },
    proto::v1::{
        self as wire, acquire_response, agent_reservations_client::AgentReservationsClient,
        reservations_client::ReservationsClient,
    },
};

/// How long others may take. Each call says itself how long it waits for its answer.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    answer: None,
    keep_alive: Some(Duration::from_secs(5)),
};

/// How long an agent may take for an answer: it writes a small file, and may be starting processes.
const ANSWER: Duration = Duration::from_secs(3);

/// How long a balancer may take that has to ask an agent.
const RELAYED: Duration = Duration::from_secs(5);

/// Connections to one balancer, over which callers are spread: each carries about a thousand calls at once.
const LANES: usize = 10;

/// Connections to agents and balancers, made when they are first needed.
pub struct Connections {
    network: Arc<dyn Network>,
    channels: Mutex<BTreeMap<(String, usize), Channel>>,
    turn: AtomicUsize,
}

impl Connections {
    /// None yet.
    pub fn new(network: Arc<dyn Network>) -> Self {
        Self {
            network,
            channels: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    fn to(&self, address: &str, lane: usize) -> Result<Channel, Unreachable> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.to_owned(), lane);
        if let Some(channel) = channels.get(&key) {
            return Ok(channel.clone());
        }
        let channel = connect_lazily(Arc::clone(&self.network), address, TIMEOUTS)
            .map_err(|error| Unreachable(error.to_string()))?;
        channels.insert(key, channel.clone());
        Ok(channel)
    }

    /// Forgets connections to where nobody is: addresses come and go.
    fn forget(&self, address: &str) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|(to, _), _| to != address);
    }

    fn agent(&self, agent: &Agent) -> Result<AgentReservationsClient<Channel>, Unreachable> {
        Ok(AgentReservationsClient::new(self.to(&agent.address, 0)?))
    }
}

impl Agents for Connections {
    fn watch(&self, agent: &Agent) -> BoxStream<'static, Result<Board, Unreachable>> {
        // A connection of its own: were the old one dead without having said so, it would not be noticed.
        self.forget(&agent.address);
        let client = self.agent(agent);
        let node = agent.node.to_string();
        let opening = async move {
            let request = wire::WatchUnitsRequest { node };
            let answer = client?.watch_units(request).await;
            Ok::<_, Unreachable>(answer.map_err(silent)?.into_inner())
        };
        let boards = stream::once(opening).flat_map(|opened| match opened {
            Ok(boards) => boards.map(|said| Ok(board(said.map_err(silent)?))).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        });
        boards.boxed()
    }

    fn grant(
        &self,
        agent: &Agent,
        instance: &Instance,
        serial: &str,
    ) -> BoxFuture<'static, Result<Answer, Unreachable>> {
        let client = self.agent(agent);
        let mut request = patient(
            wire::GrantRequest {
                node: agent.node.to_string(),
                instance: instance.to_string(),
                serial: serial.to_owned(),
            },
            ANSWER,
        );
        trace::pass_on(&mut request);
        let asking = async move {
            let answer = client?.grant(request).await.map_err(silent)?.into_inner();
            let port = u16::try_from(answer.port).unwrap_or_default();
            Ok(match answer.outcome() {
                wire::GrantOutcome::Granted => Answer::Granted {
                    lasts: Duration::from_millis(answer.lasts_millis),
                    units: answer.units.as_ref().map(units).unwrap_or_default(),
                    sequence: answer.sequence,
                    endpoint: Endpoint {
                        host: answer.host,
                        port,
                    },
                },
                wire::GrantOutcome::Taken | wire::GrantOutcome::Over => {
                    Answer::Refused(answer.message)
                }
                // A word of a later version: what it means is not known.
                wire::GrantOutcome::Unspecified => return Err(Unreachable(answer.message)),
            })
        };
        asking.boxed()
    }

    fn renew(
        &self,
        agent: &Agent,
        instance: &Instance,
        serial: &str,
    ) -> BoxFuture<'static, Result<Option<Duration>, Unreachable>> {
        let client = self.agent(agent);
        let request = patient(
            wire::RenewGrantRequest {
                node: agent.node.to_string(),
                instance: instance.to_string(),
                serial: serial.to_owned(),
            },
            ANSWER,
        );
        let asking = async move {
            match client?.renew(request).await {
                Ok(answer) => Ok(Some(Duration::from_millis(answer.get_ref().lasts_millis))),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(silent(status)),
            }
        };
        asking.boxed()
    }

    fn release(
        &self,
        agent: &Agent,
        instance: &Instance,
        serial: &str,
    ) -> BoxFuture<'static, Result<(), Unreachable>> {
        let client = self.agent(agent);
        let request = patient(
            wire::ReleaseGrantRequest {
                node: agent.node.to_string(),
                instance: instance.to_string(),
                serial: serial.to_owned(),
            },
            ANSWER,
        );
        let asking = async move {
            client?.release(request).await.map_err(silent)?;
            Ok(())
        };
        asking.boxed()
    }
}

impl Peers for Connections {
    fn acquire(
        &self,
        address: &str,
        service: &str,
        age: Age,
    ) -> BoxStream<'static, Result<Progress, Refusal>> {
        let mut request = request(service, age, true);
        trace::pass_on(&mut request);
        self.acquire_at(address, request)
    }
}

/// As a client, at a balancer.
impl Connections {
    /// Waits at the balancer at `address` for a ticket of `service`, for at most `patience`; `age`: for how long
    /// that has been done elsewhere before.
    pub fn wait(
        &self,
        address: &str,
        service: &str,
        age: Age,
        patience: Option<Duration>,
    ) -> BoxStream<'static, Result<Progress, Refusal>> {
        let mut request = request(service, age, false);
        if let Some(patience) = patience {
            request.set_timeout(patience);
        }
        self.acquire_at(address, request)
    }

    /// Lets a ticket last longer, by way of the balancer at `address`. None: it has come to its end.
    ///
    /// # Errors
    /// When it cannot be asked now.
    pub async fn renew_at(
        &self,
        address: &str,
        ticket: &TicketId,
    ) -> Result<Option<Duration>, Unreachable> {
        let ticket = ticket.to_string();
        let request = patient(wire::RenewRequest { ticket }, RELAYED);
        match ReservationsClient::new(self.to(address, 0)?)
            .renew(request)
            .await
        {
            Ok(answer) => Ok(Some(Duration::from_millis(answer.get_ref().lasts_millis))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(silent(status)),
        }
    }

    /// Gives a ticket back, by way of the balancer at `address`.
    ///
    /// # Errors
    /// When it cannot be asked now.
    pub async fn release_at(&self, address: &str, ticket: &TicketId) -> Result<(), Unreachable> {
        let ticket = ticket.to_string();
        let request = patient(wire::ReleaseRequest { ticket }, RELAYED);
        let mut client = ReservationsClient::new(self.to(address, 0)?);
        client.release(request).await.map_err(silent)?;
        Ok(())
    }

    fn acquire_at(
        &self,
        address: &str,
        request: Request<wire::AcquireRequest>,
    ) -> BoxStream<'static, Result<Progress, Refusal>> {
        let lane = self.turn.fetch_add(1, Relaxed) % LANES;
        let channel = self.to(address, lane);
        let opening = async move {
            let channel = channel.map_err(|error| Refusal::Unavailable(error.0))?;
            let answer = ReservationsClient::new(channel).acquire(request).await;
            Ok::<_, Refusal>(answer.map_err(refusal)?.into_inner())
        };
        let progress = stream::once(opening).flat_map(|opened| match opened {
            Ok(answers) => answers
                .map(|answer| progress(answer.map_err(refusal)?))
                .boxed(),
            Err(refusal) => stream::once(async { Err(refusal) }).boxed(),
        });
        progress.boxed()
    }
}

fn request(service: &str, age: Age, forwarded: bool) -> Request<wire::AcquireRequest> {
    Request::new(wire::AcquireRequest {
        service: service.to_owned(),
        waited_millis: u64::try_from(age.waited.as_millis()).unwrap_or(u64::MAX),
        forwarded,
        stamp: age.stamp.map(stamp),
    })
}

/// What an answer to `Acquire` says.
fn progress(answer: wire::AcquireResponse) -> Result<Progress, Refusal> {
    match answer.progress {
        Some(acquire_response::Progress::Ticket(ticket)) => {
            let unreadable = || Refusal::Other(format!("`{}` is no ticket", ticket.ticket));
            Ok(Progress::Ticket(Ticket {
                id: ticket.ticket.parse().map_err(|_| unreadable())?,
                endpoint: Endpoint {
                    port: u16::try_from(ticket.port).map_err(|_| unreadable())?,
                    host: ticket.host,
                },
                lasts: Duration::from_millis(ticket.lasts_millis),
            }))
        }
        Some(acquire_response::Progress::Waiting(waiting)) => {
            let nodes = waiting.unreachable_nodes.iter();
            Ok(Progress::Waiting(Waiting {
                place: usize::try_from(waiting.place).unwrap_or(usize::MAX),
                length: usize::try_from(waiting.length).unwrap_or(usize::MAX),
                units: waiting.units,
                unreachable: nodes.filter_map(|node| node.parse().ok()).collect(),
                stamp: waiting.stamp.map(read_stamp),
            }))
        }
        None => Ok(Progress::Waiting(Waiting::default())),
    }
}

/// Why a balancer gives no ticket.
fn refusal(status: Status) -> Refusal {
    let text = words(&status);
    match status.code() {
        Code::Aborted => Refusal::Moved,
        Code::DeadlineExceeded => Refusal::TooLate(text),
        Code::ResourceExhausted => Refusal::Full(text),
        Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument => Refusal::Other(text),
        _ => Refusal::Unavailable(text),
    }
}

fn board(said: wire::WatchUnitsResponse) -> Board {
    let instances = said.instances.iter();
    Board {
        sequence: said.sequence,
        units: instances
            .filter_map(|of| Some((of.instance.parse().ok()?, units(of))))
            .collect(),
    }
}

fn units(of: &wire::InstanceUnits) -> Units {
    Units {
        capacity: of.capacity,
        taken: of.taken,
        open: of.open,
    }
}

fn patient<T>(message: T, patience: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}

fn silent(status: Status) -> Unreachable {
    Unreachable(words(&status))
}
