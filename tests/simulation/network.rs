//! The simulated network: connections between programs on hosts, with delays, cuts and resets.
//!
//! A **program** is what one operating-system process is: it runs on a host (an address), and its
//! connections end with it. What is sent arrives in order, after the delay of the link. A cut link delays
//! everything until it is mended, as TCP does by sending again; who waits is told nothing. A program that
//! is frozen reads and writes nothing, with its connections open.
//!
//! - [`end`]: the ends of connections, and what a program has of the network

mod end;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use quaestor::host;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use self::end::Attached;
pub use self::end::{Accepting, End};
use super::chance::Dice;

/// Address of a host: the last number of 10.0.0.x.
pub type HostId = u8;

/// One run of a program; a restarted one is another.
pub type ProgramId = u32;

/// So many bytes may be under way in one direction of a connection.
const WINDOW: usize = 256 * 1024;

/// The first port given to those who ask for any.
const EPHEMERAL: u16 = 40_000;

/// All hosts and what connects them. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    /// Something was mended, thawed or begun: who waits for a connection looks again.
    changed: Arc<Notify>,
}

struct State {
    dice: Dice,
    programs: BTreeMap<ProgramId, Program>,
    listeners: BTreeMap<(HostId, u16), Listening>,
    connections: BTreeMap<u64, Connection>,
    /// Pairs between which nothing passes, in this direction, and how many cuts there are.
    cut: BTreeMap<(HostId, HostId), u32>,
    /// What is added to the delay between a pair.
    slow: BTreeMap<(HostId, HostId), Duration>,
    /// Hosts that vanished without a word: nobody says so to those who write to them.
    dark: BTreeSet<HostId>,
    next_connection: u64,
    next_program: ProgramId,
    next_port: BTreeMap<HostId, u16>,
}

struct Program {
    host: HostId,
    alive: bool,
    frozen: bool,
    /// Who is to be woken when it is thawed or killed.
    wakers: Vec<Waker>,
}

struct Listening {
    program: ProgramId,
    accepted: mpsc::UnboundedSender<(End, Peer)>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub program: ProgramId,
    pub address: SocketAddr,
    /// The connection's number, by which it can be reset.
    pub connection: u64,
}

struct Connection {
    /// Who is at each end; none once that end is closed.
    ends: [Option<ProgramId>; 2],
    hosts: [HostId; 2],
    /// What goes out of each end.
    pipes: [Pipe; 2],
}

#[derive(Default)]
struct Pipe {
    under_way: VecDeque<(Instant, Segment)>,
    bytes: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Segment {
    Data(Bytes),
    Fin,
    Reset,
}

impl Network {
    pub fn new(dice: Dice) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                dice,
                programs: BTreeMap::new(),
                listeners: BTreeMap::new(),
                connections: BTreeMap::new(),
                cut: BTreeMap::new(),
                slow: BTreeMap::new(),
                dark: BTreeSet::new(),
                next_connection: 0,
                next_program: 1,
                next_port: BTreeMap::new(),
            })),
            changed: Arc::new(Notify::new()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new program on `host`.
    pub fn begin(&self, host: HostId) -> ProgramId {
        let mut state = self.state();
        let id = state.next_program;
        state.next_program += 1;
        state.dark.remove(&host);
        let program = Program {
            host,
            alive: true,
            frozen: false,
            wakers: Vec::new(),
        };
        state.programs.insert(id, program);
        id
    }

    /// Ends a program and its connections. `silently`: as a power cut does, so that nobody hears of it.
    pub fn kill(&self, program: ProgramId, silently: bool) {
        let mut state = self.state();
        let Some(dead) = state.programs.get_mut(&program) else {
            return;
        };
        dead.alive = false;
        let host = dead.host;
        dead.wakers.drain(..).for_each(Waker::wake);
        state
            .listeners
            .retain(|_, listening| listening.program != program);
        if silently {
            state.dark.insert(host);
        }
        let ids: Vec<u64> = state.connections.keys().copied().collect();
        for id in ids {
            for side in 0..2 {
                // The other side may have been the last one.
                let connection = state.connections.get(&id);
                if connection.is_some_and(|found| found.ends[side] == Some(program)) {
                    state.close(id, side, (!silently).then_some(Segment::Reset));
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn freeze(&self, program: ProgramId, frozen: bool) {
        let mut state = self.state();
        if let Some(program) = state.programs.get_mut(&program) {
            program.frozen = frozen;
            program.wakers.drain(..).for_each(Waker::wake);
        }
        state.wake_all();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Whether `program` does not run now; it is woken when that changes.
    pub fn is_frozen(&self, program: ProgramId, waker: &Waker) -> bool {
        let mut state = self.state();
        let Some(program) = state.programs.get_mut(&program) else {
            return false;
        };
        if program.frozen && program.alive {
            program.wakers.push(waker.clone());
            return true;
        }
        false
    }

    /// Lets nothing pass between two hosts; or everything again, once for every cut.
    pub fn cut(&self, a: HostId, b: HostId, cut: bool) {
        let mut state = self.state();
        for pair in [(a, b), (b, a)] {
            let cuts = state.cut.entry(pair).or_default();
            *cuts = match cut {
                true => *cuts + 1,
                false => cuts.saturating_sub(1),
            };
            if *cuts == 0 {
                state.cut.remove(&pair);
            }
        }
        state.wake_all();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Adds to the delay between two hosts.
    pub fn slow(&self, a: HostId, b: HostId, by: Duration) {
        let mut state = self.state();
        for pair in [(a, b), (b, a)] {
            state.slow.insert(pair, by);
        }
    }

    /// Mends all links.
    pub fn mend(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.slow.clear();
        for program in state.programs.values_mut() {
            program.frozen = false;
            program.wakers.drain(..).for_each(Waker::wake);
        }
        state.wake_all();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Breaks a connection at both ends.
    pub fn reset(&self, connection: u64) {
        self.state().reset(connection);
    }

    /// Breaks all connections between two hosts.
    pub fn reset_between(&self, a: HostId, b: HostId) {
        let mut state = self.state();
        let between = |hosts: [HostId; 2]| hosts == [a, b] || hosts == [b, a];
        let found = state.connections.iter();
        let ids: Vec<u64> = found
            .filter(|(_, connection)| between(connection.hosts))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| state.reset(id));
    }

    /// Accepts connections at `port` of the program's host; with their number.
    pub fn listen(&self, program: ProgramId, port: u16) -> io::Result<Accepting> {
        let mut state = self.state();
        let host = state.alive(program)?;
        let port = match port {
            0 => state.free_port(host),
            port => port,
        };
        if state.listeners.contains_key(&(host, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (accepted, incoming) = mpsc::unbounded_channel();
        state
            .listeners
            .insert((host, port), Listening { program, accepted });
        drop(state);
        self.changed.notify_waiters();
        Ok(Accepting {
            network: self.clone(),
            program,
            place: (host, port),
            incoming,
        })
    }

    /// Connects `program` to a port of a host.
    pub async fn connect(&self, program: ProgramId, host: HostId, port: u16) -> io::Result<End> {
        let (own, there, back) = {
            let mut state = self.state();
            let own = state.alive(program)?;
            (own, state.delay(own, host), state.delay(host, own))
        };
        tokio::time::sleep(there).await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state();
                state.alive(program)?;
                let passes =
                    !state.cut.contains_key(&(own, host)) && !state.cut.contains_key(&(host, own));
                if passes && !state.dark.contains(&host) {
                    break;
                }
            }
            changed.await;
        }
        let connected = self.state().connect(program, own, host, port);
        tokio::time::sleep(back).await;
        let id = connected?;
        Ok(End::new(self, id, 0))
    }

    /// What a program has of the network.
    pub fn of(&self, program: ProgramId) -> Arc<dyn host::Network> {
        Arc::new(Attached {
            network: self.clone(),
            program,
        })
    }
}

impl State {
    fn alive(&self, program: ProgramId) -> io::Result<HostId> {
        match self.programs.get(&program) {
            Some(program) if program.alive => Ok(program.host),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn free_port(&mut self, host: HostId) -> u16 {
        let next = self.next_port.entry(host).or_insert(EPHEMERAL);
        loop {
            *next = next.checked_add(1).unwrap_or(EPHEMERAL);
            if !self.listeners.contains_key(&(host, *next)) {
                return *next;
            }
        }
    }

    fn delay(&mut self, from: HostId, to: HostId) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let extra = self.slow.get(&(from, to)).copied().unwrap_or_default();
        Duration::from_millis(self.dice.between(0, 2)) + extra
    }

    fn connect(
        &mut self,
        program: ProgramId,
        own: HostId,
        host: HostId,
        port: u16,
    ) -> io::Result<u64> {
        let listening = self.listeners.get(&(host, port));
        let Some(listening) = listening.filter(|listening| !listening.accepted.is_closed()) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let id = self.next_connection;
        let peer = Peer {
            program,
            address: SocketAddr::new(address(own), EPHEMERAL),
            connection: id,
        };
        let other = listening.program;
        self.next_connection += 1;
        self.connections.insert(
            id,
            Connection {
                ends: [Some(program), Some(other)],
                hosts: [own, host],
                pipes: Default::default(),
            },
        );
        self.pending_end(host, port, id, peer);
        Ok(id)
    }

    fn pending_end(&mut self, host: HostId, port: u16, id: u64, peer: Peer) {
        // The network is put into the end when it is taken out: see `Accepting::next`.
        if let Some(listening) = self.listeners.get(&(host, port)) {
            let _ = listening.accepted.send((End::detached(id, 1), peer));
        }
    }

    /// Ends what goes out of one side, and gives up what comes in.
    fn close(&mut self, id: u64, side: usize, last: Option<Segment>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.ends[side].take().is_none() {
            return;
        }
        let unread = !connection.pipes[1 - side].under_way.is_empty();
        let last = match last {
            Some(Segment::Fin) if unread => Some(Segment::Reset),
            other => other,
        };
        for pipe in &mut connection.pipes {
            pipe.reader.take().into_iter().for_each(Waker::wake);
            pipe.writer.take().into_iter().for_each(Waker::wake);
        }
        if let Some(last) = last {
            self.send(id, side, last);
        }
        if (self.connections.get(&id)).is_some_and(|connection| connection.ends == [None, None]) {
            self.connections.remove(&id);
        }
    }

    fn reset(&mut self, id: u64) {
        for side in 0..2 {
            self.send(id, side, Segment::Reset);
        }
    }

    fn send(&mut self, id: u64, side: usize, segment: Segment) {
        let Some([from, to]) = self.connections.get(&id).map(|connection| connection.hosts) else {
            return;
        };
        let (from, to) = if side == 0 { (from, to) } else { (to, from) };
        let mut at = Instant::now() + self.delay(from, to);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pipe = &mut connection.pipes[side];
        if pipe.ended {
            return;
        }
        if let Some((last, _)) = pipe.under_way.back() {
            at = at.max(*last);
        }
        match &segment {
            Segment::Data(data) => pipe.bytes += data.len(),
            Segment::Fin | Segment::Reset => pipe.ended = true,
        }
        pipe.under_way.push_back((at, segment));
        pipe.reader.take().into_iter().for_each(Waker::wake);
    }

    fn wake_all(&mut self) {
        for connection in self.connections.values_mut() {
            for pipe in &mut connection.pipes {
                pipe.reader.take().into_iter().for_each(Waker::wake);
                pipe.writer.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Whether the program at this end can do anything; an error when it is dead.
    fn may_act(&self, id: u64, side: usize) -> io::Result<bool> {
        let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
        let connection = self.connections.get(&id).ok_or_else(aborted)?;
        let program = connection.ends[side].ok_or_else(aborted)?;
        let program = self.programs.get(&program).ok_or_else(aborted)?;
        if !program.alive {
            return Err(aborted());
        }
        Ok(!program.frozen)
    }
}

/// The address of a host.
pub fn address(host: HostId) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}
