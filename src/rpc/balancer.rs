//! `quaestor.v1.Balancer`: where to send the next request, for clients of our own.

use std::{collections::BTreeMap, sync::Arc};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::discovery::LARGEST_REQUEST;
use crate::{
    host::Host,
    proto::v1::{
        self as wire,
        balancer_server::{Balancer, BalancerServer},
    },
    view::{Described, Directory, Endpoint, Question, Refusal},
};

/// Endpoints in one answer, and excluded ones in one question.
const MOST: usize = 1000;

/// Attributes of one question, and bytes of all of them.
const MOST_ATTRIBUTES: (usize, usize) = (64, 4096);

/// Bytes of an affinity key.
const LONGEST_KEY: usize = 1024;

/// The service, answering from `directory` until `stop`, which ends the watches.
pub(super) fn service(
    directory: Arc<Directory>,
    host: Host,
    stop: CancellationToken,
) -> BalancerServer<impl Balancer> {
    let service = Service {
        directory,
        host,
        stop,
    };
    // A thousand places to exclude take more than a name and a number do.
    BalancerServer::new(service).max_decoding_message_size(8 * LARGEST_REQUEST)
}

struct Service {
    directory: Arc<Directory>,
    host: Host,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Balancer for Service {
    async fn pick(
        &self,
        request: Request<wire::PickRequest>,
    ) -> Result<Response<wire::PickResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let now = self.host.clock.now();
        let is_excluded = |endpoint: &Endpoint| {
            let mut excluded = request.exclude.iter();
            excluded.any(|place| names(place, endpoint))
        };
        let picked = self
            .directory
            .pick(&Question {
                count: usize::try_from(request.count).map_or(MOST, |count| count.clamp(1, MOST)),
                attributes: Some(&request.attributes),
                affinity_key: &request.affinity_key,
                excluded: (!request.exclude.is_empty()).then_some(&is_excluded),
                ..Question::new(&request.service, self.host.entropy.bits(), now)
            })
            .map_err(super::refuse)?;
        let endpoints = picked.iter();
        Ok(Response::new(wire::PickResponse {
            endpoints: endpoints
                .map(|endpoint| describe(&self.directory, endpoint))
                .collect(),
            view_age_millis: age(&self.directory, &self.host),
        }))
    }

    type WatchStream = BoxStream<'static, Result<wire::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let first = describe_open(&self.directory, &name)?;
        let watch = Watch {
            directory: Arc::clone(&self.directory),
            host: self.host.clone(),
            name,
            next: Some(first),
            told: None,
        };
        // Nothing is made before the client has room for it: between two looks any number of changes may
        // have passed.
        let changes = stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(response) => Some((Ok(response), Some(watch))),
                Err(status) => Some((Err(status), None)),
            }
        });
        let changes = changes.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(changes.boxed()))
    }
}

/// The endpoints of `name`, unless they are given out by tickets only.
fn describe_open(directory: &Directory, name: &str) -> Result<Described, Status> {
    let described = directory.describe(name).map_err(super::refuse)?;
    if described.is_exclusive() {
        return Err(super::refuse(Refusal::Exclusive(name.to_owned())));
    }
    Ok(described)
}

/// One reader of a service's endpoints.
struct Watch {
    directory: Arc<Directory>,
    host: Host,
    name: String,
    /// What to tell next; none: what `told` becomes.
    next: Option<Described>,
    told: Option<(Described, Endpoints)>,
}

/// What was told, by place.
type Endpoints = BTreeMap<(String, u32), wire::Endpoint>;

impl Watch {
    /// The next message, once there is something to tell.
    async fn next(&mut self) -> Result<wire::WatchResponse, Status> {
        loop {
            let described = match self.next.take() {
                Some(first) => first,
                None => {
                    if let Some((told, _)) = &mut self.told {
                        told.changed().await;
                    }
                    describe_open(&self.directory, &self.name)?
                }
            };
            let all = described.endpoints().iter();
            let all: Endpoints = all
                .map(|endpoint| {
                    let place = (endpoint.host().to_owned(), u32::from(endpoint.port()));
                    (place, describe(&self.directory, endpoint))
                })
                .collect();
            let told = self.told.take().map(|(_, told)| told);
            let complete = told.is_none();
            let told = told.unwrap_or_default();
            let same = |place: &(String, u32), now: &wire::Endpoint| {
                told.get(place).is_some_and(|told| {
                    let load = now.load;
                    wire::Endpoint {
                        load,
                        ..told.clone()
                    } == *now
                })
            };
            let changed = all.iter().filter(|(place, now)| !same(place, now));
            let changed: Vec<_> = changed.map(|(_, now)| now.clone()).collect();
            let removed = told.keys().filter(|place| !all.contains_key(place));
            let removed: Vec<_> = removed
                .map(|(host, port)| wire::Address {
                    host: host.clone(),
                    port: *port,
                })
                .collect();
            self.told = Some((described, all));
            if complete || !changed.is_empty() || !removed.is_empty() {
                return Ok(wire::WatchResponse {
                    complete,
                    changed,
                    removed,
                    view_age_millis: age(&self.directory, &self.host),
                });
            }
        }
    }
}

/// Refuses questions that are larger than any honest one.
fn check(request: &wire::PickRequest) -> Result<(), Status> {
    let attributes = request.attributes.iter();
    let size: usize = attributes.map(|(key, value)| key.len() + value.len()).sum();
    let refused = if request.attributes.len() > MOST_ATTRIBUTES.0 || size > MOST_ATTRIBUTES.1 {
        "`attributes` has more than 64 entries or 4096 bytes"
    } else if request.affinity_key.len() > LONGEST_KEY {
        "`affinity_key` has more than 1024 bytes"
    } else if request.exclude.len() > MOST {
        "`exclude` has more than 1000 entries"
    } else {
        return Ok(());
    };
    Err(Status::invalid_argument(refused))
}

/// Whether `place` is that of the endpoint; the case of host names does not count.
fn names(place: &wire::Address, endpoint: &Endpoint) -> bool {
    place.port == u32::from(endpoint.port()) && place.host.eq_ignore_ascii_case(endpoint.host())
}

fn describe(directory: &Directory, endpoint: &Endpoint) -> wire::Endpoint {
    let load = endpoint.load();
    let labels = endpoint.node().labels();
    wire::Endpoint {
        address: Some(wire::Address {
            host: endpoint.host().to_owned(),
            port: u32::from(endpoint.port()),
        }),
        instance: endpoint.instance().to_string(),
        node: endpoint.node().name().to_string(),
        labels: labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        load: Some(wire::Load {
            rate: load.known_rate,
            capacity: load.counts.map(|counts| counts.capacity),
            current_requests: load.counts.map(|counts| counts.current),
            effective: directory.effective_load(endpoint).unwrap_or(f64::INFINITY),
        }),
        tls: false,
        suspect: !endpoint.node().is_trusted(),
    }
}

/// The age of the view in milliseconds.
fn age(directory: &Directory, host: &Host) -> u64 {
    let age = directory.age(host.clock.now()).unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
