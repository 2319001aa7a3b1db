//! A kept HTTP/2 connection to one endpoint, over which gRPC is spoken.

use std::{
    error::Error,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    header::{HeaderValue, USER_AGENT},
    rt::Executor as _,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Mutex;
use tonic::body::Body;
use tower::Service;

use crate::{host::Network, probe::Target};

/// Made when it is needed, and again after it broke. Clones share it.
///
/// Tonic's channel has a queue and a task of its own beside what HTTP/2 needs, a fifth of all that an agent keeps of an
/// instance.
#[derive(Clone)]
pub(in crate::probe) struct Connection {
    target: Target,
    origin: Uri,
    network: Arc<dyn Network>,
    sender: Arc<Mutex<Option<SendRequest<Body>>>>,
}

impl Connection {
    /// # Errors
    /// `InvalidInput` for a host that cannot be part of an address.
    pub(in crate::probe) fn new(target: Target, network: Arc<dyn Network>) -> io::Result<Self> {
        let origin = Uri::try_from(format!("http://{target}"));
        Ok(Self {
            origin: origin.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
            target,
            network,
            sender: Arc::default(),
        })
    }

    /// What its requests are addressed to.
    pub(in crate::probe) fn origin(&self) -> Uri {
        self.origin.clone()
    }

    async fn sender(&self) -> Result<SendRequest<Body>, Box<dyn Error + Send + Sync>> {
        // Whoever asks while it is being made waits for the same one.
        let mut kept = self.sender.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connecting = self.network.connect(&self.target.host, self.target.port);
        let stream = TokioIo::new(connecting.await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        // It ends with the last of its senders, or when it breaks, which its senders tell.
        TokioExecutor::new().execute(connection);
        Ok(kept.insert(sender).clone())
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let own = HeaderValue::from_static("quaestor-probe");
        request.headers_mut().insert(USER_AGENT, own);
        let connection = self.clone();
        Box::pin(async move {
            let mut sender = connection.sender().await?;
            Ok(sender.send_request(request).await?)
        })
    }
}
