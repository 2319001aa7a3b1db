//! Tickets for exclusive services: who waits, for what, and what the agents say to it.
//!
//! - `known`: what the store says of services, agents and balancers
//! - `presence`: that this balancer is there
//! - `desk`: the loop that keeps the queues; `links`: what it hears of the agents' units
//! - `call`: one caller on its way to a ticket, here or at the balancer that keeps the queue
//!
//! One balancer keeps the queue of a service (`plan::queue::keeper`); the others pass their callers on to it,
//! once. Where balancers disagree about who that is there are two queues, which costs fairness and nothing
//! else: units are granted by the agents alone.

mod call;
mod desk;
mod known;
mod links;
mod presence;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use self::call::Call;
use self::{call::Avoided, desk::Desk, known::Known, presence::Presence};
use super::Config;
use crate::{
    host::Host,
    model::{
        Instance, Moment, Name, TicketId, Units,
        state::Endpoint,
        ticket::{Age, Board, Stamp},
    },
    store::Store,
    task::Failure,
};

/// An agent, as far as it can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its node.
    pub node: Name,
    /// `host:port`.
    pub address: String,
}

/// The agents, which alone decide about units.
pub trait Agents: Send + Sync {
    /// What is free on a node, now and whenever it changes; ends when the agent cannot be reached any more.
    fn watch(&self, agent: &Agent) -> BoxStream<'static, Result<Board, Unreachable>>;

    /// Asks for a unit. After an error nobody knows whether it was granted.
    fn grant(
        &self,
        agent: &Agent,
        instance: &Instance,
        serial: &str,
    ) -> BoxFuture<'static, Result<Answer, Unreachable>>;

    /// Lets a ticket last longer; none when it has come to its end.
    fn renew(
        &self,
        agent: &Agent,
        instance: &Instance,
        serial: &str,
    ) -> BoxFuture<'static, Result<Option<Duration>, Unreachable>>;

    /// Gives a ticket back. Once this has succeeded it is not valid, and never will be.
    fn release(
        &self,
        agent: &Agent,
        instance: &Instance,
        serial: &str,
    ) -> BoxFuture<'static, Result<(), Unreachable>>;
}

/// The other balancers.
pub trait Peers: Send + Sync {
    /// Waits at the balancer at `address` for a ticket of `service`, for a caller of this `age`.
    fn acquire(
        &self,
        address: &str,
        service: &str,
        age: Age,
    ) -> BoxStream<'static, Result<Progress, Refusal>>;
}

/// No answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// What an agent says to a request for a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is granted.
    Granted {
        /// Where the instance is reached.
        endpoint: Endpoint,
        /// How long the ticket lasts.
        lasts: Duration,
        /// What is free since.
        units: Units,
        /// The board's sequence that says the same.
        sequence: u64,
    },
    /// It is not, for this reason.
    Refused(String),
}

/// How far a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits.
    Waiting(Waiting),
    /// It has what it came for.
    Ticket(Ticket),
}

/// A place in a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// 1 is the next.
    pub place: usize,
    /// How many wait.
    pub length: usize,
    /// How many units there are, as far as agents can be reached.
    pub units: u32,
    /// Nodes whose agent cannot be reached.
    pub unreachable: Vec<Name>,
    /// What keeps the caller's place if it has to come again.
    pub stamp: Option<Stamp>,
}

/// One unit of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its name.
    pub id: TicketId,
    /// Where the instance is reached.
    pub endpoint: Endpoint,
    /// How long it lasts, from before it was told.
    pub lasts: Duration,
}

/// Why there is no ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody knows yet what there is.
    #[error("the balancer has not read the store since it started; it answers as soon as it has")]
    NotSynced,
    /// No such service.
    #[error("no service is found as `{0}`")]
    Unknown(String),
    /// It needs no ticket.
    #[error("`{0}` is not exclusive: ask for it with Pick, without a ticket")]
    Shared(String),
    /// Nothing was free in time.
    #[error("{0}")]
    TooLate(String),
    /// Too many wait.
    #[error("{0}")]
    Full(String),
    /// The queue is kept elsewhere now: come again.
    #[error("the queue is kept by another balancer now; ask again")]
    Moved,
    /// This balancer is about to end, or the other one cannot be reached: ask another one.
    #[error("{0}")]
    Unavailable(String),
    /// Something else, in another balancer's words.
    #[error("{0}")]
    Other(String),
}

/// Why nothing became of a ticket's renewal or release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It has come to its end.
    #[error("the ticket has come to its end; another client may have its unit")]
    Over,
    /// The agent cannot be asked now.
    #[error(
        "the agent of node {node} cannot be reached: {cause}; the ticket lasts as long as was said last"
    )]
    Unreachable {
        /// Its node.
        node: Name,
        /// What the connection said.
        cause: String,
    },
}

/// What the surfaces ask. Cheap to clone.
#[derive(Clone)]
pub struct Reservations(Arc<Shared>);

struct Shared {
    id: Name,
    host: Host,
    known: ArcSwap<Known>,
    commands: mpsc::UnboundedSender<desk::Command>,
    agents: Arc<dyn Agents>,
    peers: Arc<dyn Peers>,
    avoided: Avoided,
    announced: watch::Sender<bool>,
}

/// What the loop needs besides.
pub struct Inbox(mpsc::UnboundedReceiver<desk::Command>);

impl Reservations {
    /// Tickets by way of `agents` and `peers`, and what [`run`] needs.
    pub fn new(host: Host, agents: Arc<dyn Agents>, peers: Arc<dyn Peers>) -> (Self, Inbox) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let shared = Shared {
            id: known::new_id(&host),
            host,
            known: ArcSwap::default(),
            commands,
            agents,
            peers,
            avoided: Avoided::default(),
            announced: watch::Sender::new(false),
        };
        (Self(Arc::new(shared)), Inbox(inbox))
    }

    /// The id of this balancer.
    pub fn id(&self) -> &Name {
        &self.0.id
    }

    /// Whether the store says that this balancer is there, and how to be told when it does.
    pub fn announced(&self) -> watch::Receiver<bool> {
        self.0.announced.subscribe()
    }

    /// When another balancer was seen to vanish last.
    pub fn vanished(&self) -> Option<Moment> {
        self.0.known.load().vanished
    }

    /// Whether there are balancers that are not among these.
    pub fn knows_others_than(&self, balancers: &BTreeSet<Name>) -> bool {
        let known = self.0.known.load();
        known.balancers().any(|id| !balancers.contains(id))
    }

    /// A caller of this `age` comes. `forwarded`: from another balancer, which has chosen this one as the keeper of
    /// the queue.
    pub fn acquire(&self, service: String, age: Age, forwarded: bool) -> Call {
        Call::new(Arc::clone(&self.0), service, age, forwarded)
    }

    /// Lets a ticket last longer. Returns for how long from now.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn renew(&self, ticket: &TicketId) -> Result<Duration, Failed> {
        let agent = self.agent_of(ticket)?;
        let renewing = (self.0.agents).renew(&agent, &ticket.instance, &ticket.serial);
        let renewed = renewing.await.map_err(|error| unreachable(ticket, error))?;
        renewed.ok_or(Failed::Over)
    }

    /// Gives a ticket back.
    ///
    /// # Errors
    /// [`Failed::Unreachable`].
    pub async fn release(&self, ticket: &TicketId) -> Result<(), Failed> {
        let agent = self.agent_of(ticket)?;
        let releasing = (self.0.agents).release(&agent, &ticket.instance, &ticket.serial);
        releasing.await.map_err(|error| unreachable(ticket, error))
    }

    fn agent_of(&self, ticket: &TicketId) -> Result<Agent, Failed> {
        let agent = self.0.known.load().agent(&ticket.node);
        agent.ok_or_else(|| {
            let cause = Unreachable("it has no session".to_owned());
            unreachable(ticket, cause)
        })
    }
}

fn unreachable(ticket: &TicketId, error: Unreachable) -> Failed {
    Failed::Unreachable {
        node: ticket.node.clone(),
        cause: error.0,
    }
}

/// Keeps queues until `stop`. `address`: where this balancer is reached; one that has none keeps queues only
/// for its own callers.
///
/// # Errors
/// None today.
pub async fn run(
    config: Config,
    address: Option<String>,
    store: Store,
    reservations: Reservations,
    inbox: Inbox,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let shared = reservations.0;
    let announced = shared.announced.clone();
    let host = &shared.host;
    let mut presence = Presence::new(
        &config.cluster,
        &shared.id,
        address,
        &store,
        host,
        announced,
    );
    let desk = Desk::new(&config.cluster, Arc::clone(&shared), inbox.0);
    tokio::select! {
        () = desk.run(&store, &stop) => {}
        never = presence.hold() => match never {},
    }
    presence.end().await;
    Ok(())
}
