//! Which artifacts a node fetches, keeps and clears away.

use std::{collections::BTreeMap, time::Duration};

use crate::model::{
    Moment,
    service::{ArtifactSpec, Digest},
};

/// The reason of an instance whose artifact could not be had.
pub const FAILED: &str = "ArtifactFailed";

/// The reason of an instance whose artifact is on its way.
pub const FETCHING: &str = "FetchingArtifact";

/// So many are fetched at a time.
pub const WIDTH: usize = 2;

/// One that nothing uses any more is kept this long: what is rolled back to need not be fetched again.
pub const KEPT: Duration = Duration::from_secs(600);

/// What there is of an artifact on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being fetched.
    Fetching,
    /// It lies there, verified and unpacked. Since when nothing uses it, if nothing does.
    Present {
        /// That moment.
        unused_since: Option<Moment>,
    },
    /// It could not be had.
    Failed {
        /// Why, for people.
        why: String,
        /// When it is tried again.
        retry_at: Moment,
    },
}

/// What is to be done about an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetch it.
    Fetch(ArtifactSpec),
    /// Nothing uses it any more, or from now on.
    Idle(Digest, Option<Moment>),
    /// Clear it away.
    Collect(Digest),
    /// Forget that it could not be had: nobody wants it any more.
    Forget(Digest),
}

/// What is to be done at `now`, where `wanted` are the artifacts of all assignments and of all that runs, and
/// when to ask again.
pub fn decide(
    wanted: &BTreeMap<Digest, Option<ArtifactSpec>>,
    known: &BTreeMap<Digest, Status>,
    now: Moment,
) -> (Vec<Step>, Option<Moment>) {
    let mut steps = Vec::new();
    let mut wakes = Vec::new();
    let fetching = known.values().filter(|status| **status == Status::Fetching);
    let mut room = WIDTH.saturating_sub(fetching.count());
    for (digest, spec) in wanted {
        let is_due = match known.get(digest) {
            None => true,
            Some(Status::Failed { retry_at, .. }) => {
                wakes.push(*retry_at);
                now >= *retry_at
            }
            Some(Status::Fetching | Status::Present { .. }) => false,
        };
        if let (true, Some(spec)) = (is_due && room > 0, spec) {
            room -= 1;
            steps.push(Step::Fetch(spec.clone()));
        }
    }
    for (digest, status) in known {
        let is_wanted = wanted.contains_key(digest);
        match status {
            Status::Fetching => {}
            Status::Failed { .. } if !is_wanted => steps.push(Step::Forget(digest.clone())),
            Status::Failed { .. } => {}
            Status::Present {
                unused_since: Some(_),
            } if is_wanted => {
                steps.push(Step::Idle(digest.clone(), None));
            }
            Status::Present { unused_since: None } if !is_wanted => {
                steps.push(Step::Idle(digest.clone(), Some(now)));
                wakes.push(now + KEPT);
            }
            Status::Present {
                unused_since: Some(since),
            } => match now >= *since + KEPT {
                true => steps.push(Step::Collect(digest.clone())),
                false => wakes.push(*since + KEPT),
            },
            Status::Present { unused_since: None } => {}
        }
    }
    let wake = wakes.into_iter().filter(|at| *at > now).min();
    (steps, wake)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> Digest {
        digit.to_string().repeat(64).try_into().unwrap()
    }

    fn spec(digit: char) -> ArtifactSpec {
        let json = serde_json::json!({"file": "/a", "sha256": digest(digit)});
        serde_json::from_value(json).unwrap()
    }

    fn at(secs: u64) -> Moment {
        Moment::new(Duration::from_secs(secs))
    }

    fn wanted(digits: &str) -> BTreeMap<Digest, Option<ArtifactSpec>> {
        digits
            .chars()
            .map(|digit| (digest(digit), Some(spec(digit))))
            .collect()
    }

    #[test]
    fn what_is_wanted_is_fetched_a_few_at_a_time() {
        let (steps, _) = decide(&wanted("abc"), &BTreeMap::new(), at(0));
        assert_eq!(steps, [Step::Fetch(spec('a')), Step::Fetch(spec('b'))]);
        let known = BTreeMap::from([
            (digest('a'), Status::Fetching),
            (digest('b'), Status::Present { unused_since: None }),
        ]);
        let (steps, _) = decide(&wanted("abc"), &known, at(0));
        assert_eq!(steps, [Step::Fetch(spec('c'))]);
    }

    #[test]
    fn what_failed_is_tried_again_when_its_time_has_come_or_forgotten() {
        let failed = Status::Failed {
            why: String::new(),
            retry_at: at(9),
        };
        let known = BTreeMap::from([(digest('a'), failed)]);
        assert_eq!(decide(&wanted("a"), &known, at(5)), (vec![], Some(at(9))));
        let (steps, _) = decide(&wanted("a"), &known, at(9));
        assert_eq!(steps, [Step::Fetch(spec('a'))]);
        let (steps, _) = decide(&wanted(""), &known, at(5));
        assert_eq!(steps, [Step::Forget(digest('a'))]);
    }

    #[test]
    fn what_nothing_uses_is_kept_for_a_while_and_then_cleared_away() {
        let present =
            |unused_since| BTreeMap::from([(digest('a'), Status::Present { unused_since })]);
        let (steps, wake) = decide(&wanted(""), &present(None), at(5));
        assert_eq!(steps, [Step::Idle(digest('a'), Some(at(5)))]);
        assert_eq!(wake, Some(at(605)));
        assert_eq!(
            decide(&wanted(""), &present(Some(at(5))), at(604)),
            (vec![], Some(at(605)))
        );
        let (steps, _) = decide(&wanted(""), &present(Some(at(5))), at(605));
        assert_eq!(steps, [Step::Collect(digest('a'))]);
        let (steps, _) = decide(&wanted("a"), &present(Some(at(5))), at(605));
        assert_eq!(steps, [Step::Idle(digest('a'), None)]);
    }

    #[test]
    fn what_only_runs_is_kept_and_never_fetched() {
        let wanted = BTreeMap::from([(digest('a'), None)]);
        assert_eq!(decide(&wanted, &BTreeMap::new(), at(0)).0, []);
        let known = BTreeMap::from([(digest('a'), Status::Present { unused_since: None })]);
        assert_eq!(decide(&wanted, &known, at(9_999)).0, []);
    }
}
