//! `Quaestor.LoadReporting.LoadReportingGrpc`: how busy the worker is.

use std::{collections::BTreeSet, sync::Arc};

use tonic::{Request, Response, Status};

use super::Requests;
use crate::{
    host::Clock,
    model::Timestamp,
    proto::load_reporting::{
        LoadReportRequest, LoadReportResponse, ServerStats,
        load_reporting_grpc_server::{LoadReportingGrpc, LoadReportingGrpcServer},
    },
};

/// The service for a worker that serves `names`.
pub(super) fn service(
    names: BTreeSet<String>,
    requests: Requests,
    clock: Arc<dyn Clock>,
) -> LoadReportingGrpcServer<impl LoadReportingGrpc> {
    LoadReportingGrpcServer::new(Load {
        names,
        requests,
        clock,
    })
}

struct Load {
    names: BTreeSet<String>,
    requests: Requests,
    clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl LoadReportingGrpc for Load {
    /// The load is the process's: the same under each of its names.
    async fn report_load(
        &self,
        request: Request<LoadReportRequest>,
    ) -> Result<Response<LoadReportResponse>, Status> {
        let name = &request.get_ref().service_name;
        if !self.names.contains(name) {
            let known = self.names.iter().map(|name| format!("`{name}`"));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(Status::out_of_range(format!(
                "`{name}` is not served here; this worker serves {known}"
            )));
        }
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        Ok(Response::new(LoadReportResponse {
            timestamp_ticks: ticks(self.clock.timestamp()),
            known_load_rate: self.requests.known_rate(),
            server_stats: Some(ServerStats {
                request_capacity: count(self.requests.capacity() as usize),
                current_requests: count(self.requests.current()),
                // Of the host nothing is measured; -1 says so, as it does for the other fields.
                server_utilization: -1.0,
                server_memory_usage_percent: -1.0,
            }),
        }))
    }
}

/// .NET's ticks: 100 ns each, since the beginning of the year 1. In UTC: readers take the age of a
/// report from its receipt.
fn ticks(timestamp: Timestamp) -> i64 {
    /// 1970-01-01 in ticks.
    const EPOCH: i64 = 621_355_968_000_000_000;
    EPOCH + timestamp.as_millis() * 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_count_from_the_year_1() {
        // DateTime(2024, 2, 29, 12, 30, 45, 678, Utc).Ticks
        let timestamp = Timestamp::from_millis(1_709_209_845_678);
        assert_eq!(ticks(timestamp), 638_448_066_456_780_000);
    }
}
