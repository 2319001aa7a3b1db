//! A watch stream and what came of it.

use std::collections::BTreeMap;

use etcd_client::proto::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Streaming, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    frame::Frame,
    readable,
    side::{Headed as _, route},
    support::PATIENCE,
};

/// One stream with its watchers.
pub(crate) struct Watches {
    requests: mpsc::UnboundedSender<PbWatchRequest>,
    responses: Streaming<PbWatchResponse>,
    /// By watcher what it said, in the test's terms: how it was created, each event, how it was
    /// cancelled. How the events were cut into responses is left out.
    pub(crate) said: BTreeMap<i64, Vec<String>>,
    /// By watcher the last revision of which it had events.
    seen: BTreeMap<i64, i64>,
}

impl Watches {
    /// Opens a stream with its first request, without which etcd does not answer at all.
    pub(crate) async fn open(channel: &Channel, frame: &Frame, mut first: PbWatchRequest) -> Self {
        let (requests, stream) = mpsc::unbounded_channel();
        frame.to_store(&mut first);
        requests.send(first).unwrap();
        let stream = Request::new(UnboundedReceiverStream::new(stream));
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let codec = ProstCodec::default();
        let responses = grpc.streaming(stream, route("Watch/Watch"), codec).await;
        Self {
            requests,
            responses: responses.unwrap().into_inner(),
            said: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn send(&self, frame: &Frame, mut request: PbWatchRequest) {
        frame.to_store(&mut request);
        self.requests.send(request).unwrap();
    }

    /// How much has been said.
    pub(crate) fn count(&self) -> usize {
        self.said.values().map(Vec::len).sum()
    }

    /// Reads one response.
    async fn read(&mut self, frame: &Frame) -> PbWatchResponse {
        let response = tokio::time::timeout(PATIENCE, self.responses.message());
        let mut response = response.await.expect("no watch response").unwrap().unwrap();
        frame.to_test(&mut response);
        let mut said: Vec<_> = response.events.iter().map(readable).collect();
        if response.created || (response.canceled && response.compact_revision == 0) {
            said.push(readable(&response));
        } else if response.canceled {
            said.push(format!("compacted at {}", response.compact_revision));
        }
        if !said.is_empty() {
            self.said.entry(response.watch_id).or_default().extend(said);
        }
        self.check_revisions(&response);
        response
    }

    /// The events of a revision come in one response, and none is newer than the header says.
    fn check_revisions(&mut self, response: &PbWatchResponse) {
        let kvs = response.events.iter().filter_map(|event| event.kv.as_ref());
        let revisions: Vec<i64> = kvs.map(|kv| kv.mod_revision).collect();
        if let (Some(first), Some(last)) = (revisions.first(), revisions.last()) {
            assert!(revisions.is_sorted(), "{response:?}");
            assert!(*last <= response.revision(), "{response:?}");
            let seen = self.seen.insert(response.watch_id, *last);
            assert!(seen.is_none_or(|seen| seen < *first), "{response:?}");
        }
    }

    /// Reads until the last requested watcher is created, or refused.
    pub(crate) async fn created(&mut self, frame: &Frame) {
        while !self.read(frame).await.created {}
    }

    /// Asks how far the stream is and reads until the answer, which it returns.
    pub(crate) async fn progress(&mut self, frame: &Frame) -> PbWatchResponse {
        let request = PbWatchRequestUnion::ProgressRequest(Default::default());
        self.send(
            frame,
            PbWatchRequest {
                request_union: Some(request),
            },
        );
        loop {
            let response = self.read(frame).await;
            if response.watch_id == -1 && !response.created {
                return response;
            }
        }
    }

    /// Reads until so much has been said.
    pub(crate) async fn reach(&mut self, frame: &Frame, count: usize) {
        while self.count() < count {
            self.read(frame).await;
        }
    }
}
