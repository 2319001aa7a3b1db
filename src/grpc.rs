//! How every gRPC server of ours runs: limits, keep-alive, an end in bounded time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tonic::transport::{
    Server,
    server::{Connected, Router},
};

use crate::host::{Clock, Listener, Stream};

/// Why a server ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server ended: {0}")]
pub struct Error(#[from] tonic::transport::Error);

/// Calls at once on one connection. One client that opens more waits; others do not notice.
const STREAMS: u32 = 1024;

/// Bytes of headers of one call: gRPC's own default, which its clients keep to.
const HEADERS: u32 = 16 * 1024;

/// A connection that does not answer a ping, sent after this long without any data, is closed...
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// ... after this long: a peer that is gone is noticed within 15 seconds.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// After a connection could not be accepted, most likely for want of descriptors, the next attempt is
/// made so much later: without a pause it would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server with our limits, for services to be added to.
pub fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
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
    let end = CancellationToken::new();
    let _on_return = end.clone().drop_guard();
    let connections = incoming(listener, Arc::clone(&clock))
        .map(move |stream| Ok::<_, io::Error>(Connection::new(stream, &end)));
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

/// The connections of `listener`. One that fails while it is accepted is left out; the listener goes
/// on.
fn incoming(
    listener: Box<dyn Listener>,
    clock: Arc<dyn Clock>,
) -> impl futures::Stream<Item = Stream> {
    stream::unfold((listener, clock), async |(mut listener, clock)| {
        let mut failing = false;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, (listener, clock))),
                // The peer has thought better of it. Others may be waiting.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if failing => tracing::debug!(%error, "still none can be accepted"),
                Err(error) => tracing::warn!(%error, "connections cannot be accepted"),
            }
            failing = true;
            clock.sleep(ACCEPT_PAUSE).await;
        }
    })
}

/// A connection that breaks when its server has ended. The gRPC library serves each connection on a
/// task of its own, out of our reach; a broken connection ends that task.
struct Connection {
    stream: Stream,
    /// None once it has resolved.
    end: Option<BoxFuture<'static, ()>>,
}

impl Connection {
    fn new(stream: Stream, end: &CancellationToken) -> Self {
        Self {
            stream,
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
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
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
