//! Keys that are to be there although others delete them: what to write, what to take back, when to try again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::Moment;

/// The pause before a key that somebody deleted is written again; it doubles each time, because who deletes it may
/// know why.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A key that was left alone for this long is not being fought over.
const PEACE: Duration = Duration::from_secs(60);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Write the key, if it is not there.
    Write(String),
    /// Delete the key, if it was last written at this revision, by us.
    Delete(String, i64),
}

/// What is known of our own writes.
#[derive(Debug, Default)]
pub struct Mirror {
    keys: BTreeMap<String, Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The revision of our write; none: what is there, if anything, is not ours.
    ours: Option<i64>,
    /// When we wrote it last.
    written: Option<Moment>,
    /// The pause after it was deleted last.
    pause: Duration,
    /// It is not written before.
    not_before: Moment,
}

impl Mirror {
    /// What makes the keys in the store, `there`, those that are `wanted`, as far as they are ours to change. A key
    /// that somebody else wrote is left alone.
    pub fn plan(
        &mut self,
        wanted: &BTreeSet<String>,
        there: &BTreeMap<String, i64>,
        now: Moment,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for key in wanted {
            let kept = self.keys.entry(key.clone()).or_default();
            match there.get(key) {
                // Others may write it over; then it is theirs.
                Some(revision) if kept.ours.is_some_and(|ours| ours < *revision) => {
                    kept.ours = None
                }
                Some(_) => {}
                None => {
                    if let (Some(written), true) = (kept.written, kept.ours.take().is_some()) {
                        // It was there, and somebody deleted it.
                        kept.pause = match now.since(written) >= PEACE {
                            true => FIRST_PAUSE,
                            false => (kept.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE),
                        };
                        kept.not_before = now + kept.pause;
                    }
                    if now >= kept.not_before {
                        steps.push(Step::Write(key.clone()));
                    }
                }
            }
        }
        self.keys.retain(|key, kept| {
            if wanted.contains(key) {
                return true;
            }
            let ours = kept.ours.filter(|ours| there.get(key) == Some(ours));
            steps.extend(ours.map(|ours| Step::Delete(key.clone(), ours)));
            ours.is_some()
        });
        steps
    }

    /// `key` was written at `revision`, as planned.
    pub fn wrote(&mut self, key: &str, revision: i64, now: Moment) {
        let kept = self.keys.entry(key.to_owned()).or_default();
        kept.ours = Some(revision);
        kept.written = Some(now);
    }

    /// Nothing that was written is there any more, and nobody meant that: our lease has ended.
    pub fn lost(&mut self) {
        self.keys.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn wanted(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    fn there(keys: &[(&str, i64)]) -> BTreeMap<String, i64> {
        let entries = keys
            .iter()
            .map(|(key, revision)| ((*key).to_owned(), *revision));
        entries.collect()
    }

    fn write(key: &str) -> Step {
        Step::Write(key.to_owned())
    }

    #[test]
    fn what_is_missing_is_written_once_and_what_is_ours_is_taken_back() {
        let mut mirror = Mirror::default();
        let steps = mirror.plan(&wanted(&["a", "b"]), &there(&[("b", 3)]), at(0));
        assert_eq!(steps, [write("a")]);
        mirror.wrote("a", 7, at(0));
        let both = there(&[("a", 7), ("b", 3)]);
        assert_eq!(mirror.plan(&wanted(&["a", "b"]), &both, at(1)), []);
        // Somebody else's is left alone.
        let steps = mirror.plan(&wanted(&[]), &both, at(2));
        assert_eq!(steps, [Step::Delete("a".to_owned(), 7)]);
        assert_eq!(mirror.plan(&wanted(&[]), &there(&[("b", 3)]), at(3)), []);
        assert!(mirror.keys.is_empty());
    }

    #[test]
    fn what_others_wrote_over_is_theirs() {
        let mut mirror = Mirror::default();
        mirror.plan(&wanted(&["a"]), &there(&[]), at(0));
        mirror.wrote("a", 7, at(0));
        assert_eq!(mirror.plan(&wanted(&["a"]), &there(&[("a", 9)]), at(1)), []);
        assert_eq!(mirror.plan(&wanted(&[]), &there(&[("a", 9)]), at(2)), []);
    }

    #[test]
    fn what_others_delete_comes_back_after_pauses_that_grow_while_it_is_fought_over() {
        let mut mirror = Mirror::default();
        let (wanted, none) = (wanted(&["a"]), there(&[]));
        assert_eq!(mirror.plan(&wanted, &none, at(0)), [write("a")]);
        let mut now = 0;
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            mirror.wrote("a", 7, at(now));
            assert_eq!(mirror.plan(&wanted, &none, at(now)), []);
            assert_eq!(mirror.plan(&wanted, &none, at(now + pause - 1)), []);
            now += pause;
            assert_eq!(
                mirror.plan(&wanted, &none, at(now)),
                [write("a")],
                "{pause}"
            );
        }
        mirror.wrote("a", 8, at(now));
        now += 60_000;
        assert_eq!(mirror.plan(&wanted, &none, at(now)), []);
        assert_eq!(mirror.plan(&wanted, &none, at(now + 1_000)), [write("a")]);
        // A lease that ended is no deletion.
        mirror.lost();
        assert_eq!(mirror.plan(&wanted, &none, at(now)), [write("a")]);
    }
}
