//! The messages and services of `proto/`, as generated.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated; documented in the .proto files"
)]

/// Where a client sends its next request.
pub mod service_discovery {
    tonic::include_proto!("quaestor.service_discovery");
}

/// How busy a worker is.
pub mod load_reporting {
    tonic::include_proto!("quaestor.load_reporting");
}

/// Cancelling requests.
pub mod process_admin {
    tonic::include_proto!("quaestor.process_administration");
}

/// Work for the demo worker.
pub mod demo {
    tonic::include_proto!("quaestor.demo");
}

/// What is Quaestor's own: where to send the next request, what instances print.
pub mod v1 {
    tonic::include_proto!("quaestor.v1");
}

/// What others have set a standard for: xDS and ORCA, as far as they are spoken here.
pub mod standard {
    include!(concat!(env!("OUT_DIR"), "/standard.rs"));
}

/// What our workers say beside ORCA's own fields, in its `named_metrics`.
pub mod orca {
    /// Requests that are worked on now.
    pub const CURRENT_REQUESTS: &str = "current_requests";
    /// Requests that can be worked on at once; absent: not known.
    pub const REQUEST_CAPACITY: &str = "request_capacity";
}

/// Descriptors of all of them but the standard ones, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
