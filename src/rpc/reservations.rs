//! `quaestor.v1.Reservations`: tickets for exclusive services.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};
use tracing::{Instrument as _, Span};

use super::{access, refusal::status, trace};
use crate::{
    balancer::reservations::{Call, Failed, Progress, Refusal, Reservations, Ticket, Waiting},
    host::Host,
    model::{
        Moment, TicketId,
        ticket::{Age, Stamp},
    },
    plan::access::Deed,
    proto::v1::{
        self as wire, acquire_response,
        reservations_server::{Reservations as Service, ReservationsServer},
    },
    view::Directory,
};

/// The service, answering by `reservations`; questions have `most` bytes at most.
pub(super) fn service(
    reservations: Reservations,
    directory: Arc<Directory>,
    host: Host,
    most: usize,
) -> ReservationsServer<impl Service> {
    let answers = Answers {
        reservations,
        directory,
        host,
    };
    ReservationsServer::new(answers).max_decoding_message_size(most)
}

struct Answers {
    reservations: Reservations,
    /// Who may ask for what.
    directory: Arc<Directory>,
    host: Host,
}

#[tonic::async_trait]
impl Service for Answers {
    type AcquireStream = BoxStream<'static, Result<wire::AcquireResponse, Status>>;

    async fn acquire(
        &self,
        request: Request<wire::AcquireRequest>,
    ) -> Result<Response<Self::AcquireStream>, Status> {
        let patience = patience(request.metadata());
        if request.get_ref().forwarded {
            access::check(&request, Deed::PassOn)?;
        }
        let about = &request.get_ref().service;
        let span = trace::serve(&request, "quaestor.v1.Reservations/Acquire", about);
        let caller = access::caller(&request);
        let admitted = self.directory.admit(&request.get_ref().service, &caller);
        admitted.map_err(super::refusal::view)?;
        let request = request.into_inner();
        let now = self.host.clock.now();
        let age = Age {
            waited: Duration::from_millis(request.waited_millis),
            stamp: request.stamp.map(read_stamp),
        };
        let waiter = Waiter {
            call: self
                .reservations
                .acquire(request.service, age, request.forwarded),
            host: self.host.clone(),
            deadline: patience.map(|patience| (now + patience, patience)),
            last: None,
            span,
        };
        let steps = stream::unfold(Some(waiter), async |waiter| {
            let mut waiter = waiter?;
            let span = waiter.span.clone();
            let step = waiter.next().instrument(span).await?;
            trace::ended(&waiter.span, &step);
            let goes_on = step.is_ok().then_some(waiter);
            Some((step, goes_on))
        });
        Ok(Response::new(steps.boxed()))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        let ticket = ticket(&request.get_ref().ticket)?;
        let lasts = self
            .reservations
            .renew(&ticket)
            .await
            .map_err(|why| failure(&why))?;
        Ok(Response::new(wire::RenewResponse {
            lasts_millis: millis(lasts),
        }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let ticket = ticket(&request.get_ref().ticket)?;
        let released = self.reservations.release(&ticket).await;
        released.map_err(|why| failure(&why))?;
        Ok(Response::new(wire::ReleaseResponse {}))
    }
}

/// A caller, and how long it waits.
struct Waiter {
    call: Call,
    host: Host,
    deadline: Option<(Moment, Duration)>,
    last: Option<Waiting>,
    /// What is done for it belongs to this span.
    span: Span,
}

impl Waiter {
    async fn next(&mut self) -> Option<Result<wire::AcquireResponse, Status>> {
        let deadline = self.deadline;
        let clock = &self.host.clock;
        let over = async {
            match deadline {
                Some((deadline, _)) => clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            step = self.call.next() => step?,
            () = over => return Some(Err(self.too_late())),
        };
        Some(match step {
            Ok(progress) => {
                if let Progress::Waiting(waiting) = &progress {
                    self.last = Some(waiting.clone());
                }
                Ok(to_wire(progress))
            }
            Err(why) => Err(refusal(&why)),
        })
    }

    fn too_late(&self) -> Status {
        let patience = self
            .deadline
            .map(|(_, patience)| patience)
            .unwrap_or_default();
        let place = self.last.as_ref().map_or_else(String::new, |last| {
            let nobody = match last.unreachable.is_empty() {
                true => String::new(),
                false => {
                    let nodes = last.unreachable.iter().map(|node| node.to_string());
                    let nodes = nodes.collect::<Vec<_>>().join(", ");
                    format!("; the agents of {nodes} cannot be reached")
                }
            };
            let Waiting {
                place,
                length,
                units,
                ..
            } = last;
            format!(": place {place} of {length} in the queue for {units} units{nobody}")
        });
        Status::deadline_exceeded(format!("nothing was free within {patience:?}{place}"))
    }
}

/// The deadline of a call, as its header `grpc-timeout` says.
fn patience(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count.saturating_mul(3_600)),
        "M" => Duration::from_secs(count.saturating_mul(60)),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

fn to_wire(progress: Progress) -> wire::AcquireResponse {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let progress = match progress {
        Progress::Waiting(waiting) => acquire_response::Progress::Waiting(wire::Waiting {
            place: count(waiting.place),
            length: count(waiting.length),
            units: waiting.units,
            unreachable_nodes: waiting
                .unreachable
                .iter()
                .map(ToString::to_string)
                .collect(),
            stamp: waiting.stamp.map(stamp),
        }),
        Progress::Ticket(Ticket {
            id,
            endpoint,
            lasts,
        }) => acquire_response::Progress::Ticket(wire::Ticket {
            ticket: id.to_string(),
            host: endpoint.host,
            port: endpoint.port.into(),
            instance: id.instance.to_string(),
            node: id.node.to_string(),
            lasts_millis: millis(lasts),
        }),
    };
    wire::AcquireResponse {
        progress: Some(progress),
    }
}

pub(super) fn read_stamp(said: wire::Stamp) -> Stamp {
    Stamp {
        queue: said.queue,
        at: Moment::new(Duration::from_nanos(said.at_nanos)),
    }
}

pub(super) fn stamp(stamp: Stamp) -> wire::Stamp {
    let at = stamp.at.since(Moment::default()).as_nanos();
    wire::Stamp {
        queue: stamp.queue,
        at_nanos: u64::try_from(at).unwrap_or(u64::MAX),
    }
}

fn ticket(text: &str) -> Result<TicketId, Status> {
    text.parse()
        .map_err(|error: <TicketId as std::str::FromStr>::Err| {
            Status::invalid_argument(error.to_string())
        })
}

fn refusal(why: &Refusal) -> Status {
    let (code, reason) = match why {
        Refusal::NotSynced => (Code::Unavailable, "NotSynced"),
        Refusal::Unavailable(_) => (Code::Unavailable, "Unavailable"),
        Refusal::Unknown(_) => (Code::NotFound, "NotFound"),
        Refusal::Shared(_) => (Code::FailedPrecondition, "NotExclusive"),
        Refusal::Other(_) => (Code::FailedPrecondition, "Refused"),
        Refusal::TooLate(_) => (Code::DeadlineExceeded, "TooLate"),
        Refusal::Full(_) => (Code::ResourceExhausted, "Overloaded"),
        Refusal::Moved => (Code::Aborted, "Moved"),
    };
    status(code, reason, why.to_string())
}

fn failure(why: &Failed) -> Status {
    let (code, reason) = match why {
        Failed::Over => (Code::NotFound, "TicketOver"),
        Failed::Unreachable { .. } => (Code::Unavailable, "AgentUnreachable"),
    };
    status(code, reason, why.to_string())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_reads_as_it_is_written() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            patience(&metadata)
        };
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!([read("S"), read("5"), read("-1S"), read("5x")], [None; 4]);
        assert_eq!(patience(&MetadataMap::new()), None);
    }
}
