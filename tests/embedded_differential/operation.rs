//! Random operations on a few keys, in the test's terms (see `frame`).

use etcd_client::proto::*;

use crate::{dice::Dice, frame::START};

/// What is asked of a store.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Range(PbRangeRequest),
    Put(PbPutRequest),
    Delete(PbDeleteRequest),
    Txn(PbTxnRequest),
    Compact(PbCompactionRequest),
    Grant(PbLeaseGrantRequest),
    Revoke(PbLeaseRevokeRequest),
    KeepAlive(PbLeaseKeepAliveRequest),
    TimeToLive(PbLeaseTimeToLiveRequest),
    Leases,
    Watch(PbWatchRequest),
}

/// Makes the operations of one sequence. It is told what came of them, so that most make sense.
pub(crate) struct Generator {
    pub(crate) dice: Dice,
    /// Comes first in every key. Greater than those of the sequences before.
    prefix: String,
    /// The newest revision.
    head: i64,
    /// The oldest readable revision, if the sequence has compacted.
    compacted: i64,
    /// Leases that were granted, some of them revoked since.
    pub(crate) leases: Vec<i64>,
    /// Number of watchers asked for.
    watches: i64,
}

impl Generator {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self {
            dice: Dice::new(seed ^ (number << 32)),
            prefix: format!("{number:06}/"),
            head: START,
            compacted: 0,
            leases: Vec::new(),
            watches: 0,
        }
    }

    /// A name for the next lease.
    pub(crate) fn free_lease(&self) -> i64 {
        self.leases.len() as i64 + 1
    }

    /// Takes note of an operation that was done.
    pub(crate) fn learn(&mut self, operation: &Operation, lease: i64, revision: i64) {
        self.head = self.head.max(revision);
        match operation {
            Operation::Grant(_) => self.leases.push(lease),
            Operation::Compact(request) => self.compacted = request.revision,
            _ => {}
        }
    }

    pub(crate) fn next(&mut self) -> Operation {
        match self.dice.below(100) {
            0..34 => Operation::Put(self.put(true)),
            34..44 => Operation::Delete(self.delete()),
            44..60 => Operation::Range(self.range()),
            60..78 => Operation::Txn(self.txn(0)),
            78..80 => Operation::Compact(PbCompactionRequest {
                revision: self.dice.between(START - 1, self.head + 1),
                physical: self.dice.chance(50),
            }),
            80..84 => Operation::Grant(PbLeaseGrantRequest {
                ttl: self.dice.pick(&[-1, 0, 1, 100, 200, 300, 10_000_000_000]),
                // 0 lets the store choose; a number in use is refused.
                id: self.dice.pick(&[0, 0, 0, 4_711]),
            }),
            84..86 => Operation::Revoke(PbLeaseRevokeRequest { id: self.lease() }),
            86..88 => Operation::KeepAlive(PbLeaseKeepAliveRequest { id: self.lease() }),
            88..90 => Operation::TimeToLive(PbLeaseTimeToLiveRequest {
                id: self.lease(),
                keys: self.dice.chance(70),
            }),
            90..91 => Operation::Leases,
            _ => Operation::Watch(self.watch()),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        if self.dice.chance(1) {
            return Vec::new();
        }
        let name = self.dice.pick(&["a", "b", "ba", "c", "d"]);
        format!("{}{name}", self.prefix).into_bytes()
    }

    /// No end, a greater or smaller key, all from the key on, the whole sequence.
    fn range_end(&mut self) -> Vec<u8> {
        match self.dice.below(10) {
            0..4 => Vec::new(),
            4..6 => self.key(),
            6..7 => vec![0],
            _ => format!("{}~", self.prefix).into_bytes(),
        }
    }

    fn revision(&mut self) -> i64 {
        let oldest = self.compacted.max(START) - 1;
        self.dice.between(oldest, self.head + 1)
    }

    /// A lease of this sequence, or one that nobody granted.
    fn lease(&mut self) -> i64 {
        if self.leases.is_empty() || self.dice.chance(10) {
            return 99;
        }
        self.dice.pick(&self.leases.clone())
    }

    fn bound(&mut self) -> i64 {
        if self.dice.chance(85) {
            0
        } else {
            self.revision()
        }
    }

    fn range(&mut self) -> PbRangeRequest {
        PbRangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            limit: self.dice.pick(&[0, 0, 0, 1, 2, 3, -1]),
            revision: if self.dice.chance(60) {
                0
            } else {
                self.revision()
            },
            sort_order: self.dice.pick(&[0, 0, 1, 2]),
            sort_target: self.dice.pick(&[0, 0, 1, 2, 3, 4]),
            serializable: self.dice.chance(30),
            keys_only: self.dice.chance(15),
            count_only: self.dice.chance(10),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    fn put(&mut self, may_ignore: bool) -> PbPutRequest {
        let ignore_value = may_ignore && self.dice.chance(10);
        let ignore_lease = may_ignore && self.dice.chance(10);
        let value = self.dice.pick(&["", "x", "y", "a longer value"]);
        PbPutRequest {
            key: self.key(),
            // With `ignore_value` mostly none, sometimes wrongly one.
            value: if ignore_value && self.dice.chance(90) {
                Vec::new()
            } else {
                value.into()
            },
            lease: if self.dice.chance(if ignore_lease { 95 } else { 70 }) {
                0
            } else {
                self.lease()
            },
            prev_kv: self.dice.chance(50),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> PbDeleteRequest {
        PbDeleteRequest {
            key: self.key(),
            range_end: self.range_end(),
            prev_kv: self.dice.chance(50),
        }
    }

    fn txn(&mut self, depth: usize) -> PbTxnRequest {
        if depth == 0 && self.dice.chance(1) {
            return self.long_txn();
        }
        // A put that keeps what a deletion in the same transaction took away brings etcd 3.4 down; it
        // refuses the pair unless the deletion is open-ended.
        let may_ignore = depth == 0 && self.dice.chance(40);
        let compares = self.dice.pick(&[0, 1, 1, 2, 3]);
        PbTxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: self.branch(depth, may_ignore),
            failure: self.branch(depth, may_ignore),
        }
    }

    /// Around the limit of operations; deletes what is not there.
    fn long_txn(&mut self) -> PbTxnRequest {
        let length = self.dice.between(127, 129);
        let delete = |number| PbDeleteRequest {
            key: format!("{}{number:03}", self.prefix).into_bytes(),
            ..PbDeleteRequest::default()
        };
        let operation = |number| PbTxnRequestOp {
            request: Some(PbTxnOpRequest::RequestDeleteRange(delete(number))),
        };
        PbTxnRequest {
            success: (0..length).map(operation).collect(),
            ..PbTxnRequest::default()
        }
    }

    fn branch(&mut self, depth: usize, may_ignore: bool) -> Vec<PbTxnRequestOp> {
        let length = self.dice.pick(&[0, 1, 1, 2, 2, 3]);
        (0..length)
            .map(|_| PbTxnRequestOp {
                request: match self.dice.below(100) {
                    0..40 => Some(PbTxnOpRequest::RequestPut(self.put(may_ignore))),
                    40..55 => {
                        let mut delete = self.delete();
                        if may_ignore && delete.range_end == [0] {
                            delete.range_end.clear();
                        }
                        Some(PbTxnOpRequest::RequestDeleteRange(delete))
                    }
                    55..80 => Some(PbTxnOpRequest::RequestRange(self.range())),
                    80..99 if depth < 2 && !may_ignore => {
                        Some(PbTxnOpRequest::RequestTxn(self.txn(depth + 1)))
                    }
                    80..99 => Some(PbTxnOpRequest::RequestRange(self.range())),
                    _ => None,
                },
            })
            .collect()
    }

    fn compare(&mut self) -> PbCompare {
        let target_union = match self.dice.below(6) {
            0 => Some(PbTargetUnion::Version(self.dice.between(0, 2))),
            1 => Some(PbTargetUnion::CreateRevision(self.bound())),
            2 => Some(PbTargetUnion::ModRevision(self.bound())),
            3 => Some(PbTargetUnion::Value(self.dice.pick(&["", "x", "y"]).into())),
            4 => Some(PbTargetUnion::Lease(self.dice.pick(&[0, 99, 4_711]))),
            _ => None,
        };
        let target = match &target_union {
            _ if self.dice.chance(5) => self.dice.between(0, 4) as i32,
            Some(PbTargetUnion::Version(_)) => 0,
            Some(PbTargetUnion::CreateRevision(_)) => 1,
            Some(PbTargetUnion::ModRevision(_)) => 2,
            Some(PbTargetUnion::Value(_)) => 3,
            Some(PbTargetUnion::Lease(_)) => 4,
            None => self.dice.between(0, 4) as i32,
        };
        PbCompare {
            result: self.dice.between(0, 3) as i32,
            target,
            key: self.key(),
            range_end: if self.dice.chance(70) {
                Vec::new()
            } else {
                self.range_end()
            },
            target_union,
        }
    }

    fn watch(&mut self) -> PbWatchRequest {
        let mut request = PbWatchRequestUnion::CreateRequest(Default::default());
        match &mut request {
            PbWatchRequestUnion::CreateRequest(_) if self.watches > 0 && self.dice.chance(15) => {
                request = PbWatchRequestUnion::CancelRequest(Default::default());
                if let PbWatchRequestUnion::CancelRequest(cancel) = &mut request {
                    // Sometimes one that does not exist.
                    cancel.watch_id = self.dice.between(0, self.watches);
                }
            }
            PbWatchRequestUnion::CreateRequest(create) => {
                self.watches += 1;
                create.key = self.key();
                if create.key.is_empty() {
                    create.key = self.prefix.clone().into_bytes();
                }
                create.range_end = self.range_end();
                create.prev_kv = self.dice.chance(50);
                create.filters = self.dice.pick(&[vec![], vec![], vec![], vec![0], vec![1]]);
                create.watch_id = self.dice.pick(&[0, 0, 0, 0, 1, 3]);
                create.start_revision = match self.dice.below(3) {
                    0 => 0,
                    1 => self.dice.between(START + 1, self.head + 3),
                    _ => self.revision().max(START),
                };
                // Whether a deletion at the compacted revision itself can still be seen depends, in
                // etcd 3.4, on how far it has come with compacting.
                if create.start_revision == self.compacted && self.compacted != 0 {
                    create.start_revision += 1;
                }
            }
            _ => {}
        }
        PbWatchRequest {
            request_union: Some(request),
        }
    }
}
