//! An agent of the old kind as a manifest, with notes on what has no equivalent.

use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::{
    Wanted, command_line,
    config::{Agent, Balancer, Cluster, Config},
};
use crate::model::quantity::Period;

/// What the old program waits after a start where nothing is said.
const STARTUP_WAIT_SECONDS: f64 = 8.0;

/// Environment variables of workers that Quaestor sets itself.
const RESERVED: [&str; 2] = ["PORT", "QUAESTOR_INSTANCE"];

/// With it, the old program takes a process for healthy without asking.
const ALWAYS_HEALTHY: &str = "QUAESTOR_ASSUME_PROCESS_ALWAYS_HEALTHY";

/// What became of a file.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// Services.
    pub(super) documents: Vec<Document>,
    /// What is said of the file as a whole.
    pub(super) notes: Vec<String>,
}

/// A manifest in the making.
#[derive(Debug)]
pub(super) struct Document {
    /// Of the service.
    pub(super) name: String,
    /// What is said of it.
    pub(super) notes: Vec<String>,
    spec: Mapping,
}

impl Document {
    fn of(agent: &Agent) -> Self {
        Self {
            name: name(&agent.kind),
            notes: Vec::new(),
            spec: Mapping::new(),
        }
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.spec.insert(Value::from(key), value.into());
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The manifest as text.
    pub(super) fn yaml(&self) -> String {
        let head = format!(
            "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: {}}}\n",
            self.name
        );
        let spec = map([("spec", Value::Mapping(self.spec.clone()))]);
        // Texts, numbers and maps with texts as keys can always be printed.
        head + &serde_yaml::to_string(&spec).unwrap_or_default()
    }
}

/// What `config` says, as manifests.
pub(super) fn config(config: &Config, wanted: Wanted) -> Result<Converted, String> {
    let mut made = Converted::default();
    for path in &config.unknown {
        made.notes
            .push(format!("{path} is not known and was left out"));
    }
    let cluster = config.cluster.as_ref();
    if let Some(name) = cluster.and_then(|cluster| cluster.name.as_ref()) {
        made.notes.push(format!(
            "clusterConfig.name is `{name}`: all roles and commands take the cluster's name by --cluster"
        ));
    }
    if let Some(seconds) = cluster.and_then(|cluster| cluster.heart_beat_seconds) {
        made.notes.push(format!(
            "heartBeatIntervalSeconds is kept as health.interval: {}; without that line health is checked every 5s",
            duration(seconds)
        ));
    }
    if let Some(balancer) = &config.balancer {
        made.notes.extend(balancer_notes(balancer));
    }
    for agent in &config.agents {
        let is_store = agent.is("KeyValueStore");
        match (wanted, is_store) {
            (Wanted::Services, true) => made.notes.extend(store_notes(agent)),
            (Wanted::Services, false) => made.documents.push(service(agent, config)?),
            (Wanted::Store, true) if agent.is_program() => {
                made.documents.push(service(agent, config)?)
            }
            (Wanted::Store, _) => {}
        }
    }
    Ok(made)
}

/// Gives services that have the name of one before them another.
pub(super) fn make_names_unique(documents: &mut [Document]) {
    for at in 1..documents.len() {
        let (before, rest) = documents.split_at_mut(at);
        let Some(document) = rest.first_mut() else {
            continue;
        };
        let base = document.name.clone();
        let mut number = 2;
        while before.iter().any(|other| other.name == document.name) {
            document.name = format!("{base}-{number}");
            number += 1;
        }
    }
}

/// How the flags of `quaestor balancer` say what `loadBalancerConfig` says.
fn balancer_notes(balancer: &Balancer) -> Vec<String> {
    let mut flags = Vec::new();
    if balancer.host_name.is_some() || balancer.port.is_some() {
        let host = balancer.host_name.as_deref().unwrap_or("localhost");
        flags.push(format!("--listen {host}:{}", balancer.port.unwrap_or(5150)));
    }
    if let Some(seconds) = balancer.recently_used_seconds {
        flags.push(format!("--recently-used {}", duration(seconds)));
    }
    let mut notes = Vec::new();
    if !flags.is_empty() {
        notes.push(format!(
            "loadBalancerConfig becomes flags: quaestor balancer {}",
            flags.join(" ")
        ));
    }
    if balancer.response_time_out_seconds.is_some() {
        notes.push(
            "loadBalancerConfig.serviceResponseTimeoutSeconds has no equivalent: a request is answered from what \
             agents found out before; their time-out is health.timeout"
                .to_owned(),
        );
    }
    let has_certificate = balancer.certificate.is_some() || balancer.private_key_file.is_some();
    if has_certificate || balancer.enforce_mutual_tls {
        notes.push("loadBalancerConfig: certificates are not taken over".to_owned());
    }
    notes
}

/// What is done with an agent that is etcd.
fn store_notes(agent: &Agent) -> Vec<String> {
    let host = agent.host_name.as_deref().unwrap_or("localhost");
    let scheme = if agent.uses_tls { "https" } else { "http" };
    let ports = if agent.ports.is_empty() {
        &[2379][..]
    } else {
        &agent.ports
    };
    let urls: Vec<String> = ports
        .iter()
        .map(|port| format!("{scheme}://{host}:{port}"))
        .collect();
    let mut notes = vec![format!(
        "{} is etcd: all roles and commands find it by --etcd {}",
        agent.kind,
        urls.join(",")
    )];
    if agent.is_program() {
        notes.push(format!(
            "{} is no service of the cluster, which needs it to begin with; for an agent to run it, `quaestor \
             import --store` prints its manifest for the directory of `quaestor agent --manifests`",
            agent.kind
        ));
    }
    notes
}

/// A program that is run, or endpoints that are only served.
fn service(agent: &Agent, config: &Config) -> Result<Document, String> {
    let mut document = Document::of(agent);
    if agent.is_program() {
        program(&mut document, agent, config.cluster.as_ref())?;
    } else {
        external(&mut document, agent)?;
    }
    if !agent.service_names.is_empty() {
        document.set("serviceNames", texts(&agent.service_names));
    }
    if agent.is_excluded || agent.is("LoadBalancer") || agent.is("KeyValueStore") {
        document.set("published", false);
    }
    health(&mut document, agent, config);
    let is_served = !agent.service_names.is_empty() && !agent.is("LoadBalancer");
    if is_served && !is_always_healthy(agent) {
        document.set(
            "load",
            map([("reportLoad", Value::Mapping(Mapping::new()))]),
        );
    }
    if agent.uses_tls || agent.client_certificate.is_some() {
        document.note("useTLS and clientCertificate are not taken over: it is probed without TLS");
    }
    Ok(document)
}

fn program(
    document: &mut Document,
    agent: &Agent,
    cluster: Option<&Cluster>,
) -> Result<(), String> {
    let processes = agent.processes.unwrap_or(1);
    document.set("replicas", processes);
    let executable = agent.executable.as_deref().unwrap_or_default();
    if agent.is("LoadBalancer") {
        document.note(format!(
            "{executable} is replaced by the balancer of Quaestor, which needs no environment"
        ));
        document.set(
            "command",
            texts(&["{quaestor}", "balancer", "--listen", "{host}:{port}"]),
        );
    } else {
        let host = if is_local(agent) {
            "{host}"
        } else {
            agent.host_name.as_deref().unwrap_or_default()
        };
        let arguments = command_line::split(agent.arguments.as_deref().unwrap_or_default());
        let mut command = vec![escape(executable)];
        command.extend(
            arguments
                .iter()
                .map(|argument| placeholders(argument, host)),
        );
        document.set("command", texts(&command));
        let is_relative = executable.contains(['/', '\\'])
            && !executable.starts_with(['/', '\\'])
            && executable.as_bytes().get(1) != Some(&b':');
        if is_relative {
            document.note(format!(
                "{executable} is relative to the old program; write the whole path"
            ));
        }
        environment(document, agent);
    }
    ports(document, agent, processes)?;
    if let Some(hours) = agent.recycling_hours {
        let every = duration(hours * 3600.0);
        let (jitter, when) = (Value::from("10%"), Value::from("idle"));
        document.set(
            "recycle",
            map([("every", every.into()), ("jitter", jitter), ("when", when)]),
        );
        if agent.service_names.is_empty() {
            return Err(format!(
                "{}: recyclingIntervalHours needs serviceNames, whose load reports say when it is idle",
                agent.kind
            ));
        }
    }
    if let Some(retries) = cluster.and_then(|cluster| cluster.startup_retries) {
        document.set("restart", map([("maxAttempts", retries.into())]));
    }
    if let Some(seconds) = cluster.and_then(|cluster| cluster.shutdown_seconds) {
        document.set("stop", map([("grace", duration(seconds).into())]));
    }
    if agent.is_killed_at_shutdown {
        document.set("onAgentStop", "stop");
    }
    Ok(())
}

fn environment(document: &mut Document, agent: &Agent) {
    let mut variables = Mapping::new();
    for (name, value) in &agent.environment {
        if RESERVED.contains(&name.as_str()) {
            document.note(format!(
                "{name} is set by Quaestor itself, to the instance's own"
            ));
        } else if name != ALWAYS_HEALTHY {
            variables.insert(name.as_str().into(), escape(value).into());
        }
    }
    if !variables.is_empty() {
        document.set("env", variables);
    }
}

fn ports(document: &mut Document, agent: &Agent, processes: u32) -> Result<(), String> {
    let mut port = map([("name", "grpc".into())]);
    if let (Some(&first), Some(&last)) = (agent.ports.iter().min(), agent.ports.iter().max()) {
        let count = u32::try_from(agent.ports.len()).unwrap_or(u32::MAX);
        if count < processes {
            return Err(format!(
                "{}: {processes} processes have only {count} ports; name as many, or none for free ones",
                agent.kind
            ));
        }
        if first == last {
            port.insert("port".into(), first.into());
        } else {
            port.insert("range".into(), format!("{first}-{last}").into());
        }
        if u32::from(last - first) + 1 > count {
            document.note(format!(
                "its ports have gaps; any of {first}-{last} may be used now"
            ));
        }
    }
    if !is_local(agent) && !agent.is("LoadBalancer") {
        let host = agent.host_name.clone().unwrap_or_default();
        port.insert("advertise".into(), host.into());
    }
    document.set("ports", vec![Value::Mapping(port)]);
    Ok(())
}

fn external(document: &mut Document, agent: &Agent) -> Result<(), String> {
    let host = agent.host_name.as_deref().unwrap_or("localhost");
    if agent.ports.is_empty() {
        return Err(format!(
            "{} has neither executablePath nor ports",
            agent.kind
        ));
    }
    let endpoints: Vec<String> = agent
        .ports
        .iter()
        .map(|port| format!("{host}:{port}"))
        .collect();
    document.set("external", texts(&endpoints));
    Ok(())
}

fn health(document: &mut Document, agent: &Agent, config: &Config) {
    if is_always_healthy(agent) {
        document.note(format!("{ALWAYS_HEALTHY} is written as `health: none`"));
        document.set("health", map([("none", Value::Mapping(Mapping::new()))]));
        return;
    }
    let mut health = map([("grpc", Value::Mapping(Mapping::new()))]);
    let cluster = config.cluster.as_ref();
    let time_out = cluster
        .and_then(|cluster| cluster.response_time_out_seconds)
        .or_else(|| config.balancer.as_ref()?.response_time_out_seconds);
    if let Some(seconds) = cluster.and_then(|cluster| cluster.heart_beat_seconds) {
        health.insert("interval".into(), duration(seconds).into());
    }
    if let Some(seconds) = time_out {
        health.insert("timeout".into(), duration(seconds).into());
    }
    if agent.is_program() {
        // The old program restarts at the first failure.
        health.insert("failureThreshold".into(), 1.into());
        let grace = agent.startup_wait_seconds.unwrap_or(STARTUP_WAIT_SECONDS);
        health.insert("startupGrace".into(), duration(grace).into());
    }
    document.set("health", health);
}

fn is_always_healthy(agent: &Agent) -> bool {
    let value = agent.environment.get(ALWAYS_HEALTHY);
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Whether its host name only says "here".
fn is_local(agent: &Agent) -> bool {
    let host = agent.host_name.as_deref();
    host.is_none_or(|host| {
        matches!(
            host.to_lowercase().as_str(),
            "localhost" | "127.0.0.1" | "::1"
        )
    })
}

/// The old placeholders as those of manifests.
fn placeholders(argument: &str, host: &str) -> String {
    escape(argument)
        .replace("{{HostName}}", host)
        .replace("{{Port}}", "{port}")
}

/// A text in which braces are just braces.
fn escape(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// The type of an agent as the name of a service: `LoadBalancer` is `load-balancer`.
fn name(kind: &str) -> String {
    let mut name = String::new();
    let mut was_lower = false;
    for character in kind.chars() {
        if character.is_ascii_alphanumeric() {
            if character.is_ascii_uppercase() && was_lower {
                name.push('-');
            }
            name.push(character.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        was_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
    }
    name.truncate(50);
    match name.trim_end_matches('-') {
        "" => "agent".to_owned(),
        name => name.to_owned(),
    }
}

/// Seconds as manifests write them.
fn duration(seconds: f64) -> String {
    Period(Duration::from_secs_f64(seconds)).to_string()
}

fn texts<T: AsRef<str>>(texts: &[T]) -> Vec<Value> {
    texts
        .iter()
        .map(|text| Value::from(text.as_ref()))
        .collect()
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Mapping {
    entries
        .into_iter()
        .map(|(key, value)| (Value::from(key), value))
        .collect()
}
