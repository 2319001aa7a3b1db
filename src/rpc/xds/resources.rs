//! Resources as they are written. Stock clients refuse much that the protocol allows; what stands here was
//! taken by grpcio 1.51 to 1.85 and grpc-js 1.14.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use prost_types::{Any, Duration};

use crate::{
    balancer::xds::Assigned,
    model::service::Weighing,
    plan::xds::{Kind, Seat},
    proto::standard::envoy::{
        config::{
            cluster::v3::{
                Cluster, LoadBalancingPolicy,
                cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
                load_balancing_policy::Policy,
            },
            core::v3::{
                Address, AggregatedConfigSource, ApiVersion, ConfigSource, HealthStatus, Locality,
                SocketAddress, TypedExtensionConfig, address, config_source::ConfigSourceSpecifier,
                socket_address::PortSpecifier,
            },
            endpoint::v3::{
                ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
                lb_endpoint::HostIdentifier,
            },
            listener::v3::{ApiListener, Listener},
            route::v3::{
                Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route::Action,
                route_action::ClusterSpecifier, route_match::PathSpecifier,
            },
        },
        extensions::{
            filters::{
                http::router::v3::Router,
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, http_connection_manager::RouteSpecifier,
                    http_filter::ConfigType,
                },
            },
            load_balancing_policies::{
                client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin,
                round_robin::v3::RoundRobin, wrr_locality::v3::WrrLocality,
            },
        },
    },
};

/// What the names of types begin with.
const PREFIX: &str = "type.googleapis.com/";

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// Where `weights: orca`: how often endpoints tell clients their load, and for how long they have to before it counts.
const REPORTS: Duration = seconds(1);

/// What the type of a resource stands for.
pub(super) fn kind(type_url: &str) -> Option<Kind> {
    match type_url {
        LISTENER => Some(Kind::Listener),
        CLUSTER => Some(Kind::Cluster),
        ENDPOINTS => Some(Kind::Endpoints),
        _ => None,
    }
}

/// The other way round.
pub(super) fn type_url(kind: Kind) -> &'static str {
    match kind {
        Kind::Listener => LISTENER,
        Kind::Cluster => CLUSTER,
        Kind::Endpoints => ENDPOINTS,
    }
}

/// All calls go to the cluster of the same name.
pub(super) fn listener(name: &str) -> Bytes {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(name.to_owned())),
    };
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(String::new())),
        }),
        action: Some(Action::Route(action)),
    };
    let routes = RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: name.to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![route],
        }],
    };
    let router = any("envoy.extensions.filters.http.router.v3.Router", &Router {});
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        http_filters: vec![HttpFilter {
            name: "router".to_owned(),
            config_type: Some(ConfigType::TypedConfig(router)),
        }],
    };
    let manager = any(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        &manager,
    );
    resource(
        LISTENER,
        &Listener {
            name: name.to_owned(),
            api_listener: Some(ApiListener {
                api_listener: Some(manager),
            }),
        },
    )
}

/// A service: its endpoints come by the same stream.
pub(super) fn cluster(name: &str, weighing: Weighing) -> Bytes {
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3.into(),
    };
    resource(
        CLUSTER,
        &Cluster {
            name: name.to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: Some(EdsClusterConfig {
                eds_config: Some(source),
                service_name: name.to_owned(),
            }),
            // Localities by their weights, and round robin within each.
            lb_policy: 0,
            load_balancing_policy: match weighing {
                Weighing::Server => None,
                Weighing::Orca => Some(by_reports()),
            },
        },
    )
}

/// Weights that the client works out by the reports of the endpoints; round robin for those clients that cannot.
fn by_reports() -> LoadBalancingPolicy {
    let weighted = ClientSideWeightedRoundRobin {
        enable_oob_load_report: Some(true),
        oob_reporting_period: Some(REPORTS),
        blackout_period: Some(REPORTS),
        weight_expiration_period: Some(seconds(60)),
        weight_update_period: Some(REPORTS),
    };
    let picking = policies([
        policy(
            "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
            &weighted,
        ),
        policy(
            "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
            &RoundRobin {},
        ),
    ]);
    let localities = WrrLocality {
        endpoint_picking_policy: Some(picking),
    };
    policies([policy(
        "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality",
        &localities,
    )])
}

fn policies<const N: usize>(policies: [Policy; N]) -> LoadBalancingPolicy {
    LoadBalancingPolicy {
        policies: policies.into(),
    }
}

fn policy(name: &str, config: &impl Message) -> Policy {
    Policy {
        typed_extension_config: Some(TypedExtensionConfig {
            name: name.to_owned(),
            typed_config: Some(any(name, config)),
        }),
    }
}

/// Where the instances of a service are.
pub(super) fn endpoints(name: &str, assigned: &Assigned) -> Bytes {
    let endpoints = match assigned.weighing {
        Weighing::Server => assigned.seats.iter().map(alone).collect(),
        Weighing::Orca => together(name, &assigned.seats),
    };
    resource(
        ENDPOINTS,
        &ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints,
        },
    )
}

/// An endpoint as a locality of its own: the weights of endpoints themselves are heeded by few clients. Its name
/// is stable, so that clients keep their connection whatever else changes.
fn alone(seat: &Seat) -> LocalityLbEndpoints {
    locality(
        &seat.place,
        seat.weight,
        seat.priority,
        vec![endpoint(seat)],
    )
}

/// All endpoints of a priority as one locality, within which the client weighs them.
fn together(name: &str, seats: &[Seat]) -> Vec<LocalityLbEndpoints> {
    let mut priorities: BTreeMap<u32, Vec<LbEndpoint>> = BTreeMap::new();
    for seat in seats {
        priorities
            .entry(seat.priority)
            .or_default()
            .push(endpoint(seat));
    }
    let locality = |(priority, endpoints)| locality(name, 1, priority, endpoints);
    priorities.into_iter().map(locality).collect()
}

fn locality(
    zone: &str,
    weight: u32,
    priority: u32,
    lb_endpoints: Vec<LbEndpoint>,
) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(Locality {
            region: "quaestor".to_owned(),
            zone: zone.to_owned(),
            sub_zone: String::new(),
        }),
        lb_endpoints,
        load_balancing_weight: Some(weight),
        priority,
    }
}

fn endpoint(seat: &Seat) -> LbEndpoint {
    let socket = SocketAddress {
        address: seat.address.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(seat.address.port().into())),
    };
    let endpoint = Endpoint {
        address: Some(Address {
            address: Some(address::Address::SocketAddress(socket)),
        }),
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        // Stock clients send no new calls where it drains; what is under way there goes on.
        health_status: match seat.is_leaving {
            true => HealthStatus::Draining.into(),
            false => HealthStatus::Healthy.into(),
        },
        load_balancing_weight: None,
    }
}

fn resource(type_url: &str, message: &impl Message) -> Bytes {
    let any = Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    };
    any.encode_to_vec().into()
}

fn any(name: &str, message: &impl Message) -> Any {
    Any {
        type_url: format!("{PREFIX}{name}"),
        value: message.encode_to_vec(),
    }
}

const fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}
