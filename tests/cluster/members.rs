//! The three members of the store.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
};

use crate::{
    network::{HOSTS, Host, Network, OUTSIDE},
    support::{eventually, http, ports::free_port, signal},
};

/// A real etcd of three members, one on each of [`HOSTS`]; killed, with its data, when dropped.
pub(crate) struct Members {
    directory: PathBuf,
    members: BTreeMap<Host, Member>,
    /// How many bytes it may hold, where that is not what etcd allows by itself.
    quota: Option<u32>,
}

struct Member {
    child: Option<Child>,
    /// `host:port` for clients, and for the other members.
    client: String,
    peer: String,
}

impl Members {
    /// Starts three on free ports, with their files in `directory`, and waits until they answer.
    pub(crate) fn start(directory: &Path, network: &mut Network, quota: Option<u32>) -> Self {
        let mut ports = BTreeMap::new();
        let members = HOSTS.map(|host| {
            let (client, peer) = (free_port(), free_port());
            ports.insert(host, client);
            let address = network.address(host);
            let member = Member {
                child: None,
                client: format!("{address}:{client}"),
                peer: format!("{address}:{peer}"),
            };
            (host, member)
        });
        network.attach(&ports);
        let mut members = Self {
            directory: directory.to_owned(),
            members: members.into(),
            quota,
        };
        members.start_all(network);
        members
    }

    fn start_all(&mut self, network: &Network) {
        for host in HOSTS {
            self.launch(network, host);
        }
        self.await_all(network);
    }

    /// Waits until all answer.
    pub(crate) fn await_all(&self, network: &Network) {
        for host in HOSTS {
            eventually("the member answers", || self.is_serving(network, host));
        }
    }

    /// Whether a member answers, and has a leader.
    pub(crate) fn is_serving(&self, network: &Network, host: Host) -> bool {
        let client = &self.members[&host].client;
        let answer = network.outside(|| http::get(client, "/health"));
        answer.is_some_and(|(status, _)| status == 200)
    }

    /// Starts a member on the data that it had. It answers once most of them run.
    pub(crate) fn launch(&mut self, network: &Network, host: Host) {
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let log = self.directory.join(format!("etcd-{host}.log"));
        let cluster = self.cluster();
        let data = self.data(host);
        let quota = self.quota;
        let member = self.members.get_mut(&host).unwrap();
        let (client, peer) = (
            format!("http://{}", member.client),
            format!("http://{}", member.peer),
        );
        let mut command = network.command(host, &program);
        command.arg("--data-dir").arg(data);
        command.args(["--name", &format!("m{host}"), "--log-level", "error"]);
        command.args(["--unsafe-no-fsync", "--initial-cluster", &cluster]);
        command.args(["--listen-client-urls", &client]);
        command.args(["--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer]);
        if let Some(quota) = quota {
            command.args(["--quota-backend-bytes", &quota.to_string()]);
        }
        let log = std::fs::File::create(log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start `{program}`: {error}; run `scripts/test`, which fetches an etcd")
        });
        member.child = Some(child);
    }

    fn cluster(&self) -> String {
        let members = self.members.iter();
        let members = members.map(|(host, member)| format!("m{host}=http://{}", member.peer));
        members.collect::<Vec<_>>().join(",")
    }

    fn data(&self, host: Host) -> PathBuf {
        self.directory.join(format!("etcd-{host}"))
    }

    /// Ends a member as a power cut would.
    pub(crate) fn kill(&mut self, host: Host) {
        let child = self.members.get_mut(&host).unwrap().child.take();
        let mut child = child.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Fills the store until it takes nothing more.
    pub(crate) fn fill(&self, network: &Network) {
        // As long as one argument may be.
        let value = "x".repeat(120_000);
        for number in 0.. {
            let put = ["put", &format!("/filling/{number}"), &value];
            let output = self.try_ctl(network, &put);
            if !output.status.success() {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(errors.contains("space exceeded"), "{errors}");
                return;
            }
        }
    }

    /// Makes room again, as operators do.
    pub(crate) fn make_room(&self, network: &Network) {
        self.ctl(network, &["del", "--prefix", "/filling/"]);
        self.compact(network);
        self.ctl(network, &["defrag"]);
        self.ctl(network, &["alarm", "disarm"]);
    }

    /// Forgets all history.
    pub(crate) fn compact(&self, network: &Network) {
        let revision = self.revision(network).to_string();
        self.ctl(network, &["compact", "--physical", &revision]);
    }

    /// How far the store has come.
    pub(crate) fn revision(&self, network: &Network) -> i64 {
        let status = self.ctl(network, &["endpoint", "status", "-w", "fields"]);
        let revision = (status.lines()).find_map(|line| line.strip_prefix("\"Revision\" : "));
        revision.unwrap().parse().unwrap()
    }

    /// Sends a signal to a member.
    pub(crate) fn signal(&self, host: Host, name: &str) {
        signal(self.members[&host].child.as_ref().unwrap().id(), name);
    }

    /// The member that leads the others.
    pub(crate) fn leader(&self, network: &Network) -> Host {
        let mut leader = None;
        eventually("a member leads", || {
            leader = HOSTS.into_iter().find(|host| {
                let client = &self.members[host].client;
                let metrics = network.outside(|| http::get(client, "/metrics"));
                metrics.is_some_and(|(_, text)| text.contains("\netcd_server_is_leader 1"))
            });
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Runs etcdctl on all members; what it printed.
    #[track_caller]
    pub(crate) fn ctl(&self, network: &Network, arguments: &[&str]) -> String {
        let output = self.try_ctl(network, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, which may fail.
    pub(crate) fn try_ctl(&self, network: &Network, arguments: &[&str]) -> Output {
        ctl(network, &self.endpoints(), arguments)
    }

    /// Where the members are, with no proxy before them.
    pub(crate) fn endpoints(&self) -> String {
        let clients = self.members.values().map(|member| member.client.clone());
        clients.collect::<Vec<_>>().join(",")
    }

    /// All keys that begin so, with the revisions of their last writes.
    pub(crate) fn keys(&self, network: &Network, prefix: &str) -> BTreeMap<String, String> {
        let text = self.ctl(network, &["get", "--prefix", prefix, "-w", "fields"]);
        let field = |line: &str, name: &str| {
            let rest = line.strip_prefix(&format!("\"{name}\" : "))?;
            Some(rest.trim_matches('"').to_owned())
        };
        let mut keys = BTreeMap::new();
        let mut key = String::new();
        for line in text.lines() {
            if let Some(name) = field(line, "Key") {
                key = name;
            } else if let Some(revision) = field(line, "ModRevision") {
                keys.insert(key.clone(), revision);
            }
        }
        keys
    }

    /// A copy of everything, as operators make one.
    pub(crate) fn snapshot(&self, network: &Network) -> PathBuf {
        let file = self.directory.join("snapshot");
        let path = file.to_str().unwrap();
        let from = &self.members[&HOSTS[0]].client;
        let saved = ctl(network, from, &["snapshot", "save", path]);
        assert!(saved.status.success(), "{saved:?}");
        file
    }

    /// Ends all members and starts them on a copy, as operators do after a loss: the revision falls.
    pub(crate) fn restore(&mut self, network: &Network, snapshot: &Path) {
        for host in HOSTS {
            self.kill(host);
            let data = self.data(host);
            std::fs::remove_dir_all(&data).unwrap();
            crate::support::etcd::etcdctl(&[
                "snapshot",
                "restore",
                snapshot.to_str().unwrap(),
                "--data-dir",
                data.to_str().unwrap(),
                "--name",
                &format!("m{host}"),
                "--initial-advertise-peer-urls",
                &format!("http://{}", self.members[&host].peer),
                "--initial-cluster",
                &self.cluster(),
            ]);
        }
        self.start_all(network);
    }
}

/// Runs etcdctl outside.
fn ctl(network: &Network, endpoints: &str, arguments: &[&str]) -> Output {
    let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let mut command = network.command(OUTSIDE, &program);
    command.env("ETCDCTL_API", "3").stdin(Stdio::null());
    command.args(["--endpoints", endpoints]).args(arguments);
    command.output().unwrap()
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in self.members.values_mut() {
            if let Some(child) = &mut member.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
