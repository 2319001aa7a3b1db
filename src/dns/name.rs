//! What a name asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::{ProtoError, rr::Name};

/// The name below the domain under which addresses have names, because a service's record may not point to a bare
/// address.
const ADDRESSES: &str = "addr";

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something outside the domain.
    Elsewhere,
    /// The domain itself.
    Domain,
    /// A service, as it is spelled here.
    Service(String),
    /// The name that an address got from us.
    Address(IpAddr),
    /// Something of which there are only names below it.
    Above,
}

/// What `name` stands for in `domain`.
pub(super) fn meaning(name: &Name, domain: &Name) -> Meaning {
    if !domain.zone_of(name) {
        return Meaning::Elsewhere;
    }
    let own = usize::from(name.num_labels() - domain.num_labels());
    let labels = name.iter().take(own).map(String::from_utf8_lossy);
    let labels: Vec<_> = labels.collect();
    let parts: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
    match parts[..] {
        [] => Meaning::Domain,
        // RFC 2782: `_service._protocol.name`. Which service on a port it is, the name says already.
        [service, protocol, ref rest @ ..] if service.starts_with('_') && is_protocol(protocol) => {
            match rest {
                [] => Meaning::Above,
                rest => Meaning::Service(rest.join(".")),
            }
        }
        [protocol, ..] if is_protocol(protocol) => Meaning::Above,
        [addresses] if addresses.eq_ignore_ascii_case(ADDRESSES) => Meaning::Above,
        [address, addresses] if addresses.eq_ignore_ascii_case(ADDRESSES) => {
            match read_address(address) {
                Some(address) => Meaning::Address(address),
                None => Meaning::Service(parts.join(".")),
            }
        }
        ref parts => Meaning::Service(parts.join(".")),
    }
}

fn is_protocol(label: &str) -> bool {
    label.eq_ignore_ascii_case("_tcp") || label.eq_ignore_ascii_case("_udp")
}

/// The name of `address` in `domain`: `10-0-0-1.addr.<domain>`, or the 32 digits of an IPv6 address.
///
/// # Errors
/// When the domain leaves no room for it.
pub(super) fn of_address(address: IpAddr, domain: &Name) -> Result<Name, ProtoError> {
    let label = match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => format!("{:032x}", u128::from(address)),
    };
    Name::from_labels([label.as_bytes(), ADDRESSES.as_bytes()])?.append_domain(domain)
}

fn read_address(label: &str) -> Option<IpAddr> {
    if label.len() == 32 {
        let number = u128::from_str_radix(label, 16).ok()?;
        return Some(Ipv6Addr::from(number).into());
    }
    let address = label.replace('-', ".").parse::<Ipv4Addr>().ok()?;
    Some(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn of(text: &str) -> Meaning {
        meaning(&name(text), &name("lab.test."))
    }

    fn service(text: &str) -> Meaning {
        Meaning::Service(text.to_owned())
    }

    #[test]
    fn names_mean_services_with_or_without_port_and_protocol() {
        assert_eq!(of("Worker.lab.test."), service("Worker"));
        assert_eq!(of("worker.LAB.Test."), service("worker"));
        assert_eq!(of("a.b.Scan.lab.test."), service("a.b.Scan"));
        assert_eq!(of("_grpc._tcp.Worker.lab.test."), service("Worker"));
        assert_eq!(of("_x._UDP.a.b.lab.test."), service("a.b"));
        assert_eq!(of("_x.Worker.lab.test."), service("_x.Worker"));
    }

    #[test]
    fn what_is_above_a_name_exists_and_what_is_outside_does_not_concern_us() {
        assert_eq!(of("lab.test."), Meaning::Domain);
        assert_eq!(of("_tcp.Worker.lab.test."), Meaning::Above);
        assert_eq!(of("_grpc._tcp.lab.test."), Meaning::Above);
        assert_eq!(of("addr.lab.test."), Meaning::Above);
        for text in [
            "test.",
            ".",
            "worker.lab.tes.",
            "xlab.test.",
            "lab.test.org.",
        ] {
            assert_eq!(of(text), Meaning::Elsewhere, "{text}");
        }
    }

    #[test]
    fn addresses_have_names_that_read_back() {
        for address in ["10.0.0.1", "255.255.255.255", "::1", "2001:db8::7"] {
            let address: IpAddr = address.parse().unwrap();
            let name = of_address(address, &name("lab.test.")).unwrap();
            assert_eq!(
                meaning(&name, &super::tests::name("lab.test.")),
                Meaning::Address(address)
            );
        }
        assert_eq!(of("x.addr.lab.test."), service("x.addr"));
        assert_eq!(of("10-0-0.addr.lab.test."), service("10-0-0.addr"));
    }
}
