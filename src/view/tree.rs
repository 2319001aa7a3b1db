//! The least of many keys, found and kept up to date without a lock, in steps that grow with the logarithm of
//! their number.
//!
//! A tree of 8-way nodes over the keys, as flat arrays. Each node holds the least key below it and how many have
//! it, so that one of them can be drawn evenly on the way down. Who changes a key then refreshes the nodes above
//! it, from below: read the node, read its children, replace the node if it is still the same. If that fails
//! twice, somebody else has read the children after the change, and has written what this one would have (the
//! f-array of Jayanti, PODC 2002). A tag in every word, counted up, keeps an old value from being taken for the same.
//!
//! The keys here are copies of what the endpoints say. A copy may be late; who acts on one looks at the endpoint
//! first.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use super::numbers::Numbers;

/// Larger than every key: not to be found.
pub(super) const ABSENT: u32 = (1 << 28) - 1;

/// Children of a node: as many as one cache line holds. Half as many, or twice, cost a third more.
const FAN: usize = 8;

/// What has one parent.
#[derive(Debug)]
#[repr(align(64))]
struct Siblings([AtomicU64; FAN]);

/// So often the way down is tried while others change the tree, before all keys are looked at.
const TRIES: usize = 32;

/// The largest count that a word can hold. Beyond it some of the equals are drawn less often.
const MOST: u64 = (1 << 20) - 1;

/// Keys by position, and the least of them.
#[derive(Debug)]
pub(super) struct Tree {
    /// All levels, the leaves first; the root is alone in the last.
    groups: Box<[Siblings]>,
    /// With which group each level begins.
    levels: Vec<usize>,
    len: usize,
}

impl Tree {
    /// A tree over `keys`.
    pub(super) fn new(keys: impl ExactSizeIterator<Item = u32>) -> Self {
        let len = keys.len();
        let (mut levels, mut groups, mut size) = (Vec::new(), 0, len.max(1));
        loop {
            levels.push(groups);
            groups += size.div_ceil(FAN);
            if size == 1 {
                break;
            }
            size = size.div_ceil(FAN);
        }
        let absent = || Siblings(std::array::from_fn(|_| AtomicU64::new(leaf(ABSENT, 0))));
        let tree = Self {
            groups: (0..groups).map(|_| absent()).collect(),
            levels,
            len,
        };
        for (position, key) in keys.enumerate() {
            tree.word(0, position).store(leaf(key, 0), Relaxed);
        }
        for level in 1..tree.levels.len() {
            let count = len.div_ceil(FAN.pow(u32::try_from(level).unwrap_or_default()));
            for index in 0..count {
                let least = combine(tree.children(level, index), 0);
                tree.word(level, index).store(least, SeqCst);
            }
        }
        tree
    }

    /// Takes over what `truth` says of `position` now.
    pub(super) fn refresh(&self, position: usize, truth: impl Fn() -> u32) {
        let word = self.word(0, position);
        for _ in 0..2 {
            let old = word.load(SeqCst);
            let key = truth();
            if key_of(old) == key {
                return;
            }
            let new = leaf(key, tag_of(old) + 1);
            if word.compare_exchange(old, new, SeqCst, SeqCst).is_ok() {
                break;
            }
        }
        self.climb(0, position);
    }

    /// A position with the least key, each as likely as the others, and that key: by now the position may have
    /// another. None when all are absent.
    pub(super) fn least(&self, numbers: &mut Numbers) -> Option<(usize, u32)> {
        for _ in 0..TRIES {
            let root = self.root();
            if key_of(root) == ABSENT {
                return None;
            }
            match self.descend(root, numbers) {
                Ok(position) => return Some((position, key_of(root))),
                Err((level, index)) => self.climb(level, index * FAN),
            }
        }
        (0..self.len)
            .map(|position| (position, self.key(position)))
            .min_by_key(|(_, key)| *key)
            .filter(|(_, key)| *key != ABSENT)
    }

    /// The way down to one of the least; where it ends before it is there, the level of the children of the
    /// node that promised too much, and the node's index.
    fn descend(&self, root: u64, numbers: &mut Numbers) -> Result<usize, (usize, usize)> {
        let wanted = key_of(root);
        let mut rank = numbers.below(count_of(root).max(1) as usize) as u64;
        let mut index = 0;
        for level in (1..self.levels.len()).rev() {
            let mut next = None;
            for (at, child) in self.children(level, index).iter().enumerate() {
                let child = child.load(SeqCst);
                if key_of(child) == wanted {
                    next = Some(at);
                    let count = count_of(child);
                    if rank < count {
                        break;
                    }
                    rank -= count;
                }
            }
            match next {
                Some(at) => index = index * FAN + at,
                None => return Err((level - 1, index)),
            }
        }
        Ok(index)
    }

    /// All positions that are not absent, the least key first and equals in a random order. What changes
    /// meanwhile may come where it was.
    pub(super) fn in_order<'a>(
        &'a self,
        numbers: &'a mut Numbers,
    ) -> impl Iterator<Item = usize> + 'a {
        let top = self.levels.len() - 1;
        let root = key_of(self.root());
        let mut ahead = BinaryHeap::new();
        if root != ABSENT {
            ahead.push(Reverse((root, 0, top, 0)));
        }
        std::iter::from_fn(move || {
            loop {
                let Reverse((_, _, level, index)) = ahead.pop()?;
                if level == 0 {
                    return Some(index);
                }
                for (at, child) in self.children(level, index).iter().enumerate() {
                    let key = key_of(child.load(SeqCst));
                    if key != ABSENT {
                        let child = index * FAN + at;
                        ahead.push(Reverse((key, numbers.bits(), level - 1, child)));
                    }
                }
            }
        })
    }

    /// Whether all are absent.
    pub(super) fn is_void(&self) -> bool {
        key_of(self.root()) == ABSENT
    }

    /// The key of `position`, as last taken over.
    pub(super) fn key(&self, position: usize) -> u32 {
        key_of(self.word(0, position).load(SeqCst))
    }

    /// Refreshes what is above `index` of `level`, as far as it changes.
    fn climb(&self, level: usize, index: usize) {
        let mut index = index;
        for level in level + 1..self.levels.len() {
            index /= FAN;
            let word = self.word(level, index);
            for _ in 0..2 {
                let old = word.load(SeqCst);
                let new = combine(self.children(level, index), tag_of(old) + 1);
                if key_of(old) == key_of(new) && count_of(old) == count_of(new) {
                    // As it has to be. Who made it so goes on above.
                    return;
                }
                if word.compare_exchange(old, new, SeqCst, SeqCst).is_ok() {
                    break;
                }
            }
        }
    }

    fn root(&self) -> u64 {
        self.word(self.levels.len() - 1, 0).load(SeqCst)
    }

    fn word(&self, level: usize, index: usize) -> &AtomicU64 {
        &self.groups[self.levels[level] + index / FAN].0[index % FAN]
    }

    fn children(&self, level: usize, index: usize) -> &[AtomicU64; FAN] {
        &self.groups[self.levels[level - 1] + index].0
    }
}

/// The word of a node over `children`.
fn combine(children: &[AtomicU64; FAN], tag: u64) -> u64 {
    let mut least = ABSENT;
    let mut count = 0;
    for child in children {
        let child = child.load(SeqCst);
        let key = key_of(child);
        if key < least {
            least = key;
            count = count_of(child);
        } else if key == least {
            count += count_of(child);
        }
    }
    word(least, tag, count.min(MOST))
}

/// A key in the upper 28 bits, a tag in the next 16, a count in the lower 20.
fn word(key: u32, tag: u64, count: u64) -> u64 {
    u64::from(key) << 36 | (tag & 0xffff) << 20 | count
}

fn leaf(key: u32, tag: u64) -> u64 {
    word(key, tag, u64::from(key != ABSENT))
}

fn key_of(word: u64) -> u32 {
    (word >> 36) as u32
}

fn tag_of(word: u64) -> u64 {
    word >> 20 & 0xffff
}

fn count_of(word: u64) -> u64 {
    word & MOST
}

#[cfg(test)]
mod tests;
