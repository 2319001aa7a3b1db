//! What differs between two stores that do the same: where their revisions begin, and which ids they
//! give to leases. A frame translates both, in requests and in answers.

use std::collections::BTreeMap;

use etcd_client::proto::*;

/// The revision, in every frame, at which a sequence begins. Above 0, because 0 means none.
pub(crate) const START: i64 = 1_000;

/// How one store counts.
#[derive(Default)]
pub(crate) struct Frame {
    /// The store's revision at the start of the sequence.
    base: i64,
    /// The store's lease ids by the test's.
    leases: BTreeMap<i64, i64>,
    /// The reverse.
    names: BTreeMap<i64, i64>,
}

impl Frame {
    /// A frame that begins at the store's revision `base`, without leases.
    pub(crate) fn new(base: i64) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The test calls the store's lease `id` by `name`.
    pub(crate) fn name_lease(&mut self, name: i64, id: i64) {
        self.leases.insert(name, id);
        self.names.insert(id, name);
    }

    /// From the test's terms to the store's.
    pub(crate) fn to_store<T: Framed>(&self, message: &mut T) {
        message.visit(&mut |field| match field {
            Field::Revision(revision) if *revision != 0 => *revision += self.base - START,
            Field::Lease(id) => *id = self.leases.get(id).copied().unwrap_or(*id),
            _ => {}
        });
    }

    /// From the store's terms to the test's.
    pub(crate) fn to_test<T: Framed>(&self, message: &mut T) {
        message.visit(&mut |field| match field {
            Field::Revision(revision) if *revision > 0 => *revision -= self.base - START,
            Field::Lease(id) => *id = self.names.get(id).copied().unwrap_or(*id),
            // Any identity will do, as long as there is one.
            Field::Identity(id) => *id = u64::from(*id != 0),
            Field::Revision(_) => {}
        });
    }
}

/// A part of a message that a frame translates.
pub(crate) enum Field<'a> {
    Revision(&'a mut i64),
    Lease(&'a mut i64),
    Identity(&'a mut u64),
}

/// A message with such parts.
pub(crate) trait Framed {
    fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>));
}

impl<T: Framed> Framed for Option<T> {
    fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>)) {
        self.iter_mut().for_each(|message| message.visit(frame));
    }
}

impl<T: Framed> Framed for Vec<T> {
    fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>)) {
        self.iter_mut().for_each(|message| message.visit(frame));
    }
}

/// Says for each message which fields are revisions, leases, identities, and messages again.
macro_rules! framed {
    ($($message:ident { $($kind:ident: $($field:ident),+;)* })+) => {$(
        impl Framed for $message {
            #[allow(unused_variables, reason = "some messages have nothing to translate")]
            fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>)) {
                $($(framed!(@ $kind self.$field, frame);)+)*
            }
        }
    )+};
    (@ inner $field:expr, $frame:ident) => { $field.visit($frame) };
    (@ $kind:ident $field:expr, $frame:ident) => { $frame(Field::$kind(&mut $field)) };
}

framed! {
    PbResponseHeader { Revision: revision; Identity: cluster_id, member_id; }
    PbKeyValue { Revision: create_revision, mod_revision; Lease: lease; }
    PbRangeRequest {
        Revision: revision, min_mod_revision, max_mod_revision, min_create_revision, max_create_revision;
    }
    PbRangeResponse { inner: header, kvs; }
    PbPutRequest { Lease: lease; }
    PbPutResponse { inner: header, prev_kv; }
    PbDeleteRequest {}
    PbDeleteResponse { inner: header, prev_kvs; }
    PbCompare { inner: target_union; }
    PbTxnRequestOp { inner: request; }
    PbTxnRequest { inner: compare, success, failure; }
    PbResponseOp { inner: response; }
    PbTxnResponse { inner: header, responses; }
    PbCompactionRequest { Revision: revision; }
    PbCompactionResponse { inner: header; }
    PbLeaseGrantRequest {}
    PbLeaseGrantResponse { inner: header; Lease: id; }
    PbLeaseRevokeRequest { Lease: id; }
    PbLeaseRevokeResponse { inner: header; }
    PbLeaseKeepAliveRequest { Lease: id; }
    PbLeaseKeepAliveResponse { inner: header; Lease: id; }
    PbLeaseTimeToLiveRequest { Lease: id; }
    PbLeaseTimeToLiveResponse { inner: header; Lease: id; }
    PbLeaseLeasesRequest {}
    PbLeaseStatus { Lease: id; }
    PbLeaseLeasesResponse { inner: header, leases; }
    PbEvent { inner: kv, prev_kv; }
    PbWatchResponse { inner: header, events; Revision: compact_revision; }
    PbWatchRequest { inner: request_union; }
}

impl Framed for PbTargetUnion {
    fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>)) {
        match self {
            Self::CreateRevision(revision) | Self::ModRevision(revision) => {
                frame(Field::Revision(revision));
            }
            Self::Lease(id) => frame(Field::Lease(id)),
            Self::Version(_) | Self::Value(_) => {}
        }
    }
}

impl Framed for PbTxnOpRequest {
    fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>)) {
        match self {
            Self::RequestRange(request) => request.visit(frame),
            Self::RequestPut(request) => request.visit(frame),
            Self::RequestDeleteRange(request) => request.visit(frame),
            Self::RequestTxn(request) => request.visit(frame),
        }
    }
}

impl Framed for PbTxnOpResponse {
    fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>)) {
        match self {
            Self::ResponseRange(response) => response.visit(frame),
            Self::ResponsePut(response) => response.visit(frame),
            Self::ResponseDeleteRange(response) => response.visit(frame),
            Self::ResponseTxn(response) => response.visit(frame),
        }
    }
}

impl Framed for PbWatchRequestUnion {
    fn visit(&mut self, frame: &mut dyn FnMut(Field<'_>)) {
        if let Self::CreateRequest(create) = self {
            frame(Field::Revision(&mut create.start_revision));
        }
    }
}
