//! Counts the calls of a server's services, and ends those that are cancelled.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{FutureExt as _, future::BoxFuture};
use http_body::{Frame, SizeHint};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Bytes, Service,
        http::{HeaderMap, Request, Response, request::Parts},
    },
    server::NamedService,
};

use super::{Owner, Requests, Running, orca::Orca};

/// Finds out whose call it is.
pub(super) type OwnerOf = Arc<dyn Fn(&Parts) -> Option<Owner> + Send + Sync>;

/// Calls of these services are no work: they are about it.
const ASIDE: [&str; 5] = [
    "/grpc.health.",
    "/grpc.reflection.",
    "/Quaestor.LoadReporting.",
    "/Quaestor.ProcessAdministration.",
    "/xds.service.orca.",
];

/// Makes [`Counted`] services.
#[derive(Clone)]
pub struct Layer {
    requests: Requests,
    owner_of: OwnerOf,
    orca: Arc<Orca>,
}

impl Layer {
    pub(super) fn new(requests: Requests, owner_of: OwnerOf, orca: Arc<Orca>) -> Self {
        Self {
            requests,
            owner_of,
            orca,
        }
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service whose calls are counted, from their head to the last byte of their answer, or until their
/// client goes away.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    layer: Layer,
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if ASIDE.iter().any(|aside| path.starts_with(aside)) {
            return self.inner.call(request).boxed();
        }
        let (mut parts, body) = request.into_parts();
        let requests = &self.layer.requests;
        let Some(running) = requests.begin((self.layer.owner_of)(&parts)) else {
            let capacity = requests.capacity().unwrap_or_default();
            let full = format!("{capacity} of {capacity} calls are being worked on");
            let refusal = Status::resource_exhausted(full).into_http();
            return async { Ok(refusal) }.boxed();
        };
        let orca = Arc::clone(&self.layer.orca);
        parts.extensions.insert(running.call());
        let answering = self.inner.call(Request::from_parts(parts, body));
        async move {
            let interrupted = running.interrupted();
            tokio::select! {
                biased;
                answer = answering => {
                    let counted = |body| Body::new(Answer::new(body, running, orca));
                    answer.map(|answer| answer.map(counted))
                }
                () = interrupted => Ok(cancelled().into_http()),
            }
        }
        .boxed()
    }
}

fn cancelled() -> Status {
    Status::cancelled("the user cancelled the request")
}

/// The rest of an answer. Its call is worked on for as long as it is there.
struct Answer {
    body: Body,
    /// None once it was cut off.
    running: Option<Running>,
    interrupted: BoxFuture<'static, ()>,
    orca: Arc<Orca>,
}

impl Answer {
    fn new(body: Body, running: Running, orca: Arc<Orca>) -> Self {
        let interrupted = running.interrupted().boxed();
        Self {
            body,
            running: Some(running),
            interrupted,
            orca,
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.running.is_none() {
            return Poll::Ready(None);
        }
        if self.interrupted.poll_unpin(cx).is_pending() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            // Its last word says how busy the worker is.
            let told = |frame: Frame<Bytes>| match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(self.orca.add_to(trailers)),
                Err(frame) => frame,
            };
            return Poll::Ready(frame.map(|frame| frame.map(told)));
        }
        self.running = None;
        // Its work ends with it.
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        let told = cancelled().add_header(&mut trailers);
        Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.running.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
