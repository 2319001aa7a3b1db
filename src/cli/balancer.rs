//! A balancer as a process of its own, and its tasks.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::{
    args::{BalancerArgs, Global},
    roles::{listen, until_stopped},
    security::{Security, endpoints, warn_of_strangers},
    site::{self, Shown},
};
use crate::{
    balancer::{
        self,
        answers::Answers,
        external::{Manifests, Refusal, alone},
        limits::Limits,
        registry::mirror,
        reservations::Reservations,
    },
    dns::{self, Zone},
    host::{Datagrams, Host, Listener, Network},
    keys::registry::Registry,
    metrics::Part,
    model::service::Labels,
    operator::board::Scope,
    rpc::{self, connections::Connections},
    store::Store,
    task::Tasks,
    tls::{self, Door},
    view::Directory,
};

pub(super) async fn run(
    global: &Global,
    host: Host,
    args: BalancerArgs,
) -> anyhow::Result<ExitCode> {
    let security = Security::read(global, &host)?;
    let source = match args.static_files {
        files if files.is_empty() => Source::Store(security.store(endpoints(global), &host)?),
        files => {
            let taken = Manifests::take(files, &*host.disk, host.clock.now());
            Source::Files(taken.map_err(|refusal| match refusal {
                Refusal::Wrong(wrong) => anyhow::Error::new(wrong),
                Refusal::Unreadable(unreadable) => unreadable.into(),
            })?)
        }
    };
    let registry = Registry::new(&args.registry_scope).with_context(|| {
        format!(
            "`{}` is no --registry-scope: leave out the slash",
            args.registry_scope
        )
    })?;
    let listener = listen(&host, &args.listen, "the balancer", "--listen").await?;
    let door = match args.anonymous {
        true => Door::Open,
        false => Door::Known,
    };
    let http = listen_for_http(&host, &security, args.http.http.as_deref()).await?;
    let plain = match &args.plain {
        Some(_) if !security.is_on() => bail!(
            "--plain is for balancers that speak TLS, and this one does not: name its files, with --tls-ca and others"
        ),
        Some(address) => {
            let listener = listen(&host, address, "the balancer", "--plain").await?;
            warn_of_strangers("the balancer", listener.local_address()?);
            Some(tls::unguarded(listener))
        }
        None => None,
    };
    let surfaces = Surfaces {
        grpc: security.guard(listener, "the balancer", door)?,
        http,
        shown: match &source {
            Source::Store(store) => Some(Shown {
                store: store.clone(),
                cluster: global.cluster.clone(),
                role: "balancer",
                scope: Scope::Answers,
                logs: site::Source::None,
                balancers: None,
                own: None,
                operator: None,
                token: None,
            }),
            Source::Files(_) => None,
        },
        parts: match &source {
            Source::Store(_) => vec![Part::Store, Part::Balancer],
            Source::Files(_) => vec![Part::Balancer],
        },
        plain,
        network: security.network(&host),
        dns: match &args.dns {
            Some(address) => {
                let domain = args.dns_domain.as_deref();
                let domain = domain.unwrap_or(global.cluster.as_str());
                let zone = Zone::new(domain, args.dns_ttl.get()).context("--dns-domain")?;
                Some(listen_for_dns(&host, address, zone).await?)
            }
            None => None,
        },
        advertise: args.advertise,
        recently_used: args.recently_used.get(),
        labels: args.labels.into_iter().collect(),
        view_cache: args.view_cache,
        import: args.import_registry.then(|| registry.clone()),
        mirror: args.mirror_registry.then_some(registry),
        limits: args.limits.limits(),
    };
    let clock = host.clock.clone();
    let mut tasks = Tasks::new(CancellationToken::new());
    security.keep(&mut tasks);
    serve(&mut tasks, global, source, host, surfaces);
    until_stopped(tasks, &*clock).await
}

/// Where a balancer answers, and how.
pub(super) struct Surfaces {
    pub grpc: Box<dyn Listener>,
    /// None: no HTTP/JSON.
    pub http: Option<Box<dyn Listener>>,
    /// What the dashboard shows; none: there is no dashboard.
    pub shown: Option<Shown>,
    /// What the process is made of, for its metrics.
    pub parts: Vec<Part>,
    /// Where gRPC is answered without TLS as well; none: nowhere.
    pub plain: Option<Box<dyn Listener>>,
    /// How agents and other balancers are reached.
    pub network: Arc<dyn Network>,
    /// None: no DNS.
    pub dns: Option<DnsPlace>,
    /// Where clients and other balancers reach `grpc`.
    pub advertise: Option<String>,
    /// For how long an answered endpoint comes after the others.
    pub recently_used: Duration,
    /// What askers have who do not say where they are.
    pub labels: Labels,
    /// The file that the view is kept in.
    pub view_cache: Option<PathBuf>,
    /// The registry of quaestor-mini-cluster to read.
    pub import: Option<Registry>,
    /// The one to write.
    pub mirror: Option<Registry>,
    /// How much it takes on.
    pub limits: Limits,
}

/// Where DNS is answered, and about what.
pub(super) struct DnsPlace {
    datagrams: Box<dyn Datagrams>,
    listener: Box<dyn Listener>,
    zone: Zone,
}

/// Both places of the DNS surface, at one port.
async fn listen_for_dns(host: &Host, address: &str, zone: Zone) -> anyhow::Result<DnsPlace> {
    let listener = listen(host, address, "the DNS surface", "--dns").await?;
    let bound = host.network.bind(listener.local_address()?).await;
    let datagrams = bound.with_context(|| {
        format!(
            "the DNS surface cannot take datagrams at {address}; choose another address with --dns"
        )
    })?;
    Ok(DnsPlace {
        datagrams,
        listener,
        zone,
    })
}

/// What a balancer knows its services from.
pub(super) enum Source {
    Store(Store),
    /// These alone; it asks the endpoints itself.
    Files(Manifests),
}

/// The listener of the HTTP surface, where one is wanted.
pub(super) async fn listen_for_http(
    host: &Host,
    security: &Security,
    address: Option<&str>,
) -> anyhow::Result<Option<Box<dyn Listener>>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = listen(host, address, "the HTTP surface", "--http").await?;
    Ok(Some(security.guard(
        listener,
        "the HTTP surface",
        Door::Web,
    )?))
}

/// The tasks of a balancer: those that keep its view, and one or two that answer.
pub(super) fn serve(
    tasks: &mut Tasks,
    global: &Global,
    source: Source,
    host: Host,
    surfaces: Surfaces,
) {
    let listener = surfaces.grpc;
    let directory = Directory::new(surfaces.recently_used).on_host(surfaces.labels);
    let directory = Arc::new(directory);
    let stop = tasks.stop().clone();
    let mut is_mirrored = false;
    let reservations = match source {
        Source::Files(manifests) => {
            let known = Arc::clone(&directory);
            let keeping = alone::run(manifests, host.clone(), known, stop.clone());
            tasks.spawn("balancer", keeping);
            None
        }
        Source::Store(store) => {
            let config = balancer::Config {
                cluster: global.cluster.clone(),
                view_cache: surfaces.view_cache,
                import: surfaces.import,
                announced: None,
            };
            is_mirrored = surfaces.mirror.is_some();
            if let Some(registry) = surfaces.mirror {
                let known = Arc::clone(&directory);
                let registering =
                    mirror::run(registry, store.clone(), host.clone(), known, stop.clone());
                tasks.spawn("balancer's registry", registering);
            }
            let reached_at = reached_at(&*listener, surfaces.advertise);
            let known = Arc::clone(&directory);
            let network = surfaces.network;
            let queues = Queues {
                network,
                reached_at,
            };
            Some(keep_view(tasks, config, store, &host, known, queues))
        }
    };
    let answers = Answers::new(directory, host.clone(), surfaces.limits);
    let answers = match is_mirrored {
        true => answers.mirrored(),
        false => answers,
    };
    if let Some(listener) = surfaces.http {
        let (parts, shown) = (surfaces.parts, surfaces.shown);
        site::serve(tasks, listener, parts, Some(answers.clone()), shown, &host);
    }
    if let Some(place) = surfaces.dns {
        let (answers, host, stop) = (answers.clone(), host.clone(), stop.clone());
        let serving = dns::serve(
            place.datagrams,
            place.listener,
            place.zone,
            answers,
            host,
            stop,
        );
        tasks.spawn("balancer's DNS server", serving);
    }
    for listener in std::iter::once(listener).chain(surfaces.plain) {
        let (answers, reservations) = (answers.clone(), reservations.clone());
        let serving = rpc::serve(listener, answers, reservations, host.clone(), stop.clone());
        tasks.spawn("balancer's server", serving);
    }
}

/// Where clients and other balancers reach what listens there; none: nobody can be told.
fn reached_at(listener: &dyn Listener, advertise: Option<String>) -> Option<String> {
    let reached_at = advertise.or_else(|| {
        let local = listener.local_address().ok();
        let own = local.filter(|local| !local.ip().is_unspecified());
        own.map(|own| own.to_string())
    });
    if reached_at.is_none() {
        tracing::warn!(
            "other balancers cannot be told where this one is: it keeps queues for its own callers only; \
             name its address with --advertise"
        );
    }
    reached_at
}

/// What keeping queues for tickets takes.
struct Queues {
    /// How agents and other balancers are reached.
    network: Arc<dyn Network>,
    /// Where others reach this one; none: they cannot be told.
    reached_at: Option<String>,
}

/// The tasks of a balancer that goes by the store: one keeps the view, one keeps queues for tickets.
fn keep_view(
    tasks: &mut Tasks,
    config: balancer::Config,
    store: Store,
    host: &Host,
    directory: Arc<Directory>,
    queues: Queues,
) -> Reservations {
    let stop = tasks.stop().clone();
    let connections = Arc::new(Connections::new(queues.network));
    let (reservations, inbox) = Reservations::new(host.clone(), connections.clone(), connections);
    let config = balancer::Config {
        announced: Some(reservations.announced()),
        ..config
    };
    tasks.spawn(
        "balancer",
        balancer::run(
            config.clone(),
            store.clone(),
            host.clone(),
            directory,
            stop.clone(),
        ),
    );
    tasks.spawn(
        "balancer's queues",
        balancer::reservations::run(
            config,
            queues.reached_at,
            store,
            reservations.clone(),
            inbox,
            stop,
        ),
    );
    reservations
}
