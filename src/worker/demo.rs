//! A worker to try things out with: it does nothing, for as long as it is asked to, and can go wrong
//! in the ways that workers do.
//!
//! - `freeze`: a listener whose connections fall silent

mod freeze;

use std::{io, net::SocketAddr, process, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Call, Kit, Owner, Server, Unmeasured};
use crate::{
    grpc,
    host::Host,
    model::Moment,
    proto::demo::{
        WorkRequest, WorkResponse,
        demo_worker_server::{DemoWorker, DemoWorkerServer},
    },
};

use freeze::Freezing;

/// What a demo worker is to do. Times count from its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The names that it serves.
    pub service_names: Vec<String>,
    /// How many `Work` calls it takes at once.
    pub capacity: u32,
    /// The instance that it is, told with every answer; empty when nobody started it as one.
    pub instance: String,
    /// It begins to listen after this time, as a slow starter does.
    pub start_after: Duration,
    /// From then on it says NOT_SERVING.
    pub unhealthy_after: Option<Duration>,
    /// From then on it answers nothing any more, with its port open, as a hung process does.
    pub hang_after: Option<Duration>,
    /// It ends by itself then, whatever it is doing, as a crash does.
    pub exit_after: Option<Duration>,
    /// The exit code of that end.
    pub exit_code: u8,
    /// Whether it works on when it is told to stop.
    pub ignore_stop: bool,
}

/// How long calls may go on once the worker is told to stop. Its manifest's `stop.grace`, 30 s unless
/// it says otherwise, comes first.
const DRAIN: Duration = Duration::from_secs(60);

/// Why a demo worker could not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address is not free.
    #[error("the demo worker cannot listen on {address}: {cause}")]
    Listen {
        /// Where it should listen.
        address: SocketAddr,
        /// What stands in the way.
        cause: io::Error,
    },
    /// Its server ended.
    #[error(transparent)]
    Server(#[from] grpc::Error),
}

/// Works until `stop`, or for as long as `config` says. Returns the exit code for the process.
///
/// # Errors
/// When it cannot listen, or its server ends by itself.
pub async fn run(config: Config, host: Host, stop: CancellationToken) -> Result<u8, Error> {
    let start = host.clock.now();
    let at = |after: Option<Duration>| at(&host, start, after);
    let stop = match config.ignore_stop {
        true => CancellationToken::new(),
        false => stop,
    };
    tokio::select! {
        served = serve(&config, &host, start, stop) => served.map(|()| 0),
        () = at(config.exit_after) => Ok(config.exit_code),
    }
}

async fn serve(
    config: &Config,
    host: &Host,
    start: Moment,
    stop: CancellationToken,
) -> Result<(), Error> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = at(host, start, Some(config.start_after)) => {}
    }
    let listening = host.network.listen(config.listen).await;
    let listener = listening.map_err(|cause| Error::Listen {
        address: config.listen,
        cause,
    })?;
    let hang = config.hang_after.map(|after| start + after);
    let listener = Box::new(Freezing::new(listener, host.clock.clone(), hang));

    let worker = Worker {
        instance: config.instance.clone(),
        host: host.clone(),
    };
    // Its reports are to tell of what it is asked to do, and of nothing else on the host.
    let machine = Arc::new(Unmeasured(host.clock.clone()));
    let kit = Kit::on(machine, config.service_names.clone())
        .capacity(config.capacity)
        .limited();
    let server = Server::new(kit, host.clock.clone())
        .await
        .add_service(DemoWorkerServer::new(worker));
    let health = server.health();
    let sicken = async {
        at(host, start, config.unhealthy_after).await;
        health.set(false).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = server.run(listener, stop, DRAIN) => Ok(served?),
        () = sicken => Ok(()),
    }
}

/// Resolves `after` the start; never, when it is none.
async fn at(host: &Host, start: Moment, after: Option<Duration>) {
    match after {
        Some(after) => host.clock.sleep_until(start + after).await,
        None => std::future::pending().await,
    }
}

struct Worker {
    instance: String,
    host: Host,
}

#[tonic::async_trait]
impl DemoWorker for Worker {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        let call = Call::of(&request);
        let request = request.into_inner();
        if let Some(call) = call {
            // Who cancels it cuts it off: there is nothing to put in order.
            call.belongs_to(Owner {
                user_name: request.user_name,
                environment: request.environment,
            });
        }
        let work = Duration::from_millis(request.millis.into());
        self.host.clock.sleep(work).await;
        Ok(Response::new(WorkResponse {
            instance: self.instance.clone(),
            pid: process::id(),
        }))
    }
}
