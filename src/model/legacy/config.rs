//! What the files of quaestor-mini-cluster say.
//!
//! Fields: its cluster file has `clusterConfig` and `agents`, its balancer file `loadBalancerConfig` (once
//! `serverConfig`) and `agents`. Agents are a list or, in old files, a map by their type.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::{ImportError, fields::Fields, meaning};
use crate::model::manifest::Source;

/// A file.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// How agents are watched; none in a balancer's file.
    pub(super) cluster: Option<Cluster>,
    /// How the balancer works; none in a cluster's file.
    pub(super) balancer: Option<Balancer>,
    /// What is run, or where it is.
    pub(super) agents: Vec<Agent>,
    /// Fields that nobody knows.
    pub(super) unknown: Vec<String>,
}

/// `clusterConfig`. Zero is the same as nothing.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) name: Option<String>,
    pub(super) heart_beat_seconds: Option<f64>,
    pub(super) response_time_out_seconds: Option<f64>,
    pub(super) shutdown_seconds: Option<f64>,
    pub(super) startup_retries: Option<u32>,
}

/// `loadBalancerConfig`.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    pub(super) host_name: Option<String>,
    pub(super) port: Option<u32>,
    pub(super) certificate: Option<String>,
    pub(super) private_key_file: Option<String>,
    pub(super) enforce_mutual_tls: bool,
    pub(super) response_time_out_seconds: Option<f64>,
    pub(super) recently_used_seconds: Option<f64>,
}

/// One of `agents`.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// `Worker`, `LoadBalancer`, `KeyValueStore` or any other word.
    pub(super) kind: String,
    pub(super) executable: Option<String>,
    pub(super) arguments: Option<String>,
    pub(super) processes: Option<u32>,
    pub(super) is_killed_at_shutdown: bool,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) host_name: Option<String>,
    pub(super) uses_tls: bool,
    pub(super) client_certificate: Option<String>,
    pub(super) ports: Vec<u16>,
    pub(super) service_names: Vec<String>,
    pub(super) recycling_hours: Option<f64>,
    pub(super) startup_wait_seconds: Option<f64>,
    pub(super) is_excluded: bool,
}

impl Config {
    /// Reads a file.
    pub(super) fn read(source: &Source) -> Result<Self, ImportError> {
        let syntax = |error: serde_yaml::Error| ImportError::Syntax {
            name: source.name.clone(),
            problem: error.to_string(),
        };
        let value: Value = serde_yaml::from_str(&source.text).map_err(syntax)?;
        Self::of(value).map_err(|problem| meaning(source, problem))
    }

    fn of(value: Value) -> Result<Self, String> {
        let Value::Mapping(map) = value else {
            return Err(
                "it is no map: this is not a configuration of quaestor-mini-cluster".to_owned(),
            );
        };
        let mut config = Self::default();
        let mut file = Fields::new("file", map);
        if let Some(mut fields) = part(&mut file, "clusterConfig")? {
            config.cluster = Some(Cluster::of(&mut fields)?);
            config.note_left(&fields);
        }
        for key in ["loadBalancerConfig", "serverConfig"] {
            if let Some(mut fields) = part(&mut file, key)? {
                config.balancer = Some(Balancer::of(&mut fields)?);
                config.note_left(&fields);
            }
        }
        for mut fields in agents(&mut file)? {
            config.agents.push(Agent::of(&mut fields)?);
            config.note_left(&fields);
        }
        if config.cluster.is_none() && config.balancer.is_none() && config.agents.is_empty() {
            return Err(
                "it has neither clusterConfig nor loadBalancerConfig nor agents: this is not a \
                        configuration of quaestor-mini-cluster"
                    .to_owned(),
            );
        }
        config.note_left(&file);
        Ok(config)
    }

    fn note_left(&mut self, fields: &Fields) {
        let paths = fields.left().map(|key| format!("{}.{key}", fields.place()));
        self.unknown.extend(paths);
    }
}

/// The map of `key`.
fn part(file: &mut Fields, key: &str) -> Result<Option<Fields>, String> {
    match file.value(key) {
        None => Ok(None),
        Some(Value::Mapping(map)) => Ok(Some(Fields::new(key, map))),
        Some(_) => Err(format!("{key} is no map")),
    }
}

/// The maps of `agents`, each with an `agentType`.
fn agents(file: &mut Fields) -> Result<Vec<Fields>, String> {
    let map = |place: &str, value| match value {
        Value::Mapping(map) => Ok(map),
        Value::Null => Ok(Mapping::new()),
        _ => Err(format!("{place} is no map")),
    };
    match file.value("agents") {
        None => Ok(Vec::new()),
        Some(Value::Sequence(items)) => {
            let items = items.into_iter().enumerate();
            let agent = |(index, item)| {
                let place = format!("agents[{index}]");
                Ok(Fields::new(&place, map(&place, item)?))
            };
            items.map(agent).collect()
        }
        Some(Value::Mapping(agents)) => {
            let agent = |(kind, fields): (Value, Value)| {
                let place = format!("agents.{}", kind.as_str().unwrap_or("?"));
                let mut fields = map(&place, fields)?;
                fields.insert(Value::from("agentType"), kind);
                Ok(Fields::new(&place, fields))
            };
            agents.into_iter().map(agent).collect()
        }
        Some(_) => Err("agents is neither a list nor a map".to_owned()),
    }
}

impl Cluster {
    fn of(fields: &mut Fields) -> Result<Self, String> {
        Ok(Self {
            name: fields.text("name")?,
            heart_beat_seconds: some(fields.number("heartBeatIntervalSeconds")?),
            response_time_out_seconds: some(fields.number("memberResponseTimeOutSeconds")?),
            shutdown_seconds: some(fields.number("memberMaxShutdownTimeSeconds")?),
            startup_retries: some(fields.count("memberMaxStartupRetries")?),
        })
    }
}

impl Balancer {
    fn of(fields: &mut Fields) -> Result<Self, String> {
        Ok(Self {
            host_name: fields.text("hostName")?,
            port: some(fields.count("port")?),
            certificate: fields.text("certificate")?,
            private_key_file: fields.text("privateKeyFile")?,
            enforce_mutual_tls: fields.flag("enforceMutualTls")?,
            response_time_out_seconds: some(fields.number("serviceResponseTimeoutSeconds")?),
            recently_used_seconds: some(fields.number("recentlyUsedTimeoutSeconds")?),
        })
    }
}

impl Agent {
    fn of(fields: &mut Fields) -> Result<Self, String> {
        let place = fields.place().to_owned();
        let kind = fields.text("agentType")?;
        let port = |text: String| match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("{place}.ports has `{text}`, which is no port")),
        };
        Ok(Self {
            kind: kind.ok_or_else(|| format!("{place} has no agentType"))?,
            executable: fields.text("executablePath")?,
            arguments: fields.text("commandLineArguments")?,
            processes: fields.count("processCount")?,
            is_killed_at_shutdown: match fields.text("clusterShutdownAction")?.as_deref() {
                Some(action) if action.eq_ignore_ascii_case("kill") => true,
                Some(action) if !action.eq_ignore_ascii_case("none") => {
                    return Err(format!(
                        "{place}.clusterShutdownAction is `{action}`, neither None nor Kill"
                    ));
                }
                _ => false,
            },
            environment: fields.texts("environmentVariables")?,
            host_name: fields.text("hostName")?,
            uses_tls: fields.flag("useTLS")?,
            client_certificate: fields.text("clientCertificate")?,
            ports: fields
                .list("ports")?
                .into_iter()
                .map(port)
                .collect::<Result<_, _>>()?,
            service_names: fields.list("serviceNames")?,
            recycling_hours: some(fields.number("recyclingIntervalHours")?),
            startup_wait_seconds: fields.number("startupWaitSeconds")?,
            is_excluded: fields.flag("excludeFromServiceRegistry")?,
        })
    }

    /// Whether it is a program, and not just a place where one listens.
    pub(super) fn is_program(&self) -> bool {
        self.executable.is_some()
    }

    /// Whether its type is `kind`.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }
}

/// None for zero.
fn some<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}
