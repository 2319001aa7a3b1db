//! The loop that keeps the queues: callers come and go, agents say what is free, and who is next gets it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    Agent, Answer, Shared, Ticket, Unreachable, Waiting,
    known::{Known, Roster},
    links::{Links, News},
};
use crate::{
    keys::Keys,
    model::{
        Instance, Moment, Name, TicketId, Units,
        ticket::{Age, Board},
    },
    plan::queue::{Caller, Place, Queue},
    retry::Retry,
    store::Store,
};

/// How often those who wait are told their place anew.
const SHOW: Duration = Duration::from_millis(500);

/// Pauses between attempts to take back a ticket that nobody has.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What callers say to the loop.
pub(super) enum Command {
    /// One comes.
    Enter {
        service: Name,
        caller: Caller,
        age: Age,
        stage: watch::Sender<Stage>,
        /// What is asked for its sake belongs to this span.
        span: Span,
    },
    /// It goes; with its ticket, if it got one and has passed it on.
    Leave { caller: Caller, served: bool },
}

/// How far a caller is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Nothing is known yet.
    Entering,
    Waiting(Waiting),
    Ticket(Ticket),
    /// There is no room.
    Full(String),
    /// Another balancer keeps the queue now.
    Moved,
}

/// A caller in the hall.
struct Client {
    service: Name,
    stage: watch::Sender<Stage>,
    /// The ticket that it was told of.
    ticket: Option<TicketId>,
    /// What is asked for its sake belongs to this span.
    span: Span,
}

/// What became of a request to an agent.
enum Done {
    Asked {
        service: Name,
        ticket: TicketId,
        outcome: Result<Answer, Unreachable>,
    },
    /// A ticket that nobody has is certainly not valid any more; the place, if its fate was unknown.
    TakenBack(Option<(Name, Place)>),
}

pub(super) struct Desk {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
    roster: Roster,
    known: Arc<Known>,
    queues: BTreeMap<Name, Queue>,
    /// What the agents that are heard said last.
    boards: BTreeMap<Name, Board>,
    clients: BTreeMap<Caller, Client>,
    links: Links,
    asked: FuturesUnordered<BoxFuture<'static, Done>>,
    next_show: Moment,
}

impl Desk {
    pub(super) fn new(
        cluster: &Name,
        shared: Arc<Shared>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            roster: Roster::new(Keys::new(cluster)),
            known: Arc::default(),
            queues: BTreeMap::new(),
            boards: BTreeMap::new(),
            clients: BTreeMap::new(),
            links: Links::default(),
            asked: FuturesUnordered::new(),
            next_show: Moment::default(),
            shared,
            commands,
        }
    }

    /// Runs until `stop`. Callers who wait then are told to go elsewhere.
    pub(super) async fn run(mut self, store: &Store, stop: &CancellationToken) {
        let mut follow = store.follow(self.roster.prefixes());
        let shared = Arc::clone(&self.shared);
        loop {
            let wake = self.serve();
            let wake = async {
                match wake {
                    Some(at) => shared.host.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                update = follow.next() => {
                    let known = self.roster.apply(update.changes, shared.host.clock.now());
                    self.learn(known);
                }
                Some(done) = self.asked.next() => self.take(done),
                news = self.links.next(&shared.host, &*shared.agents) => self.hear(news),
                Some(command) = self.commands.recv() => self.obey(command),
                () = wake => {}
            }
        }
    }

    /// Asks for every unit that may be free and is wanted, and tells callers their places. Returns when there
    /// is more to do.
    fn serve(&mut self) -> Option<Moment> {
        let now = self.shared.host.clock.now();
        let mut requests = Vec::new();
        for (service, queue) in &mut self.queues {
            let places = std::iter::from_fn(|| queue.next(now)).enumerate();
            requests.extend(places.map(|(number, place)| (service.clone(), place, number)));
        }
        for (service, place, number) in requests {
            self.ask(service, place, number);
        }
        if now >= self.next_show {
            self.next_show = now + SHOW;
            self.show_all();
        }
        let queues = self.queues.iter();
        let waiting = queues.map(|(name, queue)| (name.to_string(), (queue.len(), queue.units())));
        self.shared.host.metrics.balancer.wait(waiting);
        let waits = self.queues.values().any(|queue| !queue.is_empty());
        let queues = self.queues.values().filter_map(|queue| queue.wake(now));
        queues.chain(waits.then_some(self.next_show)).min()
    }

    /// Asks an agent for a unit, for whoever is next when it answers: most likely for who has that `number` in the
    /// queue now, from 0.
    fn ask(&mut self, service: Name, place: Place, number: usize) {
        let queue = self.queues.get(&service);
        let caller = queue.and_then(|queue| queue.waiting().nth(number));
        let client = caller.and_then(|(caller, _)| self.clients.get(&caller));
        let span = client.map_or_else(Span::none, |client| client.span.clone());
        let ticket = TicketId {
            node: place.node,
            instance: place.instance,
            serial: self.shared.host.entropy.uuid(),
        };
        let asking = match self.known.agent(&ticket.node) {
            Some(agent) => span
                .in_scope(|| (self.shared.agents).grant(&agent, &ticket.instance, &ticket.serial)),
            None => {
                futures::future::ready(Err(Unreachable("it has no session".to_owned()))).boxed()
            }
        };
        let done = asking.map(move |outcome| Done::Asked {
            service,
            ticket,
            outcome,
        });
        self.asked.push(done.boxed());
    }

    /// Takes in what became of a request.
    fn take(&mut self, done: Done) {
        let now = self.shared.host.clock.now();
        match done {
            Done::TakenBack(place) => {
                if let Some((service, place)) = place
                    && let Some(queue) = self.queues.get_mut(&service)
                {
                    queue.settled(&place);
                }
            }
            Done::Asked {
                service,
                ticket,
                outcome,
            } => {
                let place = Place {
                    node: ticket.node.clone(),
                    instance: ticket.instance.clone(),
                };
                let queue = queue(&mut self.queues, &self.boards, &service, &self.shared);
                match outcome {
                    Ok(Answer::Granted {
                        endpoint,
                        lasts,
                        units,
                        sequence,
                    }) => {
                        let next = queue.granted(&place, sequence, units);
                        let Some(client) = next.and_then(|next| self.clients.get_mut(&next)) else {
                            self.take_back(service, ticket, None);
                            return;
                        };
                        client.ticket = Some(ticket.clone());
                        client.stage.send_replace(Stage::Ticket(Ticket {
                            id: ticket,
                            endpoint,
                            lasts,
                        }));
                    }
                    Ok(Answer::Refused(why)) => {
                        tracing::debug!(%ticket, why, "a unit was refused");
                        queue.refused(&place, now);
                    }
                    Err(error) => {
                        tracing::warn!(
                            %ticket, %error,
                            "nobody knows whether a ticket was granted: it is taken back; until that is certain \
                             its unit is given to nobody"
                        );
                        queue.doubted();
                        self.take_back(service, ticket, Some(place));
                    }
                }
            }
        }
    }

    /// Gives back a ticket that nobody has. After its time nobody can have it either.
    fn take_back(&mut self, service: Name, ticket: TicketId, place: Option<Place>) {
        let shared = Arc::clone(&self.shared);
        // The agent may have taken its time to grant it.
        let deadline = shared.host.clock.now() + self.known.ttl(&service) * 2;
        let taking_back = async move {
            let mut retry = Retry::new(RETRY.0, RETRY.1);
            while shared.host.clock.now() < deadline {
                let agent: Option<Agent> = shared.known.load().agent(&ticket.node);
                if let Some(agent) = agent {
                    let released =
                        (shared.agents).release(&agent, &ticket.instance, &ticket.serial);
                    if released.await.is_ok() {
                        break;
                    }
                }
                shared
                    .host
                    .clock
                    .sleep(retry.pause(&*shared.host.entropy))
                    .await;
            }
            Done::TakenBack(place.map(|place| (service, place)))
        };
        self.asked.push(taking_back.boxed());
    }

    fn obey(&mut self, command: Command) {
        let now = self.shared.host.clock.now();
        match command {
            Command::Enter {
                service,
                caller,
                age,
                stage,
                span,
            } => {
                let queue = queue(&mut self.queues, &self.boards, &service, &self.shared);
                let is_new = queue.is_empty();
                if let Err(full) = queue.enter(caller, age, now) {
                    stage.send_replace(Stage::Full(full.to_string()));
                    return;
                }
                let client = Client {
                    service,
                    stage,
                    ticket: None,
                    span,
                };
                self.clients.insert(caller, client);
                if is_new {
                    self.link();
                }
                self.show(caller);
            }
            Command::Leave { caller, served } => {
                let Some(client) = self.clients.remove(&caller) else {
                    return;
                };
                if let Some(queue) = self.queues.get_mut(&client.service) {
                    queue.leave(caller);
                }
                if let Some(ticket) = client.ticket.filter(|_| !served) {
                    self.take_back(client.service, ticket, None);
                }
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Lost(node) => self.lose(&node),
            News::Board(node, board) => {
                for (service, queue) in &mut self.queues {
                    queue.learn(&node, board.sequence, &of_service(&board, service));
                }
                self.boards.insert(node, board);
            }
        }
    }

    /// What is free on a node is not known any more.
    fn lose(&mut self, node: &Name) {
        self.boards.remove(node);
        self.queues.values_mut().for_each(|queue| queue.lose(node));
    }

    /// Takes in what the store says. Those whose queue is kept elsewhere from now on go there.
    fn learn(&mut self, known: Arc<Known>) {
        let before = std::mem::replace(&mut self.known, Arc::clone(&known));
        self.shared.known.store(known);
        let id = &self.shared.id;
        let keeps = |known: &Known, service: &Name| {
            let keeper = known.keeper(service, |_| false);
            keeper.is_none_or(|(keeper, _)| keeper == id)
        };
        for (service, queue) in &mut self.queues {
            let is_gone = !self.known.services().any(|known| known == service);
            let moves = keeps(&before, service) && !keeps(&self.known, service);
            if moves || is_gone {
                for caller in queue.dissolve() {
                    if let Some(client) = self.clients.get_mut(&caller) {
                        client.stage.send_replace(Stage::Moved);
                    }
                }
            }
        }
        self.link();
    }

    /// Listens to the agents that matter: those with instances of services whose queue is kept here.
    fn link(&mut self) {
        let id = &self.shared.id;
        let mut nodes = BTreeSet::new();
        for service in self.known.services() {
            let keeper = self.known.keeper(service, |_| false);
            let keeps = keeper.is_some_and(|(keeper, _)| keeper == id);
            let waits = |queue: &Queue| !queue.is_empty();
            if keeps || self.queues.get(service).is_some_and(waits) {
                queue(&mut self.queues, &self.boards, service, &self.shared);
                nodes.extend(self.roster.nodes(service).cloned());
            }
        }
        let agents = nodes.iter();
        let agents = agents.filter_map(|node| Some((node.clone(), self.known.agent(node)?)));
        let lost = self
            .links
            .want(&nodes, &agents.collect(), &*self.shared.agents);
        for node in lost {
            self.lose(&node);
        }
    }

    /// Tells everybody for whom there is news where it stands.
    fn show_all(&self) {
        for (service, queue) in &self.queues {
            let unreachable = self.links.silent(self.roster.nodes(service));
            let (length, units) = (queue.len(), queue.units());
            for (index, (caller, stamp)) in queue.waiting().enumerate() {
                let waiting = Waiting {
                    place: index + 1,
                    length,
                    units,
                    unreachable: unreachable.clone(),
                    stamp: Some(stamp),
                };
                self.tell(caller, waiting);
            }
        }
    }

    /// Tells one who has just come.
    fn show(&self, caller: Caller) {
        let queue = (self.clients.get(&caller)).and_then(|client| self.queues.get(&client.service));
        if let Some(queue) = queue
            && let Some((place, stamp)) = queue.place(caller)
        {
            let waiting = Waiting {
                place,
                length: queue.len(),
                units: queue.units(),
                unreachable: Vec::new(),
                stamp: Some(stamp),
            };
            self.tell(caller, waiting);
        }
    }

    fn tell(&self, caller: Caller, waiting: Waiting) {
        if let Some(client) = self.clients.get(&caller) {
            client.stage.send_if_modified(|stage| match stage {
                Stage::Waiting(told) if !is_news(told, &waiting) => false,
                Stage::Entering | Stage::Waiting(_) => {
                    *stage = Stage::Waiting(waiting);
                    true
                }
                _ => false,
            });
        }
    }
}

/// Whether one who was `told` this has to be told what is so `now`. Were a thousand callers told every step of
/// each, the balancers would do little else.
fn is_news(told: &Waiting, now: &Waiting) -> bool {
    let steps = told.place.abs_diff(now.place);
    let moved = steps > 0 && steps * 10 >= told.place;
    moved || (told.units, &told.unreachable) != (now.units, &now.unreachable)
}

/// The queue of a service; a new one knows what the agents have said.
fn queue<'a>(
    queues: &'a mut BTreeMap<Name, Queue>,
    boards: &BTreeMap<Name, Board>,
    service: &Name,
    shared: &Shared,
) -> &'a mut Queue {
    queues.entry(service.clone()).or_insert_with(|| {
        let mut queue = Queue::new(shared.host.entropy.bits());
        for (node, board) in boards {
            queue.learn(node, board.sequence, &of_service(board, service));
        }
        queue
    })
}

/// The units of the instances of one service.
fn of_service(board: &Board, service: &Name) -> BTreeMap<Instance, Units> {
    let units = board.units.iter();
    let units = units.filter(|(instance, _)| instance.service == *service);
    units
        .map(|(instance, of)| (instance.clone(), *of))
        .collect()
}
