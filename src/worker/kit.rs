//! What one worker process serves beside its own services.

use std::{collections::BTreeSet, sync::Arc};

use tonic::{codegen::http::request::Parts, service::Routes};

use super::{
    Health, Layer, Machine, Owner, Requests, System, admin,
    layer::OwnerOf,
    load::{self, Gauge},
    orca::{self, Orca},
};

/// The header with the user of a call, unless the worker says otherwise.
const USER: &str = "user-name";

/// The header with the user's environment, unless the worker says otherwise.
const ENVIRONMENT: &str = "environment";

/// Whether an owner's requests may be cancelled by who gives this password.
pub(super) type Verify = Arc<dyn Fn(&Owner, &str) -> bool + Send + Sync>;

/// Health, load reports and cancelling for one worker process. Cheap to clone; clones stand for the same
/// process, and configuring one leaves the others as they are, save for its capacity.
#[derive(Clone)]
pub struct Kit {
    names: Arc<BTreeSet<String>>,
    requests: Requests,
    health: Health,
    gauge: Arc<Gauge>,
    orca: Arc<Orca>,
    owner_of: OwnerOf,
    verify: Verify,
}

impl Kit {
    /// For a process that serves `names`, as its manifest lists them under `serviceNames`; and the empty
    /// name, which stands for the process. Its capacity is not known, and it measures this machine.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::on(Arc::new(System), names)
    }

    /// The same on a machine that somebody else measures.
    pub fn on<N: Into<String>>(
        machine: Arc<dyn Machine>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        let names = names.into_iter().map(Into::into).chain([String::new()]);
        let names: Arc<BTreeSet<String>> = Arc::new(names.collect());
        let (requests, gauge) = (Requests::default(), Arc::new(Gauge::new(machine)));
        Self {
            orca: Arc::new(Orca::new(requests.clone(), Arc::clone(&gauge))),
            requests,
            health: Health::new(Arc::clone(&names)),
            gauge,
            owner_of: owner_of_headers(USER, ENVIRONMENT),
            verify: Arc::new(|_, _| true),
            names,
        }
    }

    /// How many requests it can work on at once, as it reports. More are taken all the same: see
    /// [`Kit::limited`].
    #[must_use]
    pub fn capacity(self, capacity: u32) -> Self {
        self.requests.set_capacity(Some(capacity));
        self
    }

    /// Calls beyond the capacity are answered with RESOURCE_EXHAUSTED, at once.
    #[must_use]
    pub fn limited(self) -> Self {
        self.requests.limit();
        self
    }

    /// The headers (gRPC's metadata) that name the user of a call and the user's environment; `user-name` and
    /// `environment`, if nobody says otherwise. A call without the first belongs to nobody and cannot be
    /// cancelled.
    #[must_use]
    pub fn owner_in(self, user: &'static str, environment: &'static str) -> Self {
        Self {
            owner_of: owner_of_headers(user, environment),
            ..self
        }
    }

    /// The same by a function of the call's head: its headers, or what an interceptor has put into its
    /// extensions. A handler that learns from the message whose request it is says so itself:
    /// [`Call::belongs_to`](super::Call::belongs_to).
    #[must_use]
    pub fn owner_by(
        mut self,
        owner_of: impl Fn(&Parts) -> Option<Owner> + Send + Sync + 'static,
    ) -> Self {
        self.owner_of = Arc::new(owner_of);
        self
    }

    /// Who may cancel an owner's requests: those whose password `verify` accepts; everybody, if nobody says
    /// otherwise. Others are answered with PERMISSION_DENIED.
    #[must_use]
    pub fn verify(mut self, verify: impl Fn(&Owner, &str) -> bool + Send + Sync + 'static) -> Self {
        self.verify = Arc::new(verify);
        self
    }

    /// Counts calls, and ends those that are cancelled; answers say how busy the worker is. For a whole server, or for a single service; calls of
    /// the kit's own services and of reflection do not count.
    pub fn layer(&self) -> Layer {
        let orca = Arc::clone(&self.orca);
        Layer::new(self.requests.clone(), Arc::clone(&self.owner_of), orca)
    }

    /// The kit's services: health, load reports (Quaestor's and the standard's), cancelling. From now on the process is healthy.
    pub async fn routes(&self) -> Routes {
        self.health.set(true).await;
        Routes::new(self.health.service())
            .add_service(load::service(
                Arc::clone(&self.names),
                self.requests.clone(),
                Arc::clone(&self.gauge),
            ))
            .add_service(orca::service(Arc::clone(&self.orca), self.health.ended()))
            .add_service(admin::service(
                self.requests.clone(),
                Arc::clone(&self.verify),
            ))
    }

    /// Says whether it is healthy.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The requests that are worked on; also where a worker sets a load rate of its own.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Resolves after `stop`, when the process has said that it serves no more: the signal for
    /// `serve_with_shutdown`. Those who watch its health are told, and their streams end, which would hold up
    /// the server's end.
    pub async fn until(self, stop: impl Future<Output = ()>) {
        stop.await;
        self.health.set(false).await;
        self.health.end_watches().await;
    }
}

fn owner_of_headers(user: &'static str, environment: &'static str) -> OwnerOf {
    Arc::new(move |call: &Parts| {
        let header = |name| call.headers.get(name)?.to_str().ok().map(str::to_owned);
        Some(Owner {
            user_name: header(user)?,
            environment: header(environment).unwrap_or_default(),
        })
    })
}
