//! Kinds of requests that take turns, many times, so that each meets the same machine: ratios of medians mean something where
//! times do not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};

/// Requests under way at once, unless it is said otherwise.
pub(crate) const CALLERS: usize = 8;

/// Makes one request, for the caller of this number.
pub(crate) type Request = Arc<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

/// A kind of requests.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    request: Request,
    callers: usize,
    turns: Vec<Turn>,
}

/// What was measured of one turn, or the medians of all.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Kind {
    pub(crate) fn new(name: &'static str, request: Request) -> Self {
        Self {
            name,
            request,
            callers: CALLERS,
            turns: Vec::new(),
        }
    }

    /// The same, from so many callers.
    pub(crate) fn with(self, callers: usize) -> Self {
        Self { callers, ..self }
    }

    pub(crate) async fn turn(&mut self, length: Duration) {
        let start = Instant::now();
        let callers = (0..self.callers).map(|caller| {
            let request = Arc::clone(&self.request);
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < length {
                    let begin = Instant::now();
                    request(caller).await;
                    times.push(begin.elapsed());
                }
                times
            })
        });
        let times = join_all(callers).await.into_iter().flat_map(Result::unwrap);
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        self.turns.push(Turn {
            rate: times.len() as f64 / start.elapsed().as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
        });
    }

    pub(crate) fn medians(&self) -> Turn {
        let median = |figure: fn(&Turn) -> f64| {
            let mut figures: Vec<f64> = self.turns.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Turn {
            rate: median(|turn| turn.rate),
            p50: Duration::from_secs_f64(median(|turn| turn.p50.as_secs_f64())),
            p99: Duration::from_secs_f64(median(|turn| turn.p99.as_secs_f64())),
        }
    }

    /// Throughput and 99th percentile as multiples of those of `other`.
    pub(crate) fn beside(&self, other: &Self) -> (f64, f64) {
        let (own, other) = (self.medians(), other.medians());
        (
            own.rate / other.rate,
            own.p99.as_secs_f64() / other.p99.as_secs_f64(),
        )
    }

    pub(crate) fn print(&self, beside: Option<(&Self, &str)>) {
        let Turn { rate, p50, p99 } = self.medians();
        let ratios = beside.map_or(String::new(), |(other, bars)| {
            let (rate, p99) = self.beside(other);
            format!("throughput {rate:.2}, p99 {p99:.3}; {bars}")
        });
        println!(
            "{:<34} {rate:>10.0} {p50:>9.1?} {p99:>9.1?}   {ratios}",
            self.name
        );
    }
}

/// Lets all kinds take so many turns, after one of each that does not count.
pub(crate) async fn take_turns(kinds: &mut [Kind], rounds: usize, turn: Duration) {
    for kind in kinds.iter_mut() {
        kind.turn(turn / 2).await;
        kind.turns.clear();
    }
    for _ in 0..rounds {
        for kind in kinds.iter_mut() {
            kind.turn(turn).await;
        }
    }
}

/// How many turns there are, and how long each is.
pub(crate) fn length() -> (usize, Duration) {
    match std::env::args().any(|argument| argument == "--quick") {
        true => (5, Duration::from_millis(200)),
        false => (20, Duration::from_millis(500)),
    }
}

pub(crate) fn print_head() {
    println!(
        "{:<34} {:>10} {:>9} {:>9}   ratios and bars",
        "request", "a second", "p50", "p99"
    );
}
