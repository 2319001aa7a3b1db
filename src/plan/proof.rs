//! Whether clients are known to have taken that an endpoint goes, so that its stop need not wait for them
//! ([`super::drain`]).
//!
//! ```text
//! agent: census --> every balancer testifies --> census --> conclude
//! ```
//!
//! Only xDS clients say what they have taken. So whatever leaves room for a client that may know the endpoint from
//! elsewhere, or from before, is a doubt; and with a doubt the notice window lasts its full time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{Instance, Name};

/// Who loses its balancer finds another one within five seconds, as was measured with stock clients. For twice that
/// time a client may be on its way that knows an endpoint and is known to nobody.
pub const RECENT: Duration = Duration::from_secs(10);

/// What an agent asks every balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The node of the endpoint's instance, and the instance.
    pub whose: (Name, Instance),
    /// The revision at which its state says that it goes.
    pub revision: i64,
    /// For how long it is not stopped without a proof.
    pub window: Duration,
    /// The balancers that the agent knows.
    pub balancers: BTreeSet<Name>,
}

/// What a balancer knows of an endpoint that goes. Times are how long ago something was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When the balancer began.
    pub began: Duration,
    /// Whether its view has what the store says since the endpoint is to go.
    pub is_read: bool,
    /// Whether that is still so.
    pub is_leaving: bool,
    /// When the endpoint was named last in an answer that nobody acknowledges.
    pub named: Option<Duration>,
    /// Whether somebody watches who was told of it.
    pub is_watched: bool,
    /// Whether what the balancer knows is written to where others read it.
    pub is_mirrored: bool,
    /// Whether it knows of a balancer that the agent does not know.
    pub knows_more: bool,
    /// When it saw another balancer vanish last.
    pub vanished: Option<Duration>,
    /// When an xDS client of the service left last.
    pub left: Option<Duration>,
    /// How many xDS clients of the service have not taken yet that it goes.
    pub behind: usize,
}

/// What a balancer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// All its clients know.
    Known,
    /// Not all do yet, for this reason.
    NotYet(Doubt),
    /// It will never be certain, for this reason.
    Never(Doubt),
}

/// Why it is not certain that all clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Nobody can say anything.
    #[error("no balancer says that it is there")]
    NoBalancer,
    /// The list of balancers is older than the news.
    #[error("the list of balancers is older than the news")]
    OldList,
    /// The store did not say which balancers there are.
    #[error("the store does not say which balancers there are: {0}")]
    Unlisted(String),
    /// Another balancer came or went meanwhile.
    #[error("balancer {0} came or went meanwhile")]
    Moved(Name),
    /// A balancer does not know, or cannot be asked.
    #[error("balancer {balancer}: {why}")]
    Balancer {
        /// Which.
        balancer: Name,
        /// In its own words.
        why: String,
    },
    /// It cannot be asked.
    #[error("it does not say where it can be asked")]
    NoAddress,
    /// See [`Evidence::began`].
    #[error("it began only lately; clients may still be on their way to it")]
    Young,
    /// See [`Evidence::knows_more`] and [`Evidence::vanished`].
    #[error("another balancer vanished lately; its clients may still be on their way")]
    Vanished,
    /// See [`Evidence::is_read`].
    #[error("it has not read yet that the endpoint goes")]
    Unread,
    /// See [`Evidence::is_leaving`].
    #[error("as it knows, the endpoint does not go, or has gone")]
    Stays,
    /// See [`Evidence::is_mirrored`].
    #[error("it writes what it knows to another registry")]
    Mirrored,
    /// See [`Evidence::is_watched`].
    #[error("somebody watches the service, and does not say what it has taken")]
    Watched,
    /// See [`Evidence::named`].
    #[error("it answered with the endpoint a moment ago")]
    Named,
    /// See [`Evidence::left`].
    #[error("an xDS client of the service left lately, and may come back")]
    Left,
    /// See [`Evidence::behind`].
    #[error("xDS clients that have not said that they know: {0}")]
    Behind(usize),
}

/// What a balancer says of an endpoint that is not stopped within `window` without a proof.
pub fn testify(evidence: &Evidence, window: Duration) -> Testimony {
    let within = |ago: Option<Duration>, time: Duration| ago.is_some_and(|ago| ago < time);
    if evidence.began < RECENT {
        Testimony::Never(Doubt::Young)
    } else if evidence.knows_more || within(evidence.vanished, RECENT) {
        Testimony::Never(Doubt::Vanished)
    } else if evidence.is_mirrored {
        Testimony::Never(Doubt::Mirrored)
    } else if !evidence.is_read {
        Testimony::NotYet(Doubt::Unread)
    } else if !evidence.is_leaving {
        Testimony::Never(Doubt::Stays)
    } else if evidence.is_watched {
        Testimony::Never(Doubt::Watched)
    } else if within(evidence.named, window) {
        Testimony::Never(Doubt::Named)
    } else if within(evidence.left, RECENT) {
        Testimony::Never(Doubt::Left)
    } else if evidence.behind > 0 {
        Testimony::NotYet(Doubt::Behind(evidence.behind))
    } else {
        Testimony::Known
    }
}

/// The balancers that there were at one revision of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// That revision.
    pub revision: i64,
    /// By id.
    pub balancers: BTreeMap<Name, Resident>,
}

/// A balancer that says that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// The revision at which it began to say so.
    pub since: i64,
    /// Where it is asked; none: nowhere.
    pub address: Option<String>,
}

/// Whether all clients of all balancers know what the store says since `revision`: the balancers before they were
/// asked, what each said, the balancers afterwards.
///
/// # Errors
/// Why that is not certain.
pub fn conclude(
    revision: i64,
    before: &Census,
    said: &BTreeMap<Name, Result<(), String>>,
    after: &Census,
) -> Result<(), Doubt> {
    if before.balancers.is_empty() {
        return Err(Doubt::NoBalancer);
    }
    if before.revision < revision || after.revision < before.revision {
        return Err(Doubt::OldList);
    }
    let since = |census: &Census, id| census.balancers.get(id).map(|resident| resident.since);
    let mut all = before.balancers.keys().chain(after.balancers.keys());
    if let Some(id) = all.find(|id| since(before, id) != since(after, id)) {
        return Err(Doubt::Moved(id.clone()));
    }
    for id in before.balancers.keys() {
        let why = match said.get(id) {
            Some(Ok(())) => continue,
            Some(Err(why)) => why.clone(),
            None => "it was not asked".to_owned(),
        };
        let balancer = id.clone();
        return Err(Doubt::Balancer { balancer, why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(500);

    fn ago(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    /// That of a balancer all of whose clients know.
    fn settled() -> Evidence {
        Evidence {
            began: RECENT,
            is_read: true,
            is_leaving: true,
            named: ago(500),
            is_watched: false,
            is_mirrored: false,
            knows_more: false,
            vanished: ago(10_000),
            left: ago(10_000),
            behind: 0,
        }
    }

    #[test]
    fn a_balancer_vouches_only_for_clients_that_have_said_that_they_know() {
        use Testimony::{Known, Never, NotYet};
        type Change = fn(&mut Evidence);
        let cases: [(Change, Testimony); 15] = [
            (|_| (), Known),
            (|it| it.named = None, Known),
            (|it| (it.left, it.vanished) = (None, None), Known),
            (|it| it.behind = 1, NotYet(Doubt::Behind(1))),
            (|it| it.is_read = false, NotYet(Doubt::Unread)),
            (
                |it| (it.is_read, it.is_leaving) = (false, false),
                NotYet(Doubt::Unread),
            ),
            (|it| it.is_leaving = false, Never(Doubt::Stays)),
            (|it| it.named = ago(499), Never(Doubt::Named)),
            (|it| it.named = ago(0), Never(Doubt::Named)),
            (|it| it.is_watched = true, Never(Doubt::Watched)),
            (|it| it.is_mirrored = true, Never(Doubt::Mirrored)),
            (|it| it.left = ago(9_999), Never(Doubt::Left)),
            (|it| it.vanished = ago(9_999), Never(Doubt::Vanished)),
            (|it| it.knows_more = true, Never(Doubt::Vanished)),
            (
                |it| it.began = Duration::from_millis(9_999),
                Never(Doubt::Young),
            ),
        ];
        for (change, expected) in cases {
            let mut evidence = settled();
            change(&mut evidence);
            assert_eq!(testify(&evidence, WINDOW), expected, "{evidence:?}");
        }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn census(revision: i64, balancers: &[(&str, i64)]) -> Census {
        let resident = |(id, since): &(&str, i64)| {
            let address = Some(format!("{id}:1"));
            let since = *since;
            (name(id), Resident { since, address })
        };
        Census {
            revision,
            balancers: balancers.iter().map(resident).collect(),
        }
    }

    #[test]
    fn clients_know_when_every_balancer_says_so_and_none_came_or_went() {
        const BOTH: [(&str, i64); 2] = [("a", 1), ("b", 2)];
        let yes = |id: &str| (name(id), Ok(()));
        let no = |id: &str| (name(id), Err("no".to_owned()));
        let moved = |id: &str| Err(Doubt::Moved(name(id)));
        let doubts = |id: &str, why: &str| {
            let (balancer, why) = (name(id), why.to_owned());
            Err(Doubt::Balancer { balancer, why })
        };
        let all = census(7, &BOTH);
        let cases = [
            (all.clone(), vec![yes("a"), yes("b")], all.clone(), Ok(())),
            (
                all.clone(),
                vec![yes("a"), no("b")],
                all.clone(),
                doubts("b", "no"),
            ),
            (
                all.clone(),
                vec![yes("b")],
                all.clone(),
                doubts("a", "it was not asked"),
            ),
            // One ended, one began, one was away for a moment.
            (
                all.clone(),
                vec![yes("a"), yes("b")],
                census(9, &[("a", 1)]),
                moved("b"),
            ),
            (
                census(7, &[("a", 1)]),
                vec![yes("a")],
                census(9, &BOTH),
                moved("b"),
            ),
            (
                all.clone(),
                vec![yes("a"), yes("b")],
                census(9, &[("a", 1), ("b", 8)]),
                moved("b"),
            ),
            (
                census(7, &[]),
                vec![],
                census(7, &[]),
                Err(Doubt::NoBalancer),
            ),
            (
                census(6, &BOTH),
                vec![yes("a"), yes("b")],
                all.clone(),
                Err(Doubt::OldList),
            ),
            (
                all.clone(),
                vec![yes("a"), yes("b")],
                census(6, &BOTH),
                Err(Doubt::OldList),
            ),
        ];
        for (before, said, after, expected) in cases {
            let said = said.into_iter().collect();
            let concluded = conclude(7, &before, &said, &after);
            assert_eq!(concluded, expected, "{before:?} {said:?} {after:?}");
        }
    }
}
