//! Connections to servers that are no part of a cluster, where artifacts come from: trusted as far as the host trusts,
//! and by the certificates that its operator names.

use std::{path::Path, sync::Arc};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::host::{Host, Stream};

/// Where systems keep the certificates that they trust; the first that is there counts.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A protected connection over `stream` to the host called `name`, which is trusted by the certificates in the file
/// `authority` too.
///
/// # Errors
/// Why it is not trusted, or that nobody is.
pub async fn protect(
    host: &Host,
    authority: Option<&Path>,
    name: &str,
    stream: Stream,
) -> Result<Stream, String> {
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("no TLS: {error}"))?;
    let config = config
        .with_root_certificates(trusted(host, authority)?)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned());
    let server = server.map_err(|_| format!("`{name}` is no name of a server"))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(server, stream);
    let stream = connecting.await;
    stream
        .map(Stream::new)
        .map_err(|error| format!("{name} is not who it should be, or speaks no TLS: {error}"))
}

/// The certificates that this host trusts, and those in `authority`.
fn trusted(host: &Host, authority: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let own = TRUSTED.iter().find_map(|path| {
        let path = Path::new(path);
        Some((path, host.disk.read(path).ok().flatten()?))
    });
    if let Some((path, content)) = &own {
        add(&mut roots, path, content)?;
    }
    if let Some(path) = authority {
        let content = host.disk.read(path);
        let content =
            content.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let content = content.ok_or_else(|| format!("there is no file {}", path.display()))?;
        add(&mut roots, path, &content)?;
    }
    match roots.is_empty() {
        true => Err(format!(
            "this host has no certificates to trust, in none of {}: install ca-certificates, or name a file \
             of them to the agent by --artifact-ca",
            TRUSTED.join(", ")
        )),
        false => Ok(roots),
    }
}

fn add(roots: &mut RootCertStore, path: &Path, content: &[u8]) -> Result<(), String> {
    let certificates = CertificateDer::pem_slice_iter(content).flatten();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(format!("there is no certificate in {}", path.display())),
        _ => Ok(()),
    }
}
