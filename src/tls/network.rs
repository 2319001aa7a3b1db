//! A network whose connections are secured.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use super::{Credentials, trouble};
use crate::host::{Listener, Network, Stream};

/// How long the other end may take to speak first.
const PATIENCE: Duration = Duration::from_millis(500);

/// A network on which connections are made with TLS: we verify who answers, and show our own certificate.
/// Listeners of it are as they were ([`Credentials::guard`] is for those).
pub struct Secured {
    network: Arc<dyn Network>,
    credentials: Arc<Credentials>,
}

impl Secured {
    /// `network`, secured by `credentials`.
    pub fn new(network: Arc<dyn Network>, credentials: Arc<Credentials>) -> Self {
        Self {
            network,
            credentials,
        }
    }
}

impl Network for Secured {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Stream>> {
        let connecting = self.network.connect(host, port);
        let credentials = Arc::clone(&self.credentials);
        let host = host.to_owned();
        Box::pin(async move {
            let stream = connecting.await?;
            let name = ServerName::try_from(host.clone()).map_err(|_| {
                let text = format!("`{host}` is no name that a certificate can be for");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
            let config = Arc::clone(&credentials.current().client);
            let connected = TlsConnector::from(config).connect(name, stream).await;
            let called = Called { host, credentials };
            let mut stream = connected.map_err(|error| called.explain(error))?;
            let early = called.first_word(&mut stream).await?;
            Ok(Stream::new(Outgoing {
                stream,
                called,
                early,
            }))
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.network.resolve(host)
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        self.network.listen(address)
    }
}

/// Whom we have called, with what.
struct Called {
    host: String,
    credentials: Arc<Credentials>,
}

impl Called {
    /// The first bytes that the other end says. Whether it takes our certificate it says only after the connection is
    /// there (TLS 1.3); who sends at once would hear that it was closed, and not why. In HTTP/2 the server
    /// speaks without being asked (RFC 9113, 3.4); one that does not is waited for no longer than [`PATIENCE`].
    async fn first_word(&self, stream: &mut TlsStream<Stream>) -> io::Result<Vec<u8>> {
        let mut early = vec![0; 64];
        let count = tokio::select! {
            biased;
            read = stream.read(&mut early) => match read.map_err(|error| self.explain(error))? {
                0 => return Err(self.explain(io::ErrorKind::UnexpectedEof.into())),
                count => count,
            },
            () = self.credentials.clock().sleep(PATIENCE) => 0,
        };
        early.truncate(count);
        Ok(early)
    }

    /// `error` in words, where it is one of securing the connection.
    fn explain(&self, error: io::Error) -> io::Error {
        let current = self.credentials.current();
        trouble::of_call(
            error,
            &self.host,
            self.credentials.files(),
            current.own.as_ref(),
        )
    }
}

/// A connection that we have made.
struct Outgoing {
    stream: TlsStream<Stream>,
    called: Called,
    /// What was read of it before it was handed out.
    early: Vec<u8>,
}

impl Outgoing {
    fn explain<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        polled.map_err(|error| self.called.explain(error))
    }
}

impl AsyncRead for Outgoing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..count]);
            self.early.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.explain(polled)
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.explain(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.explain(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.explain(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
