//! The policies that draw.

use super::Free;
use crate::view::{members::Members, numbers::Numbers};

/// Two at random, of these the less busy.
pub(super) fn p2c(members: &Members, free: &Free<'_>, numbers: &mut Numbers) -> Option<usize> {
    let one = free.draw(numbers)?;
    let other = free.draw(numbers)?;
    Some(if members.key(other) < members.key(one) {
        other
    } else {
        one
    })
}

/// At random, in proportion to the weights; members of weight 0, and suspects, only when there is no other.
pub(super) fn weighted(members: &Members, free: &Free<'_>, numbers: &mut Numbers) -> Option<usize> {
    const MISSES: usize = 64;
    let sums = &members.aids().weights;
    let all = sums.last().copied().unwrap_or_default();
    if free.range.start == 0 && all > 0 {
        for _ in 0..MISSES {
            let at = numbers.below(usize::try_from(all).unwrap_or(usize::MAX)) as u64;
            let position = sums.partition_point(|sum| *sum <= at);
            if (free.may)(position) {
                return Some(position);
            }
        }
    }
    free.draw(numbers)
}
