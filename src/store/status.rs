//! What a member of the store says of itself.

use etcd_client::{Client, StatusResponse};

/// How a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its version; what follows a `+` says that it is no etcd.
    pub version: String,
    /// Bytes that its database takes on disk.
    pub size: u64,
    /// Bytes of that which hold something; the rest is given back by defragmenting.
    pub in_use: u64,
    /// Bytes that it may take; none from an etcd that is too old to say (before 3.6).
    pub quota: Option<u64>,
    /// Whether it knows a leader.
    pub has_leader: bool,
    /// The newest revision that it has.
    pub revision: i64,
    /// What it complains of, as in `memberID:1 alarm:NOSPACE`.
    pub errors: Vec<String>,
}

impl Status {
    /// Whether the store takes no writes for want of space.
    pub fn is_full(&self) -> bool {
        self.errors.iter().any(|error| error.contains("NOSPACE"))
    }

    pub(super) fn of(answer: StatusResponse) -> Self {
        let bytes = |count: i64| u64::try_from(count).unwrap_or(0);
        Self {
            version: answer.version().to_owned(),
            size: bytes(answer.db_size()),
            in_use: bytes(answer.raft_used_db_size()),
            quota: Some(bytes(answer.db_size_quota())).filter(|quota| *quota > 0),
            has_leader: answer.leader() != 0,
            revision: answer.header().map_or(0, |header| header.revision()),
            errors: answer.errors().to_vec(),
        }
    }
}

/// Asks a member.
pub(super) async fn ask(mut client: Client) -> Result<StatusResponse, etcd_client::Error> {
    client.status().await
}
