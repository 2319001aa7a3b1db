use std::sync::Arc;

use futures::FutureExt as _;
use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    balancer::limits::Limits,
    model::{Instance, InstanceState, Moment},
    view::{Directory, Fact, Index},
};

/// A replier of `lab.test` and who writes what it knows.
fn world() -> (Index, reply::Replier) {
    let directory = Arc::new(Directory::default());
    let host = Host::system();
    let answers = Answers::new(Arc::clone(&directory), host.clone(), Limits::default());
    let zone = Zone::new("Lab.test", Duration::from_secs(2)).unwrap();
    (
        Index::new(directory),
        reply::Replier::new(zone, answers, host),
    )
}

fn route(service: &str, name: &str, exclusive: bool) -> Fact {
    let route = json!({
        "service": service, "names": [name], "published": true, "generation": 1,
        "balance": {"exclusive": exclusive},
    });
    let route = serde_json::from_value(route).unwrap();
    Fact::Route(service.parse().unwrap(), Some(route))
}

fn state(instance: &str, host: &str, port: u16) -> Fact {
    let state: InstanceState = serde_json::from_value(json!({
        "instance": instance, "node": "n", "phase": "Running", "ready": true,
        "endpoint": {"host": host, "port": port}, "observedGeneration": 1, "epoch": 1,
    }))
    .unwrap();
    let instance: Instance = instance.parse().unwrap();
    Fact::State("n".parse().unwrap(), instance, Some(Box::new(state)))
}

/// A world in which `Worker` is at two addresses, `Idle` nowhere, and `Scanner` is exclusive.
fn synced() -> reply::Replier {
    let (mut index, replier) = world();
    let facts = [
        route("worker", "Worker", false),
        route("idle", "Idle", false),
        route("scanner", "Scanner", true),
        route("dotted", "pkg.v1.Scan", false),
        state("worker-0", "10.0.0.1", 7001),
        state("worker-1", "2001:db8::7", 7002),
    ];
    index.apply(facts, Moment::default());
    replier
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

fn ask(replier: &reply::Replier, query: &Message) -> Message {
    let bytes = query.to_vec().unwrap();
    let reply = replier.reply(&bytes, true).now_or_never().unwrap().unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.id, query.metadata.id);
    assert_eq!(reply.queries, query.queries);
    reply
}

fn code(replier: &reply::Replier, name: &str, kind: RecordType) -> (ResponseCode, usize, usize) {
    let reply = ask(replier, &query(name, kind));
    let code = reply.metadata.response_code;
    (code, reply.answers.len(), reply.authorities.len())
}

#[test]
fn before_the_view_is_complete_there_is_no_answer_and_no_no() {
    let (_, replier) = world();
    let expected = (ResponseCode::ServFail, 0, 0);
    assert_eq!(code(&replier, "worker.lab.test.", RecordType::A), expected);
}

#[test]
fn each_name_is_answered_refused_or_denied() {
    let replier = synced();
    for (name, kind, expected) in [
        (
            "worker.lab.test.",
            RecordType::A,
            (ResponseCode::NoError, 1, 0),
        ),
        (
            "WoRkEr.LaB.TeSt.",
            RecordType::AAAA,
            (ResponseCode::NoError, 1, 0),
        ),
        (
            "worker.lab.test.",
            RecordType::SRV,
            (ResponseCode::NoError, 2, 0),
        ),
        (
            "_grpc._tcp.worker.lab.test.",
            RecordType::SRV,
            (ResponseCode::NoError, 2, 0),
        ),
        (
            "worker.lab.test.",
            RecordType::TXT,
            (ResponseCode::NoError, 0, 1),
        ),
        (
            "idle.lab.test.",
            RecordType::A,
            (ResponseCode::NoError, 0, 1),
        ),
        (
            "idle.lab.test.",
            RecordType::SRV,
            (ResponseCode::NoError, 0, 1),
        ),
        (
            "v1.scan.lab.test.",
            RecordType::A,
            (ResponseCode::NoError, 0, 1),
        ),
        (
            "_tcp.worker.lab.test.",
            RecordType::SRV,
            (ResponseCode::NoError, 0, 1),
        ),
        ("lab.test.", RecordType::A, (ResponseCode::NoError, 0, 1)),
        ("lab.test.", RecordType::SOA, (ResponseCode::NoError, 1, 0)),
        (
            "10-0-0-9.addr.lab.test.",
            RecordType::A,
            (ResponseCode::NoError, 1, 0),
        ),
        (
            "10-0-0-9.addr.lab.test.",
            RecordType::AAAA,
            (ResponseCode::NoError, 0, 1),
        ),
        (
            "nobody.lab.test.",
            RecordType::A,
            (ResponseCode::NXDomain, 0, 1),
        ),
        (
            "x.worker.lab.test.",
            RecordType::A,
            (ResponseCode::NXDomain, 0, 1),
        ),
        (
            "scanner.lab.test.",
            RecordType::SRV,
            (ResponseCode::Refused, 0, 0),
        ),
        (
            "scanner.lab.test.",
            RecordType::A,
            (ResponseCode::Refused, 0, 0),
        ),
        ("example.com.", RecordType::A, (ResponseCode::Refused, 0, 0)),
        ("lab.test.", RecordType::AXFR, (ResponseCode::Refused, 0, 0)),
    ] {
        assert_eq!(code(&replier, name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn a_services_record_points_to_a_name_that_has_the_address() {
    let replier = synced();
    let reply = ask(&replier, &query("worker.lab.test.", RecordType::SRV));
    assert!(reply.metadata.authoritative && !reply.metadata.recursion_available);
    assert_eq!(reply.additionals.len(), 2);
    for (place, record) in reply.answers.iter().enumerate() {
        assert_eq!(record.ttl, 2);
        let RData::SRV(srv) = &record.data else {
            panic!("{record}");
        };
        assert_eq!(usize::from(srv.priority), place);
        let kind = match srv.port {
            7001 => RecordType::A,
            _ => RecordType::AAAA,
        };
        let target = srv.target.to_ascii();
        assert_eq!(code(&replier, &target, kind).1, 1, "{target}");
    }
}

#[test]
fn what_is_asked_wrongly_is_told_so() {
    let replier = synced();
    let mut later = query("worker.lab.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    later.set_edns(edns);
    // The same number as BADSIG.
    let code = ask(&replier, &later).metadata.response_code;
    assert_eq!(u16::from(code), u16::from(ResponseCode::BADVERS));

    let mut update = query("worker.lab.test.", RecordType::A);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(
        ask(&replier, &update).metadata.response_code,
        ResponseCode::NotImp
    );

    let mut chaos = query("worker.lab.test.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(
        ask(&replier, &chaos).metadata.response_code,
        ResponseCode::Refused
    );

    let none = Message::query();
    assert_eq!(
        ask(&replier, &none).metadata.response_code,
        ResponseCode::FormErr
    );

    let reply = |bytes: &[u8]| replier.reply(bytes, true).now_or_never().unwrap();
    let mut answer = query("worker.lab.test.", RecordType::A).to_vec().unwrap();
    answer[2] |= 0x80;
    assert_eq!(reply(&answer), None, "an answer is not answered");
    assert_eq!(reply(b"short"), None);
    let mut cut = query("worker.lab.test.", RecordType::A).to_vec().unwrap();
    cut.truncate(20);
    let refused = Message::from_vec(&reply(&cut).unwrap()).unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn what_does_not_fit_into_a_datagram_says_so_and_comes_over_a_connection() {
    let (mut index, replier) = world();
    let host = |slot: u16| format!("a-host-with-a-long-name-{slot}.some-rack.example.com");
    let states = (0..20).map(|slot| state(&format!("worker-{slot}"), &host(slot), slot + 1));
    let facts = [route("worker", "Worker", false)].into_iter().chain(states);
    index.apply(facts, Moment::default());

    let mut question = query("worker.lab.test.", RecordType::SRV);
    let short = ask(&replier, &question);
    assert!(short.metadata.truncation && short.answers.is_empty());
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    question.set_edns(edns);
    let whole = |in_datagram| {
        let bytes = question.to_vec().unwrap();
        let reply = replier.reply(&bytes, in_datagram).now_or_never();
        let reply = reply.unwrap().unwrap();
        assert!(!in_datagram || reply.len() <= usize::from(reply::PAYLOAD));
        Message::from_vec(&reply).unwrap()
    };
    let over_a_connection = whole(false);
    assert_eq!(over_a_connection.answers.len(), 16);
    assert!(!over_a_connection.metadata.truncation);
    assert!(over_a_connection.edns.is_some());
    assert_eq!(whole(true).edns.unwrap().max_payload(), reply::PAYLOAD);
}

#[test]
fn only_a_name_below_the_root_is_a_domain() {
    for wrong in ["", ".", "a..b", "x y\u{e9}", &"a".repeat(64)] {
        assert!(Zone::new(wrong, Duration::ZERO).is_err(), "{wrong}");
    }
    assert!(Zone::new("default", Duration::ZERO).is_ok());
    assert!(Zone::new("a.example.com.", Duration::ZERO).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_answer_too_much(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        splice in any::<bool>(),
    ) {
        let replier = synced();
        let mut question = query("worker.lab.test.", RecordType::SRV).to_vec().unwrap();
        if splice {
            for (at, byte) in question.iter_mut().zip(&bytes).skip(2).step_by(3) {
                *at ^= byte;
            }
        } else {
            question = bytes;
        }
        if let Some(reply) = replier.reply(&question, true).now_or_never().flatten() {
            prop_assert!(reply.len() <= usize::from(reply::PAYLOAD));
            prop_assert!(Message::from_vec(&reply).is_ok());
        }
    }
}
