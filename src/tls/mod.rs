//! Mutual TLS on the connections of the cluster's parts, with certificates that are replaced while they are in use.
//!
//! - [`Files`]: which files there are; `loaded`: what they hold, made ready for use
//! - [`Credentials`]: the files in use, read again whenever they change
//!   - [`Secured`]: a network whose connections are secured by them
//!   - `listener`: a listener that secures what it accepts; `arrival`: a connection that is being accepted
//! - [`protect`]: connections to servers that are no part of a cluster
//! - `trouble`: why a connection was not secured, in words
//! - [`Certificate`]: what a certificate says
//! - [`authority`]: making certificates
//!
//! Every connection is verified anew: nothing is resumed, so that an expired certificate opens no door. Time is the
//! injected clock's.

mod arrival;
pub mod authority;
mod certificate;
mod credentials;
mod listener;
mod loaded;
mod network;
mod public;
#[cfg(test)]
mod tests;
mod trouble;

use std::path::PathBuf;

pub use certificate::Certificate;
pub use credentials::{Credentials, notice};
pub use listener::{Door, unguarded};
pub use network::Secured;
pub use public::protect;

use crate::model::Timestamp;

/// The files that connections are secured by, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificates of the authorities whose word counts.
    pub authorities: Named,
    /// What we show of ourselves; none: nothing, and nobody can be let in.
    pub own: Option<Own>,
}

/// A certificate of ours, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The certificate, and behind it those that lead to its authority, if there are any.
    pub certificate: Named,
    /// Its private key.
    pub key: Named,
}

/// A file, and what it was named by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it is.
    pub path: PathBuf,
    /// The flag.
    pub flag: &'static str,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.flag)
    }
}

/// Why files are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {file}: {cause}")]
    Unreadable {
        /// The file.
        file: Named,
        /// What the system said.
        cause: String,
    },
    /// It does not hold what it should.
    #[error("{file} holds no {what} in PEM: {cause}")]
    Empty {
        /// The file.
        file: Named,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The two files are not of one pair.
    #[error("the key in {key} is not that of the certificate in {certificate}")]
    Mismatch {
        /// The key's file.
        key: Named,
        /// The certificate's file.
        certificate: Named,
    },
    /// A certificate that is to replace one that still holds has expired.
    #[error("the certificate in {file} expired at {since}")]
    Expired {
        /// The certificate's file.
        file: Named,
        /// When.
        since: Timestamp,
    },
    /// Something else is wrong with it.
    #[error("{file} cannot be used: {cause}")]
    Unusable {
        /// The file.
        file: Named,
        /// What is wrong.
        cause: String,
    },
}
