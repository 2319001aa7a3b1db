//! How every gRPC server of ours runs: limits, keep-alive, an end in bounded time.
//!
//! - `authority`: lets in clients that list several addresses

mod authority;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{
    Server,
    server::{Connected, Router},
};

use crate::host::{Clock, Listener, Peer, Stream};
use authority::Authorities;

/// Why a server ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server ended: {0}")]
pub struct Error(#[from] tonic::transport::Error);

/// What a server takes on at a time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections. Each takes a descriptor and some ten kilobytes; further ones are closed at once, which
    /// their clients take for a server that is not there, and ask another one.
    pub connections: usize,
    /// Counts those that were closed so.
    pub closed: Arc<AtomicU64>,
    /// Calls at once on one connection. One client that opens more waits; others do not notice.
    pub streams: u32,
    /// Bytes of headers of one call: by default gRPC's own, which its clients keep to.
    pub headers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            closed: Arc::default(),
            streams: 1024,
            headers: 16 * 1024,
        }
    }
}

/// Where a call comes from: found in its extensions.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who called.
    pub peer: Peer,
    /// From where.
    pub address: SocketAddr,
}

/// A connection that does not answer a ping, sent after this long without any data, is closed...
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// ... after this long: a peer that is gone is noticed within 15 seconds.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// After a connection could not be accepted, most likely for want of descriptors, the next attempt is
/// made so much later: without a pause it would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server with our usual limits, for services to be added to.
pub fn server() -> Server {
    server_within(&Limits::default())
}

/// A server with these limits, for services to be added to.
pub fn server_within(limits: &Limits) -> Server {
    Server::builder()
        .max_concurrent_streams(limits.streams)
        .http2_max_header_list_size(limits.headers)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

/// Serves `router` on `listener` until `stop`; then takes no more connections, lets calls end for
/// at most `grace`, and closes what is left. However the returned future ends, or when it is dropped,
/// no connection outlives it.
///
/// # Errors
/// When the server ends by itself.
pub async fn serve(
    router: Router,
    listener: Box<dyn Listener>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    grace: Duration,
) -> Result<(), Error> {
    serve_within(&Limits::default(), router, listener, clock, stop, grace).await
}

/// The same, with as many connections as `limits` say.
///
/// # Errors
/// When the server ends by itself.
pub async fn serve_within(
    limits: &Limits,
    router: Router,
    listener: Box<dyn Listener>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    grace: Duration,
) -> Result<(), Error> {
    let end = CancellationToken::new();
    let _on_return = end.clone().drop_guard();
    let connections =
        incoming(listener, Arc::clone(&clock), limits).map(move |(stream, address, place)| {
            Ok::<_, io::Error>(Connection::new(stream, address, place, &end))
        });
    let served = router.serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    let deadline = async {
        stop.cancelled().await;
        clock.sleep(grace).await;
    };
    tokio::select! {
        outcome = served => Ok(outcome?),
        () = deadline => {
            tracing::debug!(?grace, "calls that did not end in time were cut off");
            Ok(())
        }
    }
}

/// The connections of `listener`, each with its peer and its place among those that there may be; those that find
/// none are closed. One that fails while it is accepted is left out; the listener goes on.
fn incoming(
    listener: Box<dyn Listener>,
    clock: Arc<dyn Clock>,
    limits: &Limits,
) -> impl futures::Stream<Item = (Stream, SocketAddr, OwnedSemaphorePermit)> + use<> {
    let places = Arc::new(Semaphore::new(limits.connections));
    let closed = Arc::clone(&limits.closed);
    stream::unfold(
        (listener, clock, places, closed),
        async |(mut listener, clock, places, closed)| {
            let (mut failing, mut full) = (false, false);
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                            let accepted = (stream, peer, place);
                            return Some((accepted, (listener, clock, places, closed)));
                        }
                        closed.fetch_add(1, Relaxed);
                        if !full {
                            tracing::warn!(%peer, "too many connections; new ones are closed");
                        }
                        full = true;
                        continue;
                    }
                    // The peer has thought better of it. Others may be waiting.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                    Err(error) if failing => tracing::debug!(%error, "still none can be accepted"),
                    Err(error) => tracing::warn!(%error, "connections cannot be accepted"),
                }
                failing = true;
                clock.sleep(ACCEPT_PAUSE).await;
            }
        },
    )
}

/// A connection that breaks when its server has ended. The gRPC library serves each connection on a
/// task of its own, out of our reach; a broken connection ends that task.
struct Connection {
    stream: Stream,
    authorities: Authorities,
    address: SocketAddr,
    _place: OwnedSemaphorePermit,
    /// None once it has resolved.
    end: Option<BoxFuture<'static, ()>>,
}

impl Connection {
    fn new(
        stream: Stream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        end: &CancellationToken,
    ) -> Self {
        Self {
            stream,
            authorities: Authorities::default(),
            address,
            _place: place,
            end: Some(end.clone().cancelled_owned().boxed()),
        }
    }

    /// An error once the server has ended; else the task is woken when it does.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(end) = &mut self.end {
            if end.poll_unpin(cx).is_pending() {
                return Ok(());
            }
            self.end = None;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Connected for Connection {
    type ConnectInfo = Origin;

    fn connect_info(&self) -> Origin {
        Origin {
            peer: self.stream.peer().clone(),
            address: self.address,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.authorities.mend(&mut buf.filled_mut()[before..]);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::TcpStream};

    use super::*;
    use crate::host::Host;

    #[tokio::test]
    async fn a_connection_too_many_is_closed_and_an_ended_one_makes_room() {
        let host = Host::system();
        let listening = host.network.listen(([127, 0, 0, 1], 0).into());
        let listener = listening.await.unwrap();
        let address = listener.local_address().unwrap();
        let limits = Limits {
            connections: 1,
            ..Limits::default()
        };
        let mut accepted = std::pin::pin!(incoming(listener, host.clock, &limits));

        let _first = TcpStream::connect(address).await.unwrap();
        let first = accepted.next().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        tokio::select! {
            _ = accepted.next() => panic!("a connection too many was accepted"),
            end = second.read(&mut byte) => assert_eq!(end.unwrap_or_default(), 0),
        }
        assert_eq!(limits.closed.load(Relaxed), 1);
        drop(first);
        let _third = TcpStream::connect(address).await.unwrap();
        assert!(accepted.next().await.is_some());
    }
}
