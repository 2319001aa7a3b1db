//! Picks that no load report covers yet: one word per endpoint.
//!
//! A pick counts until the second report after it, because the first may have been made before the request
//! arrived; and if a report tells of more requests than the last one, so many picks are among them and count no
//! longer. In any case a pick is forgotten after two turns of an epoch, half of `recentlyUsed` each.

/// The largest number that is counted, per kind.
const MOST: u64 = 0xfff;

/// Counts of picks, by age and by whether there was a report since; with the epoch that they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    epoch: u16,
    /// Picks of this epoch and of the one before, by reports since then: none, one.
    counts: [[u64; 2]; 2],
}

impl Pending {
    /// What `word` says in `epoch`.
    pub(super) fn read(word: u64, epoch: u16) -> Self {
        let count = |at: u32| word >> (16 + 12 * at) & MOST;
        let counts = [[count(0), count(1)], [count(2), count(3)]];
        let counts = match epoch.wrapping_sub(word as u16) {
            0 => counts,
            1 => [[0, 0], counts[0]],
            _ => Default::default(),
        };
        Self { epoch, counts }
    }

    /// The same as a word; a word of 0 has no picks.
    pub(super) fn word(self) -> u64 {
        let counts = self.counts.into_iter().flatten();
        counts
            .zip(0..)
            .fold(u64::from(self.epoch), |word, (count, at)| {
                word | count << (16 + 12 * at)
            })
    }

    /// How many there are.
    pub(super) fn count(self) -> u64 {
        self.counts.into_iter().flatten().sum()
    }

    /// With one more.
    pub(super) fn picked(mut self) -> Self {
        self.counts[0][0] = (self.counts[0][0] + 1).min(MOST);
        self
    }

    /// After a report that tells of `more` requests than the one before.
    pub(super) fn reported(mut self, more: u64) -> Self {
        let mut covered = more;
        // The oldest come first.
        for age in [1, 0] {
            let [since, before] = &mut self.counts[age];
            *before = *since;
            *since = 0;
            let among = covered.min(*before);
            *before -= among;
            covered -= among;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(times: usize, epoch: u16) -> Pending {
        (0..times).fold(Pending::read(0, epoch), |pending, _| pending.picked())
    }

    #[test]
    fn a_pick_counts_at_once_and_is_forgotten_after_two_epochs() {
        let word = picked(3, 7).word();
        assert_eq!(Pending::read(word, 7).count(), 3);
        let later = Pending::read(word, 8).picked();
        assert_eq!(later.count(), 4);
        assert_eq!(Pending::read(later.word(), 9).count(), 1);
        assert_eq!(Pending::read(later.word(), 10).count(), 0);
        assert_eq!(Pending::read(picked(1, u16::MAX).word(), 0).count(), 1);
    }

    #[test]
    fn the_second_report_covers_a_pick() {
        let once = picked(2, 0).reported(0);
        assert_eq!(once.count(), 2);
        let twice = once.picked().reported(0);
        assert_eq!(twice.count(), 1);
        assert_eq!(twice.reported(0).count(), 0);
    }

    #[test]
    fn a_report_of_more_requests_covers_as_many_picks() {
        assert_eq!(picked(3, 0).reported(2).count(), 1);
        assert_eq!(picked(1, 0).reported(9).count(), 0);
    }

    #[test]
    fn counting_ends_before_it_overflows() {
        let many = picked(5_000, 1);
        assert_eq!(many.count(), MOST);
        assert_eq!(Pending::read(many.word(), 1), many);
    }
}
