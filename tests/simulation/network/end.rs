//! The ends of connections, and what a program has of the network.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, Bytes};
use futures::future::BoxFuture;
use quaestor::host;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::{Instant, Sleep},
};

use super::{HostId, Network, Peer, ProgramId, Segment, WINDOW, address};

/// Takes connections.
pub struct Accepting {
    pub(super) network: Network,
    pub(super) program: ProgramId,
    pub(super) place: (HostId, u16),
    pub(super) incoming: mpsc::UnboundedReceiver<(End, Peer)>,
}

impl Accepting {
    /// The next connection; never, once the program has ended.
    pub async fn next(&mut self) -> (End, Peer) {
        match self.incoming.recv().await {
            Some((end, peer)) => (end.attached(&self.network), peer),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        // Those who were connected and not taken in hear that nobody is here.
        while let Ok((end, _)) = self.incoming.try_recv() {
            drop(end.attached(&self.network));
        }
        let mut state = self.network.state();
        let listening = state.listeners.get(&self.place);
        if listening.is_some_and(|listening| listening.program == self.program) {
            state.listeners.remove(&self.place);
        }
    }
}

/// One end of a connection.
pub struct End {
    /// None while it waits to be accepted.
    network: Option<Network>,
    id: u64,
    side: usize,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl End {
    pub(super) fn new(network: &Network, id: u64, side: usize) -> Self {
        Self::detached(id, side).attached(network)
    }

    pub(super) fn detached(id: u64, side: usize) -> Self {
        Self {
            network: None,
            id,
            side,
            sleep: None,
        }
    }

    fn attached(mut self, network: &Network) -> Self {
        self.network = Some(network.clone());
        self
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(network) = this.network.clone() else {
            return Poll::Pending;
        };
        loop {
            let mut guard = network.state();
            let state = &mut *guard;
            let acts = state.may_act(this.id, this.side)?;
            let Some(connection) = state.connections.get_mut(&this.id) else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            };
            let (own, other) = (connection.hosts[this.side], connection.hosts[1 - this.side]);
            let pipe = &mut connection.pipes[1 - this.side];
            let blocked = !acts || state.cut.contains_key(&(other, own));
            let at = match pipe.under_way.front() {
                Some((at, _)) if !blocked => *at,
                _ => {
                    pipe.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            };
            if at > Instant::now() {
                pipe.reader = Some(cx.waker().clone());
                drop(guard);
                let sleep = this
                    .sleep
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                if sleep.deadline() != at {
                    sleep.as_mut().reset(at);
                }
                std::task::ready!(sleep.as_mut().poll(cx));
                continue;
            }
            match pipe.under_way.front_mut() {
                Some((_, Segment::Data(data))) => {
                    let length = data.len().min(buf.remaining());
                    buf.put_slice(&data[..length]);
                    data.advance(length);
                    let empty = data.is_empty();
                    pipe.bytes -= length;
                    if empty {
                        pipe.under_way.pop_front();
                    }
                    pipe.writer.take().into_iter().for_each(Waker::wake);
                    return Poll::Ready(Ok(()));
                }
                Some((_, Segment::Fin)) | None => return Poll::Ready(Ok(())),
                Some((_, Segment::Reset)) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(network) = self.network.clone() else {
            return Poll::Pending;
        };
        let mut state = network.state();
        let acts = state.may_act(self.id, self.side)?;
        let Some(connection) = state.connections.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let pipe = &mut connection.pipes[self.side];
        if pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if connection.ends[1 - self.side].is_none() {
            let [a, b] = connection.hosts;
            // Who cannot be told by the other side goes on into the void.
            let untold = [a, b].iter().any(|host| state.dark.contains(host));
            return Poll::Ready(if untold || state.cut.contains_key(&(a, b)) {
                Ok(bytes.len())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            });
        }
        let pipe = &mut connection.pipes[self.side];
        if !acts || pipe.bytes >= WINDOW {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let data = Bytes::copy_from_slice(bytes);
        state.send(self.id, self.side, Segment::Data(data));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(network) = &self.network {
            network.state().send(self.id, self.side, Segment::Fin);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(network) = &self.network {
            network
                .state()
                .close(self.id, self.side, Some(Segment::Fin));
        }
    }
}

/// The network as one program has it.
pub(super) struct Attached {
    pub(super) network: Network,
    pub(super) program: ProgramId,
}

impl host::Network for Attached {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<host::Stream>> {
        let (network, program) = (self.network.clone(), self.program);
        let host: io::Result<HostId> = match host.parse() {
            Ok(IpAddr::V4(address)) => Ok(address.octets()[3]),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Box::pin(async move {
            let end = network.connect(program, host?, port).await?;
            Ok(host::Stream::new(end))
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let address: io::Result<IpAddr> = host.parse().map_err(|_| io::ErrorKind::NotFound.into());
        Box::pin(async { Ok(vec![address?]) })
    }

    fn listen(
        &self,
        address: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Box<dyn host::Listener>>> {
        let listening = self.network.listen(self.program, address.port());
        Box::pin(async move { Ok(Box::new(listening?) as Box<dyn host::Listener>) })
    }
}

impl host::Listener for Accepting {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(host::Stream, SocketAddr)>> {
        Box::pin(async {
            let (end, peer) = self.next().await;
            Ok((host::Stream::new(end), peer.address))
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(address(self.place.0), self.place.1))
    }
}
