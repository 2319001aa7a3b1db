//! Connections to servers that are no part of a cluster, trusted as far as the host trusts: where artifacts come from.

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

/// A protected connection over `stream` to the host called `name`.
///
/// # Errors
/// Why it is not trusted, or that this host trusts nobody.
pub async fn protect(host: &Host, name: &str, stream: Stream) -> Result<Stream, String> {
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("no TLS: {error}"))?;
    let config = config
        .with_root_certificates(trusted(host)?)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned());
    let server = server.map_err(|_| format!("`{name}` is no name of a server"))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(server, stream);
    let stream = connecting.await;
    stream
        .map(Stream::new)
        .map_err(|error| format!("{name} is not who it should be, or speaks no TLS: {error}"))
}

/// The certificates that this host trusts.
fn trusted(host: &Host) -> Result<RootCertStore, String> {
    let found = TRUSTED.iter().find_map(|path| {
        let content = host.disk.read(Path::new(path)).ok().flatten()?;
        Some((path, content))
    });
    let Some((path, content)) = found else {
        return Err(format!(
            "this host has no certificates to trust, in none of {}: install ca-certificates",
            TRUSTED.join(", ")
        ));
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&content).flatten();
    let (added, _) = roots.add_parsable_certificates(certificates);
    match added {
        0 => Err(format!("there is no certificate in {path}")),
        _ => Ok(roots),
    }
}
