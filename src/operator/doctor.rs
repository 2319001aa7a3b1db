//! Whether all that a cluster stands on is in order: the store, who is there, clocks, and the host that asks. What is
//! found is judged without I/O.
//!
//! - `clocks`: those that are behind others

mod clocks;

use self::clocks::Written;
use super::{Error, Operator, decode, observed::Observed};
use crate::{
    keys::Key,
    model::{NodeLoad, Timestamp, event::Object, quantity::Size},
    plan::why::{Health, why},
    store::{self, Entry, Status},
};

/// What is kept of a store's past without anybody compacting it is no harm up to so many revisions.
const HISTORY: i64 = 10_000;

/// Of a hundred parts of its quota, so many in use are a warning.
const NEARLY_FULL: u64 = 80;

/// The quota of an etcd that does not say: its default.
const DEFAULT_QUOTA: u64 = 2 << 30;

/// Clocks may differ by so many milliseconds: leases are not decided on them, but people compare their times.
const SKEW: i64 = 2_000;

/// Fewer open files are too few for a part that serves many.
const FILES: u64 = 4_096;

/// So many services in trouble are named.
const NAMED: usize = 8;

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub about: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something does not work because of it.
    Broken,
    /// Something may not work one day.
    Warning,
    /// It is in order.
    Fine,
}

/// What the host that asks is like; none: it cannot be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// How many files a process may have open.
    pub files: Option<u64>,
    /// What its cgroups (v2) can do, as in `cpu memory pids`.
    pub controllers: Option<String>,
    /// Whether a balancer's usual port is free.
    pub port_is_free: Option<bool>,
}

impl Finding {
    fn new(severity: Severity, about: &str, found: impl Into<String>) -> Self {
        Self {
            severity,
            about: about.to_owned(),
            found: found.into(),
            remedy: None,
        }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

impl Operator {
    /// What is to be said of the store's members, and of all of them together.
    pub async fn examine_store(&self) -> Vec<Finding> {
        let members = self.store.statuses().await;
        let has_compacted = self.store.has_compacted(self.keys.root()).await.ok();
        of_store(&members, has_compacted)
    }

    /// What is to be said of who is there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn examine_cluster(&self, now: Timestamp) -> Result<Vec<Finding>, Error> {
        let mut findings = of_cluster(&self.observe().await?, now);
        for (node, (by, whose)) in clocks::behind(self.written().await?, now) {
            let found = format!("its clock is {by} ms behind that of node {whose}, at least");
            let remedy = "let both hosts take their time from NTP: `timedatectl set-ntp true`";
            let about = format!("node {node}");
            findings.push(Finding::new(Severity::Warning, &about, found).remedy(remedy));
        }
        Ok(findings)
    }

    /// When hosts wrote of their loads.
    async fn written(&self) -> Result<Vec<Written>, Error> {
        let loads = self.store.list(&self.keys.loads()).await?;
        let written = |entry: &Entry| {
            let Some(Key::Load(node)) = self.keys.parse(&entry.key) else {
                return None;
            };
            Some(Written {
                node,
                revision: entry.mod_revision,
                at: decode::<NodeLoad>(entry)?.at,
            })
        };
        Ok(loads.entries.iter().filter_map(written).collect())
    }
}

/// What the members of the store say.
fn of_store(
    members: &[(String, Result<Status, store::Error>)],
    has_compacted: Option<bool>,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (endpoint, status) in members {
        let about = format!("etcd {endpoint}");
        match status {
            Ok(status) => findings.extend(of_member(&about, status)),
            Err(error) => {
                let finding = Finding::new(Severity::Broken, &about, error.to_string());
                findings.push(
                    finding.remedy("look whether it runs there and can be reached from here"),
                );
            }
        }
    }
    let answered: Vec<&Status> = members
        .iter()
        .filter_map(|(_, it)| it.as_ref().ok())
        .collect();
    let mut versions: Vec<&str> = answered.iter().map(|it| it.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        let found = format!("members are of different versions: {}", versions.join(", "));
        let finding = Finding::new(Severity::Warning, "etcd versions", found);
        findings.push(
            finding.remedy("update them all to one; that is meant to last for an update only"),
        );
    }
    let newest = answered.iter().map(|it| it.revision).max().unwrap_or(0);
    let about = "etcd history";
    findings.extend(match has_compacted {
        None => None,
        Some(false) if newest > HISTORY => {
            let found = format!("none of {newest} revisions was ever compacted: the store only grows");
            let remedy = "let controllers do it (they do, every 5 min, unless started with --no-compaction), or \
                          set etcd's --auto-compaction-retention";
            Some(Finding::new(Severity::Warning, about, found).remedy(remedy))
        }
        Some(true) => Some(Finding::new(Severity::Fine, about, "old revisions are compacted")),
        Some(false) => {
            let found = format!("{newest} revisions, too few to be compacted yet");
            Some(Finding::new(Severity::Fine, about, found))
        }
    });
    findings
}

fn of_member(about: &str, status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |severity, found: String, remedy: &str| {
        let finding = Finding::new(severity, about, found);
        findings.push(match remedy {
            "" => finding,
            remedy => finding.remedy(remedy),
        });
    };
    for error in &status.errors {
        let remedy = match error.contains("NOSPACE") {
            true => {
                "compact and defragment it, or raise --quota-backend-bytes; then run `etcdctl alarm disarm`"
            }
            false => "etcd's own documentation says what to do about this alarm",
        };
        say(Severity::Broken, format!("it says {error}"), remedy);
    }
    if !status.has_leader {
        let remedy = "most of its members have to be there: look after the others";
        say(Severity::Broken, "it knows no leader".to_owned(), remedy);
    }
    if is_too_old(&status.version) {
        let found = format!("version {} is older than 3.4", status.version);
        say(Severity::Broken, found, "update it");
    }
    let (quota, whose) = match status.quota {
        Some(quota) => (quota, ""),
        None => (DEFAULT_QUOTA, " (the default)"),
    };
    let size = |bytes: u64| Size::from_mebibytes(bytes.div_ceil(1 << 20));
    let held = format!(
        "{} on disk, {} of that in use, {} allowed{whose}",
        size(status.size),
        size(status.in_use),
        size(quota)
    );
    if status.size.saturating_mul(100) >= quota.saturating_mul(NEARLY_FULL) {
        let remedy =
            "defragment it (`etcdctl defrag`), and if it is all in use raise --quota-backend-bytes";
        say(
            Severity::Warning,
            format!("it is nearly full: {held}"),
            remedy,
        );
    }
    if findings.is_empty() {
        let found = format!("version {}, {held}", status.version);
        findings.push(Finding::new(Severity::Fine, about, found));
    }
    findings
}

fn is_too_old(version: &str) -> bool {
    let mut parts = version
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    let version = (
        parts.next().unwrap_or(u32::MAX),
        parts.next().unwrap_or(u32::MAX),
    );
    version < (3, 4)
}

/// What the store says of who is there.
fn of_cluster(observed: &Observed, now: Timestamp) -> Vec<Finding> {
    let seen = observed.seen(now);
    let mut findings = Vec::new();
    let cluster = why(&seen, &Object::Cluster);
    for cause in cluster.iter().flat_map(|cluster| &cluster.because) {
        let finding = Finding::new(Severity::Broken, "cluster", cause.sentence.clone());
        findings.push(Finding {
            remedy: cause.remedy.clone(),
            ..finding
        });
    }
    if let Some(cluster) = cluster.filter(|cluster| cluster.because.is_empty()) {
        findings.push(Finding::new(Severity::Fine, "cluster", cluster.sentence));
    }
    let own = env!("CARGO_PKG_VERSION");
    for (name, node) in observed.cluster.nodes() {
        let about = format!("node {name}");
        let Some(session) = node.live() else {
            let cause = why(&seen, &Object::Node(name.clone()));
            findings.extend(
                cause
                    .filter(|it| it.health == Health::Broken)
                    .map(|cause| Finding {
                        severity: Severity::Warning,
                        about,
                        found: cause.sentence,
                        remedy: cause.remedy,
                    }),
            );
            continue;
        };
        let load = node.load.as_ref();
        let load = load.and_then(|bytes| serde_json::from_slice::<NodeLoad>(bytes).ok());
        let latest = load
            .map(|load| load.at)
            .into_iter()
            .chain([session.started_at])
            .max();
        let ahead = latest.map_or(0, |at| at.as_millis() - now.as_millis());
        if ahead > SKEW {
            let found = format!("its clock is {} ms ahead of this host's, at least", ahead);
            let remedy = "let both hosts take their time from NTP: `timedatectl set-ntp true`";
            findings.push(Finding::new(Severity::Warning, &about, found).remedy(remedy));
        }
        if session.version != own {
            let found = format!(
                "its agent is of version {}, and this program of {own}",
                session.version
            );
            let remedy = format!("update the program on {name}, or here; what runs there goes on");
            findings.push(Finding::new(Severity::Warning, &about, found).remedy(remedy));
        } else if ahead <= SKEW {
            let found = format!("its agent is connected, version {own}");
            findings.push(Finding::new(Severity::Fine, &about, found));
        }
    }
    if observed.cluster.nodes().is_empty() {
        let finding = Finding::new(Severity::Warning, "nodes", "there are none");
        findings.push(
            finding.remedy("run an agent on each host: `quaestor agent`, `quaestor install agent`"),
        );
    }
    let names = observed.cluster.services().keys();
    let broken = names
        .filter_map(|name| why(&seen, &Object::Service(name.clone())))
        .filter(|cause| cause.health == Health::Broken);
    findings.extend(broken.take(NAMED).map(|cause| {
        let remedy = format!("`quaestor why {}`", cause.object);
        Finding::new(Severity::Warning, &cause.object.to_string(), cause.sentence).remedy(remedy)
    }));
    findings
}

/// What is to be said of the host that asks.
pub fn of_host(facts: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(files) = facts.files {
        let found = format!("{files} files may be open");
        let finding = Finding::new(Severity::Fine, "open files", found.clone());
        findings.push(match files < FILES {
            true => Finding {
                severity: Severity::Warning,
                ..finding
            }
            .remedy("raise it: `LimitNOFILE=65536` in the unit, `ulimit -n 65536` in a shell"),
            false => finding,
        });
    }
    let lacks: Vec<&str> = match &facts.controllers {
        Some(has) => ["cpu", "memory"]
            .into_iter()
            .filter(|wanted| !has.split_whitespace().any(|it| it == *wanted))
            .collect(),
        None => Vec::new(),
    };
    findings.push(match (&facts.controllers, lacks.as_slice()) {
        (Some(has), []) => Finding::new(Severity::Fine, "cgroups", format!("version 2: {}", has.trim())),
        (Some(_), lacks) => {
            let found = format!("no controller for {}: `resources` are not enforced here", lacks.join(" and "));
            let remedy = "let the agent be a unit with `Delegate=yes`, as `quaestor install agent` writes it";
            Finding::new(Severity::Warning, "cgroups", found).remedy(remedy)
        }
        (None, _) => {
            let found = "no cgroups of version 2: `resources` are not enforced here";
            let remedy = "start the kernel with systemd.unified_cgroup_hierarchy=1";
            Finding::new(Severity::Warning, "cgroups", found).remedy(remedy)
        }
    });
    if let Some(is_free) = facts.port_is_free {
        let found = match is_free {
            true => "5150 is free for a balancer",
            false => "5150 is in use: by a balancer, or give one another by `balancer --listen`",
        };
        findings.push(Finding::new(Severity::Fine, "port", found));
    }
    findings
}

/// What is to be said of a certificate in `file`, by its times.
pub fn of_certificate(
    file: &str,
    ends: Timestamp,
    notice: Option<String>,
    now: Timestamp,
) -> Finding {
    let about = format!("certificate {file}");
    match notice {
        None => Finding::new(Severity::Fine, &about, format!("holds until {ends}")),
        Some(notice) => {
            let severity = match now < ends && !notice.starts_with("does not hold") {
                true => Severity::Warning,
                false => Severity::Broken,
            };
            let finding = Finding::new(severity, &about, notice);
            finding.remedy("issue a new one (`quaestor pki issue`); it is used without a restart")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Broken, Fine, Warning};

    fn status() -> Status {
        Status {
            version: "3.5.9".to_owned(),
            size: 10 << 20,
            in_use: 5 << 20,
            quota: Some(100 << 20),
            has_leader: true,
            revision: 20_000,
            errors: Vec::new(),
        }
    }

    fn of(statuses: Vec<Status>, has_compacted: bool) -> Vec<(Severity, String)> {
        let members = statuses
            .into_iter()
            .map(|status| ("http://a:1".to_owned(), Ok(status)));
        let findings = of_store(&members.collect::<Vec<_>>(), Some(has_compacted));
        for finding in &findings {
            assert_eq!(
                finding.remedy.is_none(),
                finding.severity == Fine,
                "{finding:?}"
            );
        }
        findings
            .into_iter()
            .map(|it| (it.severity, it.found))
            .collect()
    }

    #[test]
    fn a_store_in_order_is_fine() {
        let found = of(vec![status()], true);
        assert_eq!(
            found[0],
            (
                Fine,
                "version 3.5.9, 10MiB on disk, 5MiB of that in use, 100MiB allowed".to_owned()
            )
        );
        assert!(found.iter().all(|(severity, _)| *severity == Fine));
    }

    #[test]
    fn what_is_wrong_with_a_store_is_told_with_a_remedy() {
        let full = Status {
            errors: vec!["memberID:1 alarm:NOSPACE ".to_owned()],
            size: 90 << 20,
            ..status()
        };
        let found = of(vec![full], false);
        let severities: Vec<Severity> = found.iter().map(|(severity, _)| *severity).collect();
        assert_eq!(severities, [Broken, Warning, Warning], "{found:?}");
        let old = Status {
            version: "3.3.27".to_owned(),
            has_leader: false,
            ..status()
        };
        let found = of(vec![old, status()], true);
        let severities: Vec<Severity> = found.iter().map(|(severity, _)| *severity).collect();
        assert_eq!(
            severities,
            [Broken, Broken, Fine, Warning, Fine],
            "{found:?}"
        );
    }

    #[test]
    fn a_host_without_limits_to_enforce_is_a_warning() {
        let facts = HostFacts {
            files: Some(1_024),
            controllers: Some("cpuset cpu io".to_owned()),
            port_is_free: Some(true),
        };
        let found = of_host(&facts);
        let severities: Vec<Severity> = found.iter().map(|it| it.severity).collect();
        assert_eq!(severities, [Warning, Warning, Fine]);
        assert!(
            found[1].found.contains("no controller for memory:"),
            "{found:?}"
        );
        assert_eq!(of_host(&HostFacts::default()).len(), 1);
    }

    #[test]
    fn a_certificate_is_a_warning_before_it_is_broken() {
        let (early, late) = (Timestamp::from_millis(0), Timestamp::from_millis(10));
        let severity = |notice: Option<&str>, now| {
            of_certificate("a.pem", late, notice.map(str::to_owned), now).severity
        };
        assert_eq!(severity(None, early), Fine);
        assert_eq!(severity(Some("expires at ..."), early), Warning);
        assert_eq!(severity(Some("does not hold before ..."), early), Broken);
        assert_eq!(severity(Some("expired at ..."), late), Broken);
    }
}
