//! `quaestor etcd config`: what the members of an etcd need, that speaks TLS alone and cleans up after itself.

use std::{fmt::Write as _, net::IpAddr, path::Path, process::ExitCode, str::FromStr};

use anyhow::bail;

use super::{
    args::{EtcdConfigArgs, Global},
    output::say,
    pki::{self, with_loopback},
};
use crate::{
    host::Host,
    model::Name,
    tls::authority::{Authority, Order},
};

/// The ports that members of etcd have by custom.
const PORTS: (u16, u16) = (2379, 2380);

/// The authority of the certificates that members show each other. One of their own: whoever can show such a
/// certificate may say what the others are to store.
const PEERS: &str = "etcd-peers-ca";

/// A member of an etcd that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    name: Name,
    /// Where the others and clients reach it.
    host: String,
    client_port: u16,
    peer_port: u16,
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').unwrap_or((text, text));
        let wrong =
            || format!("`{text}` is no member: write NAME, or NAME=HOST[:CLIENT-PORT[:PEER-PORT]]");
        let (host, ports) = match place
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, ports)) => (host, ports.trim_start_matches(':')),
            None => place.split_once(':').unwrap_or((place, "")),
        };
        let mut ports = ports.split(':').filter(|port| !port.is_empty());
        let mut port = |custom: u16| ports.next().map_or(Ok(custom), |port| port.parse::<u16>());
        let client_port = port(PORTS.0).map_err(|_| wrong())?;
        let peer_port = port(PORTS.1).map_err(|_| wrong())?;
        if host.is_empty() || ports.next().is_some() {
            return Err(wrong());
        }
        Ok(Self {
            name: name.parse().map_err(|_| wrong())?,
            host: host.to_owned(),
            client_port,
            peer_port,
        })
    }
}

impl Member {
    /// Where it listens: an address, as etcd wants no names there.
    fn listens_at(&self) -> &str {
        match self.host.parse::<IpAddr>() {
            Ok(_) => &self.host,
            Err(_) => "0.0.0.0",
        }
    }

    fn url(host: &str, port: u16) -> String {
        match host.contains(':') {
            true => format!("https://[{host}]:{port}"),
            false => format!("https://{host}:{port}"),
        }
    }

    fn client_url(&self) -> String {
        Self::url(&self.host, self.client_port)
    }

    fn peer_url(&self) -> String {
        Self::url(&self.host, self.peer_port)
    }

    /// Where it listens for clients: on its own host as well, where etcdctl asks.
    fn listens_for_clients(&self) -> String {
        let at = self.listens_at();
        let mut urls = Self::url(at, self.client_port);
        if at
            .parse()
            .is_ok_and(|at: IpAddr| !at.is_loopback() && !at.is_unspecified())
        {
            let _ = write!(urls, ",{}", Self::url("127.0.0.1", self.client_port));
        }
        urls
    }
}

pub(super) fn run(global: &Global, host: &Host, args: EtcdConfigArgs) -> anyhow::Result<ExitCode> {
    let members = &args.members;
    if let Some(twice) = (members.iter().enumerate())
        .find(|(at, member)| members[..*at].iter().any(|other| other.name == member.name))
    {
        bail!("member {} is named twice", twice.1.name);
    }
    let pki = pki::Store::new(host, &args.dir);
    let authority = pki.authority("ca")?;
    let taken = members
        .iter()
        .map(|member| args.out.join(member.name.as_str()));
    if let Some(taken) = taken.into_iter().find(|directory| directory.exists()) {
        bail!(
            "{} is there already, and is not overwritten: name another place with --out, or remove it",
            taken.display()
        );
    }
    let peers = match pki.has(PEERS) {
        true => pki.authority(PEERS)?,
        false => pki.found(PEERS, "etcd peers", args.lasts.get() * 10)?,
    };
    let authorities = [
        ("ca.crt", pki.text(&args.dir.join("ca.crt"))?),
        (
            "peers-ca.crt",
            pki.text(&args.dir.join(format!("{PEERS}.crt")))?,
        ),
    ];
    for member in members {
        let directory = args.out.join(member.name.as_str());
        let store = pki::Store::new(host, &directory);
        for (name, text) in &authorities {
            store.write(&directory.join(name), text)?;
        }
        issue(host, &store, &authority, "server", member, &args)?;
        issue(host, &store, &peers, "peer", member, &args)?;
        let config = config(global, member, &args);
        store.write(&directory.join("etcd.conf.yml"), &config)?;
        store.write(&directory.join("etcd.service"), &unit(member, &args))?;
        say(format_args!(
            "{}",
            directory.join("etcd.conf.yml").display()
        ))?;
        say(format_args!("{}", directory.join("etcd.service").display()))?;
    }
    say(format_args!("\n{}", next(&args)))?;
    Ok(ExitCode::SUCCESS)
}

fn issue(
    host: &Host,
    store: &pki::Store<'_>,
    authority: &Authority,
    file: &str,
    member: &Member,
    args: &EtcdConfigArgs,
) -> anyhow::Result<()> {
    let order = Order {
        common_name: &format!("etcd.{}", member.name),
        hosts: &with_loopback(std::slice::from_ref(&member.host)),
        lasts: args.lasts.get(),
    };
    let pair = authority.issue(&order, host.clock.timestamp())?;
    store.keep(file, &pair, false)
}

/// Where something of a member lies on its host.
fn place(pattern: &str, member: &Member) -> String {
    pattern.replace("{member}", member.name.as_str())
}

/// The member's `etcd.conf.yml`, as etcd 3.4 and later read it.
fn config(global: &Global, member: &Member, args: &EtcdConfigArgs) -> String {
    let files = place(&args.install_dir, member);
    let data = place(&args.data_dir, member);
    let all = args.members.iter();
    let all = all.map(|member| format!("{}={}", member.name, member.peer_url()));
    let all = all.collect::<Vec<_>>().join(",");
    let Member { name, .. } = member;
    let (client_listens, client) = (member.listens_for_clients(), member.client_url());
    let peer_listens = Member::url(member.listens_at(), member.peer_port);
    let peer = member.peer_url();
    let (cluster, quota) = (&global.cluster, args.quota.bytes());
    format!(
        "# Written by `quaestor etcd config`.
name: {name}
data-dir: {data}
listen-client-urls: {client_listens}
advertise-client-urls: {client}
listen-peer-urls: {peer_listens}
initial-advertise-peer-urls: {peer}
initial-cluster: {all}
initial-cluster-token: quaestor-{cluster}
initial-cluster-state: new
# Only with a certificate of the authority: its common name is also the user that `quaestor rbac` gives rights to.
client-transport-security:
  cert-file: {files}/server.crt
  key-file: {files}/server.key
  trusted-ca-file: {files}/ca.crt
  client-cert-auth: true
# Members know each other by an authority of their own: a certificate of an agent must not pass for theirs.
peer-transport-security:
  cert-file: {files}/peer.crt
  key-file: {files}/peer.key
  trusted-ca-file: {files}/peers-ca.crt
  client-cert-auth: true
logger: zap
log-outputs: [stderr]
# Quaestor's leader forgets what is older than five minutes. This is for when there is none.
auto-compaction-mode: periodic
auto-compaction-retention: 1h
quota-backend-bytes: {quota}
"
    )
}

fn unit(member: &Member, args: &EtcdConfigArgs) -> String {
    let files = place(&args.install_dir, member);
    let data = place(&args.data_dir, member);
    format!(
        "# Written by `quaestor etcd config`. In /etc/systemd/system it takes the place of the distribution's own.
[Unit]
Description=etcd, member {name}
Documentation=https://etcd.io
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
User=etcd
ExecStart=/usr/bin/etcd --config-file {files}/etcd.conf.yml
Restart=always
RestartSec=2s
# A member that catches up says that it is ready only then.
TimeoutStartSec=infinity
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={data}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes

[Install]
WantedBy=multi-user.target
",
        name = member.name
    )
}

fn next(args: &EtcdConfigArgs) -> String {
    let urls = args.members.iter().map(Member::client_url);
    let urls = urls.collect::<Vec<_>>().join(",");
    let mut text =
        "next, for each member, on its host (Debian: apt install etcd-server):\n".to_owned();
    for member in &args.members {
        let from = args.out.join(member.name.as_str());
        let (files, data) = (
            place(&args.install_dir, member),
            place(&args.data_dir, member),
        );
        let is_here = Path::new(&files) == from;
        let copy = match is_here {
            true => String::new(),
            false => format!("copy {}/* to {files}; ", from.display()),
        };
        let _ = writeln!(
            text,
            "    {}: {copy}chown -R etcd: {files}; install -d -o etcd -g etcd -m 700 {data}; \
             mv {files}/etcd.service /etc/systemd/system/; systemctl daemon-reload; systemctl enable --now etcd",
            member.host
        );
    }
    let _ = write!(
        text,
        "then: --etcd {urls} for every part of the cluster, with certificates of `quaestor pki issue`; `quaestor rbac` \
         prints who is to have which rights"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_name_and_where_it_is_reached() {
        let parse = |text: &str| {
            let Member {
                name,
                host,
                client_port,
                peer_port,
            } = text.parse::<Member>()?;
            Ok::<_, String>(format!("{name} {host} {client_port} {peer_port}"))
        };
        assert_eq!(parse("a").unwrap(), "a a 2379 2380");
        assert_eq!(parse("a=10.0.0.1").unwrap(), "a 10.0.0.1 2379 2380");
        assert_eq!(parse("a=b.example:1").unwrap(), "a b.example 1 2380");
        assert_eq!(parse("a=b.example:1:2").unwrap(), "a b.example 1 2");
        assert_eq!(parse("a=[::1]:1:2").unwrap(), "a ::1 1 2");
        for wrong in ["", "A", "a=", "a=b:x", "a=b:1:2:3", "a=:1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_listens_at_its_address_and_on_its_own_host() {
        let at = |text: &str| text.parse::<Member>().unwrap().listens_for_clients();
        assert_eq!(
            at("a=10.0.0.1"),
            "https://10.0.0.1:2379,https://127.0.0.1:2379"
        );
        assert_eq!(at("a=127.0.0.1:7"), "https://127.0.0.1:7");
        assert_eq!(at("a=etcd-1.example"), "https://0.0.0.0:2379");
    }
}
