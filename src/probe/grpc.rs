//! Health and load over gRPC.

mod connection;

use std::error::Error as _;

use futures::future::try_join_all;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

pub(super) use self::connection::Connection;
use super::{Load, Trouble, innermost};
use crate::{
    model::{LoadReport, ServerStats},
    proto::{
        load_reporting::{
            LoadReportRequest, LoadReportResponse,
            load_reporting_grpc_client::LoadReportingGrpcClient,
        },
        orca::{CURRENT_REQUESTS, REQUEST_CAPACITY},
        standard::xds::{
            data::orca::v3::OrcaLoadReport,
            service::orca::v3::{
                OrcaLoadReportRequest, open_rca_service_client::OpenRcaServiceClient,
            },
        },
    },
};

/// Asks for the health of each name at once; all must be SERVING. No names: the server as a whole.
pub(super) async fn check(connection: &Connection, mut names: Vec<String>) -> Result<(), Trouble> {
    if names.is_empty() {
        names.push(String::new());
    }
    let asking = names.into_iter().map(|service| {
        let mut client = HealthClient::with_origin(connection.clone(), connection.origin());
        async move {
            let request = HealthCheckRequest {
                service: service.clone(),
            };
            let answer = client.check(request).await.map_err(trouble)?.into_inner();
            match answer.status() {
                ServingStatus::Serving => Ok(()),
                status if service.is_empty() => {
                    Err(Trouble::Answer(status.as_str_name().to_owned()))
                }
                status => Err(Trouble::Answer(format!(
                    "{service} is {}",
                    status.as_str_name()
                ))),
            }
        }
    });
    try_join_all(asking).await.map(drop)
}

/// Asks for the load of each name at once; the busiest stands for the process. No names: the empty one.
pub(super) async fn report_load(
    connection: &Connection,
    mut names: Vec<String>,
) -> Result<Load, Trouble> {
    if names.is_empty() {
        names.push(String::new());
    }
    let asking = names.into_iter().map(|service_name| {
        let mut client =
            LoadReportingGrpcClient::with_origin(connection.clone(), connection.origin());
        let request = LoadReportRequest {
            scope: String::new(),
            service_name,
        };
        async move { client.report_load(request).await.map_err(trouble) }
    });
    let answers = try_join_all(asking).await?.into_iter();
    let mut load = Load {
        report: LoadReport::default(),
        ticks: 0,
    };
    for (index, answer) in answers.enumerate() {
        let answer = answer.into_inner();
        load.ticks = load.ticks.max(answer.timestamp_ticks);
        let report = sanitised(answer);
        load.report = match index {
            0 => report,
            _ => busier(load.report, report),
        };
    }
    Ok(load)
}

/// Asks for the standard's load report. Of the stream only the first report is read, which servers send at once, and
/// the stream opened again next time: many servers send no second one within the next 30 s, whatever is asked for.
pub(super) async fn orca(connection: &Connection) -> Result<Load, Trouble> {
    let mut client = OpenRcaServiceClient::with_origin(connection.clone(), connection.origin());
    let reports = client.stream_core_metrics(OrcaLoadReportRequest::default());
    let mut reports = reports.await.map_err(trouble)?.into_inner();
    let report = reports.message().await.map_err(trouble)?;
    let report = report.ok_or_else(|| Trouble::Answer("no report".to_owned()))?;
    Ok(Load {
        report: standard(&report),
        ticks: 0,
    })
}

/// What the standard's report says. A field that is not set is 0 there.
fn standard(report: &OrcaLoadReport) -> LoadReport {
    let rates = [report.application_utilization, report.cpu_utilization];
    let is_said = |rate: &&f64| rate.is_finite() && **rate > 0.0;
    let count = |name: &str| {
        let count = report.named_metrics.get(name).copied();
        count.filter(|count| count.is_finite() && *count >= 0.0)
    };
    // The casts keep to the range of the type.
    let counts = count(CURRENT_REQUESTS).map(|current| ServerStats {
        request_capacity: count(REQUEST_CAPACITY).map_or(-1, |capacity| capacity as i32),
        current_requests: current as i32,
        server_utilization: report.cpu_utilization.clamp(0.0, 1.0),
        server_memory_usage_percent: -1.0,
    });
    LoadReport {
        known_rate: Some(rates.iter().find(is_said).copied().unwrap_or_default()),
        stats: counts,
    }
}

/// What a worker said, with what cannot be meant left out. Its time stamp is its local time and not
/// comparable with ours: a report's age counts from its receipt.
fn sanitised(answer: LoadReportResponse) -> LoadReport {
    let or = |value: f64, otherwise: f64| {
        if value.is_finite() { value } else { otherwise }
    };
    let rate = answer.known_load_rate;
    LoadReport {
        known_rate: (rate.is_finite() && rate >= 0.0).then_some(rate),
        stats: answer.server_stats.map(|stats| ServerStats {
            request_capacity: stats.request_capacity.max(-1),
            current_requests: stats.current_requests.max(0),
            server_utilization: or(stats.server_utilization, 0.0).max(0.0),
            server_memory_usage_percent: or(stats.server_memory_usage_percent, -1.0).max(-1.0),
        }),
    }
}

/// The higher rate, and the counts of whoever has more requests.
fn busier(a: LoadReport, b: LoadReport) -> LoadReport {
    let requests = |report: &LoadReport| report.stats.map(|stats| stats.current_requests);
    let known_rate = match (a.known_rate, b.known_rate) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    let stats = if requests(&a) >= requests(&b) {
        a.stats
    } else {
        b.stats
    };
    LoadReport { known_rate, stats }
}

/// Tells an answer of the endpoint from a connection that failed on the way.
fn trouble(status: Status) -> Trouble {
    if let Some(source) = status.source() {
        // Only our own side attaches a cause: the transport's.
        return Trouble::Connection(innermost(source));
    }
    let code: Code = status.code();
    let text = match status.message() {
        "" => format!("{code:?}"),
        message => format!("{code:?}: {message}"),
    };
    Trouble::Answer(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::load_reporting;

    fn answer(known_load_rate: f64, stats: Option<load_reporting::ServerStats>) -> LoadReport {
        sanitised(LoadReportResponse {
            timestamp_ticks: 0,
            known_load_rate,
            server_stats: stats,
        })
    }

    #[test]
    fn only_a_finite_rate_of_zero_or_more_is_a_known_rate() {
        for (rate, known) in [
            (0.5, Some(0.5)),
            (0.0, Some(0.0)),
            (-1.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(answer(rate, None).known_rate, known, "{rate}");
        }
    }

    #[test]
    fn counts_that_cannot_be_meant_become_unknown() {
        let report = answer(
            -1.0,
            Some(load_reporting::ServerStats {
                request_capacity: -7,
                current_requests: -2,
                server_utilization: f64::NAN,
                server_memory_usage_percent: f64::NEG_INFINITY,
            }),
        );
        let stats = report.stats.unwrap();
        assert_eq!((stats.request_capacity, stats.current_requests), (-1, 0));
        assert_eq!(stats.server_utilization, 0.0);
        assert_eq!(stats.server_memory_usage_percent, -1.0);
    }

    #[test]
    fn the_standards_report_is_a_rate_and_our_own_workers_count_beside_it() {
        let mut report = OrcaLoadReport {
            cpu_utilization: 0.5,
            ..OrcaLoadReport::default()
        };
        let rate = |report: &OrcaLoadReport| standard(report).known_rate;
        assert_eq!(rate(&report), Some(0.5));
        report.application_utilization = 1.5;
        assert_eq!(rate(&report), Some(1.5));
        assert_eq!(rate(&OrcaLoadReport::default()), Some(0.0));
        report.application_utilization = f64::NAN;
        assert_eq!(rate(&report), Some(0.5));
        assert_eq!(standard(&report).stats, None);

        for (name, count) in [(CURRENT_REQUESTS, 0.0), (REQUEST_CAPACITY, 2.0)] {
            report.named_metrics.insert(name.to_owned(), count);
        }
        assert!(standard(&report).is_idle());
    }

    #[test]
    fn the_busiest_service_of_a_process_stands_for_it() {
        let with = |rate, requests| LoadReport {
            known_rate: rate,
            stats: Some(ServerStats {
                current_requests: requests,
                ..ServerStats::default()
            }),
        };
        let report = busier(with(Some(0.2), 3), with(Some(0.7), 1));
        assert_eq!(report.known_rate, Some(0.7));
        assert_eq!(report.stats.unwrap().current_requests, 3);
        assert_eq!(
            busier(with(None, 0), with(Some(0.1), 0)).known_rate,
            Some(0.1)
        );
    }
}
