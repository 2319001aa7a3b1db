//! The first of many set bits, without a lock: words of 64 bits, and above them words that say which of those
//! below have any.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A set of small numbers.
#[derive(Debug)]
pub(super) struct Bits {
    /// The members first, then which words of the level below are not empty. A word may be said to have
    /// members when it has none, never the other way round for longer than a change takes.
    levels: Vec<Box<[AtomicU64]>>,
}

impl Bits {
    /// A set without members that takes numbers below `len`.
    pub(super) fn new(len: usize) -> Self {
        let mut levels = Vec::new();
        let mut size = len.max(1);
        loop {
            size = size.div_ceil(64);
            levels.push((0..size).map(|_| AtomicU64::new(0)).collect());
            if size == 1 {
                return Self { levels };
            }
        }
    }

    /// Puts `number` in.
    pub(super) fn set(&self, number: usize) {
        let mut at = number;
        for level in &self.levels {
            level[at / 64].fetch_or(1 << (at % 64), SeqCst);
            at /= 64;
        }
    }

    /// Takes `number` out. Returns whether it was in: of several who take it out at once, one is told so.
    pub(super) fn clear(&self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        let before = self.levels[0][number / 64].fetch_and(!bit, SeqCst);
        if before & !bit == 0 {
            self.tidy(1, number / 64);
        }
        before & bit != 0
    }

    /// The least member.
    pub(super) fn first(&self) -> Option<usize> {
        loop {
            let mut at = 0;
            let mut empty = None;
            for (height, level) in self.levels.iter().enumerate().rev() {
                let word = level[at].load(SeqCst);
                if word == 0 {
                    empty = Some((height, at));
                    break;
                }
                at = at * 64 + word.trailing_zeros() as usize;
            }
            match empty {
                None => return Some(at),
                Some((height, _)) if height + 1 == self.levels.len() => return None,
                Some((height, at)) => self.tidy(height + 1, at),
            }
        }
    }

    /// Numbers below `len` that are not in.
    pub(super) fn missing(&self, len: usize) -> impl Iterator<Item = usize> {
        let words = self.levels[0].iter().enumerate();
        words
            .flat_map(|(at, word)| {
                let mut absent = !word.load(SeqCst);
                std::iter::from_fn(move || {
                    (absent != 0).then(|| {
                        let bit = absent.trailing_zeros() as usize;
                        absent &= absent - 1;
                        at * 64 + bit
                    })
                })
            })
            .take_while(move |number| *number < len)
    }

    /// Says at `height` that word `at` of the level below is empty, unless it is not.
    fn tidy(&self, height: usize, at: usize) {
        let Some(level) = self.levels.get(height) else {
            return;
        };
        let bit = 1 << (at % 64);
        let before = level[at / 64].fetch_and(!bit, SeqCst);
        if self.levels[height - 1][at].load(SeqCst) != 0 {
            // Somebody has put one in meanwhile.
            let mut at = at;
            for level in &self.levels[height..] {
                level[at / 64].fetch_or(1 << (at % 64), SeqCst);
                at /= 64;
            }
        } else if before & !bit == 0 {
            self.tidy(height + 1, at / 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_with_a_first_member(
            len in 1_usize..10_000,
            steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..200),
        ) {
            let bits = Bits::new(len);
            let mut model = BTreeSet::new();
            for (index, put) in steps {
                let number = index.index(len);
                if put {
                    bits.set(number);
                    model.insert(number);
                } else {
                    prop_assert_eq!(bits.clear(number), model.remove(&number));
                }
                prop_assert_eq!(bits.first(), model.first().copied());
            }
            let missing: Vec<_> = bits.missing(len).collect();
            prop_assert_eq!(missing.len(), len - model.len());
            prop_assert!(missing.iter().all(|number| !model.contains(number)));
        }
    }

    #[test]
    fn what_many_take_at_once_nobody_gets_twice() {
        let bits = Bits::new(5_000);
        (0..5_000).for_each(|number| bits.set(number));
        let take = || {
            let mut taken = Vec::new();
            while let Some(number) = bits.first() {
                if bits.clear(number) {
                    taken.push(number);
                }
            }
            taken
        };
        let mut all: Vec<usize> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            takers
                .into_iter()
                .flat_map(|taker| taker.join().unwrap())
                .collect()
        });
        all.sort_unstable();
        assert!(all.into_iter().eq(0..5_000));
    }
}
