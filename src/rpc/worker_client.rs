//! Asking a worker to cancel requests.

use std::{sync::Arc, time::Duration};

use super::connect::{self, Timeouts, connect};
use crate::{
    host::Network,
    proto::process_admin::{
        CancelRequest, process_administration_grpc_client::ProcessAdministrationGrpcClient,
    },
};

/// Why a worker did not say whether it cancelled anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not asked.
    #[error(transparent)]
    Connection(#[from] connect::Error),
    /// It would not.
    #[error("{0}")]
    Refused(String),
}

/// Whose requests are to be cancelled.
#[derive(Clone)]
pub struct Whose {
    /// The name that clients ask for; empty where there is none.
    pub service_name: String,
    /// The user, as the worker knows them.
    pub user_name: String,
    /// The user's environment, as the worker knows it.
    pub environment: String,
    /// For workers that want one; else empty.
    pub password: String,
}

/// Asks the worker at `address` (`host:port`), which has `timeout` for its answer. True: it has cancelled
/// requests; false: it had nothing to cancel.
///
/// # Errors
/// See [`Error`].
pub async fn cancel(
    network: Arc<dyn Network>,
    address: &str,
    whose: Whose,
    timeout: Duration,
) -> Result<bool, Error> {
    let channel = connect(network, address, Timeouts::question(timeout)).await?;
    let request = CancelRequest {
        environment: whose.environment,
        service_name: whose.service_name,
        user_name: whose.user_name,
        password: whose.password,
    };
    let answer = ProcessAdministrationGrpcClient::new(channel)
        .cancel(request)
        .await
        .map_err(|status| {
            Error::Refused(connect::refusal(
                &status,
                "this worker cannot cancel requests",
            ))
        })?;
    Ok(answer.into_inner().success)
}
