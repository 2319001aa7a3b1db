//! Why a request is refused, in etcd's words: clients recognise errors by code and message.

use tonic::{Code, Status};

/// Why a request is refused. Codes and messages are those of etcd 3.4 (`rpctypes/error.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A request without a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// The value or lease of a missing key is to be kept; or an operation without content.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A value together with the wish to keep the old one.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A lease together with the wish to keep the old one.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// A transaction with more than `MAX_OPERATIONS` operations.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    /// A transaction that writes one key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A request of more than [`super::service::MAX_REQUEST_BYTES`].
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// A revision that is not kept any more.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// A revision that has not been written yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// A lease that ended or never was.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A chosen lease id that is in use.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A lease of more than 285 years.
    #[error("etcdserver: too large lease TTL")]
    TtlTooLarge,
    /// A login, where nobody has to log in.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// A stream that ends because the server does.
    #[error("etcdserver: server stopped")]
    Stopped,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::EmptyKey
            | Refusal::KeyNotFound
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::TooManyOperations
            | Refusal::DuplicateKey
            | Refusal::TooLarge => Code::InvalidArgument,
            Refusal::Compacted | Refusal::FutureRevision | Refusal::TtlTooLarge => Code::OutOfRange,
            Refusal::LeaseNotFound => Code::NotFound,
            Refusal::LeaseExists | Refusal::AuthNotEnabled => Code::FailedPrecondition,
            Refusal::Stopped => Code::Unavailable,
        };
        Status::new(code, refusal.to_string())
    }
}
