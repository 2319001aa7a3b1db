//! Flags that bound what a balancer takes on.

use clap::Args;

use crate::{
    balancer::limits::Limits,
    model::quantity::{Period, Size},
};

/// Bounds of a balancer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// gRPC connections at a time; further ones are closed at once
    #[arg(long, default_value = "10000", value_name = "N")]
    pub max_connections: usize,
    /// Calls at a time on one gRPC connection; further ones wait
    #[arg(long, default_value = "1024", value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub max_streams: u32,
    /// Size of a question; larger ones are refused
    #[arg(long, default_value = "128KiB", value_name = "SIZE")]
    pub max_message: Size,
    /// Size of a request's head
    #[arg(long, default_value = "16KiB", value_name = "SIZE")]
    pub max_header: Size,
    /// Watches that may be open at a time; further ones are refused
    #[arg(long, default_value = "4096", value_name = "N")]
    pub max_watches: usize,
    /// Questions per second from one address, as many of which may come at once; further ones are refused. 0: any
    /// number
    #[arg(long, default_value = "20000", value_name = "N")]
    pub max_peer_rate: u32,
    /// How long calls may go on once it is told to end; the rest is cut off then
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    pub drain: Period,
}

impl LimitArgs {
    /// The same, as a balancer takes it.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            streams: self.max_streams,
            message: usize::try_from(self.max_message.bytes()).unwrap_or(usize::MAX),
            head: u32::try_from(self.max_header.bytes()).unwrap_or(u32::MAX),
            watches: self.max_watches,
            peer_rate: (self.max_peer_rate > 0).then_some(self.max_peer_rate),
            drain: self.drain.get(),
        }
    }
}
