//! What one attempt at one endpoint came to when it failed: the one place that judges the answers
//! of the client library.

use std::{error::Error, io};

use tonic::{Code, ConnectError, Status};

/// A failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was done: no connection, or a member that turns requests away. Another endpoint may
    /// do it.
    NotDone(String),
    /// No answer came; the request may have been carried out all the same.
    Lost(String),
    /// The store has no space left.
    Full,
    /// There is no such lease, or not any more.
    LeaseEnded,
    /// The revision asked for is not kept any more.
    Compacted,
    /// The answer was larger than the client accepts.
    TooLarge,
    /// The store will not do it, for this reason.
    Refused(String),
}

impl Failure {
    /// The kind in one word, for whoever counts them.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotDone(_) => "not_done",
            Self::Lost(_) => "lost",
            Self::Full => "full",
            Self::LeaseEnded => "lease_ended",
            Self::Compacted => "compacted",
            Self::TooLarge => "too_large",
            Self::Refused(_) => "refused",
        }
    }
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => judge(&status),
            // What the keeper of a lease says when the lease is not there.
            etcd_client::Error::LeaseKeepAliveError(_) => Self::LeaseEnded,
            etcd_client::Error::InvalidArgs(_)
            | etcd_client::Error::InvalidUri(_)
            | etcd_client::Error::InvalidMetadataValue(_) => Self::Refused(error.to_string()),
            error => Self::Lost(error.to_string()),
        }
    }
}

fn judge(status: &Status) -> Failure {
    if let Some(cause) = connect_error(status) {
        return Failure::NotDone(cause);
    }
    let message = status.message();
    // Errors of the store itself begin so; the others are the transport's.
    let own = message.strip_prefix("etcdserver: ");
    let cause = match status.source() {
        Some(error) if own.is_none() => root(error).to_string(),
        // Servers that are no etcd say nothing more.
        _ if status.code() == Code::Unimplemented => "what answers there is no etcd".to_owned(),
        _ => match own.and_then(|own| remedy(status.code(), own)) {
            Some(remedy) => format!("{}: {remedy}", own.unwrap_or(message)),
            None => own.unwrap_or(message).to_owned(),
        },
    };
    match (status.code(), own) {
        (Code::ResourceExhausted, Some(text)) if text.contains("space exceeded") => Failure::Full,
        // Turned away before anything was proposed.
        (Code::ResourceExhausted, Some(_))
        | (Code::Unavailable, Some("no leader" | "not capable"))
        | (Code::Unavailable, Some("rpc not supported for learner"))
        // Users and their rights have just changed: the next attempt is judged by the new ones.
        | (Code::InvalidArgument, Some("revision of auth store is old")) => Failure::NotDone(cause),
        (Code::NotFound, Some("requested lease not found")) => Failure::LeaseEnded,
        (Code::OutOfRange, Some(text)) if text.contains("compacted") => Failure::Compacted,
        // A member that lags behind, or a store restored from a backup.
        (Code::OutOfRange, Some(text)) if text.contains("future revision") => {
            Failure::NotDone(cause)
        }
        (Code::OutOfRange, None) if message.contains("message length too large") => {
            Failure::TooLarge
        }
        (
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss,
            _,
        ) => Failure::Refused(cause),
        _ => Failure::Lost(cause),
    }
}

/// What to do about the store's not knowing us, or not enough.
fn remedy(code: Code, text: &str) -> Option<&'static str> {
    match (code, text) {
        (Code::PermissionDenied, _) => Some(
            "its user of that name lacks the right; `quaestor rbac` prints what each role needs",
        ),
        (Code::InvalidArgument, "user name is empty") => Some(
            "it wants to know who this is; name a certificate (--etcd-cert, --etcd-key) or a user (--etcd-user)",
        ),
        _ => None,
    }
}

/// Why no connection could be made; none when one was made and something else failed.
fn connect_error(status: &Status) -> Option<String> {
    let mut error = status.source()?;
    while !error.is::<ConnectError>() {
        error = error.source()?;
    }
    let root = root(error);
    Some(match root.downcast_ref::<io::Error>() {
        // "connection refused" rather than "Connection refused (os error 111)".
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => error.kind().to_string(),
        _ => root.to_string(),
    })
}

/// The first cause: those above it say little more than that there is one.
fn root<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, message: &str) -> Failure {
        etcd_client::Error::GRpcStatus(Status::new(code, message)).into()
    }

    #[test]
    fn errors_of_the_store_are_told_apart() {
        let not_done = |cause: &str| Failure::NotDone(cause.to_owned());
        let refused = |cause: &str| Failure::Refused(cause.to_owned());
        for (code, message, expected) in [
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Failure::Full,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                not_done("too many requests"),
            ),
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                Failure::LeaseEnded,
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                not_done("no leader"),
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Failure::Compacted,
            ),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
                Failure::TooLarge,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                refused(
                    "permission denied: its user of that name lacks the right; \
                     `quaestor rbac` prints what each role needs",
                ),
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                not_done("revision of auth store is old"),
            ),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                refused("too many operations in txn request"),
            ),
        ] {
            assert_eq!(failure(code, message), expected, "{message}");
        }
    }

    #[test]
    fn an_answer_that_may_have_come_after_the_write_counts_as_lost() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unavailable, "error reading a body from connection"),
            (Code::Unknown, "transport error"),
            (Code::Cancelled, "operation was canceled"),
            (Code::Internal, "h2 protocol error"),
            (Code::ResourceExhausted, "h2 protocol error: calm down"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
        ] {
            let failure = failure(code, message);
            assert!(
                matches!(failure, Failure::Lost(_)),
                "{message}: {failure:?}"
            );
        }
    }
}
