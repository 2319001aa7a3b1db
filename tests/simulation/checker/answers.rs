//! Invariants of balancers' answers: nothing invented or long gone (I10), no empty lies (I11), and nothing
//! forgotten that has been ready for a while (I9). At rest they are exactly what is ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::history::History;
use crate::cast::Answering;

/// After a disturbance a balancer may need this long to follow again: a silent stream is noticed in 30 s,
/// then come pauses and time-outs of connecting.
const RECOVERY: Duration = Duration::from_secs(45);

/// So old may the view of an undisturbed balancer be.
const LAG: Duration = Duration::from_secs(3);

pub type Place = (String, u16);

/// What the store said about each name, in time.
#[derive(Default)]
pub struct Answers {
    /// When a place was last ready under a name.
    last_ready: BTreeMap<(String, Place), Duration>,
    /// Since when a place is ready under a name.
    ready_since: BTreeMap<(String, Place), Duration>,
    /// When a name was last without any.
    last_empty: BTreeMap<String, Duration>,
}

/// The places that are ready now, by name.
pub fn ready(history: &History) -> BTreeMap<String, BTreeSet<Place>> {
    let mut ready: BTreeMap<String, BTreeSet<Place>> = BTreeMap::new();
    for (service, route) in history.below("route/") {
        let places: BTreeSet<Place> = history
            .below("state/")
            .filter(|(key, state)| {
                let instance = key.rsplit('/').next().unwrap_or_default();
                instance
                    .rsplit_once('-')
                    .is_some_and(|(of, _)| of == service)
                    && state["ready"] == true
            })
            .filter_map(|(_, state)| {
                let port = u16::try_from(state["endpoint"]["port"].as_u64()?).ok()?;
                Some((state["endpoint"]["host"].as_str()?.to_owned(), port))
            })
            .collect();
        for name in route["names"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default().to_owned();
            ready.entry(name).or_default().extend(places.clone());
        }
    }
    ready
}

impl Answers {
    /// Takes in what the store says from now on.
    pub fn learn(&mut self, history: &History, names: &[String], now: Duration) {
        let ready = ready(history);
        for name in names {
            let places = ready.get(name).cloned().unwrap_or_default();
            self.ready_since
                .retain(|(of, place), _| of != name || places.contains(place));
            if places.is_empty() {
                self.last_empty.insert(name.clone(), now);
            }
            for place in places {
                self.ready_since
                    .entry((name.clone(), place.clone()))
                    .or_insert(now);
                self.last_ready.insert((name.clone(), place), now);
            }
        }
    }

    /// What is wrong with an answer of a balancer about `name`, which nothing has stood before for
    /// `clear_for`.
    pub fn check(
        &self,
        balancer: &Answering,
        name: &str,
        answer: &BTreeSet<Place>,
        clear_for: Duration,
        now: Duration,
    ) -> Option<(&'static str, String)> {
        let recovered = clear_for.min(now.saturating_sub(balancer.since)) >= RECOVERY;
        let who = format!("the balancer on 10.0.0.{}", balancer.host);
        for place in answer {
            let (host, port) = place;
            let Some(last) = self.last_ready.get(&(name.to_owned(), place.clone())) else {
                return Some(("I10", format!("{who} invented {host}:{port} for {name}")));
            };
            let age = now.saturating_sub(*last);
            if recovered && age > LAG {
                return Some((
                    "I10",
                    format!(
                        "{who} names {host}:{port} for {name}, which is not ready since {age:?}"
                    ),
                ));
            }
        }
        let forgotten = self.ready_since.iter().find(|((of, place), since)| {
            let long = now.saturating_sub(**since) > LAG;
            recovered && long && of == name && !answer.contains(place)
        });
        if let Some(((_, (host, port)), since)) = forgotten {
            return Some((
                "I9",
                format!("{who} forgets {host}:{port} for {name}, ready since {since:?}"),
            ));
        }
        if answer.is_empty() {
            let last = self.last_empty.get(name).copied();
            let since = if recovered {
                now.saturating_sub(LAG)
            } else {
                balancer.since
            };
            if last.is_none_or(|last| last + Duration::from_millis(500) < since) {
                return Some((
                    "I11",
                    format!("{who} says that nobody serves {name}, which was last so at {last:?}"),
                ));
            }
        }
        None
    }
}
