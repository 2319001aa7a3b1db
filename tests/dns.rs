//! The balancer's DNS surface in the real program, asked by dnspython, a resolver that others wrote:
//! [`a_stock_resolver_finds_services_and_is_told_what_there_is_not`]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

mod support;

use std::{fs, process::Command};

use support::{balancer::Balancer, ports::free_port};

/// Services without checks, which are healthy at once, and one that nobody serves.
const SERVICES: &str = "
apiVersion: quaestor/v1
kind: Service
metadata: {name: worker}
spec:
  external: ['127.0.0.1:7001', '127.0.0.2:7002', '[::1]:7003', 'localhost:7004']
  serviceNames: [Worker, pkg.v1.Scan]
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: down}
spec: {external: ['127.0.0.1:1'], health: {tcp: {}}}
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: ordered}
spec:
  external: ['h1.test:1', 'h2.test:1', 'h3.test:1']
  balance: {policy: ordered}
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: many}
spec:
  external: [MANY]
";

const ASK: &str = r#"
import sys, dns.flags, dns.message, dns.query, dns.rcode, dns.resolver

port = int(sys.argv[1])
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], port
resolver.lifetime = 10

def texts(name, kind, **how):
    answer = resolver.resolve(name, kind, **how)
    assert answer.rrset.ttl == 3, answer.rrset
    return [record.to_text() for record in answer]

# The addresses of all, those of named hosts too, each once and in any case of letters.
assert set(texts("worker.lab.test", "A")) == {"127.0.0.1", "127.0.0.2"}
assert "::1" in texts("WORKER.LAB.test", "AAAA")
assert set(texts("pkg.v1.scan.lab.test", "A")) == {"127.0.0.1", "127.0.0.2"}

# Services with ports; the targets of addresses are names that resolve.
for name in ["worker.lab.test", "_grpc._tcp.worker.lab.test"]:
    records = list(resolver.resolve(name, "SRV"))
    assert sorted(record.port for record in records) == [7001, 7002, 7003, 7004]
    assert sorted(record.priority for record in records) == [0, 1, 2, 3]
    [own] = [record.target for record in records if record.port == 7001]
    assert texts(own, "A") == ["127.0.0.1"], own
    [named] = [record.target.to_text() for record in records if record.port == 7004]
    assert named == "localhost.", named

# In the policy's order.
first = lambda: min(resolver.resolve("ordered.lab.test", "SRV"), key=lambda r: r.priority)
assert first().target.to_text() == "h1.test."

# More than a datagram holds: the stock resolver falls back to TCP by itself.
query = dns.message.make_query("many.lab.test", "SRV", use_edns=False)
assert dns.query.udp(query, "127.0.0.1", port=port).flags & dns.flags.TC
assert len(dns.query.tcp(query, "127.0.0.1", port=port).answer[0]) == 16
assert len(list(resolver.resolve("many.lab.test", "SRV"))) == 16

# What there is not.
def fails(name, kind, error):
    try:
        resolver.resolve(name, kind)
    except error as told:
        return told
    raise AssertionError(f"{name} {kind} was answered")

denied = fails("nobody.lab.test", "A", dns.resolver.NXDOMAIN)
[soa] = denied.responses().popitem()[1].authority
assert soa.ttl == 3 and soa[0].minimum == 3, soa
fails("down.lab.test", "A", dns.resolver.NoAnswer)
fails("worker.lab.test", "TXT", dns.resolver.NoAnswer)
fails("v1.scan.lab.test", "A", dns.resolver.NoAnswer)
elsewhere = dns.message.make_query("example.com", "A")
assert dns.query.udp(elsewhere, "127.0.0.1", port=port).rcode() == dns.rcode.REFUSED
print("found")
"#;

#[test]
fn a_stock_resolver_finds_services_and_is_told_what_there_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    let many = (0..20).map(|n| format!("'a-host-with-a-long-name-{n}.rack.example.com:80'"));
    let many = many.collect::<Vec<_>>().join(", ");
    fs::write(&file, SERVICES.replace("MANY", &many)).unwrap();
    let port = free_port().to_string();
    let balancer = Balancer::start(&[
        "--static",
        file.to_str().unwrap(),
        "--dns",
        &format!("127.0.0.1:{port}"),
        "--dns-domain",
        "Lab.test",
        "--dns-ttl",
        "3s",
    ]);
    let many = (0..20).map(|n| format!("a-host-with-a-long-name-{n}.rack.example.com:80"));
    let many: Vec<_> = many.collect();
    balancer.await_places("many", &many);

    let python = std::env::var("QUAESTOR_TEST_PYTHON").unwrap();
    let output = Command::new(python)
        .args(["-c", ASK, &port])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "found");
}
