//! The KV service.

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbTxnRequest, PbTxnResponse,
};
use futures::stream;
use tonic::{Request, Response, Status, async_trait};

use super::{Services, check_size, not_here};
use crate::store::embedded::{kv, txn};

#[async_trait]
impl PbKvService for Services {
    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        let request = request.into_inner();
        kv::check_range(&request)?;
        let mut answer = self
            .core
            .with(|state, _| kv::range(&state.map, state.map.revision(), &request))?;
        self.core.stamp(&mut answer.header, 0);
        Ok(Response::new(answer))
    }

    type RangeStreamStream = stream::Empty<Result<PbRangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(not_here("streamed ranges"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let request = request.into_inner();
        kv::check_put(&request)?;
        check_size(&request)?;
        let mut answer = self.core.with(|state, _| state.put(&request))?;
        self.core.stamp(&mut answer.header, 0);
        Ok(Response::new(answer))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let request = request.into_inner();
        kv::check_delete(&request)?;
        check_size(&request)?;
        let mut answer = self.core.with(|state, _| state.delete(&request))?;
        self.core.stamp(&mut answer.header, 0);
        Ok(Response::new(answer))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let request = request.into_inner();
        txn::check(&request)?;
        check_size(&request)?;
        let mut answer = self.core.with(|state, _| state.txn(&request))?;
        self.core.stamp(&mut answer.header, 0);
        Ok(Response::new(answer))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let request = request.into_inner();
        let revision = self.core.with(|state, _| {
            let compacted = state.map.compact(request.revision);
            compacted.map(|()| state.map.revision())
        })?;
        Ok(Response::new(PbCompactionResponse {
            header: self.core.header(revision),
        }))
    }
}
