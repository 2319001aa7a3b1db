//! Asking an endpoint how it is: is it healthy, how busy is it?
//!
//! - [`Prober`]: asks one endpoint, over one kept connection where the protocol allows it
//! - `grpc`: `grpc.health.v1.Health/Check`, `Quaestor.LoadReporting/ReportLoad` and ORCA
//! - `http`: `GET`
//!
//! Every answer says what was asked and what came back, in words that stay the same while the
//! reason does.

mod document;
mod grpc;
mod http;

use std::{fmt, io, sync::Arc, time::Duration};

use futures::future::{BoxFuture, Either, select};

use crate::{
    host::{Clock, Host, Network},
    model::{
        LoadReport, Name,
        service::{HealthSpec, HttpLoad},
    },
};

/// What is asked of an endpoint to learn whether it is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `grpc.health.v1.Health/Check` for each of the names; all must be SERVING.
    Grpc {
        /// The names; the empty one stands for the server as a whole.
        names: Vec<String>,
    },
    /// `GET` of a path; any 2xx or 3xx status is healthy.
    Http {
        /// Begins with a slash.
        path: String,
    },
    /// Connect.
    Tcp,
}

impl Check {
    /// The check over a port that `spec` asks for, by those `names`, and the port that it goes to; the first, where it
    /// names none.
    pub fn of<'a>(spec: &'a HealthSpec, names: &[String]) -> Option<(Option<&'a Name>, Self)> {
        if let Some(grpc) = &spec.grpc {
            let names = names.to_vec();
            Some((grpc.port.as_ref(), Self::Grpc { names }))
        } else if let Some(http) = &spec.http {
            let path = http.path.clone();
            Some((http.port.as_ref(), Self::Http { path }))
        } else {
            let tcp = spec.tcp.as_ref()?;
            Some((tcp.port.as_ref(), Self::Tcp))
        }
    }
}

/// Why an endpoint is not healthy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// It answered, and the answer was not the one that was wanted.
    #[error("{asked}: {answer}")]
    Answered {
        /// What was asked of whom.
        asked: String,
        /// What came back.
        answer: String,
    },
    /// It cannot be talked to: it does not listen, or it broke the connection.
    #[error("{asked}: {cause}")]
    Unreachable {
        /// What was asked of whom.
        asked: String,
        /// What failed.
        cause: String,
    },
    /// No answer came in time.
    #[error("{asked}: no answer within {waited:?}")]
    Silent {
        /// What was asked of whom.
        asked: String,
        /// How long was waited.
        waited: Duration,
    },
}

/// What an endpoint says of its load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// How busy it is.
    pub report: LoadReport,
    /// Its time stamp. It is the endpoint's own and not comparable with ours, but differs between any
    /// two reports that are not the same.
    pub ticks: i64,
}

/// A host and port to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Asks one endpoint. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Prober {
    target: Target,
    network: Arc<dyn Network>,
    clock: Arc<dyn Clock>,
    connection: grpc::Connection,
}

impl Prober {
    /// Asks `target`; connects when it is first asked. Call on the runtime.
    ///
    /// # Errors
    /// `InvalidInput` for a host that cannot be part of an address.
    pub fn new(target: Target, host: &Host) -> io::Result<Self> {
        Ok(Self {
            connection: grpc::Connection::new(target.clone(), Arc::clone(&host.network))?,
            network: Arc::clone(&host.network),
            clock: Arc::clone(&host.clock),
            target,
        })
    }

    /// The endpoint that is asked.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the endpoint is healthy, known after `timeout` at the latest.
    pub fn check(
        &self,
        check: Check,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<(), Unhealthy>> {
        let prober = self.clone();
        Box::pin(async move {
            let asked = prober.describe(&check);
            let asking = async {
                match check {
                    Check::Grpc { names } => grpc::check(&prober.connection, names).await,
                    Check::Http { path } => {
                        http::get(&*prober.network, &prober.target, &path).await
                    }
                    Check::Tcp => prober.connect().await,
                }
            };
            prober.in_time(timeout, asked, asking).await
        })
    }

    /// How busy the endpoint is, by the busiest of the services in `names`.
    pub fn report_load(
        &self,
        names: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Load, Unhealthy>> {
        let prober = self.clone();
        Box::pin(async move {
            let asked = format!("ReportLoad on {}", prober.target);
            let asking = grpc::report_load(&prober.connection, names);
            prober.in_time(timeout, asked, asking).await
        })
    }

    /// How busy the endpoint is, by the standard's load report.
    pub fn orca(&self, timeout: Duration) -> BoxFuture<'static, Result<Load, Unhealthy>> {
        let prober = self.clone();
        Box::pin(async move {
            let asked = format!("StreamCoreMetrics on {}", prober.target);
            let asking = grpc::orca(&prober.connection);
            prober.in_time(timeout, asked, asking).await
        })
    }

    /// How busy the endpoint is, by a JSON document of its own.
    pub fn load_document(
        &self,
        spec: HttpLoad,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Load, Unhealthy>> {
        let prober = self.clone();
        Box::pin(async move {
            let asked = format!("GET http://{}{}", prober.target, spec.path);
            let asking = async {
                let got = http::get_body(&*prober.network, &prober.target, &spec.path);
                let report = document::report(&got.await?, &spec)?;
                Ok(Load { report, ticks: 0 })
            };
            prober.in_time(timeout, asked, asking).await
        })
    }

    async fn connect(&self) -> Result<(), Trouble> {
        let connecting = self.network.connect(&self.target.host, self.target.port);
        connecting.await.map(drop).map_err(Trouble::unreachable)
    }

    async fn in_time<T>(
        &self,
        timeout: Duration,
        asked: String,
        asking: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Unhealthy> {
        let asking = std::pin::pin!(asking);
        match select(asking, self.clock.sleep(timeout)).await {
            Either::Left((Ok(answer), _)) => Ok(answer),
            Either::Left((Err(Trouble::Answer(answer)), _)) => {
                Err(Unhealthy::Answered { asked, answer })
            }
            Either::Left((Err(Trouble::Connection(cause)), _)) => {
                Err(Unhealthy::Unreachable { asked, cause })
            }
            Either::Right(_) => Err(Unhealthy::Silent {
                asked,
                waited: timeout,
            }),
        }
    }

    fn describe(&self, check: &Check) -> String {
        let target = &self.target;
        match check {
            Check::Grpc { names } if names.iter().all(String::is_empty) => {
                format!("gRPC health of {target}")
            }
            Check::Grpc { names } => format!("gRPC health of {} at {target}", names.join(", ")),
            Check::Http { path } => format!("GET http://{target}{path}"),
            Check::Tcp => format!("TCP connection to {target}"),
        }
    }
}

/// What came instead of the wanted answer.
enum Trouble {
    /// Another answer.
    Answer(String),
    /// None: the connection failed.
    Connection(String),
}

impl Trouble {
    /// With the innermost cause, which alone says something: "connection refused".
    fn unreachable(error: impl std::error::Error) -> Self {
        Self::Connection(innermost(&error))
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
