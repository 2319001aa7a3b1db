//! Endpoints in an order, in blocks that one version of the list shares with the next: a change costs what the
//! blocks cost that it touches, and not a look at every endpoint.

use std::{
    ops::{self, Range},
    sync::Arc,
};

use super::Endpoint;

/// About so many endpoints are in a block.
const BLOCK: usize = if cfg!(test) { 4 } else { 256 };

/// A block with more is divided.
const MOST: usize = 2 * BLOCK;

/// An ordered list.
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// None of them is empty.
    blocks: Vec<Arc<[Arc<Endpoint>]>>,
    /// For each block, the position behind its last.
    ends: Vec<usize>,
}

/// A step from one list to the next. Positions are those of the former; what is put there comes before what is.
#[derive(Debug)]
pub(super) enum Edit {
    Put(usize, Arc<Endpoint>),
    Take(usize),
}

impl Edit {
    fn at(&self) -> usize {
        match self {
            Self::Put(at, _) | Self::Take(at) => *at,
        }
    }

    /// Puts edits in the order in which they are carried out; those that put something at one position stay in theirs.
    pub(super) fn sort(edits: &mut [Self]) {
        edits.sort_by_key(|edit| (edit.at(), matches!(edit, Self::Take(_))));
    }
}

/// A part of a list that was edited.
pub(super) enum Piece<'a> {
    /// These, by their positions in the former list.
    Kept(Range<usize>),
    New(&'a Arc<Endpoint>),
}

/// What becomes of the positions in `range` by `edits`, which are sorted.
pub(super) fn pieces(range: Range<usize>, edits: &[Edit]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::with_capacity(2 * edits.len() + 1);
    let mut from = range.start;
    for edit in edits {
        pieces.push(Piece::Kept(from..edit.at()));
        from = edit.at();
        match edit {
            Edit::Put(_, endpoint) => pieces.push(Piece::New(endpoint)),
            Edit::Take(_) => from += 1,
        }
    }
    pieces.push(Piece::Kept(from..range.end));
    pieces
}

impl Roll {
    fn of(blocks: Vec<Arc<[Arc<Endpoint>]>>) -> Self {
        let mut end = 0;
        let ends = blocks.iter().map(|block| {
            end += block.len();
            end
        });
        Self {
            ends: ends.collect(),
            blocks,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> + Clone {
        self.blocks.iter().flat_map(|block| block.iter())
    }

    /// The first position in `range` whose endpoint does not come `before`, if those that do are the first ones.
    pub(super) fn partition_point(
        &self,
        range: Range<usize>,
        before: impl Fn(&Endpoint) -> bool,
    ) -> usize {
        let (mut from, mut to) = (range.start, range.end);
        while from < to {
            let middle = from.midpoint(to);
            match before(&self[middle]) {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        from
    }

    /// The list after `edits`, which are sorted.
    pub(super) fn edited(&self, edits: &[Edit]) -> Self {
        let nothing = [Arc::from([])];
        let former = match &self.blocks[..] {
            [] => &nothing,
            blocks => blocks,
        };
        let mut blocks = Vec::with_capacity(former.len() + 1);
        let (mut start, mut edits) = (0, edits);
        for (at, block) in former.iter().enumerate() {
            let end = start + block.len();
            let is_last = at + 1 == former.len();
            let here = edits.partition_point(|edit| is_last || edit.at() < end);
            let (here, later) = edits.split_at(here);
            if here.is_empty() && !block.is_empty() {
                blocks.push(Arc::clone(block));
            } else {
                let mut edited = Vec::with_capacity(block.len() + here.len());
                for piece in pieces(start..end, here) {
                    match piece {
                        Piece::Kept(kept) => {
                            edited.extend_from_slice(&block[kept.start - start..kept.end - start]);
                        }
                        Piece::New(endpoint) => edited.push(Arc::clone(endpoint)),
                    }
                }
                let most = match edited.len() <= MOST {
                    true => MOST,
                    false => BLOCK,
                };
                blocks.extend(edited.chunks(most).map(Arc::from));
            }
            (start, edits) = (end, later);
        }
        let roll = Self::of(blocks);
        // Blocks that lost nearly all they had are put together now and then.
        match roll.blocks.len() > 4 + 4 * roll.len() / BLOCK {
            true => roll.iter().cloned().collect(),
            false => roll,
        }
    }
}

impl FromIterator<Arc<Endpoint>> for Roll {
    fn from_iter<I: IntoIterator<Item = Arc<Endpoint>>>(endpoints: I) -> Self {
        let mut endpoints = endpoints.into_iter();
        let blocks = std::iter::from_fn(|| {
            let block: Arc<[_]> = endpoints.by_ref().take(BLOCK).collect();
            (!block.is_empty()).then_some(block)
        });
        Self::of(blocks.collect())
    }
}

impl ops::Index<usize> for Roll {
    type Output = Arc<Endpoint>;

    fn index(&self, position: usize) -> &Arc<Endpoint> {
        // Blocks are about equally large: the guess is right or nearly so, and costs less than a search.
        let last = self.ends.len().saturating_sub(1);
        let mut at = (position * self.ends.len() / self.len().max(1)).min(last);
        while self.ends[at] <= position {
            at += 1;
        }
        while at > 0 && self.ends[at - 1] > position {
            at -= 1;
        }
        let block = &self.blocks[at];
        &block[position + block.len() - self.ends[at]]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::view::tests::endpoint;

    fn ports(roll: &Roll) -> Vec<u16> {
        roll.iter().map(|endpoint| endpoint.port()).collect()
    }

    proptest! {
        #[test]
        fn an_edited_list_has_what_an_edited_vector_has(
            start in 0_u16..30,
            steps in prop::collection::vec(
                prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6), 0..20),
        ) {
            let mut expected: Vec<u16> = (0..start).collect();
            let new = |port: u16| Arc::new(endpoint("h", port));
            let mut roll: Roll = expected.iter().map(|port| new(*port)).collect();
            let mut next = start;
            for step in steps {
                let mut edits = Vec::new();
                for (index, put) in step {
                    let at = index.index(expected.len() + 1);
                    match put {
                        true => {
                            edits.push(Edit::Put(at, new(next)));
                            next += 1;
                        }
                        false if at < expected.len() && !edits.iter().any(|edit| matches!(edit, Edit::Take(other) if *other == at)) => edits.push(Edit::Take(at)),
                        false => {}
                    }
                }
                Edit::sort(&mut edits);
                roll = roll.edited(&edits);
                for edit in edits.iter().rev() {
                    match edit {
                        Edit::Put(at, endpoint) => expected.insert(*at, endpoint.port()),
                        Edit::Take(at) => drop(expected.remove(*at)),
                    }
                }
                prop_assert_eq!(ports(&roll), expected.clone());
                prop_assert_eq!(roll.len(), expected.len());
                for (position, port) in expected.iter().enumerate() {
                    prop_assert_eq!(roll[position].port(), *port);
                }
                prop_assert!(roll.blocks.iter().all(|block| (1..=MOST).contains(&block.len())));
                prop_assert!(roll.blocks.len() <= 4 + 4 * roll.len() / BLOCK);
            }
        }
    }

    #[test]
    fn what_a_change_does_not_touch_is_shared() {
        let roll: Roll = (0..100).map(|port| Arc::new(endpoint("h", port))).collect();
        let edited = roll.edited(&[Edit::Take(50)]);
        let shared = (roll.blocks.iter())
            .filter(|block| edited.blocks.iter().any(|other| Arc::ptr_eq(block, other)));
        assert_eq!(shared.count(), roll.blocks.len() - 1);
        assert_eq!(
            roll.partition_point(10..90, |endpoint| endpoint.port() < 33),
            33
        );
    }
}
