//! The log of one instance on one node: asked for again, and gone on with where it was, when it is followed
//! and its agent went away.

use std::time::Duration;

use tokio::sync::watch;

use crate::{
    cli::output::clean,
    host::Host,
    model::{LogBatch, LogLine, LogPosition, LogQuery, Moment},
    operator::whereabouts::{Place, Whereabouts},
    retry::Retry,
    rpc::log_client::{self, Error, LogStream},
};

/// The first and the longest pause before an agent is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Reads a log.
pub(super) struct Source {
    place: Place,
    host: Host,
    query: LogQuery,
    /// When `query` was said: ages in it count from then.
    since: Moment,
    whereabouts: watch::Receiver<Whereabouts>,
    stream: Option<LogStream>,
    /// Behind what was read so far, as far as its agent tells.
    position: Option<LogPosition>,
    /// Whether anything was read.
    has_begun: bool,
    retry: Retry,
    /// The last attempt failed, which has been said.
    is_held: bool,
    /// The instance has left the node: what is there is read to its end.
    is_last: bool,
}

/// What a source has to say.
pub(super) enum News {
    /// Lines, the oldest first.
    Lines(Vec<LogLine>),
    /// All there was has been read: what comes now is new.
    CaughtUp,
    /// It cannot be read now, and why, where that is worth a word. It will be asked for again.
    Held(Option<String>),
    /// There is nothing more, or why nothing more can be read.
    Over(Result<(), String>),
}

/// Why a log cannot be read, and whether that is worth a word.
struct Failure {
    text: String,
    is_quiet: bool,
}

impl Source {
    /// Reads what `query`, as it was said at `since`, asks of the instance at `place`. `whereabouts` say where
    /// its agent is, and how long it is followed.
    pub(super) fn new(
        place: Place,
        host: &Host,
        query: LogQuery,
        since: Moment,
        whereabouts: watch::Receiver<Whereabouts>,
    ) -> Self {
        Self {
            place,
            host: host.clone(),
            position: query.after,
            has_begun: query.after.is_some(),
            query,
            since,
            whereabouts,
            stream: None,
            retry: Retry::new(PAUSES.0, PAUSES.1),
            is_held: false,
            is_last: false,
        }
    }

    /// The instance, and its node.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Behind what was read so far, as far as its agent tells.
    pub(super) fn position(&self) -> Option<LogPosition> {
        self.position
    }

    /// Waits for the next news. Not to be called after [`News::Over`].
    pub(super) async fn next(&mut self) -> News {
        loop {
            let failure = match self.step().await {
                Ok(Some(news)) => return news,
                Ok(None) => continue,
                Err(failure) => failure,
            };
            self.stream = None;
            if !self.is_followed() {
                return News::Over(match failure.is_quiet && self.is_last {
                    true => Ok(()),
                    false => Err(failure.text),
                });
            }
            if self.has_begun && self.position.is_none() {
                let text = format!(
                    "{}; that agent, of an older version, cannot be asked to go on where it was",
                    failure.text
                );
                return News::Over(Err(text));
            }
            if !self.is_held {
                self.is_held = true;
                return News::Held((!failure.is_quiet).then_some(failure.text));
            }
            self.pause().await;
        }
    }

    /// Whether it is to be gone on with as long as the instance is there.
    fn is_followed(&self) -> bool {
        self.query.follow && !self.is_last
    }

    /// Asks, or takes the next batch. None: there is more to do.
    async fn step(&mut self) -> Result<Option<News>, Failure> {
        let is_followed = self.is_followed();
        let Some(stream) = &mut self.stream else {
            self.stream = Some(self.ask().await?);
            return Ok(None);
        };
        let place = &self.place;
        let left = async {
            let left = self.whereabouts.wait_for(|now| !now.places.contains(place));
            let has_left = left.await.is_ok();
            if !(is_followed && has_left) {
                std::future::pending().await
            }
        };
        let batch = tokio::select! {
            biased;
            batch = stream.next() => batch,
            () = left => {
                (self.is_last, self.stream) = (true, None);
                return Ok(None);
            }
        };
        if matches!(batch, Ok(Some(_))) {
            (self.position, self.has_begun) = (stream.position(), true);
            self.is_held = false;
            self.retry.reset();
        }
        match batch {
            Ok(Some(LogBatch::Lines(lines))) => Ok(Some(News::Lines(lines))),
            Ok(Some(LogBatch::CaughtUp)) => Ok(Some(News::CaughtUp)),
            Ok(None) if is_followed => Err(self.explain("its agent says no more", false)),
            Ok(None) => Ok(Some(News::Over(Ok(())))),
            Err(error) => Err(self.failure(&error)),
        }
    }

    async fn ask(&self) -> Result<LogStream, Failure> {
        let address = self.address()?;
        let (instance, node) = &self.place;
        let network = self.host.network.clone();
        let asking = log_client::read(network, &address, node, instance, self.question());
        asking.await.map_err(|error| self.failure(&error))
    }

    /// What is still to be read.
    fn question(&self) -> LogQuery {
        let follow = self.is_followed();
        let waited = self.host.clock.now().since(self.since);
        match self.position {
            Some(position) => LogQuery {
                follow,
                after: Some(position),
                ..LogQuery::default()
            },
            None => LogQuery {
                follow,
                max_age: self.query.max_age.map(|age| age.saturating_add(waited)),
                ..self.query
            },
        }
    }

    /// Where its agent is asked now.
    fn address(&self) -> Result<String, Failure> {
        let whereabouts = self.whereabouts.borrow();
        let agent = whereabouts.agents.get(&self.place.1);
        let agent = agent.ok_or_else(|| {
            let text =
                "its agent is away; the files are on that host, in the agent's state directory";
            self.explain(text, false)
        })?;
        agent.address.clone().ok_or_else(|| {
            let text = format!(
                "its agent (version {}) serves no logs: it has to be upgraded",
                agent.version
            );
            self.explain(&text, false)
        })
    }

    /// Waits for a while, or until there is another agent to ask, or none because the instance has left.
    async fn pause(&mut self) {
        let pause = self.host.clock.sleep(self.retry.pause(&*self.host.entropy));
        let place = &self.place;
        let before = self.whereabouts.borrow().agents.get(&place.1).cloned();
        let is_other = |now: &Whereabouts| {
            now.agents.get(&place.1) != before.as_ref() || !now.places.contains(place)
        };
        let changed = async {
            if self.whereabouts.wait_for(is_other).await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = pause => {}
            () = changed => {}
        }
        self.is_last = !self.whereabouts.borrow().places.contains(&self.place);
    }

    fn failure(&self, error: &Error) -> Failure {
        let is_local = |address: &String| {
            let address = address.parse::<std::net::SocketAddr>();
            address.is_ok_and(|address| address.ip().is_loopback())
        };
        let hint = match error {
            Error::Nothing(_) | Error::Refused(_) => "",
            _ if self.address().is_ok_and(|address| is_local(&address)) => {
                "; an agent without --listen HOST:PORT can be asked on its own host only"
            }
            _ => "; `quaestor get nodes` shows whether the agent is there",
        };
        // Who follows an instance before it has printed anything waits for just that.
        let is_quiet = self.query.follow && matches!(error, Error::Nothing(_));
        self.explain(&format!("{error}{hint}"), is_quiet)
    }

    fn explain(&self, cause: &str, is_quiet: bool) -> Failure {
        let (instance, node) = &self.place;
        Failure {
            text: clean(&format!("{instance} on node {node}: {cause}")),
            is_quiet,
        }
    }
}
