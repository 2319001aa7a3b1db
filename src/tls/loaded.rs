//! What the files hold, made ready for use.

use std::{fmt, sync::Arc, time::Duration};

use tokio_rustls::rustls::{
    self, ClientConfig, DEFAULT_VERSIONS, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
};

use super::{Certificate, Door, Error, Files, Named, Own};
use crate::host::{Clock, Disk};

/// A larger file is none of ours.
const LARGEST: u64 = 1024 * 1024;

/// What HTTP/2 and HTTP/1.1 are called when a connection is secured.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The content of the files, in the order of their flags.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    authorities: Vec<u8>,
    own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Contents {
    pub(super) fn read(files: &Files, disk: &dyn Disk) -> Result<Self, Error> {
        let read = |file: &Named| {
            let found = disk.read_foreign(&file.path, LARGEST);
            found
                .map(|found| found.content)
                .map_err(|error| Error::Unreadable {
                    file: file.clone(),
                    cause: error.to_string(),
                })
        };
        let own = |own: &Own| Ok((read(&own.certificate)?, read(&own.key)?));
        Ok(Self {
            authorities: read(&files.authorities)?,
            own: files.own.as_ref().map(own).transpose()?,
        })
    }
}

/// What a set of files comes to.
pub(super) struct Loaded {
    /// What it was made of.
    pub(super) contents: Contents,
    /// Our own certificate.
    pub(super) own: Option<Certificate>,
    /// How we call.
    pub(super) client: Arc<ClientConfig>,
    /// How we let others in; none without a certificate of ours.
    servers: Option<[Arc<ServerConfig>; 3]>,
}

impl Loaded {
    pub(super) fn new(
        files: &Files,
        contents: Contents,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let time = Arc::new(Time(Arc::clone(clock)));
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(&files.authorities, &contents.authorities)?);
        let pair = match (&files.own, &contents.own) {
            (Some(own), Some((certificate, key))) => Some(Pair::parse(own, certificate, key)?),
            _ => None,
        };
        let client = client(&files.authorities, &roots, pair.as_ref(), &provider, &time)?;
        let servers = pair.as_ref().map(|pair| {
            let server = |door| server(door, &roots, pair, &provider, &time).map(Arc::new);
            Ok([
                server(Door::Known)?,
                server(Door::Open)?,
                server(Door::Web)?,
            ])
        });
        Ok(Self {
            own: pair.map(|pair| pair.first),
            contents,
            client: Arc::new(client),
            servers: servers.transpose()?,
        })
    }

    /// How those are let in who come to `door`.
    pub(super) fn server(&self, door: Door) -> Option<Arc<ServerConfig>> {
        let [known, open, web] = self.servers.as_ref()?;
        Some(Arc::clone(match door {
            Door::Known => known,
            Door::Open => open,
            Door::Web => web,
        }))
    }
}

/// A certificate with its key, and their files.
struct Pair<'a> {
    files: &'a Own,
    chain: Vec<CertificateDer<'static>>,
    first: Certificate,
    key: PrivateKeyDer<'static>,
}

impl<'a> Pair<'a> {
    fn parse(files: &'a Own, certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain = certificates(&files.certificate, certificate)?;
        let first = chain.first().and_then(|first| Certificate::of(first));
        let first = first.ok_or_else(|| Error::Unusable {
            file: files.certificate.clone(),
            cause: "it is no X.509 certificate".to_owned(),
        })?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| Error::Empty {
            file: files.key.clone(),
            what: "private key",
            cause: error.to_string(),
        })?;
        Ok(Self {
            files,
            chain,
            first,
            key,
        })
    }

    /// What is wrong with them, as the library found when it put them to use.
    fn fault(&self, error: &rustls::Error) -> Error {
        match error {
            rustls::Error::InconsistentKeys(_) => Error::Mismatch {
                key: self.files.key.clone(),
                certificate: self.files.certificate.clone(),
            },
            rustls::Error::InvalidCertificate(_) => Error::Unusable {
                file: self.files.certificate.clone(),
                cause: error.to_string(),
            },
            _ => Error::Unusable {
                file: self.files.key.clone(),
                cause: error.to_string(),
            },
        }
    }
}

fn certificates(file: &Named, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let empty = |cause: String| Error::Empty {
        file: file.clone(),
        what: "certificate",
        cause,
    };
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| empty(error.to_string()))?;
    match found.is_empty() {
        true => Err(empty("there is no `BEGIN CERTIFICATE` in it".to_owned())),
        false => Ok(found),
    }
}

fn roots(file: &Named, pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(file, pem)? {
        roots.add(authority).map_err(|error| Error::Unusable {
            file: file.clone(),
            cause: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn client(
    authorities: &Named,
    roots: &Arc<RootCertStore>,
    pair: Option<&Pair<'_>>,
    provider: &Arc<CryptoProvider>,
    time: &Arc<Time>,
) -> Result<ClientConfig, Error> {
    let unusable = |error: rustls::Error| Error::Unusable {
        file: authorities.clone(),
        cause: error.to_string(),
    };
    let builder = ClientConfig::builder_with_details(provider.clone(), time.clone())
        .with_protocol_versions(DEFAULT_VERSIONS)
        .map_err(unusable)?
        .with_root_certificates(roots.clone());
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(pair.chain.clone(), pair.key.clone_key())
            .map_err(|error| pair.fault(&error))?,
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server(
    door: Door,
    roots: &Arc<RootCertStore>,
    pair: &Pair<'_>,
    provider: &Arc<CryptoProvider>,
    time: &Arc<Time>,
) -> Result<ServerConfig, Error> {
    let fault = |error: rustls::Error| pair.fault(&error);
    let mut config = ServerConfig::builder_with_details(provider.clone(), time.clone())
        .with_protocol_versions(DEFAULT_VERSIONS)
        .map_err(fault)?
        .with_client_cert_verifier(verifier(door, roots, provider).map_err(fault)?)
        .with_single_cert(pair.chain.clone(), pair.key.clone_key())
        .map_err(fault)?;
    config.alpn_protocols = vec![match door {
        Door::Known | Door::Open => HTTP2.to_vec(),
        Door::Web => HTTP1.to_vec(),
    }];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn verifier(
    door: Door,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let builder = match door {
        Door::Known => builder,
        Door::Open | Door::Web => builder.allow_unauthenticated(),
    };
    // The roots are there, and there are no lists of revoked certificates that could be wrong.
    let built = builder.build();
    built.map_err(|error| rustls::Error::General(error.to_string()))
}

/// The injected clock, as the library asks it.
struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(self.0.timestamp().as_millis()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}
