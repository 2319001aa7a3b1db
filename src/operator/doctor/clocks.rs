//! Clocks that are behind others, by the order in which the store took in what hosts wrote.

use std::collections::BTreeMap;

use crate::model::{Name, Timestamp};

/// What a host wrote may have been on its way for so long, in milliseconds: less says nothing of clocks.
const WAY: i64 = 10_000;

/// Something that a host wrote.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Who.
    pub(super) node: Name,
    /// The store's revision of that.
    pub(super) revision: i64,
    /// When, by its own clock.
    pub(super) at: Timestamp,
}

/// The hosts whose clock is behind: by so many milliseconds at least, and behind whose. They wrote after another one, and
/// earlier by their own clock. What is later than `now` by the clock of who asks counts as of now: clocks that run ahead
/// are told by themselves.
pub(super) fn behind(mut written: Vec<Written>, now: Timestamp) -> BTreeMap<Name, (i64, Name)> {
    written.sort_by_key(|one| one.revision);
    let mut latest: Option<(Timestamp, Name)> = None;
    let mut behind = BTreeMap::new();
    for Written { node, at, .. } in written {
        let at = at.min(now);
        match &latest {
            Some((then, whose)) if at <= *then => {
                let by = then.as_millis() - at.as_millis();
                if by > WAY {
                    behind.insert(node, (by, whose.clone()));
                }
            }
            _ => latest = Some((at, node)),
        }
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(written: &[(&str, i64, i64)], now: i64) -> Vec<String> {
        let at = |secs: i64| Timestamp::from_millis(secs * 1_000);
        let one = |(node, revision, secs): &(&str, i64, i64)| Written {
            node: node.parse().unwrap(),
            revision: *revision,
            at: at(*secs),
        };
        let behind = behind(written.iter().map(one).collect(), at(now));
        let behind = behind.into_iter();
        behind
            .map(|(node, (by, whose))| format!("{node} {}s behind {whose}", by / 1_000))
            .collect()
    }

    #[test]
    fn who_wrote_later_and_says_earlier_is_behind() {
        let written = [("c", 30, 1_005), ("b", 20, 900), ("a", 10, 1_000)];
        assert_eq!(told(&written, 1_010), ["b 100s behind a"]);
    }

    #[test]
    fn who_wrote_long_ago_or_was_held_up_is_not() {
        assert_eq!(told(&[("a", 10, 100), ("b", 20, 1_000)], 1_010), [""; 0]);
        assert_eq!(told(&[("a", 10, 1_000), ("b", 20, 995)], 1_010), [""; 0]);
    }

    #[test]
    fn a_clock_that_runs_ahead_makes_no_others_late() {
        assert_eq!(told(&[("a", 10, 9_000), ("b", 20, 1_005)], 1_010), [""; 0]);
    }
}
