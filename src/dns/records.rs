//! Endpoints as records.

use std::net::IpAddr;

use futures::future::join_all;
use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, SOA, SRV},
};

use super::{Zone, hosts::Hosts, name};
use crate::{balancer::answers::Seen, model::Timestamp};

/// A record of an address.
pub(super) fn address(owner: Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(owner, ttl, data)
}

/// Whether records of the kind `kind` hold addresses like this one.
pub(super) fn fits(kind: RecordType, address: IpAddr) -> bool {
    match kind {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        _ => kind == RecordType::ANY,
    }
}

/// The addresses of `endpoints` of that kind, in their order, each once.
pub(super) async fn addresses(
    owner: &Name,
    ttl: u32,
    kind: RecordType,
    endpoints: &[Seen],
    hosts: &Hosts,
) -> Vec<Record> {
    let mut names: Vec<&str> = Vec::new();
    for seen in endpoints {
        let name = seen.endpoint.host();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let found = join_all(names.into_iter().map(|name| hosts.addresses(name))).await;
    let mut told: Vec<IpAddr> = Vec::new();
    for found in found
        .into_iter()
        .flatten()
        .filter(|found| fits(kind, *found))
    {
        if !told.contains(&found) {
            told.push(found);
        }
    }
    let record = |found| address(owner.clone(), ttl, found);
    told.into_iter().map(record).collect()
}

/// Where `endpoints` are, in their order: the first is to be asked first. The other part are the addresses of
/// those whose host is one.
pub(super) fn services(
    owner: &Name,
    zone: &Zone,
    endpoints: &[Seen],
) -> (Vec<Record>, Vec<Record>) {
    let (mut services, mut beside): (Vec<Record>, Vec<Record>) = (Vec::new(), Vec::new());
    for (seen, priority) in endpoints.iter().zip(0..) {
        let host = seen.endpoint.host();
        let literal: Option<IpAddr> = host.parse().ok();
        let target = match literal {
            Some(literal) => name::of_address(literal, &zone.domain),
            None => Name::from_ascii(host).map(|mut host| {
                host.set_fqdn(true);
                host
            }),
        };
        // A host whose name cannot stand in DNS is not found by it.
        let Ok(target) = target else { continue };
        if let Some(literal) = literal {
            let record = address(target.clone(), zone.ttl, literal);
            if !beside.contains(&record) {
                beside.push(record);
            }
        }
        let data = RData::SRV(SRV::new(priority, 1, seen.endpoint.port(), target));
        services.push(Record::from_rdata(owner.clone(), zone.ttl, data));
    }
    (services, beside)
}

/// What is said of the domain itself: above all, for how long a "no" holds.
pub(super) fn authority(zone: &Zone, now: Timestamp) -> Record {
    let seconds = now.as_millis() / 1000;
    let data = SOA::new(
        zone.domain.clone(),
        zone.domain.clone(),
        // Serials wrap.
        seconds as u32,
        3600,
        600,
        86_400,
        zone.ttl,
    );
    Record::from_rdata(zone.domain.clone(), zone.ttl, RData::SOA(data))
}
