//! `Quaestor.LoadReporting.LoadReportingGrpc`: how busy the worker is, and its host.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic::{Request, Response, Status};

use super::{Machine, Processors, Requests};
use crate::proto::load_reporting::{
    LoadReportRequest, LoadReportResponse, ServerStats,
    load_reporting_grpc_server::{LoadReportingGrpc, LoadReportingGrpcServer},
};

/// The service for a worker that serves `names`.
pub(super) fn service(
    names: Arc<BTreeSet<String>>,
    requests: Requests,
    gauge: Arc<Gauge>,
) -> LoadReportingGrpcServer<impl LoadReportingGrpc> {
    LoadReportingGrpcServer::new(Load {
        names,
        requests,
        gauge,
    })
}

struct Load {
    names: Arc<BTreeSet<String>>,
    requests: Requests,
    gauge: Arc<Gauge>,
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
        let requests = &self.requests;
        let capacity = requests.capacity();
        let (utilization, memory) = self.gauge.read();
        Ok(Response::new(LoadReportResponse {
            timestamp_ticks: ticks(self.gauge.machine.time()),
            known_load_rate: requests.known_rate(),
            server_stats: Some(ServerStats {
                request_capacity: capacity
                    .map_or(-1, |capacity| i32::try_from(capacity).unwrap_or(i32::MAX)),
                current_requests: i32::try_from(requests.current()).unwrap_or(i32::MAX),
                // -1 says that it is not known, as it does for the other fields.
                server_utilization: utilization.unwrap_or(-1.0),
                server_memory_usage_percent: memory.map_or(-1.0, |part| part * 100.0),
            }),
        }))
    }
}

/// Utilisation is that of so much time at least: a shorter look is mostly noise, and each report that differs
/// from the last is written to the store.
const SPAN: Duration = Duration::from_secs(5);

/// How busy the machine is, looked at when somebody asks.
pub(super) struct Gauge {
    machine: Arc<dyn Machine>,
    last: Mutex<Option<Look>>,
}

#[derive(Clone, Copy)]
struct Look {
    at: Duration,
    processors: Processors,
    /// Between it and the one before; none for the first.
    utilization: Option<f64>,
}

impl Gauge {
    pub(super) fn new(machine: Arc<dyn Machine>) -> Self {
        let gauge = Self {
            machine,
            last: Mutex::default(),
        };
        gauge.read();
        gauge
    }

    /// The parts of the host's processors and memory that are in use, 0 to 1; none where that is not known.
    pub(super) fn read(&self) -> (Option<f64>, Option<f64>) {
        let now = self.machine.time();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A wall clock that was set back must not keep the last look for ever.
        let is_due = last.is_none_or(|last| now.abs_diff(last.at) >= SPAN);
        if is_due {
            *last = self.machine.processors().map(|processors| Look {
                at: now,
                processors,
                utilization: last.and_then(|before| share(before.processors, processors)),
            });
        }
        let utilization = last.and_then(|last| last.utilization);
        (utilization, self.machine.memory())
    }
}

/// How much of the time between two looks the processors worked.
fn share(before: Processors, now: Processors) -> Option<f64> {
    let total = now.total.checked_sub(before.total)?;
    let busy = now.busy.saturating_sub(before.busy);
    (total > 0).then(|| (busy as f64 / total as f64).clamp(0.0, 1.0))
}

/// .NET's ticks: 100 ns each, since the beginning of the year 1. In UTC: readers take the age of a
/// report from its receipt.
fn ticks(time: Duration) -> i64 {
    /// 1970-01-01 in ticks.
    const EPOCH: i64 = 621_355_968_000_000_000;
    i64::try_from(time.as_nanos() / 100).map_or(i64::MAX, |ticks| ticks.saturating_add(EPOCH))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn ticks_count_from_the_year_1() {
        // DateTime(2024, 2, 29, 12, 30, 45, 678, Utc).Ticks
        let time = Duration::from_millis(1_709_209_845_678);
        assert_eq!(ticks(time), 638_448_066_456_780_000);
    }

    /// Half busy until second 100, then idle.
    #[derive(Default)]
    struct Fake(AtomicU64);

    impl Machine for Fake {
        fn time(&self) -> Duration {
            Duration::from_secs(self.0.load(Relaxed))
        }

        fn processors(&self) -> Option<Processors> {
            let total = self.0.load(Relaxed);
            let busy = total.min(100) / 2;
            Some(Processors { busy, total })
        }
    }

    #[test]
    fn utilization_is_that_of_the_last_seconds() {
        let machine = Arc::new(Fake::default());
        let gauge = Gauge::new(machine.clone());
        let at = |second| {
            machine.0.store(second, Relaxed);
            gauge.read().0
        };
        assert_eq!(at(1), None, "not known yet");
        assert_eq!(at(20), Some(0.5));
        assert_eq!(at(100), Some(0.5));
        assert_eq!(at(104), Some(0.5), "too short a look");
        assert_eq!(at(110), Some(0.0));
        assert_eq!(at(3), None, "the clock and the counters fell");
        assert_eq!(at(13), Some(0.5));
    }
}
