//! The logs of several instances, printed as one; while they are followed, instances join and leave.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::watch;

use super::{
    merge::Merge,
    source::{News, Source},
    text,
};
use crate::{
    cli::output::Lines,
    host::Host,
    model::{LogLine, LogPosition, LogQuery, LogSource, Moment, Name},
    operator::whereabouts::{Place, Search, Whereabouts, Whose},
};

/// Of an instance that joins, what it printed since this was begun is shown. Its agent counts back from when it
/// is asked, which may take so long.
const SLACK: Duration = Duration::from_secs(5);

/// An instance that moves may be nowhere for a moment. One that has been nowhere for so long is gone.
const GONE: Duration = Duration::from_secs(5);

/// What is printed, and where it comes from.
pub(super) struct Show {
    host: Host,
    whose: Whose,
    query: LogQuery,
    begun: Moment,
    whereabouts: watch::Sender<Whereabouts>,
    /// Each source that there is has a number.
    numbers: BTreeMap<Place, usize>,
    next_number: usize,
    merge: Merge,
    reading: FuturesUnordered<BoxFuture<'static, (usize, Source, News)>>,
    /// Those whose lines are still to be printed: none runs ahead of the others.
    waiting: BTreeMap<usize, Source>,
    /// Where those who left were read to, should they come back.
    left: BTreeMap<Place, LogPosition>,
    /// All there ever were. Lines are told apart by them once there is more than one.
    names: BTreeSet<String>,
    /// Nodes whose agents could not be asked the last time, which has been said.
    troubled: BTreeSet<Name>,
    /// Something could not be read to its end.
    has_failed: bool,
    /// When an instance that is nowhere counts as gone.
    gone_at: Option<Moment>,
    output: Lines,
}

impl Show {
    /// Of the instances in `whereabouts`, what `query` asks for.
    pub(super) fn new(
        host: &Host,
        whose: Whose,
        query: LogQuery,
        whereabouts: Whereabouts,
    ) -> Self {
        let mut show = Self {
            host: host.clone(),
            whose,
            query,
            begun: host.clock.now(),
            whereabouts: watch::Sender::new(whereabouts.clone()),
            numbers: BTreeMap::new(),
            next_number: 0,
            merge: Merge::default(),
            reading: FuturesUnordered::new(),
            waiting: BTreeMap::new(),
            left: BTreeMap::new(),
            names: BTreeSet::new(),
            troubled: BTreeSet::new(),
            has_failed: false,
            gone_at: None,
            output: Lines::default(),
        };
        for place in whereabouts.places {
            show.add(place, query, true);
        }
        show
    }

    /// Prints until there is nothing more, or nobody reads on. Who joins and leaves is told by `search`.
    pub(super) async fn run(mut self, mut search: Option<Search>) -> anyhow::Result<ExitCode> {
        loop {
            if !self.print()? {
                return Ok(ExitCode::SUCCESS);
            }
            if self.is_over() {
                break;
            }
            let gone_at = self.gone_at.filter(|_| self.numbers.is_empty());
            let gone = gone_at.map(|at| self.host.clock.sleep_until(at));
            tokio::select! {
                biased;
                Some((number, source, news)) = self.reading.next() => {
                    self.hear(number, source, news)?;
                }
                whereabouts = next(&mut search) => self.look(whereabouts),
                () = until(gone) => {}
            }
        }
        if let (Whose::Instance(instance), Some(_)) = (&self.whose, self.gone_at) {
            self.output
                .aside(format_args!("[quaestor] {instance} is gone"))?;
            self.output.flush()?;
        }
        Ok(match self.has_failed {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }

    /// Whether nothing more will come: all was read, or the one instance that is followed is gone.
    fn is_over(&self) -> bool {
        let is_empty = self.numbers.is_empty();
        if !self.query.follow || !is_empty {
            return is_empty;
        }
        let now = self.host.clock.now();
        let is_gone = self.has_failed || self.gone_at.is_some_and(|at| now >= at);
        !matches!(self.whose, Whose::Service(_)) && is_gone
    }

    /// Reads one more log; the others wait for its lines if it `is_awaited`.
    fn add(&mut self, place: Place, query: LogQuery, is_awaited: bool) {
        self.names.insert(place.0.to_string());
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(place.clone(), number);
        self.merge.add(number, is_awaited);
        let whereabouts = self.whereabouts.subscribe();
        let source = Source::new(place, &self.host, query, self.begun, whereabouts);
        self.read(number, source);
    }

    fn read(&self, number: usize, mut source: Source) {
        let reading = async move {
            let news = source.next().await;
            (number, source, news)
        };
        self.reading.push(reading.boxed());
    }

    /// Takes in where the instances are now.
    fn look(&mut self, whereabouts: Whereabouts) {
        let is_nowhere = whereabouts.places.is_empty();
        self.gone_at = match &self.whose {
            Whose::Instance(_) if is_nowhere => {
                (self.gone_at).or_else(|| Some(self.host.clock.now() + GONE))
            }
            _ => None,
        };
        // Those who have left notice that by themselves: they are read to their end.
        self.whereabouts.send_replace(whereabouts.clone());
        for place in whereabouts.places {
            self.join(place);
        }
    }

    /// Reads the log of an instance that has come, or come back, unless it is being read.
    fn join(&mut self, place: Place) {
        if self.numbers.contains_key(&place) {
            return;
        }
        let query = LogQuery {
            max_age: Some(SLACK),
            follow: true,
            after: self.left.get(&place).copied(),
            ..LogQuery::default()
        };
        self.add(place, query, false);
    }

    /// Takes in what a source says.
    fn hear(&mut self, number: usize, source: Source, news: News) -> anyhow::Result<()> {
        let node = source.place().1.clone();
        match news {
            News::Lines(lines) => {
                self.troubled.remove(&node);
                self.merge.push(number, lines);
                self.waiting.insert(number, source);
            }
            News::CaughtUp => {
                self.troubled.remove(&node);
                self.merge.release(number);
                self.waiting.insert(number, source);
            }
            News::Held(why) => {
                self.merge.release(number);
                if let Some(why) = why
                    && self.troubled.insert(node)
                {
                    let line = format!("[quaestor] {why}; asked again until that works");
                    self.output.aside(line)?;
                }
                self.waiting.insert(number, source);
            }
            News::Over(how) => {
                self.merge.remove(number);
                let place = source.place().clone();
                self.numbers.remove(&place);
                if let Some(position) = source.position() {
                    self.left.insert(place.clone(), position);
                }
                match how {
                    Err(failure) => {
                        self.has_failed = true;
                        self.output.failure(failure);
                    }
                    Ok(()) => {
                        let is_back = self.whereabouts.borrow().places.contains(&place);
                        if self.query.follow && is_back {
                            self.join(place);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Prints what is known to be next, and lets those go on whose lines are printed. False: nobody reads on.
    fn print(&mut self) -> anyhow::Result<bool> {
        while let Some((number, line)) = self.merge.pop() {
            let source = self.waiting.get(&number);
            let name = source.map(|source| source.place().0.to_string());
            if !self.print_line(&name.unwrap_or_default(), &line)? {
                return Ok(false);
            }
        }
        let printed: Vec<usize> = (self.waiting.keys().copied())
            .filter(|number| self.merge.wants(*number))
            .collect();
        for number in printed {
            if let Some(source) = self.waiting.remove(&number) {
                self.read(number, source);
            }
        }
        self.output.flush()
    }

    fn print_line(&mut self, name: &str, line: &LogLine) -> anyhow::Result<bool> {
        let width = self.names.iter().map(String::len).max().unwrap_or(0);
        let prefix = match self.names.len() {
            0 | 1 => String::new(),
            _ => format!("{name:width$} | "),
        };
        let text = text::printable(&line.text);
        match line.source {
            LogSource::Out => self.output.result(format_args!("{prefix}{text}")),
            LogSource::Err => self.output.aside(format_args!("{prefix}{text}")),
            LogSource::Quaestor => (self.output).aside(format_args!("{prefix}[quaestor] {text}")),
        }
    }
}

/// The next news of where instances are; never any where nobody searches.
async fn next(search: &mut Option<Search>) -> Whereabouts {
    match search {
        Some(search) => search.next().await,
        None => std::future::pending().await,
    }
}

/// When that has resolved, if it is anything.
async fn until(moment: Option<impl Future<Output = ()>>) {
    match moment {
        Some(moment) => moment.await,
        None => std::future::pending().await,
    }
}
