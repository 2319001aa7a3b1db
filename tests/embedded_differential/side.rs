//! One of the two stores, asked with raw messages: the client library cannot say everything that the
//! protocol can.

use std::fmt::Debug;

use etcd_client::proto::*;
use futures::stream;
use http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    frame::{Frame, Framed, START},
    operation::Operation,
    readable,
    watches::Watches,
};

/// A key that was written once, before all sequences.
pub(crate) const CANARY: &[u8] = b"canary";

/// An answer in the test's terms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The whole message, or code and message of the error.
    pub(crate) text: String,
    /// The revision of its header; 0 with an error.
    pub(crate) revision: i64,
}

impl Answer {
    /// Whether it is not an error.
    pub(crate) fn is_ok(&self) -> bool {
        self.revision != 0
    }
}

/// A store and how it counts.
pub(crate) struct Side {
    pub(crate) channel: Channel,
    pub(crate) frame: Frame,
    pub(crate) watches: Option<Watches>,
}

impl Side {
    pub(crate) async fn connect(endpoint: &str) -> Self {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
        Self {
            channel: endpoint.connect().await.unwrap(),
            frame: Frame::default(),
            watches: None,
        }
    }

    /// Begins a sequence: revisions count from here, leases have no names yet.
    pub(crate) async fn begin(&mut self) {
        let range = PbRangeRequest {
            key: b"head".to_vec(),
            ..PbRangeRequest::default()
        };
        let response: PbRangeResponse = self.call("KV/Range", range).await.unwrap();
        self.frame = Frame::new(response.header.unwrap().revision);
        self.watches = None;
    }

    /// Waits until the store has read the past for all watchers. etcd does that every 100 ms for all of
    /// them at once, so that it is done when it is done for one more.
    pub(crate) async fn read_past(&self) {
        let mut request = PbWatchRequestUnion::CreateRequest(Default::default());
        if let PbWatchRequestUnion::CreateRequest(create) = &mut request {
            create.key = CANARY.to_vec();
            create.start_revision = 1;
        }
        let request = PbWatchRequest {
            request_union: Some(request),
        };
        let frame = Frame::new(START);
        let mut canary = Watches::open(&self.channel, &frame, request).await;
        // That it was created, and its event, or that its event has been compacted.
        canary.reach(&frame, 2).await;
    }

    /// Asks; `lease` is the test's name for a lease that is granted.
    pub(crate) async fn ask(&mut self, operation: &Operation, lease: i64) -> Answer {
        match operation.clone() {
            Operation::Range(request) => {
                self.answer::<_, PbRangeResponse>("KV/Range", request).await
            }
            Operation::Put(request) => self.answer::<_, PbPutResponse>("KV/Put", request).await,
            Operation::Delete(request) => {
                self.answer::<_, PbDeleteResponse>("KV/DeleteRange", request)
                    .await
            }
            Operation::Txn(request) => self.answer::<_, PbTxnResponse>("KV/Txn", request).await,
            Operation::Compact(request) => {
                self.answer::<_, PbCompactionResponse>("KV/Compact", request)
                    .await
            }
            Operation::Grant(request) => {
                let response = self
                    .call::<_, PbLeaseGrantResponse>("Lease/LeaseGrant", request)
                    .await;
                if let Ok(response) = &response {
                    self.frame.name_lease(lease, response.id);
                }
                self.render(response)
            }
            Operation::Revoke(request) => {
                self.answer::<_, PbLeaseRevokeResponse>("Lease/LeaseRevoke", request)
                    .await
            }
            Operation::KeepAlive(mut request) => {
                self.frame.to_store(&mut request);
                let response = self.keep_alive(request).await;
                self.render(response)
            }
            Operation::TimeToLive(request) => {
                let mut request = request;
                self.frame.to_store(&mut request);
                let response: Result<PbLeaseTimeToLiveResponse, _> =
                    self.call("Lease/LeaseTimeToLive", request).await;
                self.render(response.map(|mut response| {
                    // The rest of the time depends on when it is asked for.
                    if (response.granted_ttl - 60..=response.granted_ttl).contains(&response.ttl) {
                        response.ttl = response.granted_ttl;
                    }
                    // etcd does not order them.
                    response.keys.sort();
                    response
                }))
            }
            Operation::Leases => {
                let response: Result<PbLeaseLeasesResponse, _> = self
                    .call("Lease/LeaseLeases", PbLeaseLeasesRequest {})
                    .await;
                self.render(response)
            }
            Operation::Watch(_) => unreachable!("watches are asked for on their stream"),
        }
    }

    async fn answer<Q, A>(&self, path: &str, mut request: Q) -> Answer
    where
        Q: prost::Message + Framed + 'static,
        A: prost::Message + Default + Framed + Headed + Debug + 'static,
    {
        self.frame.to_store(&mut request);
        let response = self.call::<Q, A>(path, request).await;
        self.render(response)
    }

    fn render<A: Framed + Headed + Debug>(&self, response: Result<A, Status>) -> Answer {
        match response {
            Ok(mut response) => {
                self.frame.to_test(&mut response);
                Answer {
                    revision: response.revision(),
                    text: readable(&response),
                }
            }
            Err(status) => Answer {
                text: format!("{:?}: {}", status.code(), status.message()),
                revision: 0,
            },
        }
    }

    /// One request, one response, both in the store's terms.
    async fn call<Q, A>(&self, path: &str, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<Q, A>::default();
        let response = grpc
            .unary(Request::new(request), route(path), codec)
            .await?;
        Ok(response.into_inner())
    }

    async fn keep_alive(
        &self,
        request: PbLeaseKeepAliveRequest,
    ) -> Result<PbLeaseKeepAliveResponse, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let requests = Request::new(stream::iter([request]));
        let codec = ProstCodec::default();
        let responses = grpc
            .streaming(requests, route("Lease/LeaseKeepAlive"), codec)
            .await?;
        Ok(responses.into_inner().message().await?.unwrap())
    }
}

/// The path of a method: `Service/Method`.
pub(crate) fn route(path: &str) -> PathAndQuery {
    format!("/etcdserverpb.{path}").parse().unwrap()
}

/// A response with a header.
pub(crate) trait Headed {
    fn revision(&self) -> i64;
}

macro_rules! headed {
    ($($message:ty),+ $(,)?) => {$(
        impl Headed for $message {
            fn revision(&self) -> i64 {
                self.header.as_ref().map_or(0, |header| header.revision)
            }
        }
    )+};
}

headed!(
    PbRangeResponse,
    PbPutResponse,
    PbDeleteResponse,
    PbTxnResponse,
    PbCompactionResponse,
    PbLeaseGrantResponse,
    PbLeaseRevokeResponse,
    PbLeaseKeepAliveResponse,
    PbLeaseTimeToLiveResponse,
    PbLeaseLeasesResponse,
    PbWatchResponse,
);
