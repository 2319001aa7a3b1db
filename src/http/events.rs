//! A watch as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{json::Told, problem::Problem, routes::encode};
use crate::{balancer::answers::Watching, host::Clock};

/// A stream that has nothing to tell gives a sign of life this often: proxies close silent connections,
/// most after a minute, and a peer that is gone is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// The events of a watch until `stop`: `full` first, then `change`, and `problem` as the last one when the service is
/// gone. The next one is made when the reader has room for it.
pub(super) fn events(
    watching: Watching,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let events = stream::unfold(Some(watching), move |watching| {
        let clock = Arc::clone(&clock);
        async move {
            let mut watching = watching?;
            let told = tokio::select! {
                told = watching.next() => told,
                () = clock.sleep(SIGN_OF_LIFE) => {
                    return Some((Bytes::from_static(b": alive\n\n"), Some(watching)));
                }
            };
            Some(match told {
                Ok(changes) => {
                    let told = Told::from(changes);
                    let name = if told.complete { "full" } else { "change" };
                    (event(name, &encode(&told)), Some(watching))
                }
                Err(refused) => (event("problem", &encode(&Problem::from(refused))), None),
            })
        }
    });
    events.take_until(stop.cancelled_owned()).map(Ok)
}

/// One event; JSON has no line breaks of its own.
fn event(name: &str, data: &[u8]) -> Bytes {
    [b"event: ", name.as_bytes(), b"\ndata: ", data, b"\n\n"]
        .concat()
        .into()
}
