//! Operations that chance hardly finds, for two empty stores.

use etcd_client::proto::*;

use crate::{frame::START, operation::Operation};

/// In this order.
pub(crate) fn operations() -> Vec<Operation> {
    let grant = |id, ttl| Operation::Grant(PbLeaseGrantRequest { ttl, id });
    let compact = |revision| {
        Operation::Compact(PbCompactionRequest {
            revision,
            physical: true,
        })
    };
    let range_at = |revision| PbRangeRequest {
        revision,
        ..range("a", "b")
    };
    vec![
        // A stream over the whole store, with everything that happens below.
        watch("", "\0", 0),
        // At most 1.5 MiB are written.
        put("large", &"x".repeat(1_400_000)),
        put("larger", &"x".repeat(1_600_000)),
        txn([Write::Put("larger"), Write::Nothing]),
        // A key written and deleted in one revision, in either order: only an open-ended deletion may.
        put("a", "1"),
        txn([Write::Put("a"), Write::Delete("a", "\0")]),
        put("a", "2"),
        txn([Write::Delete("a", "\0"), Write::Put("a")]),
        txn([Write::Delete("a", ""), Write::Put("a")]),
        txn([Write::Delete("a", "b"), Write::Put("a")]),
        txn([Write::Delete("b", "a"), Write::Put("a")]),
        txn([Write::Put("a"), Write::Put("a")]),
        // Transactions inside are told apart only where they stand.
        txn([
            Write::Inside(vec![Write::Put("a")]),
            Write::Inside(vec![Write::Delete("a", "")]),
        ]),
        txn([
            Write::Inside(vec![Write::Delete("a", "")]),
            Write::Inside(vec![Write::Put("a")]),
        ]),
        txn([
            Write::Inside(vec![Write::Put("a")]),
            Write::Delete("a", "b"),
        ]),
        txn([Write::Inside(vec![Write::Put("a")]), Write::Put("a")]),
        watch("a", "", START + 1),
        watch("a", "", START + 4),
        // Revisions that do not exist.
        Operation::Range(range_at(-7)),
        txn([Write::Range(range_at(-7))]),
        Operation::Range(range_at(START + 1_000)),
        txn([Write::Range(range_at(START + 1_000))]),
        compact(0),
        compact(0),
        compact(START + 1_000),
        compact(START + 5),
        compact(START + 5),
        watch("a", "", START + 4),
        txn([Write::Range(range_at(START + 4))]),
        txn([Write::Range(range_at(-7))]),
        // Values that the protocol does not name.
        Operation::Txn(PbTxnRequest {
            compare: vec![compare(9, 0), compare(0, 9)],
            ..PbTxnRequest::default()
        }),
        Operation::Txn(PbTxnRequest::default()),
        // Everything at once.
        Operation::Delete(PbDeleteRequest {
            key: b"\0".to_vec(),
            range_end: b"\0".to_vec(),
            prev_kv: true,
        }),
        Operation::Range(range("\0", "\0")),
        // Leases.
        grant(7, 60),
        grant(7, 60),
        grant(-7, 60),
        grant(8, 9_000_000_000),
        grant(9, 9_000_000_001),
        Operation::Leases,
        Operation::Put(PbPutRequest {
            lease: 1,
            ..put_request("leased", "x")
        }),
        Operation::Put(PbPutRequest {
            ignore_lease: true,
            ..put_request("leased", "y")
        }),
        Operation::TimeToLive(PbLeaseTimeToLiveRequest { id: 1, keys: true }),
        put("leased", "z"),
        Operation::TimeToLive(PbLeaseTimeToLiveRequest { id: 1, keys: true }),
    ]
}

/// One operation of a transaction.
enum Write {
    Put(&'static str),
    Delete(&'static str, &'static str),
    Range(PbRangeRequest),
    Inside(Vec<Write>),
    Nothing,
}

fn txn(writes: impl IntoIterator<Item = Write>) -> Operation {
    Operation::Txn(txn_request(writes))
}

fn txn_request(writes: impl IntoIterator<Item = Write>) -> PbTxnRequest {
    let request = |write| match write {
        Write::Put(key) => Some(PbTxnOpRequest::RequestPut(put_request(key, "txn"))),
        Write::Delete(key, range_end) => {
            Some(PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest {
                key: key.into(),
                range_end: range_end.into(),
                prev_kv: true,
            }))
        }
        Write::Range(request) => Some(PbTxnOpRequest::RequestRange(request)),
        Write::Inside(writes) => Some(PbTxnOpRequest::RequestTxn(txn_request(writes))),
        Write::Nothing => None,
    };
    let operation = |write| PbTxnRequestOp {
        request: request(write),
    };
    PbTxnRequest {
        success: writes.into_iter().map(operation).collect(),
        ..PbTxnRequest::default()
    }
}

fn put(key: &str, value: &str) -> Operation {
    Operation::Put(put_request(key, value))
}

fn put_request(key: &str, value: &str) -> PbPutRequest {
    PbPutRequest {
        key: key.into(),
        value: value.into(),
        prev_kv: true,
        ..PbPutRequest::default()
    }
}

fn range(key: &str, range_end: &str) -> PbRangeRequest {
    PbRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..PbRangeRequest::default()
    }
}

fn compare(target: i32, result: i32) -> PbCompare {
    PbCompare {
        target,
        result,
        key: b"a".to_vec(),
        ..PbCompare::default()
    }
}

fn watch(key: &str, range_end: &str, start_revision: i64) -> Operation {
    let mut request = PbWatchRequestUnion::CreateRequest(Default::default());
    if let PbWatchRequestUnion::CreateRequest(create) = &mut request {
        create.key = key.into();
        create.range_end = range_end.into();
        create.start_revision = start_revision;
        create.prev_kv = true;
    }
    Operation::Watch(PbWatchRequest {
        request_union: Some(request),
    })
}
