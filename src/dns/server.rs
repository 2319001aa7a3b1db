//! Datagrams and connections, and their limits.

use std::{io, net::SocketAddr, time::Duration};

use futures::{StreamExt as _, future::Either, future::select, stream::FuturesUnordered};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::reply::Replier;
use crate::host::{Datagrams, Host, Listener, Stream};

/// Bytes of a question: a name and little else.
const LARGEST: usize = 4096;

/// Questions that wait for the address of a host at a time; further ones wait before they are read.
const WAITING: usize = 256;

/// Connections at a time; further ones wait until one ends.
const CONNECTIONS: usize = 256;

/// How long a connection may be idle, and how long one message may take.
const IDLE: Duration = Duration::from_secs(10);

/// The pause after something failed that would fail again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers until `stop`. Everything that is being answered is a part of this future: none outlives it.
pub(super) async fn run(
    replier: &Replier,
    datagrams: &dyn Datagrams,
    listener: Box<dyn Listener>,
    host: &Host,
    stop: CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = answer_datagrams(replier, datagrams, host) => {}
        () = answer_connections(replier, listener, host) => {}
    }
}

async fn answer_datagrams(replier: &Replier, datagrams: &dyn Datagrams, host: &Host) {
    let mut answering = FuturesUnordered::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        tokio::select! {
            Some(()) = answering.next() => {}
            received = datagrams.receive(&mut buffer), if answering.len() < WAITING => match received {
                // Whoever asks too often gets nothing: the address may not even be his.
                Ok((length, from)) if replier.answers().admit_peer(from.ip()).is_ok() => {
                    let question = buffer[..length].to_vec();
                    answering.push(answer_datagram(replier, datagrams, question, from));
                }
                Ok(_) => {}
                Err(error) => {
                    // Also what became of an earlier answer may be told here.
                    tracing::debug!(%error, "a datagram cannot be received");
                    host.clock.sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn answer_datagram(
    replier: &Replier,
    datagrams: &dyn Datagrams,
    question: Vec<u8>,
    from: SocketAddr,
) {
    if let Some(reply) = replier.reply(&question, true).await
        && let Err(error) = datagrams.send(&reply, from).await
    {
        tracing::debug!(%from, %error, "an answer cannot be sent");
    }
}

async fn answer_connections(replier: &Replier, mut listener: Box<dyn Listener>, host: &Host) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = connections.next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => connections.push(converse(replier, stream, peer, host)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::debug!(%error, "a connection cannot be accepted");
                    host.clock.sleep(PAUSE).await;
                }
            },
        }
    }
}

/// Answers the questions of one connection, one after the other, until it ends or falls silent.
async fn converse(replier: &Replier, mut stream: Stream, peer: SocketAddr, host: &Host) {
    loop {
        let exchange = std::pin::pin!(exchange(replier, &mut stream, peer));
        let outcome = select(exchange, host.clock.sleep(IDLE)).await;
        match outcome {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(error), _)) => {
                tracing::debug!(%peer, %error, "a DNS connection ended");
                return;
            }
            Either::Right(_) => return,
        }
    }
}

/// One question and its answer, each after its length in two bytes.
async fn exchange(replier: &Replier, stream: &mut Stream, peer: SocketAddr) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    let is_admitted = replier.answers().admit_peer(peer.ip()).is_ok();
    if length > LARGEST || !is_admitted {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    let reply = replier.reply(&question, false).await;
    let reply = reply.ok_or(io::ErrorKind::InvalidData)?;
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), reply.as_slice()].concat();
    stream.write_all(&framed).await?;
    stream.flush().await
}
