//! `quaestor.v1.AgentReservations`: the units of a node's instances, one ticket each.

use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{access, trace};
use crate::{
    agent::reservations::{Denied, Reservations, Standing, Wish},
    model::{
        Instance, Name, Units,
        ticket::{Board, is_serial},
    },
    plan::{access::Deed, reservation::Refusal},
    proto::v1::{
        self as wire,
        agent_reservations_server::{AgentReservations, AgentReservationsServer},
    },
};

/// The largest question that is read, in bytes: three names, with room to spare.
const LARGEST_REQUEST: usize = 16 * 1024;

/// The service of `node`, until `stop`.
pub(super) fn service(
    node: Name,
    reservations: Reservations,
    stop: CancellationToken,
) -> AgentReservationsServer<impl AgentReservations> {
    let service = Service {
        node,
        reservations,
        stop,
    };
    AgentReservationsServer::new(service).max_decoding_message_size(LARGEST_REQUEST)
}

struct Service {
    node: Name,
    reservations: Reservations,
    stop: CancellationToken,
}

impl Service {
    fn check(&self, node: &str) -> Result<(), Status> {
        match node == self.node.as_str() {
            true => Ok(()),
            false => Err(Status::failed_precondition(format!(
                "this is the agent of node {}, not of {node}",
                self.node
            ))),
        }
    }

    async fn ask(
        &self,
        node: &str,
        instance: &str,
        serial: &str,
        wish: Wish,
    ) -> Result<Result<Standing, Denied>, Status> {
        self.check(node)?;
        let instance: Instance = (instance.parse()).map_err(|error| {
            let error: <Instance as std::str::FromStr>::Err = error;
            Status::invalid_argument(error.to_string())
        })?;
        if !is_serial(serial) {
            return Err(Status::invalid_argument(
                "a serial is 32 hexadecimal digits",
            ));
        }
        Ok(self.reservations.ask(&instance, serial, wish).await)
    }
}

#[tonic::async_trait]
impl AgentReservations for Service {
    async fn grant(
        &self,
        request: Request<wire::GrantRequest>,
    ) -> Result<Response<wire::GrantResponse>, Status> {
        access::check(&request, Deed::HandOutUnits)?;
        let about = &request.get_ref().instance;
        let span = trace::serve(&request, "quaestor.v1.AgentReservations/Grant", about);
        let request = request.into_inner();
        let asked = self.ask(
            &request.node,
            &request.instance,
            &request.serial,
            Wish::Grant,
        );
        let asked = asked.instrument(span.clone()).await;
        trace::ended(&span, &asked);
        let answer = match asked? {
            Ok(standing) => {
                let place = standing.endpoint.unwrap_or_default();
                wire::GrantResponse {
                    outcome: wire::GrantOutcome::Granted.into(),
                    message: String::new(),
                    lasts_millis: millis(standing.lasts),
                    units: Some(units(request.instance, standing.units)),
                    sequence: standing.sequence,
                    host: place.host,
                    port: place.port.into(),
                }
            }
            Err(why) => wire::GrantResponse {
                outcome: match why {
                    Denied::Refused(Refusal::Over) => wire::GrantOutcome::Over,
                    Denied::Refused(Refusal::Taken)
                    | Denied::Closed(_)
                    | Denied::Unknown(_)
                    | Denied::NotExclusive(_) => wire::GrantOutcome::Taken,
                    Denied::NotWritten(_) | Denied::Ending => return Err(refusal(&why)),
                }
                .into(),
                message: why.to_string(),
                ..Default::default()
            },
        };
        Ok(Response::new(answer))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewGrantRequest>,
    ) -> Result<Response<wire::RenewGrantResponse>, Status> {
        access::check(&request, Deed::HandOutUnits)?;
        let request = request.into_inner();
        let asked = self.ask(
            &request.node,
            &request.instance,
            &request.serial,
            Wish::Renew,
        );
        let standing = asked.await?.map_err(|why| refusal(&why))?;
        Ok(Response::new(wire::RenewGrantResponse {
            lasts_millis: millis(standing.lasts),
        }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseGrantRequest>,
    ) -> Result<Response<wire::ReleaseGrantResponse>, Status> {
        access::check(&request, Deed::HandOutUnits)?;
        let request = request.into_inner();
        let asked = self.ask(
            &request.node,
            &request.instance,
            &request.serial,
            Wish::Release,
        );
        match asked.await? {
            // Where there is no instance, there is no ticket.
            Ok(_) | Err(Denied::Unknown(_)) => Ok(Response::new(wire::ReleaseGrantResponse {})),
            Err(why) => Err(refusal(&why)),
        }
    }

    type WatchUnitsStream = BoxStream<'static, Result<wire::WatchUnitsResponse, Status>>;

    async fn watch_units(
        &self,
        request: Request<wire::WatchUnitsRequest>,
    ) -> Result<Response<Self::WatchUnitsStream>, Status> {
        access::check(&request, Deed::HandOutUnits)?;
        self.check(&request.get_ref().node)?;
        let mut board = self.reservations.board();
        board.mark_changed();
        let boards = stream::unfold(Some((board, self.stop.clone())), async |state| {
            let (mut board, stop) = state?;
            match stop.run_until_cancelled(board.changed()).await {
                Some(Ok(())) => {
                    let shown = to_wire(&board.borrow_and_update());
                    Some((Ok(shown), Some((board, stop))))
                }
                Some(Err(_)) | None => {
                    Some((Err(Status::unavailable("the agent is ending")), None))
                }
            }
        });
        Ok(Response::new(boards.boxed()))
    }
}

fn to_wire(board: &Board) -> wire::WatchUnitsResponse {
    let instances = board.units.iter();
    wire::WatchUnitsResponse {
        sequence: board.sequence,
        instances: instances
            .map(|(instance, of)| units(instance.to_string(), *of))
            .collect(),
    }
}

fn units(instance: String, of: Units) -> wire::InstanceUnits {
    wire::InstanceUnits {
        instance,
        capacity: of.capacity,
        taken: of.taken,
        open: of.open,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn refusal(why: &Denied) -> Status {
    let text = why.to_string();
    match why {
        Denied::Unknown(_) | Denied::Refused(Refusal::Over) => Status::not_found(text),
        Denied::NotExclusive(_) | Denied::Closed(_) => Status::failed_precondition(text),
        Denied::Refused(Refusal::Taken) => Status::resource_exhausted(text),
        Denied::NotWritten(_) => Status::internal(text),
        Denied::Ending => Status::unavailable(text),
    }
}
