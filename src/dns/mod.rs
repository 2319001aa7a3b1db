//! DNS, for clients that know nothing else: the balancer's answers as SRV, A and AAAA records.
//!
//! - `name`: what a name asks for; pure
//! - `reply`: a message for a message
//! - `records`: endpoints as records
//! - `hosts`: the addresses of endpoints whose host is a name
//! - `server`: datagrams and connections, and their limits
//!
//! It is authoritative for one domain and knows nothing else.

mod hosts;
mod name;
mod records;
mod reply;
mod server;

use std::{convert::Infallible, time::Duration};

use hickory_proto::rr::Name;
use tokio_util::sync::CancellationToken;

use crate::{
    balancer::answers::Answers,
    host::{Datagrams, Host, Listener},
};

/// What is told about, and for how long it holds.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Name,
    ttl: u32,
}

/// A text that cannot be a domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no domain, as `quaestor.example.com` is one")]
pub struct InvalidDomain(String);

impl Zone {
    /// The services of `domain`; resolvers may keep an answer for `ttl`, which counts in whole seconds.
    ///
    /// # Errors
    /// When that cannot be a domain.
    pub fn new(domain: &str, ttl: Duration) -> Result<Self, InvalidDomain> {
        let name = Name::from_ascii(domain.trim_end_matches('.'));
        let mut name = name.map_err(|_| InvalidDomain(domain.to_owned()))?;
        if name.num_labels() == 0 {
            return Err(InvalidDomain(domain.to_owned()));
        }
        name.set_fqdn(true);
        Ok(Self {
            domain: name.to_lowercase(),
            ttl: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
        })
    }
}

/// Answers questions about `zone` on both places until `stop`.
///
/// # Errors
/// None today.
pub async fn serve(
    datagrams: Box<dyn Datagrams>,
    listener: Box<dyn Listener>,
    zone: Zone,
    answers: Answers,
    host: Host,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let replier = reply::Replier::new(zone, answers, host.clone());
    server::run(&replier, &*datagrams, listener, &host, stop).await;
    Ok(())
}

#[cfg(test)]
mod tests;
