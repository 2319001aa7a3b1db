//! ORCA, the standard load report: `xds.service.orca.v3.OpenRcaService` for those who want to hear it again and
//! again, and the trailer `endpoint-load-metrics-bin` for whoever calls.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream, stream::BoxStream};
use prost::Message as _;
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    codegen::http::HeaderMap,
    metadata::{Binary, MetadataMap, MetadataValue},
};

use super::{Requests, load::Gauge, requests::Totals};
use crate::proto::{
    orca::{CURRENT_REQUESTS, REQUEST_CAPACITY},
    standard::xds::{
        data::orca::v3::OrcaLoadReport,
        service::orca::v3::{
            OrcaLoadReportRequest,
            open_rca_service_server::{OpenRcaService, OpenRcaServiceServer},
        },
    },
};

/// The name of the trailer.
const TRAILER: &str = "endpoint-load-metrics-bin";

/// Rates are those of so much time at least.
const WINDOW: Duration = Duration::from_secs(1);

/// What comes with answers may be so old.
const FRESH: Duration = Duration::from_millis(100);

/// Reports come no more often than this, whatever is asked for.
const SHORTEST: Duration = Duration::from_millis(100);

/// How busy a worker is.
pub(super) struct Orca {
    requests: Requests,
    gauge: Arc<Gauge>,
    looks: Mutex<Looks>,
}

struct Looks {
    before: Totals,
    last: Totals,
    /// What came with the last answer, and since when.
    trailer: Option<(Instant, MetadataValue<Binary>)>,
}

impl Orca {
    pub(super) fn new(requests: Requests, gauge: Arc<Gauge>) -> Self {
        let totals = requests.totals();
        Self {
            requests,
            gauge,
            looks: Mutex::new(Looks {
                before: totals,
                last: totals,
                trailer: None,
            }),
        }
    }

    /// The report of now.
    fn report(&self) -> OrcaLoadReport {
        let now = self.requests.totals();
        let before = self.looks().turn(now);
        let (cpu, memory) = self.gauge.read();
        let span = now.at.duration_since(before.at).as_secs_f64();
        let per_second = |amount: f64| if span > 0.0 { amount / span } else { 0.0 };
        let capacity = self.requests.capacity().map(f64::from);
        let known = Some(self.requests.known_rate()).filter(|rate| *rate >= 0.0);
        let busy = || {
            let busy = now.busy.saturating_sub(before.busy);
            let capacity = capacity.filter(|capacity| *capacity > 0.0)?;
            Some(per_second(busy.as_secs_f64()) / capacity)
        };
        let mut report = OrcaLoadReport {
            cpu_utilization: cpu.unwrap_or_default(),
            mem_utilization: memory.unwrap_or_default(),
            rps_fractional: per_second(now.begun.saturating_sub(before.begun) as f64),
            application_utilization: known.or_else(busy).unwrap_or_default(),
            ..OrcaLoadReport::default()
        };
        let current = self.requests.current() as f64;
        report
            .named_metrics
            .insert(CURRENT_REQUESTS.to_owned(), current);
        if let Some(capacity) = capacity {
            report
                .named_metrics
                .insert(REQUEST_CAPACITY.to_owned(), capacity);
        }
        report
    }

    /// `trailers` with the report.
    pub(super) fn add_to(&self, trailers: HeaderMap) -> HeaderMap {
        let now = Instant::now();
        let kept = self.looks().trailer.clone();
        let value = match kept {
            Some((since, value)) if now.duration_since(since) < FRESH => value,
            _ => {
                let value = MetadataValue::from_bytes(&self.report().encode_to_vec());
                self.looks().trailer = Some((now, value.clone()));
                value
            }
        };
        let mut trailers = MetadataMap::from_headers(trailers);
        trailers.insert_bin(TRAILER, value);
        trailers.into_headers()
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looks {
    /// What rates are counted from at `now`.
    fn turn(&mut self, now: Totals) -> Totals {
        if now.at.duration_since(self.last.at) >= WINDOW {
            self.before = self.last;
            self.last = now;
        }
        self.before
    }
}

/// The service, until `ended`.
pub(super) fn service(
    orca: Arc<Orca>,
    ended: CancellationToken,
) -> OpenRcaServiceServer<impl OpenRcaService> {
    OpenRcaServiceServer::new(Service { orca, ended })
}

struct Service {
    orca: Arc<Orca>,
    ended: CancellationToken,
}

#[tonic::async_trait]
impl OpenRcaService for Service {
    type StreamCoreMetricsStream = BoxStream<'static, Result<OrcaLoadReport, Status>>;

    /// The first report comes at once.
    async fn stream_core_metrics(
        &self,
        request: Request<OrcaLoadReportRequest>,
    ) -> Result<Response<Self::StreamCoreMetricsStream>, Status> {
        let wanted = request.into_inner().report_interval;
        let wanted = wanted.and_then(|interval| Duration::try_from(interval).ok());
        let mut interval = time::interval(wanted.unwrap_or_default().max(SHORTEST));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reporting = (Arc::clone(&self.orca), interval);
        let reports = stream::unfold(reporting, async |(orca, mut interval)| {
            interval.tick().await;
            Some((Ok(orca.report()), (orca, interval)))
        });
        let reports = reports.take_until(self.ended.clone().cancelled_owned());
        Ok(Response::new(reports.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Machine;

    struct Unknown;

    impl Machine for Unknown {
        fn time(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn orca(requests: &Requests) -> Orca {
        Orca::new(requests.clone(), Arc::new(Gauge::new(Arc::new(Unknown))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_tells_how_much_of_the_capacity_was_in_use_and_of_how_many_requests() {
        let requests = Requests::default();
        requests.set_capacity(Some(2));
        let orca = orca(&requests);
        let running = requests.begin(None);
        time::advance(Duration::from_secs(2)).await;
        drop(running);
        let report = orca.report();
        assert_eq!(
            (report.rps_fractional, report.application_utilization),
            (0.5, 0.5)
        );
        assert_eq!(
            (
                report.named_metrics[CURRENT_REQUESTS],
                report.named_metrics[REQUEST_CAPACITY]
            ),
            (0.0, 2.0)
        );

        // The window goes on with time.
        time::advance(Duration::from_secs(2)).await;
        orca.report();
        time::advance(Duration::from_secs(2)).await;
        let report = orca.report();
        assert_eq!(
            (report.rps_fractional, report.application_utilization),
            (0.0, 0.0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_with_answers_is_looked_up_ten_times_a_second_at_most() {
        let requests = Requests::default();
        let orca = orca(&requests);
        let told = || {
            let trailers = MetadataMap::from_headers(orca.add_to(HeaderMap::new()));
            let bytes = trailers.get_bin(TRAILER).unwrap().to_bytes().unwrap();
            OrcaLoadReport::decode(bytes).unwrap().named_metrics[CURRENT_REQUESTS]
        };
        assert_eq!(told(), 0.0);
        let _running = requests.begin(None);
        assert_eq!(told(), 0.0);
        time::advance(FRESH).await;
        assert_eq!(told(), 1.0);
    }
}
