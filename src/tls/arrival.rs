//! A connection that is being accepted: it is secured while it is first read or written.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::{FallibleAccept, TlsStream};

use super::{Certificate, listener::Book};
use crate::{
    host::{Peer, Stream},
    model::{Caller, Identity},
};

/// A caller has so long to show who it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// A caller who was turned away has so long to hear why. Were the connection closed on what it has sent meanwhile, the
/// system would throw away our last word.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection on its way in.
pub(super) struct Arrival {
    stage: Stage,
    address: SocketAddr,
    peer: Peer,
    book: Arc<Book>,
}

enum Stage {
    /// The two sides show who they are.
    Greeting(Box<FallibleAccept<Stream>>, BoxFuture<'static, ()>),
    /// They have.
    Inside(Box<TlsStream<Stream>>),
    /// The caller was turned away, and is given time to hear it.
    Leaving(Stream, BoxFuture<'static, ()>, String),
    /// It is gone.
    Gone(String),
}

impl Arrival {
    pub(super) fn new(
        greeting: FallibleAccept<Stream>,
        address: SocketAddr,
        peer: Peer,
        book: Arc<Book>,
    ) -> Self {
        let patience = book.clock().sleep(PATIENCE);
        Self {
            stage: Stage::Greeting(Box::new(greeting), patience),
            address,
            peer,
            book,
        }
    }

    /// The secured connection, once it is one.
    fn poll_inside(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<Stream>>>> {
        while !matches!(self.stage, Stage::Inside(_)) {
            self.stage = match &mut self.stage {
                Stage::Inside(_) => break,
                Stage::Greeting(greeting, patience) => match greeting.poll_unpin(cx) {
                    Poll::Ready(Ok(stream)) => {
                        self.peer.is(caller(&stream));
                        Stage::Inside(Box::new(stream))
                    }
                    Poll::Ready(Err((error, stream))) => {
                        let why = self.book.refuse(self.address, &error);
                        Stage::Leaving(stream, self.book.clock().sleep(FAREWELL), why)
                    }
                    Poll::Pending => {
                        ready!(patience.poll_unpin(cx));
                        let silent = io::ErrorKind::TimedOut.into();
                        Stage::Gone(self.book.refuse(self.address, &silent))
                    }
                },
                Stage::Leaving(stream, patience, why) => {
                    // Whether the other end hears it is its own affair.
                    let _ = Pin::new(&mut *stream).poll_shutdown(cx);
                    if drained(stream, cx).is_pending() {
                        ready!(patience.poll_unpin(cx));
                    }
                    Stage::Gone(std::mem::take(why))
                }
                Stage::Gone(why) => {
                    let why = io::Error::new(io::ErrorKind::PermissionDenied, why.clone());
                    return Poll::Ready(Err(why));
                }
            };
        }
        match &mut self.stage {
            Stage::Inside(stream) => Poll::Ready(Ok(Pin::new(&mut **stream))),
            _ => Poll::Pending,
        }
    }
}

/// Resolves when nothing more comes.
fn drained(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
    let mut waste = [0; 1024];
    loop {
        let mut buf = ReadBuf::new(&mut waste);
        match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
            Ok(()) if !buf.filled().is_empty() => {}
            _ => return Poll::Ready(()),
        }
    }
}

/// Who is at the other end, by the certificate that it has shown.
fn caller(stream: &TlsStream<Stream>) -> Caller {
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(<[_]>::first);
    match shown {
        None => Caller::Anonymous,
        // What cannot be read was not verified either, so that there is always a name.
        Some(shown) => Certificate::of(shown).map_or(Caller::Anonymous, |certificate| {
            Caller::Known(Identity::of(certificate.common_name))
        }),
    }
}

impl AsyncRead for Arrival {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_inside(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Arrival {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_inside(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_inside(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stage {
            Stage::Inside(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Stage::Leaving(stream, ..) => Pin::new(stream).poll_shutdown(cx),
            Stage::Greeting(..) | Stage::Gone(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_inside(cx))?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
