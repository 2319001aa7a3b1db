//! Transactions: refuse what cannot be done, choose the branches, then do them in one revision.

use std::{cmp::Ordering, collections::BTreeSet};

use etcd_client::{
    CompareOp,
    proto::{
        PbCompare, PbCompareTarget, PbDeleteRequest, PbPutRequest, PbRangeRequest,
        PbResponseHeader, PbResponseOp, PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse,
        PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
    },
};

use super::{
    interval::Interval,
    kv,
    lease::Leases,
    mvcc::{Map, Version, Write},
    refusal::Refusal,
};

/// How many compares, or operations of one branch, a transaction may have with those inside it:
/// etcd's default.
const MAX_OPERATIONS: usize = 128;

/// What is wrong with a transaction whatever the map holds.
pub(super) fn check(request: &PbTxnRequest) -> Result<(), Refusal> {
    check_operations(request, MAX_OPERATIONS)?;
    check_overlaps(&request.success)?;
    check_overlaps(&request.failure)?;
    Ok(())
}

fn check_operations(request: &PbTxnRequest, allowed: usize) -> Result<(), Refusal> {
    let most = request.compare.len();
    let most = most.max(request.success.len()).max(request.failure.len());
    let Some(left) = allowed.checked_sub(most) else {
        return Err(Refusal::TooManyOperations);
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    for operation in request.success.iter().chain(&request.failure) {
        match &operation.request {
            Some(PbTxnOpRequest::RequestRange(range)) => kv::check_range(range)?,
            Some(PbTxnOpRequest::RequestPut(put)) => kv::check_put(put)?,
            Some(PbTxnOpRequest::RequestDeleteRange(delete)) => kv::check_delete(delete)?,
            Some(PbTxnOpRequest::RequestTxn(inner)) => check_operations(inner, left)?,
            None => return Err(Refusal::KeyNotFound),
        }
    }
    Ok(())
}

/// The keys that a list of operations puts, and the ranges it deletes.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<&'a PbDeleteRequest>,
}

impl<'a> Writes<'a> {
    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        if self.deletes(key) || !self.puts.insert(key) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }

    fn deletes(&self, key: &[u8]) -> bool {
        let contains = |delete: &&PbDeleteRequest| {
            // etcd overlooks deletions of all keys from one on, and so lets them pass here.
            delete.range_end != [0] && Interval::new(&delete.key, &delete.range_end).contains(key)
        };
        self.deletes.iter().any(contains)
    }
}

/// Refuses a list of operations that puts a key twice, or puts and deletes it. The two branches of
/// a transaction inside may put the same key, because only one of them happens.
fn check_overlaps(operations: &[PbTxnRequestOp]) -> Result<Writes<'_>, Refusal> {
    let requests = || operations.iter().filter_map(|op| op.request.as_ref());
    let mut writes = Writes::default();
    for request in requests() {
        if let PbTxnOpRequest::RequestDeleteRange(delete) = request {
            writes.deletes.push(delete);
        }
    }
    for request in requests() {
        if let PbTxnOpRequest::RequestTxn(inner) = request {
            let success = check_overlaps(&inner.success)?;
            let failure = check_overlaps(&inner.failure)?;
            for key in success.puts.union(&failure.puts) {
                writes.put(key)?;
            }
            writes.deletes.extend(success.deletes);
            writes.deletes.extend(failure.deletes);
        }
    }
    for request in requests() {
        if let PbTxnOpRequest::RequestPut(put) = request {
            writes.put(&put.key)?;
        }
    }
    Ok(writes)
}

/// A transaction whose compares have been decided.
struct Chosen<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Range(&'a PbRangeRequest),
    Put(&'a PbPutRequest),
    Delete(&'a PbDeleteRequest),
    Txn(Chosen<'a>),
}

/// Decides every compare, also those of transactions inside, on the map as it is before the first
/// write.
fn choose<'a>(map: &Map, request: &'a PbTxnRequest) -> Chosen<'a> {
    let succeeded = request.compare.iter().all(|compare| holds(map, compare));
    let branch = if succeeded {
        &request.success
    } else {
        &request.failure
    };
    let step = |request: &'a PbTxnOpRequest| match request {
        PbTxnOpRequest::RequestRange(range) => Step::Range(range),
        PbTxnOpRequest::RequestPut(put) => Step::Put(put),
        PbTxnOpRequest::RequestDeleteRange(delete) => Step::Delete(delete),
        PbTxnOpRequest::RequestTxn(inner) => Step::Txn(choose(map, inner)),
    };
    let requests = branch.iter().filter_map(|op| op.request.as_ref());
    Chosen {
        succeeded,
        steps: requests.map(step).collect(),
    }
}

/// Whether a compare holds for every key of its range.
fn holds(map: &Map, compare: &PbCompare) -> bool {
    let interval = Interval::new(&compare.key, &compare.range_end);
    let mut versions = map.range(&interval, map.revision()).peekable();
    if versions.peek().is_none() {
        // A missing key has revisions, version and lease 0, but no value, not even an empty one.
        return compare.target != PbCompareTarget::Value as i32 && holds_for(compare, None);
    }
    versions.all(|version| holds_for(compare, Some(version)))
}

fn holds_for(compare: &PbCompare, version: Option<&Version>) -> bool {
    let union = compare.target_union.as_ref();
    let number = |actual: fn(&Version) -> i64, wanted: i64| version.map_or(0, actual).cmp(&wanted);
    let order = match PbCompareTarget::try_from(compare.target) {
        Ok(PbCompareTarget::Version) => number(
            |version| version.version,
            match union {
                Some(PbTargetUnion::Version(version)) => *version,
                _ => 0,
            },
        ),
        Ok(PbCompareTarget::Create) => number(
            |version| version.create_revision,
            match union {
                Some(PbTargetUnion::CreateRevision(revision)) => *revision,
                _ => 0,
            },
        ),
        Ok(PbCompareTarget::Mod) => number(
            |version| version.mod_revision,
            match union {
                Some(PbTargetUnion::ModRevision(revision)) => *revision,
                _ => 0,
            },
        ),
        Ok(PbCompareTarget::Lease) => number(
            |version| version.lease,
            match union {
                Some(PbTargetUnion::Lease(lease)) => *lease,
                _ => 0,
            },
        ),
        Ok(PbCompareTarget::Value) => {
            let actual = version.and_then(|version| version.value.as_deref());
            let wanted = match union {
                Some(PbTargetUnion::Value(value)) => value.as_slice(),
                _ => &[],
            };
            actual.unwrap_or_default().cmp(wanted)
        }
        Err(_) => Ordering::Equal,
    };
    match CompareOp::try_from(compare.result) {
        Ok(CompareOp::Equal) => order.is_eq(),
        Ok(CompareOp::NotEqual) => order.is_ne(),
        Ok(CompareOp::Greater) => order.is_gt(),
        Ok(CompareOp::Less) => order.is_lt(),
        Err(_) => true,
    }
}

/// Runs a transaction that [`check`] let pass. Its changes are in `write`, or, on an error, are to be
/// dropped with it.
pub(super) fn run(
    write: &mut Write<'_>,
    leases: &Leases,
    request: &PbTxnRequest,
) -> Result<PbTxnResponse, Refusal> {
    let chosen = choose(write.map(), request);
    chosen.check_puts(write.map(), leases)?;
    chosen.check_ranges(write.map())?;
    let mut response = chosen.apply(write, leases)?;
    response.header = kv::at(write.head());
    Ok(response)
}

impl Chosen<'_> {
    /// Refuses puts that rely on a key or lease that is not there. Before the ranges, as in etcd.
    fn check_puts(&self, map: &Map, leases: &Leases) -> Result<(), Refusal> {
        for step in &self.steps {
            match step {
                Step::Put(put) => {
                    let keeps = put.ignore_value || put.ignore_lease;
                    if keeps && map.get(&put.key, map.revision()).is_none() {
                        return Err(Refusal::KeyNotFound);
                    }
                    if put.lease != 0 && leases.get(put.lease).is_none() {
                        return Err(Refusal::LeaseNotFound);
                    }
                }
                Step::Txn(inner) => inner.check_puts(map, leases)?,
                Step::Range(_) | Step::Delete(_) => {}
            }
        }
        Ok(())
    }

    /// Refuses ranges at revisions that cannot be read.
    fn check_ranges(&self, map: &Map) -> Result<(), Refusal> {
        for step in &self.steps {
            match step {
                Step::Range(range) if range.revision != 0 => {
                    kv::check_revision(range.revision, map, map.revision())?;
                }
                Step::Txn(inner) => inner.check_ranges(map)?,
                Step::Range(_) | Step::Put(_) | Step::Delete(_) => {}
            }
        }
        Ok(())
    }

    fn apply(&self, write: &mut Write<'_>, leases: &Leases) -> Result<PbTxnResponse, Refusal> {
        let mut responses = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let response = match step {
                Step::Range(range) => {
                    let response = kv::range(write.map(), write.head(), range)?;
                    PbTxnOpResponse::ResponseRange(response)
                }
                Step::Put(put) => PbTxnOpResponse::ResponsePut(kv::put(write, leases, put)?),
                Step::Delete(delete) => {
                    PbTxnOpResponse::ResponseDeleteRange(kv::delete(write, delete))
                }
                Step::Txn(inner) => PbTxnOpResponse::ResponseTxn(inner.apply(write, leases)?),
            };
            responses.push(PbResponseOp {
                response: Some(response),
            });
        }
        Ok(PbTxnResponse {
            // As in etcd, a transaction inside another says no revision.
            header: Some(PbResponseHeader::default()),
            succeeded: self.succeeded,
            responses,
        })
    }
}
