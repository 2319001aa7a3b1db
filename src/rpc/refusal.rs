//! Why there is no answer, as gRPC says it: a code, a text for people, and a word for programs.

use tonic::{Code, Status, metadata::MetadataValue};

use crate::{balancer::answers::Refused, view::Refusal};

/// The metadata that holds the word: `NotFound`, `NothingHealthy`, `NotSynced`, `Exclusive`, `Overloaded` ...
const REASON: &str = "quaestor-reason";

/// After how many milliseconds clients with a retry policy ask again: gRPC's own word for it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A status with a word for programs.
pub(super) fn status(code: Code, reason: &'static str, text: impl Into<String>) -> Status {
    let mut status = Status::new(code, text);
    let reason = MetadataValue::from_static(reason);
    status.metadata_mut().insert(REASON, reason);
    status
}

/// The status that says why the view has no answer.
pub(super) fn view(refusal: Refusal) -> Status {
    refused(refusal.into())
}

/// The status that says why there is no answer.
pub(super) fn refused(refused: Refused) -> Status {
    let code = match &refused {
        Refused::View(
            Refusal::NotSynced(_) | Refusal::NothingHealthy { .. } | Refusal::AllExcluded(_),
        ) => Code::Unavailable,
        Refused::View(Refusal::Unknown(_)) => Code::NotFound,
        Refused::View(Refusal::Exclusive(_)) => Code::FailedPrecondition,
        Refused::View(Refusal::Forbidden { .. }) => Code::PermissionDenied,
        Refused::TooLarge(_) => Code::InvalidArgument,
        Refused::Overloaded(_) | Refused::TooOften { .. } => Code::ResourceExhausted,
    };
    let mut status = status(code, refused.reason(), refused.to_string());
    if let Refused::TooOften { wait, .. } = &refused {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        status
            .metadata_mut()
            .insert(PUSHBACK, millis.saturating_add(1).into());
    }
    status
}
