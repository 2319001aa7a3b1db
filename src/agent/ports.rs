//! The ports of an instance, just before it starts.
//!
//! A fixed port must be free. A free one is taken where none was assigned, and kept for the instance for
//! as long as nobody else has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::{
    host::{Listener, Network},
    model::{AssignedPort, Name},
    plan::agent::{NotStarted, PORT_IN_USE},
};

/// Attempts at a free port that no other instance of this node was given. The system hardly ever gives
/// the same twice in a row.
const ATTEMPTS: usize = 16;

/// Who listens on a port, for people.
pub(super) type Holder<'a> = &'a (dyn Fn(u16) -> Option<String> + Sync);

/// Ports by name.
pub(super) type Ports = BTreeMap<Name, u16>;

/// The numbers of all `wanted` ports: the assigned one, else the one in `kept`, else a free one that
/// is not among `taken`. `holder` tells who listens on a port, where that is known. Listening on them proves them free; they are let go on return.
pub(super) async fn find(
    network: &dyn Network,
    address: &str,
    wanted: &[AssignedPort],
    kept: &Ports,
    taken: &BTreeSet<u16>,
    holder: Holder<'_>,
) -> Result<Ports, NotStarted> {
    let mut found = Ports::new();
    // All are held until the last is found, so that no number is given twice.
    let mut listeners = Vec::new();
    for port in wanted {
        let (number, listener) = match (port.number, kept.get(&port.name)) {
            (Some(number), _) => match listen(network, address, number).await {
                Ok((_, listener)) => (number, Some(listener)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(NotStarted {
                        reason: PORT_IN_USE,
                        message: format!(
                            "port {number} ({}) is in use by {}",
                            port.name,
                            holder(number).unwrap_or_else(|| "another program".to_owned())
                        ),
                    });
                }
                // Not permitted to us, perhaps, but to the program: let it try.
                Err(_) => (number, None),
            },
            (None, Some(number)) => match listen(network, address, *number).await {
                Ok((_, listener)) => (*number, Some(listener)),
                Err(_) => free(network, address, taken).await?,
            },
            (None, None) => free(network, address, taken).await?,
        };
        found.insert(port.name.clone(), number);
        listeners.push(listener);
    }
    Ok(found)
}

type Held = Option<Box<dyn Listener>>;

async fn free(
    network: &dyn Network,
    address: &str,
    taken: &BTreeSet<u16>,
) -> Result<(u16, Held), NotStarted> {
    let failed = |cause: String| NotStarted {
        reason: "NoFreePort",
        message: format!("no free port could be found: {cause}"),
    };
    let mut refused = Vec::new();
    for _ in 0..ATTEMPTS {
        let listening = listen(network, address, 0).await;
        let (number, listener) = listening.map_err(|error| failed(error.to_string()))?;
        if !taken.contains(&number) {
            return Ok((number, Some(listener)));
        }
        // Held meanwhile, so that the next attempt brings another.
        refused.push(listener);
    }
    Err(failed(format!("{ATTEMPTS} in a row belong to others")))
}

/// Listens at the node's address, or everywhere where that is a name or not an address of this machine.
async fn listen(
    network: &dyn Network,
    address: &str,
    port: u16,
) -> io::Result<(u16, Box<dyn Listener>)> {
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ip = address.parse().unwrap_or(everywhere);
    let mut listening = network.listen(SocketAddr::new(ip, port)).await;
    if let Err(error) = &listening
        && error.kind() == io::ErrorKind::AddrNotAvailable
    {
        listening = network.listen(SocketAddr::new(everywhere, port)).await;
    }
    let listener = listening?;
    Ok((listener.local_address()?.port(), listener))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::TcpNetwork;

    fn port(name: &str, number: Option<u16>) -> AssignedPort {
        AssignedPort {
            name: name.parse().unwrap(),
            number,
            advertise: None,
        }
    }

    async fn look(
        wanted: &[AssignedPort],
        kept: &Ports,
        taken: &BTreeSet<u16>,
    ) -> Result<Ports, NotStarted> {
        find(&TcpNetwork, "127.0.0.1", wanted, kept, taken, &|_| None).await
    }

    #[tokio::test]
    async fn free_ports_differ_and_are_kept_while_they_are_free() {
        let wanted = [port("grpc", None), port("http", None)];
        let none = BTreeSet::new();
        let first = look(&wanted, &Ports::new(), &none).await.unwrap();
        let numbers: BTreeSet<u16> = first.values().copied().collect();
        assert_eq!(numbers.len(), 2);
        assert_eq!(look(&wanted, &first, &none).await.unwrap(), first);
        // Somebody takes one of them.
        let grpc: Name = "grpc".parse().unwrap();
        let _thief = listen(&TcpNetwork, "127.0.0.1", first[&grpc])
            .await
            .unwrap();
        let second = look(&wanted, &first, &none).await.unwrap();
        assert_ne!(second[&grpc], first[&grpc]);
    }

    #[tokio::test]
    async fn a_fixed_port_in_use_is_said_at_once() {
        let (number, _holder) = listen(&TcpNetwork, "127.0.0.1", 0).await.unwrap();
        let wanted = [port("grpc", Some(number))];
        let refused = look(&wanted, &Ports::new(), &BTreeSet::new()).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason, "PortInUse");
        assert!(refused.message.contains(&format!("port {number} (grpc)")));
    }

    #[tokio::test]
    async fn a_node_known_by_name_listens_everywhere() {
        for address in ["node-1.example.com", "192.0.2.1"] {
            listen(&TcpNetwork, address, 0).await.unwrap();
        }
    }
}
