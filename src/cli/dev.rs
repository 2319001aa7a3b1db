//! `quaestor dev`: a whole cluster in one process.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    fmt::Display,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{
    DEFAULT_STORE, apply,
    args::{DevArgs, Global},
    balancer, files,
    output::{note, say},
    roles,
    security::Security,
    site::{self, Shown},
};
use crate::{
    agent::{self, logs::Logs},
    balancer::limits::Limits,
    controller,
    host::{Host, Listener},
    metrics::Part,
    model::{
        Name,
        manifest::{self, Manifest, Source},
        service::Labels,
    },
    operator::{
        Operator,
        apply::{Change, Manner},
        board::Scope,
        inventory::Inventory,
        wait::{Goal, Progress},
    },
    plan::absence::GRACE,
    process,
    retry::Retry,
    store::embedded::Embedded,
    task::Tasks,
};

/// How often the embedded store is compacted; `controller` has a flag for it.
const COMPACT_EVERY: Duration = Duration::from_secs(300);

/// How often the manifests are looked at.
const RELOAD: Duration = Duration::from_millis(500);

/// For how long an answered endpoint comes after the others; `balancer` has a flag for it.
const RECENTLY_USED: Duration = Duration::from_secs(5);

/// Where the dashboard is unless told otherwise.
const DASHBOARD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 5160);

/// The only node of a development cluster, and where it is reached.
const NODE: &str = "local";
const LOOPBACK: &str = "127.0.0.1";

pub(super) async fn run(global: &Global, host: Host, args: DevArgs) -> anyhow::Result<ExitCode> {
    // Everything that can be wrong is found before anything starts.
    let sources = files::sources(&args.files)?;
    let manifests = manifest::read(&sources)?;
    let embedded = match &global.etcd {
        Some(_) => None,
        None => {
            let address = args.store_listen.to_string();
            Some(roles::listen(&host, &address, "the embedded store", "--store-listen").await?)
        }
    };
    let address = args.balancer_listen.to_string();
    let balancer = roles::listen(&host, &address, "the balancer", "--balancer-listen").await?;
    let security = Security::read(global, &host)?;
    let http = match args.http.map(|address| address.to_string()) {
        Some(address) => balancer::listen_for_http(&host, &security, Some(&address)).await?,
        // Another cluster may be tried out at the same time.
        None => host.network.listen(DASHBOARD.into()).await.ok(),
    };
    let token = site::random_token(&host);
    let state_directory = match args.state_dir {
        Some(directory) => directory,
        None => roles::state_home()?.join(format!("dev-{}", args.balancer_listen.port())),
    };
    let place = Place::of(
        global,
        embedded.as_deref(),
        balancer.as_ref(),
        http.as_deref().map(|http| (http, token.as_str())),
        &state_directory,
    )?;

    let processes = process::ShimProcesses::new(&host)?.tethered()?;
    // Its own parts speak without TLS: nobody else reaches them.
    let store = security.store(place.endpoints.clone(), &host)?;
    let mut tasks = Tasks::new(CancellationToken::new());
    let stop = tasks.stop().clone();
    let controller = controller::Config {
        cluster: global.cluster.clone(),
        name: roles::controller_name(&host),
        node_grace: GRACE,
        // A store that is not this one's own may have other users, who keep history as they like.
        compacts_every: embedded.is_some().then_some(COMPACT_EVERY),
        // Whoever restores a store that is tried out knows about it.
        state_directory: None,
    };
    tasks.spawn(
        "controller",
        controller::run(controller, store.clone(), host.clone(), stop.clone()),
    );
    let agent_listener = (host.network.listen((Ipv4Addr::LOCALHOST, 0).into()).await)
        .context("the agent finds no free port on loopback")?;
    let author = super::author(global, &host);
    let shown = Shown {
        store: store.clone(),
        cluster: global.cluster.clone(),
        role: "dev",
        scope: Scope::Cluster,
        logs: site::Source::Here(Logs::new(&state_directory, host.clone())),
        balancers: Some(host.network.clone()),
        own: None,
        operator: Some(Operator::new(store.clone(), &global.cluster).named(author.clone())),
        token: Some(token),
    };
    let agent = agent::Config {
        cluster: global.cluster.clone(),
        node: NODE.parse()?,
        address: LOOPBACK.to_owned(),
        agent_address: Some(roles::announced(&*agent_listener, LOOPBACK)?),
        labels: Labels::default(),
        capacity: roles::capacity(&host, &[]),
        runtime_directory: state_directory.join(roles::RUNTIME),
        state_directory,
        ends_all: true,
        allowed: Default::default(),
        manifests: None,
        artifact_ca: None,
        quaestor: roles::this_program()?,
        endpoints: place.endpoints.clone(),
    };
    roles::serve_agent(
        &mut tasks,
        agent,
        store.clone(),
        host.clone(),
        processes,
        agent_listener,
        host.network.clone(),
    );
    balancer::serve(
        &mut tasks,
        global,
        balancer::Source::Store(store.clone()),
        host.clone(),
        balancer::Surfaces {
            grpc: balancer,
            http,
            shown: Some(shown),
            parts: vec![Part::Store, Part::Controller, Part::Agent, Part::Balancer],
            plain: None,
            network: host.network.clone(),
            dns: None,
            advertise: None,
            recently_used: RECENTLY_USED,
            labels: Labels::default(),
            view_cache: None,
            import: None,
            mirror: None,
            limits: Limits::default(),
        },
    );
    let manifests = Manifests {
        paths: args.files,
        sources,
        current: manifests,
        operator: Operator::new(store, &global.cluster).named(author),
        host: host.clone(),
    };
    tasks.spawn("manifests", manifests.keep_applied(place, stop));

    // The store outlives the roles, so that they can write their last words.
    let serve_store = async {
        match embedded {
            Some(listener) => {
                Embedded::new(&host)
                    .serve(listener, CancellationToken::new())
                    .await
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = roles::until_stopped(tasks, &*host.clock) => outcome,
        ended = serve_store => {
            ended.context("the embedded store failed")?;
            anyhow::bail!("the embedded store ended by itself")
        }
    }
}

/// Where things are, for people and for commands to paste.
struct Place {
    program: String,
    endpoints: Vec<String>,
    store: String,
    balancer: SocketAddr,
    /// Where HTTP/JSON is answered and the dashboard is, if anywhere; and the token for its deeds.
    http: Option<(SocketAddr, String)>,
    logs: PathBuf,
    /// Flags that commands need to find this cluster; empty when the defaults do.
    store_flags: String,
    balancer_flags: String,
}

impl Place {
    fn of(
        global: &Global,
        embedded: Option<&dyn Listener>,
        balancer: &dyn Listener,
        http: Option<(&dyn Listener, &str)>,
        state_directory: &Path,
    ) -> anyhow::Result<Self> {
        let (endpoints, store) = match (&global.etcd, embedded) {
            (Some(urls), _) => (urls.clone(), format!("{} (etcd)", urls.join(","))),
            (None, Some(listener)) => {
                let address = listener.local_address()?;
                (
                    vec![format!("http://{address}")],
                    format!("{address} (embedded; etcdctl works)"),
                )
            }
            (None, None) => anyhow::bail!("there is no store"),
        };
        let balancer = balancer.local_address()?;
        let mut store_flags = String::new();
        if endpoints != [DEFAULT_STORE] {
            store_flags.push_str(&format!(" --etcd {}", endpoints.join(",")));
        }
        if global.cluster.as_str() != "default" {
            store_flags.push_str(&format!(" --cluster {}", global.cluster));
        }
        let balancer_flags = if balancer.to_string() == "127.0.0.1:5150" {
            String::new()
        } else {
            format!(" --balancer {balancer}")
        };
        let http = match http {
            Some((listener, token)) => Some((listener.local_address()?, token.to_owned())),
            None => None,
        };
        let logs = state_directory.join("logs");
        Ok(Self {
            program: program(),
            endpoints,
            store,
            balancer,
            http,
            logs,
            store_flags,
            balancer_flags,
        })
    }

    fn print(&self) {
        show(format_args!("store     {}", self.store));
        show(format_args!("balancer  {} (gRPC)", self.balancer));
        if let Some((http, token)) = &self.http {
            show(format_args!("          {http} (HTTP/JSON)"));
            show(format_args!("dashboard http://{http}/#token={token}"));
        }
        show(format_args!("logs      {}", self.logs.display()));
    }

    /// Commands to try: a look, a question, a kill.
    fn print_commands(&self, inventory: &Inventory) {
        let Self {
            program,
            store_flags,
            balancer_flags,
            ..
        } = self;
        show("\nTry in another terminal:");
        show(format_args!("  {program} get instances{store_flags}"));
        if let Some(service) = inventory.services.first() {
            let name = &service.name;
            show(format_args!("  {program} logs {name} -f{store_flags}"));
        }
        if let Some(name) = inventory
            .services
            .iter()
            .find_map(|found| found.service_names.first())
        {
            show(format_args!("  {program} pick {name}{balancer_flags}"));
        }
        let mut living = inventory
            .instances
            .iter()
            .filter_map(|found| Some((found.pid?, &found.name)));
        if let Some((pid, name)) = living.next() {
            show(format_args!("  kill -9 {pid}    # {name}: it comes back"));
        }
        show("\nCtrl-C stops everything.");
    }
}

/// Prints a line for whoever looks. The cluster runs on whether it can be written or not.
fn show(line: impl Display) {
    let _ = say(line);
}

/// This program, as it can be typed in the present directory.
fn program() -> String {
    let Ok(path) = roles::this_program() else {
        return "quaestor".to_owned();
    };
    let here = env::current_dir().unwrap_or_default();
    let relative = path
        .strip_prefix(here)
        .map(|path| Path::new(".").join(path));
    relative.unwrap_or(path).display().to_string()
}

/// In development the files are what holds.
const FILES_RULE: Manner = Manner {
    dry_run: false,
    force: true,
};

/// Manifests that are applied whenever their files change.
struct Manifests {
    paths: Vec<PathBuf>,
    sources: Vec<Source>,
    current: Vec<Manifest>,
    operator: Operator,
    host: Host,
}

impl Manifests {
    /// Applies them, says when everything is up, and follows the files until `stop`.
    async fn keep_applied(
        mut self,
        place: Place,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        place.print();
        let work = async {
            let generations = self.apply().await;
            let operator = self.operator.clone();
            tokio::join!(announce(operator, generations, place), self.follow());
        };
        stop.run_until_cancelled(work).await;
        Ok(())
    }

    /// Applies what is current; says what changed. Tries for as long as the store is away.
    async fn apply(&self) -> BTreeMap<Name, u64> {
        let mut generations = BTreeMap::new();
        for manifest in &self.current {
            let mut retry = Retry::new(Duration::from_millis(50), Duration::from_secs(5));
            loop {
                match self.operator.apply(manifest, FILES_RULE).await {
                    Ok(applied) => {
                        if applied.change != Change::Unchanged {
                            let _ = apply::print(&applied, false);
                        }
                        generations.insert(applied.name, applied.generation);
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(service = %manifest.metadata.name, "not applied yet: {error}");
                        self.host
                            .clock
                            .sleep(retry.pause(self.host.entropy.as_ref()))
                            .await;
                    }
                }
            }
        }
        generations
    }

    /// Applies the files again whenever they change. What is wrong with them is said once per change.
    async fn follow(&mut self) {
        let mut complaint = String::new();
        loop {
            self.host.clock.sleep(RELOAD).await;
            match self.reload() {
                Ok(false) => {}
                Ok(true) => {
                    complaint.clear();
                    self.apply().await;
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    if text != complaint {
                        note(format_args!(
                            "{text}\nwhat was applied before stays in force"
                        ));
                        complaint = text;
                    }
                }
            }
        }
    }

    /// Reads the files again; whether they changed.
    fn reload(&mut self) -> anyhow::Result<bool> {
        let sources = files::sources(&self.paths)?;
        if sources == self.sources {
            return Ok(false);
        }
        let manifests = manifest::read(&sources)?;
        for old in &self.current {
            let name = &old.metadata.name;
            if !manifests.iter().any(|new| new.metadata.name == *name) {
                show(format_args!(
                    "service/{name} is in no file any more and runs on; `delete` ends it"
                ));
            }
        }
        self.sources = sources;
        self.current = manifests;
        Ok(true)
    }
}

/// Says when all instances are ready, and what to try then.
async fn announce(operator: Operator, generations: BTreeMap<Name, u64>, place: Place) {
    let mut waiter = operator.wait(Goal::Ready(generations));
    while !waiter
        .next()
        .await
        .values()
        .all(|progress| *progress == Progress::Done)
    {}
    match operator.inventory().await {
        Ok(inventory) => place.print_commands(&inventory),
        Err(error) => tracing::warn!("cannot look at the cluster: {error}"),
    }
}
