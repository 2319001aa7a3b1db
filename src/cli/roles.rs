//! The long-running parts, one process each.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    args::{AgentArgs, ControllerArgs, DemoWorkerArgs, Global},
    balancer::listen_for_http,
    security::{Security, as_another, endpoints},
    site::{self, Shown},
};
use crate::{
    agent::{self, logs::Logs},
    controller,
    host::{Clock, Host, Listener, Network},
    metrics::Part,
    model::{
        InstanceState,
        quantity::{Cores, Period, Size},
        service::Capacity,
    },
    operator::{Operator, board::Scope},
    process::{self, ShimProcesses, Terminations},
    rpc,
    task::Tasks,
    tls::Door,
    worker,
};

/// How long a role may take to end after it was told to. Agents wait for the stop grace of their
/// instances, each of which is bounded by its manifest; a second signal ends the wait.
const SHUTDOWN: Duration = Duration::from_secs(3_600);

/// Where, within its state directory, an agent keeps what matters within one boot.
pub(super) const RUNTIME: &str = "runtime";

pub(super) async fn agent(
    global: &Global,
    host: Host,
    args: AgentArgs,
) -> anyhow::Result<ExitCode> {
    let (state_directory, runtime_directory) = match args.state_dir {
        Some(directory) => (directory.clone(), directory.join(RUNTIME)),
        None => {
            let own = |home: &Path| home.join(global.cluster.as_str()).join(args.node.as_str());
            let state = own(&state_home()?);
            let runtime = process::runtime_home().map_or_else(|| state.join(RUNTIME), own);
            (state, runtime)
        }
    };
    for directory in [&state_directory, &runtime_directory] {
        process::keep_private(directory)
            .with_context(|| format!("cannot use `{}`", directory.display()))?;
    }
    if !args.credentials.is_empty() && !process::identity::LOGS_ON {
        bail!(
            "--credential is for Windows: elsewhere an agent that runs as root needs no password"
        );
    }
    let allowed = agent::Allowed {
        users: args.allow_users,
        credentials: args.credentials,
        programs: args.allow_programs,
        // What lies behind a link counts. One that leads nowhere yet counts as it is.
        secrets: args
            .allow_secrets
            .into_iter()
            .map(|path| path.canonicalize().unwrap_or(path))
            .collect(),
    };
    if process::is_privileged() && allowed.users.is_empty() {
        tracing::warn!(
            "whoever writes to the store can start anything here as root: name the users with --allow-user"
        );
    }
    let security = Security::read(global, &host)?;
    let processes = ShimProcesses::new(&host)?;
    let listener = listen(&host, &args.listen, "the agent", "--listen").await?;
    let listener = security.guard(listener, "the agent", Door::Known)?;
    let http = listen_for_http(&host, &security, args.http.http.as_deref()).await?;
    let config = agent::Config {
        cluster: global.cluster.clone(),
        node: args.node,
        agent_address: Some(announced(&*listener, &args.address)?),
        address: args.address,
        labels: args.labels.into_iter().collect(),
        capacity: capacity(&host, &args.capacity),
        state_directory,
        runtime_directory,
        ends_all: false,
        allowed,
        manifests: args.manifests,
        artifact_ca: args.artifact_ca,
        quaestor: this_program()?,
        endpoints: endpoints(global),
    };
    let store = security.store(endpoints(global), &host)?;
    let clock = host.clock.clone();
    let network = security.network(&host);
    let mut tasks = Tasks::new(CancellationToken::new());
    security.keep(&mut tasks);
    let scope = Scope::Node(config.node.clone());
    let logs = Logs::new(&config.state_directory, host.clone());
    let own = serve_agent(
        &mut tasks,
        config,
        store.clone(),
        host.clone(),
        processes,
        listener,
        network,
    );
    if let Some(listener) = http {
        let shown = Shown {
            store,
            cluster: global.cluster.clone(),
            role: "agent",
            scope,
            logs: site::Source::Here(logs),
            balancers: None,
            own: Some(own),
            operator: None,
            token: None,
        };
        let parts = vec![Part::Store, Part::Agent];
        site::serve(&mut tasks, listener, parts, None, Some(shown), &host);
    }
    until_stopped(tasks, &*clock).await
}

/// Where the system says how much memory there is.
const MEMORY: &str = "/proc/meminfo";

/// What this host has to give: its memory and cores, but for what `told` says otherwise.
pub(super) fn capacity(host: &Host, told: &[Capacity]) -> Capacity {
    let text = host.disk.read(Path::new(MEMORY)).ok().flatten();
    let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    let total = (text.lines().find_map(|line| line.strip_prefix("MemTotal:")))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let own = Capacity {
        memory: (total.map(|kibibytes| kibibytes << 10))
            .or_else(process::memory)
            .map(Size::from_bytes),
        cpu: std::thread::available_parallelism()
            .ok()
            .map(|cores| Cores::whole(cores.get())),
    };
    told.iter().fold(own, |all, one| Capacity {
        memory: one.memory.or(all.memory),
        cpu: one.cpu.or(all.cpu),
    })
}

/// The two tasks of an agent, which reaches balancers by `network`: one runs instances, one tells what they print and passes on who wants to have them.
/// Returns how the instances of its own manifests are.
pub(super) fn serve_agent(
    tasks: &mut Tasks,
    config: agent::Config,
    store: crate::store::Store,
    host: Host,
    processes: ShimProcesses,
    listener: Box<dyn Listener>,
    network: Arc<dyn Network>,
) -> watch::Receiver<Vec<InstanceState>> {
    let stop = tasks.stop().clone();
    let (reservations, counter) = agent::reservations::counter();
    let (own, told) = watch::channel(Vec::new());
    let others = agent::Others {
        counter,
        witnesses: Some(Arc::new(rpc::proof::Balancers(network))),
        own,
    };
    let logs = Logs::new(&config.state_directory, host.clone());
    tasks.spawn(
        "agent's server",
        rpc::agent::serve(
            listener,
            config.node.clone(),
            logs,
            reservations,
            host.clone(),
            stop.clone(),
        ),
    );
    tasks.spawn(
        "agent",
        agent::run(config, store, host, Arc::new(processes), others, stop),
    );
    told
}

/// Where others reach what listens at `listener` on the host of that `address`.
pub(super) fn announced(listener: &dyn Listener, address: &str) -> anyhow::Result<String> {
    let local = listener.local_address()?;
    Ok(match local.ip().is_unspecified() {
        // Brackets keep the colons of an address apart from that of the port.
        true if address.contains(':') => format!("[{address}]:{}", local.port()),
        true => format!("{address}:{}", local.port()),
        false => local.to_string(),
    })
}

pub(super) async fn controller(
    global: &Global,
    host: Host,
    args: ControllerArgs,
) -> anyhow::Result<ExitCode> {
    let config = controller::Config {
        cluster: global.cluster.clone(),
        name: controller_name(&host),
        node_grace: args.node_grace.get(),
        compacts_every: (!args.no_compaction).then(|| args.compact_every.get()),
        state_directory: args.state_dir,
    };
    let security = Security::read(global, &host)?;
    let http = listen_for_http(&host, &security, args.http.http.as_deref()).await?;
    let store = security.store(endpoints(global), &host)?;
    let clock = host.clock.clone();
    let mut tasks = Tasks::new(CancellationToken::new());
    security.keep(&mut tasks);
    if let Some(listener) = http {
        // Who looks at the dashboard may do more than a controller, where there is a token.
        let own = match (args.dashboard_cert, args.dashboard_key) {
            (Some(certificate), Some(key)) => {
                let own = Security::read(&as_another(global, certificate, key), &host)?;
                own.keep(&mut tasks);
                own
            }
            _ => security,
        };
        let network = own.network(&host);
        let operator = Operator::new(own.store(endpoints(global), &host)?, &global.cluster);
        let shown = Shown {
            store: store.clone(),
            cluster: global.cluster.clone(),
            role: "controller",
            scope: Scope::Cluster,
            logs: site::Source::Agents(Arc::clone(&network)),
            balancers: Some(network),
            own: None,
            operator: Some(operator.named(format!("dashboard of {}", config.name))),
            token: site::token(args.http_token_file.as_deref(), &host)?,
        };
        let parts = vec![Part::Store, Part::Controller];
        site::serve(&mut tasks, listener, parts, None, Some(shown), &host);
    }
    let stop = tasks.stop().clone();
    tasks.spawn("controller", controller::run(config, store, host, stop));
    until_stopped(tasks, &*clock).await
}

/// What this host is called.
pub(super) fn host_name(host: &Host) -> String {
    process::host_name(&*host.disk)
}

/// What a controller of this process is called: host and process id.
pub(super) fn controller_name(host: &Host) -> String {
    format!("{}:{}", host_name(host), std::process::id())
}

pub(super) async fn demo_worker(host: Host, args: DemoWorkerArgs) -> anyhow::Result<ExitCode> {
    let config = worker::demo::Config {
        listen: resolve(&args.listen, "--listen").await?,
        service_names: args.service_names,
        capacity: args.capacity,
        instance: env::var("QUAESTOR_INSTANCE").unwrap_or_default(),
        start_after: args.start_after.get(),
        unhealthy_after: args.unhealthy_after.map(Period::get),
        hang_after: args.hang_after.map(Period::get),
        exit_after: args.exit_after.map(Period::get),
        exit_code: args.exit_code,
        ignore_stop: args.ignore_stop,
    };
    let stop = CancellationToken::new();
    let mut signals = Terminations::listen().context("cannot listen for signals")?;
    let mut working = std::pin::pin!(worker::demo::run(config, host, stop.clone()));
    loop {
        tokio::select! {
            code = &mut working => return Ok(ExitCode::from(code?)),
            () = signals.next() => stop.cancel(),
        }
    }
}

/// A signal this soon after the first is the same one: `timeout` and other parents send theirs to
/// the process and again to its group. Nobody presses Ctrl-C twice as fast.
const ECHO: Duration = Duration::from_millis(200);

/// Runs until a task fails or a signal asks for the end; a second signal does not wait.
pub(super) async fn until_stopped(tasks: Tasks, clock: &dyn Clock) -> anyhow::Result<ExitCode> {
    let stop = tasks.stop().clone();
    let mut signals = Terminations::listen().context("cannot listen for signals")?;
    let mut running = std::pin::pin!(tasks.run(SHUTDOWN));
    tokio::select! {
        outcome = &mut running => {
            outcome?;
            return Ok(ExitCode::SUCCESS);
        }
        () = signals.next() => tracing::info!("stopping; a second signal stops at once"),
    }
    stop.cancel();
    let echoes_end = clock.now() + ECHO;
    let second_signal = async {
        signals.next().await;
        while clock.now() < echoes_end {
            signals.next().await;
        }
    };
    tokio::select! {
        outcome = running => {
            outcome?;
            Ok(ExitCode::SUCCESS)
        }
        () = second_signal => bail!("stopped by a second signal before everything had ended"),
    }
}

/// A listener at `address` for `what`, or an error that names the flag to change.
pub(super) async fn listen(
    host: &Host,
    address: &str,
    what: &str,
    flag: &str,
) -> anyhow::Result<Box<dyn Listener>> {
    let resolved = resolve(address, flag).await?;
    host.network.listen(resolved).await.with_context(|| {
        format!("{what} cannot listen on {address}; choose another address with {flag}")
    })
}

/// The socket address that `address` means.
async fn resolve(address: &str, flag: &str) -> anyhow::Result<SocketAddr> {
    let wrong = || format!("`{address}` is not an address to listen on: write {flag} HOST:PORT");
    tokio::net::lookup_host(address)
        .await
        .with_context(wrong)?
        .next()
        .with_context(wrong)
}

/// The path of this program, for `{quaestor}` and for commands to paste.
pub(super) fn this_program() -> anyhow::Result<PathBuf> {
    env::current_exe().context("cannot find the path of this program")
}

/// Where agents keep their files unless told otherwise.
pub(super) fn state_home() -> anyhow::Result<PathBuf> {
    process::state_home()
        .context("neither XDG_STATE_HOME nor HOME is set: name a directory with --state-dir")
}
