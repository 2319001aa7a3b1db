//! The people of a world: they apply and delete services, and sometimes spoil a spec by hand.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quaestor::{
    host::Host,
    model::{Name, ServiceSpec, manifest::Manifest, service::Metadata},
    operator::{Error, Operator, apply::Manner, nodes::Confirmed},
    store::{Store, Txn, Write},
};
use serde_json::json;

use super::{planted::Planted, schedule::Edition, trace::Trace};

/// The services of every world, with the names that clients ask for.
pub const SERVICES: [(&str, &str); 4] = [
    ("web", "Web"),
    ("job", "Job"),
    ("each", "Each"),
    ("one", "One"),
];

/// What rollouts of a service may do to it, as its manifest is meant.
pub struct Budget {
    /// So many may be missing.
    pub unavailable: u64,
    /// So many may run beyond those wanted.
    pub surge: u64,
}

/// The budget of `service` with so many instances.
pub fn budget(service: &str, wanted: u64) -> Budget {
    let (unavailable, surge) = match service {
        "web" => ((wanted / 2).max(1), 0),
        "job" => (0, 1),
        _ => (1, 0),
    };
    Budget { unavailable, surge }
}

/// How often something is tried again that an operator wants done.
const TRIES: usize = 8;

/// What was done by hand does not stand in the way.
const BY_FORCE: Manner = Manner {
    dry_run: false,
    force: true,
};

/// What is wanted of a service.
#[derive(Clone, Copy)]
struct Wanted {
    version: u64,
    replicas: u64,
    /// Processes made from this template end at once.
    bad: bool,
    /// Processes are replaced when they are old.
    recycled: bool,
}

/// Those who operate the cluster, as one who does one thing after the other. Cheap to clone.
#[derive(Clone)]
pub struct Operators {
    operator: Operator,
    /// The store, for what is done by hand.
    hand: Store,
    host: Host,
    trace: Trace,
    planted: Planted,
    wanted: Arc<Mutex<[Wanted; SERVICES.len()]>>,
    /// One thing at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Operators {
    pub fn new(
        store: Store,
        hand: Store,
        host: Host,
        trace: &Trace,
        (planted, edition): (Planted, Edition),
    ) -> Self {
        let cluster = "default".parse::<Name>().expect("a name");
        Self {
            operator: Operator::new(store, &cluster),
            hand,
            host,
            trace: trace.clone(),
            planted,
            wanted: Arc::new(Mutex::new(
                [Wanted {
                    version: 1,
                    replicas: 2,
                    bad: false,
                    recycled: edition == Edition::Second,
                }; SERVICES.len()],
            )),
            turn: Arc::default(),
        }
    }

    fn wanted(&self) -> MutexGuard<'_, [Wanted; SERVICES.len()]> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a service as it is wanted; gives up after a while.
    pub async fn apply(&self, service: usize) -> bool {
        let _turn = self.turn.lock().await;
        let wanted = self.wanted()[service];
        let (metadata, spec) = manifest(service, wanted, self.planted);
        let manifest = Manifest::of(metadata.clone(), spec);
        for _ in 0..TRIES {
            match self.operator.apply(&manifest, BY_FORCE).await {
                Ok(applied) => {
                    self.trace.note(format!(
                        "operator: {} {}, generation {}",
                        metadata.name, applied.change, applied.generation
                    ));
                    return true;
                }
                Err(error) => self.trace.note(format!(
                    "operator: apply of {} failed: {error}",
                    metadata.name
                )),
            }
            self.host.clock.sleep(Duration::from_secs(1)).await;
        }
        false
    }

    pub async fn change_template(&self, service: usize, bad: bool) {
        self.choose_template(service, bad);
        self.apply(service).await;
    }

    /// What is bad is replaced by something better, and nothing because it is old, once it is applied.
    pub fn settle(&self, service: usize) {
        let bad = self.wanted()[service].bad;
        self.wanted()[service].recycled = false;
        if bad {
            self.choose_template(service, false);
        }
    }

    fn choose_template(&self, service: usize, bad: bool) {
        let mut wanted = self.wanted();
        // No two templates of a world have one version, so that it tells which was made from which.
        let versions = wanted.iter().map(|wanted| wanted.version);
        let highest = versions.max().unwrap_or(0);
        wanted[service].version = highest + 1;
        wanted[service].bad = bad;
    }

    /// Asks for new processes.
    pub async fn renew(&self, service: usize) {
        let _turn = self.turn.lock().await;
        let outcome = self.operator.restart(SERVICES[service].0).await;
        self.trace.note(format!(
            "operator: {} restarted: {outcome:?}",
            SERVICES[service].0
        ));
    }

    /// Asks for another process of one instance.
    pub async fn renew_one(&self, service: usize, slot: u64) {
        let _turn = self.turn.lock().await;
        let instance = format!("{}-{slot}", SERVICES[service].0);
        let outcome = self.operator.restart(&instance).await;
        self.trace
            .note(format!("operator: {instance} restarted: {outcome:?}"));
    }

    /// Confirms that the store was restored, once that is reported; gives up after a while.
    pub async fn confirm(&self) {
        for _ in 0..TRIES {
            let _turn = self.turn.lock().await;
            let outcome = self.operator.confirm_restore().await;
            self.trace
                .note(format!("operator: restore confirmed: {outcome:?}"));
            if matches!(outcome, Ok(Confirmed::Restore(_))) {
                return;
            }
            self.host.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// The same whenever it is reported, for good.
    pub async fn confirm_always(&self) {
        loop {
            if let Ok(Confirmed::Restore(from)) = self.operator.confirm_restore().await {
                self.trace
                    .note(format!("operator: restore from {from} confirmed"));
            }
            self.host.clock.sleep(Duration::from_secs(3)).await;
        }
    }

    pub async fn scale(&self, service: usize, replicas: u64) {
        self.wanted()[service].replicas = replicas;
        self.apply(service).await;
    }

    /// Takes a node out of use, or lets it be used again; with `drains` its instances have to leave. Whether it is
    /// done.
    pub async fn close(&self, node: &str, closed: bool, drains: bool) -> bool {
        let _turn = self.turn.lock().await;
        let name = node.parse::<Name>().expect("a name");
        for _ in 0..TRIES {
            let change = self.operator.change_node(&name, |spec| {
                spec.cordoned = closed;
                spec.draining = closed && drains;
            });
            match change.await {
                Ok(changed) => {
                    self.trace
                        .note(format!("operator: {node} closed: {closed}, {changed}"));
                    return true;
                }
                // Nothing is known of it, nor wanted.
                Err(Error::UnknownNode(_)) => return true,
                Err(error) => self
                    .trace
                    .note(format!("operator: {node} cannot be closed: {error}")),
            }
            self.host.clock.sleep(Duration::from_secs(1)).await;
        }
        false
    }

    pub async fn delete(&self, service: usize) {
        let _turn = self.turn.lock().await;
        let name = SERVICES[service].0.parse::<Name>().expect("a name");
        for _ in 0..TRIES {
            match self
                .operator
                .delete(&name, self.host.clock.timestamp())
                .await
            {
                Ok(existed) => {
                    return self.trace.note(format!("operator: {name} {existed:?}"));
                }
                Err(error) => self
                    .trace
                    .note(format!("operator: delete of {name} failed: {error}")),
            }
            self.host.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Writes over the spec by hand, or deletes it.
    pub async fn spoil(&self, service: usize, value: Option<&'static str>) {
        let _turn = self.turn.lock().await;
        let key = format!("/quaestor/default/spec/service/{}", SERVICES[service].0);
        let write = match value {
            Some(value) => Write::put(key, value),
            None => Write::delete(key),
        };
        let outcome = self.hand.commit(Txn::new().then(write)).await;
        self.trace.note(format!(
            "by hand: spoiled the spec of {}: {outcome:?}",
            SERVICES[service].0
        ));
    }

    /// Deletes the `nth` of the keys below `prefix` by hand.
    pub async fn tamper(&self, prefix: &'static str, nth: u64) {
        let found = self.hand.list("/quaestor/default/").await;
        let root = format!("/quaestor/default/{prefix}");
        let keys: Vec<String> = found
            .map(|listing| listing.entries)
            .unwrap_or_default()
            .into_iter()
            .map(|entry| entry.key)
            .filter(|key| key.starts_with(&root))
            .collect();
        let Some(index) = nth.checked_rem(keys.len() as u64) else {
            return;
        };
        let key = keys[index as usize].clone();
        let outcome = self.hand.commit(Txn::new().then(Write::delete(&key))).await;
        self.trace
            .note(format!("by hand: {key} deleted: {outcome:?}"));
    }
}

fn manifest(service: usize, wanted: Wanted, planted: Planted) -> (Metadata, ServiceSpec) {
    let (name, asked) = SERVICES[service];
    let metadata = json!({"name": name});
    let mut spec = json!({
        "command": ["worker"],
        "env": {"VERSION": wanted.version.to_string(), "NAMES": asked, "BAD": u8::from(wanted.bad).to_string()},
        "serviceNames": [asked],
        "restart": {"delay": "100ms", "maxDelay": "5s", "resetAfter": "30s"},
        "stop": {"grace": "4s"},
    });
    let health = json!({"grpc": {}, "interval": "2s", "timeout": "1s", "startupGrace": "10s"});
    match name {
        "web" => {
            spec["replicas"] = json!(wanted.replicas);
            spec["ports"] = json!([{"name": "grpc"}]);
            spec["health"] = health;
            spec["load"] = json!({"reportLoad": {}, "interval": "4s"});
            spec["preStop"] = json!({"command": ["flush"], "timeout": "2s"});
            spec["rollout"] = json!({
                "maxUnavailable": "50%", "minReady": "1s", "progressDeadline": "15s", "autoRollback": true
            });
        }
        "job" => {
            spec["replicas"] = json!(wanted.replicas);
            spec["onPartition"] = json!("stop");
            spec["ports"] = json!([{"name": "grpc", "range": "6001-6006"}]);
            spec["rollout"] = json!({"maxUnavailable": 0, "maxSurge": 1});
            spec["health"] = health;
        }
        "each" => {
            spec["onePerNode"] = json!(true);
            spec["ports"] = json!([{"name": "grpc", "port": 7000}]);
        }
        _ => {
            spec["singleton"] = json!(true);
            spec["onPartition"] = json!("stop");
            spec["ports"] = json!([{"name": "grpc"}]);
        }
    }
    if wanted.recycled {
        // Only those that report their load are known to be idle.
        match name {
            "web" => spec["recycle"] = json!({"every": "25s"}),
            "each" => spec["recycle"] = json!({"every": "20s", "when": "always"}),
            _ => {}
        }
    }
    match planted {
        Planted::Haste => spec["rollout"] = json!({"maxUnavailable": "100%"}),
        Planted::Crowd if name != "each" => spec["rollout"]["maxSurge"] = json!(3),
        Planted::Spin => spec["restart"] = json!({"delay": "1ms", "maxDelay": "1ms"}),
        _ => {}
    }
    let metadata = serde_json::from_value(metadata).expect("metadata as it is documented");
    let spec = serde_json::from_value(spec).expect("a spec as it is documented");
    (metadata, spec)
}
