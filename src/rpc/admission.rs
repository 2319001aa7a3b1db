//! What every call passes before it reaches its service: who asks too often, or too much at once, is told so.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tonic::{Code, body::Body, server::NamedService};
use tower::Service;

use super::refusal;
use crate::{balancer::answers::Answers, grpc::Origin};

/// How the library's refusal of a long message begins. It says OUT_OF_RANGE, which means something else to
/// clients.
const TOO_LONG: &str = "Error, decoded message length too large";

/// A service behind that.
#[derive(Clone)]
pub(super) struct Admitted<S> {
    inner: S,
    answers: Answers,
}

impl<S> Admitted<S> {
    pub(super) fn new(inner: S, answers: &Answers) -> Self {
        Self {
            inner,
            answers: answers.clone(),
        }
    }
}

impl<S: NamedService> NamedService for Admitted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Admitted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let origin = request.extensions().get::<Origin>();
        let admitted = origin.map_or(Ok(()), |from| self.answers.admit_peer(from.address.ip()));
        if let Err(refused) = admitted {
            let refused = refusal::refused(refused).into_http();
            return futures::future::ready(Ok(refused)).boxed();
        }
        let answering = self.inner.call(request);
        let most = self.answers.limits().message;
        answering.map(move |answer| Ok(told(answer?, most))).boxed()
    }
}

/// The answer, unless it is the library's refusal of a long message, which is told in our words.
fn told(answer: Response<Body>, most: usize) -> Response<Body> {
    let status = tonic::Status::from_header_map(answer.headers());
    match status {
        Some(status) if status.message().starts_with(TOO_LONG) => {
            let text = format!("the question has more than {most} bytes: ask for less at a time");
            refusal::status(Code::ResourceExhausted, "TooLarge", text).into_http()
        }
        _ => answer,
    }
}
