//! Where a service listens, and under which names and addresses it is found.

use std::{collections::BTreeSet, net::IpAddr};

use super::{super::tree::Path, Problem};
use crate::model::service::{PortSpec, ServiceSpec};

/// What is wrong with `ports`, `serviceNames` and the addresses in `external`.
pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = ports(spec);
    problems.extend(collisions(&spec.ports));
    problems.extend(service_names(&spec.service_names));
    problems.extend(external(&spec.external));
    problems
}

fn at(index: usize) -> Path {
    Path::of("spec.ports").index(index)
}

/// Each port by itself.
fn ports(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let name = &port.name;
        if port.port.is_some() && port.range.is_some() {
            problems.push(
                Problem::new(
                    at(index).key("range"),
                    format!("port `{name}` has both a number and a range"),
                )
                .help("keep `port` or `range`; without both, a free port is taken"),
            );
        }
        if port.port == Some(0) {
            problems.push(
                Problem::new(
                    at(index).key("port"),
                    format!("port `{name}` has the number 0"),
                )
                .help("without `port` and `range`, a free port is taken"),
            );
        }
        if let (Some(range), Some(replicas)) = (port.range, spec.replicas)
            && u32::from(range.last - range.first) + 1 < replicas
        {
            let size = range.ports().len();
            problems.push(
                Problem::new(
                    at(index).key("range"),
                    format!("{replicas} replicas need {replicas} ports, but the range has {size}"),
                )
                .considering("replicas")
                .help("every instance has a port of its own for its life: widen the range"),
            );
        }
        if let Some(host) = &port.advertise
            && !is_host(host)
        {
            problems.push(
                Problem::new(
                    at(index).key("advertise"),
                    format!("`{host}` is not a host"),
                )
                .help("give a host name or an address, without scheme and port"),
            );
        }
    }
    problems
}

/// Ports of one service that take the same name or number.
fn collisions(ports: &[PortSpec]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let before = &ports[..index];
        if before.iter().any(|other| other.name == port.name) {
            problems.push(
                Problem::new(
                    at(index).key("name"),
                    format!("two ports are called `{}`", port.name),
                )
                .help("give each port a name of its own"),
            );
        }
        let Some((field, first, last)) = numbers(port) else {
            continue;
        };
        let clash = before.iter().find_map(|other| {
            let (_, other_first, other_last) = numbers(other)?;
            (first <= other_last && other_first <= last).then_some((other, first.max(other_first)))
        });
        if let Some((other, number)) = clash {
            let message = format!(
                "ports `{}` and `{}` can both get the number {number}",
                other.name, port.name
            );
            problems.push(
                Problem::new(at(index).key(field), message)
                    .help("give each port numbers of its own"),
            );
        }
    }
    problems
}

/// The field that says which numbers `port` can get, and the lowest and highest of them.
fn numbers(port: &PortSpec) -> Option<(&'static str, u16, u16)> {
    match (port.port, port.range) {
        (Some(number), _) => Some(("port", number, number)),
        (None, Some(range)) => Some(("range", range.first, range.last)),
        (None, None) => None,
    }
}

fn service_names(names: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        let path = Path::of("spec.serviceNames").index(index);
        if name.is_empty() {
            problems.push(
                Problem::new(path, "a service name is an empty text")
                    .help("without `serviceNames`, clients use the service's own name"),
            );
        } else if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            problems.push(
                Problem::new(path, "a service name has spaces or control characters")
                    .help("clients ask for exactly this name: use one word"),
            );
        } else if !seen.insert(name) {
            problems
                .push(Problem::new(path, format!("`{name}` is listed twice")).help("remove one"));
        }
    }
    problems
}

fn external(endpoints: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = Path::of("spec.external").index(index);
        if !is_endpoint(endpoint) {
            problems.push(
                Problem::new(path, format!("`{endpoint}` is not host:port"))
                    .help("as in db.example.com:5432, 10.0.0.7:80 or [2001:db8::7]:80"),
            );
        } else if !seen.insert(endpoint) {
            problems.push(
                Problem::new(path, format!("`{endpoint}` is listed twice")).help("remove one"),
            );
        }
    }
    problems
}

fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let host_fits = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host) && !host.contains(':'),
        };
        // Digits only: `+80` would parse as well.
        let port_fits = port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        host_fits && port_fits
    })
}

/// Whether `text` is an address or can be a host name.
fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (!text.is_empty()
            && text.len() <= 253
            && text.trim_end_matches('.').split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_a_host_and_a_port() {
        for text in [
            "db:1",
            "db.example.com:65535",
            "10.0.0.1:80",
            "[::1]:80",
            "a_b.c:9",
        ] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in [
            "",
            "db",
            ":80",
            "db:",
            "db:0",
            "db:65536",
            "db:+80",
            "http://db:80",
            "db:80/x",
            "::1:80",
            "[::1]",
            "[db]:80",
            "a b:80",
            "-a:1",
            "a..b:1",
        ] {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}
