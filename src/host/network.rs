//! The network seam: every connection of every role is made or accepted here.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::model::Caller;

/// Connects, listens, looks names up.
pub trait Network: Send + Sync {
    /// A connection to `host` (a name or an address without brackets) at `port`.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Stream>>;

    /// The addresses of `host` (a name, or an address without brackets); at least one.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;

    /// A listener at `address`; port 0 takes a free one.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;

    /// A place at `address` to which datagrams come. A network need not have any.
    fn bind(&self, _address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// Receives and sends datagrams.
pub trait Datagrams: Send + Sync {
    /// The next one: how long it is, the rest of what does not fit being lost, and where it comes from. Cancel-safe.
    fn receive<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>>;

    /// Sends one.
    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>>;
}

/// Accepts connections.
pub trait Listener: Send {
    /// The next connection and where it comes from.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;

    /// Where it listens.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

/// What a connection can do, whatever carries it.
trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection.
pub struct Stream {
    io: Pin<Box<dyn Io>>,
    peer: Peer,
}

impl Stream {
    /// A connection carried by `io`, which does not tell who is at its other end.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self::with_peer(io, Peer::default())
    }

    /// A connection carried by `io`, with who is at its other end.
    pub fn with_peer(io: impl AsyncRead + AsyncWrite + Send + 'static, peer: Peer) -> Self {
        let io = Box::pin(io);
        Self { io, peer }
    }

    /// Who is at its other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// Who is at the other end of an accepted connection. A connection that is secured tells it once that is done,
/// which is before the first byte can be read.
#[derive(Clone, Debug, Default)]
pub struct Peer(Option<Arc<OnceLock<Caller>>>);

impl Peer {
    /// Somebody who is yet to show who it is.
    pub fn arriving() -> Self {
        Self(Some(Arc::default()))
    }

    /// It has shown that. What it said first stays.
    pub fn is(&self, caller: Caller) {
        if let Some(said) = &self.0 {
            // Nobody says it twice.
            let _ = said.set(caller);
        }
    }

    /// Who it is.
    pub fn caller(&self) -> Caller {
        match &self.0 {
            None => Caller::Unasked,
            Some(said) => said.get().cloned().unwrap_or(Caller::Anonymous),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// What an HTTP client connects with: the host and port of the address asked for, both of which it
/// must name, over `network`.
pub fn connector(
    network: Arc<dyn Network>,
) -> impl tower::Service<
    http::Uri,
    Response = TokioIo<Stream>,
    Error = io::Error,
    Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>,
> + Clone
+ Send
+ 'static {
    tower::service_fn(move |uri: http::Uri| {
        // Brackets belong to the address of a URI, not to the address.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let connecting = uri.port_u16().map(|port| network.connect(host, port));
        Box::pin(async {
            let no_port =
                || io::Error::new(io::ErrorKind::InvalidInput, "an address without a port");
            connecting.ok_or_else(no_port)?.await.map(TokioIo::new)
        }) as BoxFuture<'static, _>
    })
}

/// TCP without Nagle's delay, UDP, and the system's resolver.
pub struct TcpNetwork;

impl Network for TcpNetwork {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Stream>> {
        let host = host.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::new(stream))
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let addresses: Vec<IpAddr> = found.map(|found| found.ip()).collect();
            match addresses.is_empty() {
                true => Err(io::ErrorKind::NotFound.into()),
                false => Ok(addresses),
            }
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(Tcp(listener)) as Box<dyn Listener>)
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(address).await?;
            Ok(Box::new(Udp(socket)) as Box<dyn Datagrams>)
        })
    }
}

struct Udp(UdpSocket);

impl Datagrams for Udp {
    fn receive<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(self.0.recv_from(buffer))
    }

    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.0.send_to(bytes, to).await.map(drop) })
    }
}

struct Tcp(TcpListener);

impl Listener for Tcp {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Stream::new(stream), peer))
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
