//! The store's front door: every client's request goes through it to the embedded store.
//!
//! So it is known who wrote what ([`Written`]), and a store can misbehave as real ones do: an answer is
//! lost after the write, no space is left, or it is restored from a backup ([`backups`]).

mod backups;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use etcd_client::proto::{PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp, PbTxnResponse};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http2::SendRequest, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quaestor::{
    host::{Host, Listener, Stream},
    store::embedded::Embedded,
};
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    chance::Dice,
    machine::Clock,
    network::{End, HostId, Network, Peer, ProgramId},
    trace::Trace,
};

/// Where the store listens.
pub const PORT: u16 = 2379;

/// Bytes under way between the door and the store.
const WINDOW: usize = 256 * 1024;

type Body = BoxBody<Bytes, hyper::Error>;

/// A write that the store has carried out.
#[derive(Clone, Debug)]
pub struct Written {
    pub by: ProgramId,
    pub at: Duration,
}

/// A store in a world. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    network: Network,
    host: HostId,
    clock: Clock,
    trace: Trace,
    /// What the store runs on.
    machine: Host,
    book: Arc<Mutex<Book>>,
}

struct Book {
    inside: Inside,
    /// What was held when, the newest last.
    backups: VecDeque<(Duration, Embedded)>,
    /// How often the store was restored.
    restores: usize,
    /// By revision.
    written: BTreeMap<i64, Written>,
    /// Transactions that came, by who sent them: whether they happened or not.
    asked: VecDeque<(Duration, ProgramId)>,
    /// The answer to the next write is lost.
    lose_answer: bool,
    full: bool,
    /// How many outages, pauses and times of lost writes are under way.
    down: u32,
    paused: u32,
    flaky: u32,
    dice: Dice,
    program: Option<ProgramId>,
}

impl Gate {
    /// An empty store, not yet open.
    pub fn new(
        network: &Network,
        host: HostId,
        clock: &Clock,
        trace: &Trace,
        (machine, dice): (&Host, Dice),
    ) -> Self {
        Self {
            network: network.clone(),
            host,
            clock: clock.clone(),
            trace: trace.clone(),
            machine: machine.clone(),
            book: Arc::new(Mutex::new(Book {
                inside: Inside::serve(Embedded::new(machine)),
                backups: VecDeque::new(),
                restores: 0,
                written: BTreeMap::new(),
                asked: VecDeque::new(),
                lose_answer: false,
                full: false,
                down: 0,
                paused: 0,
                flaky: 0,
                dice,
                program: None,
            })),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A way in that nothing disturbs: for the checker.
    pub fn back_door(&self) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(WINDOW);
        let book = self.book();
        let doors = &book.inside.doors;
        doors
            .send(far)
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }

    /// The store ends, and what it holds stays; or begins again, once for every end.
    pub fn down(&self, down: bool) {
        let ended = {
            let mut book = self.book();
            count(&mut book.down, down);
            match book.down {
                0 => None,
                _ => book.program.take(),
            }
        };
        match ended {
            Some(program) => self.network.kill(program, false),
            None => self.open(),
        }
    }

    /// The store stands still; or goes on, once for every pause.
    pub fn pause(&self, paused: bool) {
        let (program, paused) = {
            let mut book = self.book();
            count(&mut book.paused, paused);
            (book.program, book.paused > 0)
        };
        if let Some(program) = program {
            self.network.freeze(program, paused);
        }
    }

    /// Half of all writes, or their answers, are lost with their connections; or no more, once for every
    /// such time.
    pub fn flaky(&self, flaky: bool) {
        count(&mut self.book().flaky, flaky);
    }

    /// Lets clients in, unless the store is open or down.
    pub fn open(&self) {
        let (program, paused) = {
            let mut book = self.book();
            if book.down > 0 || book.program.is_some() {
                return;
            }
            let program = self.network.begin(self.host);
            book.program = Some(program);
            (program, book.paused > 0)
        };
        let Ok(mut door) = self.network.listen(program, PORT) else {
            return self.trace.note("the store cannot listen");
        };
        if paused {
            self.network.freeze(program, true);
        }
        let gate = self.clone();
        tokio::spawn(async move {
            loop {
                let (end, peer) = door.next().await;
                let gate = gate.clone();
                tokio::spawn(async move { gate.serve(end, peer).await });
            }
        });
    }

    /// The answer to the next write will be lost, and its connection with it.
    pub fn lose_answer(&self) {
        self.book().lose_answer = true;
    }

    /// Whether writes are refused for want of space.
    pub fn fill(&self, full: bool) {
        self.book().full = full;
    }

    /// Ends all misbehaviour.
    pub fn behave(&self) {
        {
            let mut book = self.book();
            book.lose_answer = false;
            book.full = false;
            (book.down, book.paused, book.flaky) = (0, 0, 0);
        }
        self.pause(false);
        self.open();
    }

    /// Who made the write of `revision`; none: a lease ended.
    pub fn written(&self, revision: i64) -> Option<Written> {
        self.book().written.get(&revision).cloned()
    }

    /// How many transactions each program sent since `since`. Older ones are forgotten.
    pub fn asked(&self, since: Duration) -> BTreeMap<ProgramId, usize> {
        let mut book = self.book();
        while book.asked.front().is_some_and(|(at, _)| *at < since) {
            book.asked.pop_front();
        }
        let mut counts = BTreeMap::new();
        for (_, program) in &book.asked {
            *counts.entry(*program).or_default() += 1;
        }
        counts
    }

    /// One client's connection.
    async fn serve(self, end: End, peer: Peer) {
        let Ok(near) = self.back_door() else { return };
        let upstream = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let Ok((sender, connection)) = upstream.handshake(TokioIo::new(near)).await else {
            return;
        };
        let service = service_fn(move |request| {
            let (gate, sender) = (self.clone(), sender.clone());
            async move { gate.answer(request, sender, peer).await }
        });
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(end), service);
        // What is under way ends even when the client has gone: a write that was made is noted.
        tokio::spawn(connection);
        let _ = serving.await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        mut sender: SendRequest<Body>,
        peer: Peer,
    ) -> Result<Response<Body>, hyper::Error> {
        if request.uri().path() != "/etcdserverpb.KV/Txn" {
            let answer = sender.send_request(request.map(BodyExt::boxed)).await?;
            return Ok(answer.map(BodyExt::boxed));
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let asked = message::<PbTxnRequest>(&body);
        let writes = asked.success.iter().any(|op| !is_read(op));
        if writes {
            let at = self.clock.elapsed();
            let (full, lost) = {
                let mut book = self.book();
                book.asked.push_back((at, peer.program));
                let lost = book.flaky > 0 && book.dice.chance(25);
                book.lose_answer |= book.flaky > 0 && book.dice.chance(33);
                (book.full, lost)
            };
            if lost {
                self.trace.note("a write is lost");
                self.network.reset(peer.connection);
                std::future::pending::<()>().await;
            }
            if full {
                return Ok(no_space());
            }
        }
        let request = Request::from_parts(head, full(body));
        let gate = self.clone();
        let written = tokio::spawn(async move { gate.write(request, sender, writes, peer).await });
        match written.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }

    /// Has the store carry out a transaction, and notes who `writes`.
    async fn write(
        &self,
        request: Request<Body>,
        mut sender: SendRequest<Body>,
        writes: bool,
        peer: Peer,
    ) -> Result<Response<Body>, hyper::Error> {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().map(Ok);
        let bytes = body.to_bytes();
        let answer = message::<PbTxnResponse>(&bytes);
        if writes && answer.succeeded {
            let revision = answer.header.map_or(0, |header| header.revision);
            let (by, at) = (peer.program, self.clock.elapsed());
            let lost = {
                let mut book = self.book();
                book.written.insert(revision, Written { by, at });
                std::mem::take(&mut book.lose_answer)
            };
            if lost {
                let what = format!("the answer to the write of revision {revision} is lost");
                self.trace.note(what);
                self.network.reset(peer.connection);
            }
        }
        let body = Full::new(bytes).with_trailers(std::future::ready(trailers));
        let body = body.map_err(|never| match never {}).boxed();
        Ok(Response::from_parts(head, body))
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// The message in a gRPC body, after five bytes of frame.
fn message<M: prost::Message + Default>(body: &Bytes) -> M {
    body.get(5..)
        .and_then(|bytes| M::decode(bytes).ok())
        .unwrap_or_default()
}

fn is_read(op: &PbTxnRequestOp) -> bool {
    matches!(op.request, Some(PbTxnOpRequest::RequestRange(_)))
}

fn count(counter: &mut u32, more: bool) {
    *counter = match more {
        true => *counter + 1,
        false => counter.saturating_sub(1),
    };
}

/// What etcd answers when its space is used up.
fn no_space() -> Response<Body> {
    let builder = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "8")
        .header("grpc-message", "etcdserver: mvcc: database space exceeded");
    builder
        .body(full(Bytes::new()))
        .expect("headers that are written here are valid")
}

/// The store itself, and the way to it.
struct Inside {
    store: Embedded,
    doors: mpsc::UnboundedSender<DuplexStream>,
    stop: CancellationToken,
}

impl Inside {
    fn serve(store: Embedded) -> Self {
        let (doors, waiting) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (served, until) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let _ = served.serve(Box::new(Doors(waiting)), until).await;
        });
        Self { store, doors, stop }
    }
}

/// The store's listener, inside.
struct Doors(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Doors {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(stream) => Ok((Stream::new(stream), SocketAddr::from(([10, 0, 0, 1], 1)))),
                None => std::future::pending().await,
            }
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([10, 0, 0, 1], PORT)))
    }
}
