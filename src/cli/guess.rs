//! What may have been meant by a name that there is not.

use anyhow::anyhow;

use super::{args::Global, operator};
use crate::{host::Host, model::manifest::closest, operator::Error};

/// The same failure; of a name that there is not it says which one may have been meant.
pub(super) async fn completed(error: anyhow::Error, global: &Global, host: &Host) -> anyhow::Error {
    let wrong = match error.downcast_ref() {
        Some(Error::Unknown(name)) => name.clone(),
        Some(Error::NoService(name) | Error::UnknownNode(name)) => name.to_string(),
        _ => return error,
    };
    let is_node = matches!(error.downcast_ref(), Some(Error::UnknownNode(_)));
    let Ok(operator) = operator(global, host) else {
        return error;
    };
    let Ok(inventory) = operator.inventory().await else {
        return error;
    };
    let known: Vec<&str> = match is_node {
        true => inventory.nodes.iter().map(|it| it.name.as_str()).collect(),
        false => inventory
            .services
            .iter()
            .map(|it| it.name.as_str())
            .collect(),
    };
    match closest(&wrong, known.iter().copied()) {
        Some(close) => anyhow!("{error:#}; did you mean {close}?"),
        None => error,
    }
}
