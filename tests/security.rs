//! A cluster that lets nobody in without a certificate: made by the program's own commands, on a real etcd that
//! they have configured.
//!
//! - `cluster`: roles on three members of etcd, with TLS on every connection; who may do what; new certificates
//! - `rights`: etcd's own users: what each role may do to which keys, and that this is enough
//! - `files`: certificates and configuration as files: what is written, refused, found to be wrong
//! - `xds`: stock gRPC clients
//! - `ground`: what they stand on
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests panic, start programs and wait in real time"
)]

mod support;

#[path = "security/cluster.rs"]
mod cluster;
#[path = "security/files.rs"]
mod files;
#[path = "security/ground.rs"]
mod ground;
#[path = "security/rights.rs"]
mod rights;
#[path = "xds/client.rs"]
mod stock;
#[path = "security/xds.rs"]
mod xds;
