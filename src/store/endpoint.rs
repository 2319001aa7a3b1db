//! One member of the store: its address, and the connection to it.

use std::{fmt, io, net::Ipv6Addr, sync::Arc, time::Duration};

use etcd_client::{Channel, Client, ConnectOptions};
use hyper_util::rt::TokioIo;
use tokio::sync::OnceCell;

use super::{Config, Error, Login};
use crate::host::{Clock, Host, Network};

/// How often an open connection is asked for a sign of life, in use or not.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long that sign may take; then the connection counts as dead, so that a member that stopped
/// or vanished is noticed in 15 s even where nothing else is waiting for it.
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(5);

/// How long making a connection may take. Members are near.
const CONNECT: Duration = Duration::from_secs(2);

/// A member of the store.
pub(super) struct Endpoint {
    address: Address,
    /// What it is connected to by.
    network: Arc<dyn Network>,
    login: Option<Login>,
    /// Made at the first use, because making it needs a runtime; connected anew when it breaks.
    client: OnceCell<Client>,
}

impl Endpoint {
    /// The member at `text`: `https://host:port`, `http://host:port` or `host:port`.
    pub(super) fn new(text: &str, config: &Config, host: &Host) -> Result<Self, Error> {
        let wrong = |cause| Error::Address {
            endpoint: text.to_owned(),
            cause,
        };
        let address = Address::parse(text).map_err(wrong)?;
        let network = match (address.secure, &config.secured) {
            (false, _) => &host.network,
            (true, Some(secured)) => secured,
            (true, None) => {
                return Err(wrong(
                    "for TLS it has to be known whose certificates count: name the authority's with --etcd-ca \
                     or --tls-ca"
                        .to_owned(),
                ));
            }
        };
        Ok(Self {
            network: Arc::clone(network),
            login: config.login.clone(),
            address,
            client: OnceCell::new(),
        })
    }

    /// The client of this member alone. Connects only when it is used; with a user, at once.
    pub(super) async fn client(
        &self,
        clock: &Arc<dyn Clock>,
    ) -> Result<Client, etcd_client::Error> {
        let client = self.client.get_or_try_init(|| self.connect(clock)).await?;
        Ok(client.clone())
    }

    async fn connect(&self, clock: &Arc<dyn Clock>) -> Result<Client, etcd_client::Error> {
        let (network, clock) = (self.network.clone(), clock.clone());
        let Address { name, port, .. } = self.address.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let connection = network.connect(&name, port);
            let clock = clock.clone();
            async move {
                match within(&*clock, CONNECT, connection).await {
                    Some(stream) => stream.map(TokioIo::new),
                    None => Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no connection within {CONNECT:?}"),
                    )),
                }
            }
        });
        // The library would secure `https` itself. What it says in its requests has to be the truth all the same: etcd
        // takes no notice of our certificate otherwise.
        let plain = Address {
            secure: false,
            ..self.address.clone()
        };
        let origin = self.address.to_string().parse()?;
        let channel = tonic::transport::Endpoint::from_shared(plain.to_string())?
            .origin(origin)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        // A member without a leader says so at once, and ends its streams, instead of keeping
        // everybody waiting.
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let Some(Login { user, password }) = &self.login {
            options = options.with_user(user, password);
        }
        Client::from_channel(Channel::Tonic(channel), Some(options)).await
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// What `future` resolves to; none when that takes longer than `limit`.
pub(super) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = clock.sleep(limit) => None,
    }
}

/// A host and a port. Shown as a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    /// Whether it is reached by TLS.
    secure: bool,
    /// A name or an address, without brackets.
    name: String,
    port: u16,
}

impl Address {
    fn parse(text: &str) -> Result<Self, String> {
        let (secure, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => {
                return Err(format!(
                    "`{scheme}` is not a scheme; use https:// or http://"
                ));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (name, port) = rest
            .rsplit_once(':')
            .filter(|(name, _)| !name.is_empty() && (!name.contains(':') || name.starts_with('[')))
            .ok_or("it must be written as http://host:port, an IPv6 address in brackets")?;
        let port = match port.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(format!("`{port}` is not a port (1 to 65535)")),
        };
        let name = match name.strip_prefix('[') {
            Some(address) => address
                .strip_suffix(']')
                .filter(|address| address.parse::<Ipv6Addr>().is_ok())
                .ok_or_else(|| format!("`{name}` is not an IPv6 address in brackets"))?,
            None if name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) =>
            {
                name
            }
            None => return Err(format!("`{name}` is not a host name or address")),
        };
        Ok(Self {
            secure,
            name: name.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secure, name, port } = self;
        let scheme = if *secure { "https" } else { "http" };
        if name.contains(':') {
            write!(f, "{scheme}://[{name}]:{port}")
        } else {
            write!(f, "{scheme}://{name}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoint, Error> {
        Endpoint::new(text, &Config::new([text]), &Host::system())
    }

    #[test]
    fn endpoints_with_and_without_a_scheme_mean_the_same() {
        for (text, shown) in [
            ("127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("http://etcd-1.example:80", "http://etcd-1.example:80"),
            ("http://localhost:2379/", "http://localhost:2379"),
            ("[::1]:2379", "http://[::1]:2379"),
            ("http://[fd00::7]:2379", "http://[fd00::7]:2379"),
        ] {
            assert_eq!(parse(text).ok().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused_with_what_would_be() {
        for (text, hint) in [
            ("", "http://host:port"),
            ("localhost", "http://host:port"),
            (":2379", "http://host:port"),
            ("::1:2379", "brackets"),
            ("[::1:2379", "brackets"),
            ("[nonsense]:2379", "IPv6"),
            ("localhost:0", "1 to 65535"),
            ("localhost:http", "1 to 65535"),
            ("localhost:99999", "1 to 65535"),
            ("http://localhost:2379/v3", "1 to 65535"),
            ("https://localhost:2379", "--etcd-ca"),
            ("unix://localhost:2379", "scheme"),
            ("user@localhost:2379", "host name"),
        ] {
            let error = parse(text).err().unwrap().to_string();
            assert!(error.contains(hint), "{text}: {error}");
            assert!(error.contains(&format!("`{text}`")), "{text}: {error}");
        }
    }
}
