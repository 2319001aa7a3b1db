//! How this process reaches others and is reached: in the open, or by TLS.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};

use super::{
    DEFAULT_STORE,
    args::{Global, TlsArgs},
};
use crate::{
    host::{Host, Listener, Network},
    store::{self, Login, Store},
    task::Tasks,
    tls::{Credentials, Door, Files, Named, Own, Secured},
};

/// The variable that holds the password of etcd's user.
const PASSWORD: &str = "QUAESTOR_ETCD_PASSWORD";

/// Passwords are short.
const LONGEST_PASSWORD: u64 = 4096;

/// What the flags for TLS come to.
pub(super) struct Security {
    /// For connections among the cluster's parts; none: they are in the open.
    own: Option<Arc<Credentials>>,
    /// For those to etcd, where it is at `https://`.
    store: Option<Arc<Credentials>>,
    login: Option<Login>,
}

impl Security {
    /// Reads the files that the flags name.
    ///
    /// # Errors
    /// They cannot be used, or contradict each other.
    pub(super) fn read(global: &Global, host: &Host) -> anyhow::Result<Self> {
        let flags = &global.tls;
        let read = |files: Files| Credentials::read(files, host);
        let own = own_files(flags)?.map(read).transpose()?;
        let is_secure = (endpoints(global).iter()).any(|endpoint| endpoint.starts_with("https://"));
        let store = match store_files(flags)? {
            Some(_) if !is_secure => bail!(
                "there are files for TLS to etcd, but no endpoint of etcd begins with https://: write --etcd https://..."
            ),
            Some(files) => Some(read(files)?),
            None if is_secure => own.clone(),
            None => None,
        };
        Ok(Self {
            own,
            store,
            login: login(flags, host)?,
        })
    }

    /// How the cluster's parts are reached.
    pub(super) fn network(&self, host: &Host) -> Arc<dyn Network> {
        secured(self.own.as_ref(), host).unwrap_or_else(|| Arc::clone(&host.network))
    }

    /// The store, connected at the first use.
    ///
    /// # Errors
    /// Its endpoints are none.
    pub(super) fn store(&self, endpoints: Vec<String>, host: &Host) -> anyhow::Result<Store> {
        let config = store::Config {
            secured: secured(self.store.as_ref(), host),
            login: self.login.clone(),
            ..store::Config::new(endpoints)
        };
        Ok(Store::new(config, host.clone())?)
    }

    /// `listener` of `what`, guarded where there is TLS.
    ///
    /// # Errors
    /// There is, but no certificate to show.
    pub(super) fn guard(
        &self,
        listener: Box<dyn Listener>,
        what: &str,
        door: Door,
    ) -> anyhow::Result<Box<dyn Listener>> {
        match &self.own {
            Some(own) if own.has_certificate() => Ok(own.guard(listener, door)),
            Some(_) => bail!(
                "{what} has no certificate to show: name one with --tls-cert and --tls-key; `quaestor pki issue` makes one"
            ),
            None => {
                warn_of_strangers(what, listener.local_address()?);
                Ok(listener)
            }
        }
    }

    /// Whether connections among the cluster's parts are secured.
    pub(super) fn is_on(&self) -> bool {
        self.own.is_some()
    }

    /// Follows the files for as long as `tasks` run.
    pub(super) fn keep(&self, tasks: &mut Tasks) {
        let distinct = (self.store.as_ref()).filter(|store| {
            let own = self.own.as_ref();
            own.is_none_or(|own| !Arc::ptr_eq(own, store))
        });
        for credentials in self.own.iter().chain(distinct) {
            let keeping = Arc::clone(credentials).keep(tasks.stop().clone());
            tasks.spawn("certificates", keeping);
        }
    }
}

/// The store's endpoints: those that the flags name, else the local one.
pub(super) fn endpoints(global: &Global) -> Vec<String> {
    let local = || vec![DEFAULT_STORE.to_owned()];
    global.etcd.clone().unwrap_or_else(local)
}

/// The same flags, of somebody else, who is known by this certificate; to etcd as well, unless etcd has authorities of
/// its own or goes by passwords.
pub(super) fn as_another(global: &Global, certificate: PathBuf, key: PathBuf) -> Global {
    let mut other = global.clone();
    let tls = &mut other.tls;
    if tls.etcd_ca.is_none() {
        (tls.etcd_cert, tls.etcd_key) = (None, None);
    }
    (tls.tls_cert, tls.tls_key) = (Some(certificate), Some(key));
    other
}

/// Says that anybody who reaches a listener may use it.
pub(super) fn warn_of_strangers(what: &str, address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "{what} listens without TLS: whoever reaches it may use it (docs/security.md says how to change that)"
        );
    }
}

fn secured(credentials: Option<&Arc<Credentials>>, host: &Host) -> Option<Arc<dyn Network>> {
    let credentials = Arc::clone(credentials?);
    Some(Arc::new(Secured::new(host.network.clone(), credentials)))
}

/// The files for connections among the cluster's parts.
pub(super) fn own_files(flags: &TlsArgs) -> anyhow::Result<Option<Files>> {
    files([
        ("--tls-ca", &flags.tls_ca),
        ("--tls-cert", &flags.tls_cert),
        ("--tls-key", &flags.tls_key),
    ])
}

/// Those for connections to etcd, where they are others.
pub(super) fn store_files(flags: &TlsArgs) -> anyhow::Result<Option<Files>> {
    let authorities = match (&flags.etcd_ca, &flags.etcd_cert, &flags.etcd_key) {
        (None, None, None) => return Ok(None),
        (Some(_), ..) => ("--etcd-ca", &flags.etcd_ca),
        (None, ..) => ("--tls-ca", &flags.tls_ca),
    };
    files([
        authorities,
        ("--etcd-cert", &flags.etcd_cert),
        ("--etcd-key", &flags.etcd_key),
    ])
}

/// The files of authorities, certificate and key, each with its flag; none where none is named.
fn files(
    [authorities, certificate, key]: [(&'static str, &Option<PathBuf>); 3],
) -> anyhow::Result<Option<Files>> {
    let named = |(flag, path): (&'static str, &Option<PathBuf>)| {
        let path = path.clone();
        path.map(|path| Named { path, flag })
    };
    let own = match (named(certificate), named(key)) {
        (Some(certificate), Some(key)) => Some(Own { certificate, key }),
        (None, None) => None,
        (Some(_), None) => bail!("{} has no use without {}", certificate.0, key.0),
        (None, Some(_)) => bail!("{} has no use without {}", key.0, certificate.0),
    };
    match (named(authorities), own) {
        (Some(authorities), own) => Ok(Some(Files { authorities, own })),
        (None, Some(_)) => bail!(
            "{} has no use without {}: it is not known whose certificates count",
            certificate.0,
            authorities.0
        ),
        (None, None) => Ok(None),
    }
}

/// The user that etcd knows us as.
fn login(flags: &TlsArgs, host: &Host) -> anyhow::Result<Option<Login>> {
    let Some(user) = flags.etcd_user.clone() else {
        if flags.etcd_password_file.is_some() {
            bail!("--etcd-password-file has no use without --etcd-user");
        }
        return Ok(None);
    };
    let password = match (&flags.etcd_password_file, env::var(PASSWORD)) {
        (Some(file), _) => password(file, host)?,
        (None, Ok(password)) => password,
        (None, Err(_)) => bail!(
            "--etcd-user {user} needs a password: name a file with --etcd-password-file, or set {PASSWORD}"
        ),
    };
    Ok(Some(Login { user, password }))
}

/// What a file with a password holds.
pub(super) fn password(file: &Path, host: &Host) -> anyhow::Result<String> {
    let cannot = || format!("cannot read the password in {}", file.display());
    let found = host.disk.read_foreign(file, LONGEST_PASSWORD);
    let text = String::from_utf8(found.with_context(cannot)?.content).with_context(cannot)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
