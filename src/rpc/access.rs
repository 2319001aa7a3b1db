//! Who calls, and whether it may.

use tonic::{Code, Request, Status};

use super::refusal;
use crate::{
    grpc::Origin,
    model::Caller,
    plan::access::{Deed, judge},
};

/// Who calls, as its connection told.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    let origin = request.extensions().get::<Origin>();
    // A call that came by no connection of ours: nobody known.
    origin.map_or(Caller::Anonymous, |origin| origin.peer.caller())
}

/// Refuses callers who may not do `deed`.
pub(super) fn check<T>(request: &Request<T>, deed: Deed) -> Result<(), Status> {
    let caller = caller(request);
    judge(&caller, deed).map_err(|forbidden| {
        tracing::warn!(%caller, ?deed, "refused");
        refusal::status(Code::PermissionDenied, "Forbidden", forbidden.to_string())
    })
}
