//! `quaestor pki`: an authority of one's own, and what it issues.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    args::{Owner, PkiCommand, PkiInitArgs, PkiIssueArgs},
    output::say,
};
use crate::{
    host::Host,
    model::{Name, Role},
    tls::{
        Certificate,
        authority::{Authority, Order, Pair},
    },
};

/// The longest common name that a certificate can hold (RFC 5280, ub-common-name).
const LONGEST_NAME: usize = 64;

/// Where every server of ours can be reached as well, on its own host.
pub(super) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

pub(super) fn run(host: &Host, command: PkiCommand) -> anyhow::Result<ExitCode> {
    match command {
        PkiCommand::Init(args) => init(host, &args),
        PkiCommand::Issue(args) => issue(host, &args),
    }
}

fn init(host: &Host, args: &PkiInitArgs) -> anyhow::Result<ExitCode> {
    let store = Store::new(host, &args.dir);
    store.found("ca", &args.name, args.lasts.get())?;
    let dir = args.dir.display();
    say(format_args!(
        "\n{dir}/ca.crt goes to every host. {dir}/ca.key stays here, or in a safe: whoever has it can let anybody in.\n\
         next: quaestor pki issue agent NODE --san HOST, and the same for controllers, balancers and operators"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn issue(host: &Host, args: &PkiIssueArgs) -> anyhow::Result<ExitCode> {
    let common_name = common_name(args.role, args.name.as_deref())?;
    let hosts = hosts(args.role, &args.sans)?;
    let authority = Store::new(host, &args.dir);
    let issuer = authority.authority("ca")?;
    let out = args.out.as_deref().unwrap_or(&args.dir);
    let store = Store::new(host, out);
    let order = Order {
        common_name: &common_name,
        hosts: &hosts,
        lasts: args.lasts.get(),
    };
    let pair = issuer.issue(&order, host.clock.timestamp())?;
    store.keep(&common_name, &pair, args.renew)?;
    say(format_args!("\n{}", next(args.role, &common_name)))?;
    Ok(ExitCode::SUCCESS)
}

/// What the owner of a certificate is called in it.
fn common_name(role: Owner, name: Option<&str>) -> anyhow::Result<String> {
    let role = match role {
        Owner::Root => return Ok("root".to_owned()),
        Owner::Agent => Role::Agent.word(),
        Owner::Controller => Role::Controller.word(),
        Owner::Balancer => Role::Balancer.word(),
        Owner::Operator => Role::Operator.word(),
        Owner::Client => Role::Client.word(),
        Owner::Etcd => "etcd",
    };
    let name: Name = name.unwrap_or_default().parse()?;
    let common_name = format!("{role}.{name}");
    if common_name.len() > LONGEST_NAME {
        bail!("`{common_name}` is too long: certificates hold names of {LONGEST_NAME} characters");
    }
    Ok(common_name)
}

/// Where the owner is reached; nowhere, if it only calls others.
fn hosts(role: Owner, sans: &[String]) -> anyhow::Result<Vec<String>> {
    match role {
        Owner::Operator | Owner::Root if !sans.is_empty() => {
            bail!("nobody calls an operator: --san has no use here")
        }
        // A client may serve others as well, artifacts for one.
        Owner::Operator | Owner::Root | Owner::Client => Ok(sans.to_vec()),
        Owner::Agent | Owner::Controller | Owner::Balancer | Owner::Etcd => Ok(with_loopback(sans)),
    }
}

/// `hosts`, and this host's names for itself.
pub(super) fn with_loopback(hosts: &[String]) -> Vec<String> {
    let loopback = LOOPBACK.map(str::to_owned);
    let others = loopback.into_iter().filter(|name| !hosts.contains(name));
    hosts.iter().cloned().chain(others).collect()
}

/// What to do with a certificate.
fn next(role: Owner, common_name: &str) -> String {
    let files = format!(
        "tls-ca: /etc/quaestor/ca.crt\n    tls-cert: /etc/quaestor/{common_name}.crt\n    \
         tls-key: /etc/quaestor/{common_name}.key"
    );
    match role {
        Owner::Agent | Owner::Controller | Owner::Balancer => format!(
            "next: copy these two and ca.crt to its host (the key for nobody else to read), and write into \
             /etc/quaestor/config.yaml there:\n    {files}"
        ),
        Owner::Operator => {
            format!("next: give these two and ca.crt to its owner, who writes into a file for --config:\n    {files}")
        }
        Owner::Client => format!(
            "next: give these two and ca.crt to its owner; `balance: {{allow: [{}]}}` in a manifest lets it, and no other \
             client, ask for that service",
            common_name.trim_start_matches("client.")
        ),
        Owner::Etcd => "next: `quaestor etcd config` does this and the rest for whole members".to_owned(),
        Owner::Root => "next: with ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY naming ca.crt and these two, etcdctl \
             may do everything once `quaestor rbac` has been run"
            .to_owned(),
    }
}

/// A directory of certificates.
pub(super) struct Store<'a> {
    host: &'a Host,
    dir: &'a Path,
}

impl<'a> Store<'a> {
    pub(super) fn new(host: &'a Host, dir: &'a Path) -> Self {
        Self { host, dir }
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }

    /// Makes an authority, and keeps it in files of that `file` name.
    pub(super) fn found(
        &self,
        file: &str,
        name: &str,
        lasts: std::time::Duration,
    ) -> anyhow::Result<Authority> {
        let (authority, pair) = Authority::found(name, lasts, self.host.clock.timestamp())?;
        self.keep(file, &pair, false)?;
        Ok(authority)
    }

    /// The authority in files of that `file` name.
    pub(super) fn authority(&self, file: &str) -> anyhow::Result<Authority> {
        let pair = Pair {
            certificate: self.text(&self.path(file, "crt"))?,
            key: self.text(&self.path(file, "key"))?,
        };
        let found = Authority::read(&pair);
        found.with_context(|| format!("`{}` holds no authority", self.dir.display()))
    }

    /// Whether there are files of that name.
    pub(super) fn has(&self, file: &str) -> bool {
        self.path(file, "crt").exists() || self.path(file, "key").exists()
    }

    /// What stands in a file.
    pub(super) fn text(&self, path: &Path) -> anyhow::Result<String> {
        let shown = path.display();
        let found = self.host.disk.read(path);
        let found = found.with_context(|| format!("cannot read {shown}"))?;
        let Some(found) = found else {
            bail!(
                "there is no {shown}: `quaestor pki init` makes an authority, and --dir says where it is"
            );
        };
        String::from_utf8(found).with_context(|| format!("{shown} holds no text"))
    }

    /// Writes a certificate and its key, and says so.
    pub(super) fn keep(&self, name: &str, pair: &Pair, renew: bool) -> anyhow::Result<()> {
        let (certificate, key) = (self.path(name, "crt"), self.path(name, "key"));
        if let Some(there) = [&certificate, &key].into_iter().find(|path| path.exists())
            && !renew
        {
            bail!(
                "{} is there already, and is not overwritten: `pki issue --renew` replaces it with a new one",
                there.display()
            );
        }
        self.write(&key, &pair.key)?;
        self.write(&certificate, &pair.certificate)?;
        let said = Certificate::first(pair.certificate.as_bytes()).map_err(anyhow::Error::msg)?;
        let names = match said.names.as_slice() {
            [] => String::new(),
            names => format!(", reached as {}", names.join(", ")),
        };
        say(format_args!("{} ({said}{names})", certificate.display()))?;
        say(format_args!("{} (its private key)", key.display()))
    }

    /// Writes a file that its owner alone may read.
    pub(super) fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let directory = path.parent().unwrap_or(self.dir);
        let disk = &self.host.disk;
        disk.create_directory(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        disk.write(path, text.as_bytes(), true)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
