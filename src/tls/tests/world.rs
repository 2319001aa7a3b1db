//! A directory of certificates, and connections that are pipes.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::{
    super::{
        Credentials, Files, Named, Own, Secured,
        authority::{Authority, Order, Pair},
    },
    DAY, answer, talk, told,
};
use crate::{
    host::{Clock, Host, Listener, Network, Stream},
    model::{Moment, Timestamp},
};

const HERE: &str = "127.0.0.1:7";

/// A network of one listener, whose connections are pipes.
pub(super) struct Pipes {
    dial: mpsc::UnboundedSender<Stream>,
    listener: Mutex<Option<Piped>>,
}

pub(super) struct Piped(mpsc::UnboundedReceiver<Stream>);

impl Pipes {
    pub(super) fn new() -> Arc<Self> {
        let (dial, calls) = mpsc::unbounded_channel();
        let listener = Mutex::new(Some(Piped(calls)));
        Arc::new(Self { dial, listener })
    }

    pub(super) fn listener(&self) -> Box<dyn Listener> {
        Box::new(self.listener.lock().unwrap().take().unwrap())
    }
}

impl Network for Pipes {
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Stream>> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.dial.send(Stream::new(theirs)).unwrap();
        Box::pin(async { Ok(Stream::new(ours)) })
    }

    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let listener = self.listener();
        Box::pin(async { Ok(listener) })
    }
}

impl Listener for Piped {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async { Ok((self.0.recv().await.unwrap(), HERE.parse().unwrap())) })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(HERE.parse().unwrap())
    }
}

/// A wall clock that is set by hand; the other one is the runtime's.
pub(super) struct Calendar {
    inner: Arc<dyn Clock>,
    pub(super) millis: AtomicI64,
}

impl Clock for Calendar {
    fn now(&self) -> Moment {
        self.inner.now()
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Relaxed))
    }

    fn sleep_until(&self, moment: Moment) -> BoxFuture<'static, ()> {
        self.inner.sleep_until(moment)
    }
}

/// A directory of certificates.
pub(super) struct World {
    pub(super) directory: tempfile::TempDir,
    pub(super) host: Host,
    pub(super) calendar: Arc<Calendar>,
    pub(super) authority: Authority,
    pub(super) pipes: Arc<Pipes>,
}

impl World {
    pub(super) fn new() -> Self {
        let system = Host::system();
        let calendar = Arc::new(Calendar {
            millis: AtomicI64::new(system.clock.timestamp().as_millis()),
            inner: system.clock.clone(),
        });
        let host = Host {
            clock: Arc::<Calendar>::clone(&calendar),
            ..system
        };
        let (authority, pair) = Authority::found("test", 10 * DAY, calendar.timestamp()).unwrap();
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            host,
            calendar,
            authority,
            pipes: Pipes::new(),
        };
        world.write("ca.crt", &pair.certificate);
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn issue(
        &self,
        by: &Authority,
        name: &str,
        hosts: &[&str],
        lasts: Duration,
    ) -> Pair {
        let order = Order {
            common_name: name,
            hosts: &hosts
                .iter()
                .map(|host| (*host).to_owned())
                .collect::<Vec<_>>(),
            lasts,
        };
        by.issue(&order, self.calendar.timestamp()).unwrap()
    }

    /// Issues a certificate and writes it to files of that name.
    pub(super) fn enrol(&self, name: &str, hosts: &[&str], lasts: Duration) {
        self.keep(name, &self.issue(&self.authority, name, hosts, lasts));
    }

    pub(super) fn keep(&self, name: &str, pair: &Pair) {
        self.write(&format!("{name}.crt"), &pair.certificate);
        self.write(&format!("{name}.key"), &pair.key);
    }

    pub(super) fn files(&self, name: &str) -> Files {
        files(self.directory.path(), name)
    }

    pub(super) fn credentials(&self, name: &str) -> Arc<Credentials> {
        Credentials::read(self.files(name), &self.host).unwrap()
    }

    pub(super) fn anonymous(&self) -> Arc<Credentials> {
        let own = None;
        let files = Files {
            own,
            ..self.files("x")
        };
        Credentials::read(files, &self.host).unwrap()
    }

    /// What the two ends of a call to `host` come to: what the caller, and what the called one read.
    pub(super) async fn call(
        &self,
        caller: &Arc<Credentials>,
        listener: &mut dyn Listener,
        host: &str,
    ) -> (Result<String, String>, Result<String, String>) {
        let network: Arc<dyn Network> = Arc::<Pipes>::clone(&self.pipes);
        let network = Secured::new(network, Arc::clone(caller));
        let calling = async {
            let mut stream = network.connect(host, 7).await.map_err(told)?;
            talk(&mut stream, "hello").await
        };
        tokio::join!(calling, answer(listener))
    }
}

pub(super) fn files(directory: &Path, name: &str) -> Files {
    let named = |file: String, flag| Named {
        path: directory.join(file),
        flag,
    };
    Files {
        authorities: named("ca.crt".to_owned(), "--tls-ca"),
        own: Some(Own {
            certificate: named(format!("{name}.crt"), "--tls-cert"),
            key: named(format!("{name}.key"), "--tls-key"),
        }),
    }
}
