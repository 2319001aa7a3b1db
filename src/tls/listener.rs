//! A listener that secures what it accepts.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio_rustls::TlsAcceptor;

use super::{Credentials, arrival::Arrival, trouble};
use crate::{
    host::{Listener, Peer, Stream},
    model::Moment,
};

/// Who is let in, and what is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// gRPC, with those who show a certificate.
    Known,
    /// gRPC, with everybody; a certificate that is shown must hold.
    Open,
    /// HTTP/1.1, with everybody; a certificate that is shown must hold.
    Web,
}

/// Refusals are told at most so often: strangers must not fill the log.
const TELL: Duration = Duration::from_secs(1);

/// A listener with a guard.
pub(super) struct Guarded {
    listener: Box<dyn Listener>,
    credentials: Arc<Credentials>,
    door: Door,
    book: Arc<Book>,
}

impl Guarded {
    pub(super) fn new(
        listener: Box<dyn Listener>,
        credentials: Arc<Credentials>,
        door: Door,
    ) -> Self {
        let book = Arc::new(Book {
            credentials: Arc::clone(&credentials),
            told: Mutex::new(None),
        });
        Self {
            listener,
            credentials,
            door,
            book,
        }
    }
}

impl Listener for Guarded {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async {
            loop {
                let (stream, address) = self.listener.accept().await?;
                // Secured by whoever reads it, so that nobody who is slow holds up others.
                let Some(config) = self.credentials.current().server(self.door) else {
                    self.book
                        .note(address, "this program has no certificate to show");
                    continue;
                };
                let peer = Peer::arriving();
                let arrival = Arrival::new(
                    TlsAcceptor::from(config).accept(stream).into_fallible(),
                    address,
                    peer.clone(),
                    Arc::clone(&self.book),
                );
                return Ok((Stream::with_peer(arrival, peer), address));
            }
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_address()
    }
}

/// `listener`, which stays without TLS beside one that has it: whoever comes is taken for nobody known.
pub fn unguarded(listener: Box<dyn Listener>) -> Box<dyn Listener> {
    Box::new(Unguarded(listener))
}

struct Unguarded(Box<dyn Listener>);

impl Listener for Unguarded {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async {
            let (stream, address) = self.0.accept().await?;
            Ok((Stream::with_peer(stream, Peer::arriving()), address))
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_address()
    }
}

/// Where refusals are noted.
pub(super) struct Book {
    credentials: Arc<Credentials>,
    /// When the last one was told.
    told: Mutex<Option<Moment>>,
}

impl Book {
    pub(super) fn clock(&self) -> &dyn crate::host::Clock {
        &**self.credentials.clock()
    }

    /// A caller was turned away because of `error`; why, in words.
    pub(super) fn refuse(&self, address: SocketAddr, error: &io::Error) -> String {
        let why = trouble::of_caller(error, self.credentials.files());
        self.note(address, &why);
        why
    }

    fn note(&self, address: SocketAddr, why: &str) {
        let now = self.clock().now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| now.since(told) >= TELL) {
            *told = Some(now);
            tracing::warn!(%address, "a caller was turned away: {why}");
        } else {
            tracing::debug!(%address, "a caller was turned away: {why}");
        }
    }
}
