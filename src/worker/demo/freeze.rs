//! A listener whose connections fall silent at a moment and stay so, like those of a process that was
//! stopped: the system still accepts for it, and nobody answers.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    host::{Clock, Listener, Stream},
    model::Moment,
};

/// A listener whose connections freeze.
pub(super) struct Freezing {
    listener: Box<dyn Listener>,
    frost: Frost,
}

impl Freezing {
    /// Like `listener` until `at`; for good when that is none.
    pub(super) fn new(
        listener: Box<dyn Listener>,
        clock: Arc<dyn Clock>,
        at: Option<Moment>,
    ) -> Self {
        Self {
            listener,
            frost: Frost { clock, at },
        }
    }
}

impl Listener for Freezing {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async {
            let (stream, peer) = self.listener.accept().await?;
            let connection = Connection {
                stream,
                frost: self.frost.clone(),
            };
            Ok((Stream::new(connection), peer))
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_address()
    }
}

#[derive(Clone)]
struct Frost {
    clock: Arc<dyn Clock>,
    at: Option<Moment>,
}

impl Frost {
    /// Pending for good once the moment has come: nobody is woken, nothing thaws.
    fn poll_thawed(&self) -> Poll<()> {
        match self.at {
            Some(at) if self.clock.now() >= at => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

struct Connection {
    stream: Stream,
    frost: Frost,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.frost.poll_thawed());
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.frost.poll_thawed());
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.frost.poll_thawed());
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.frost.poll_thawed());
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
