//! `roundRobin`: one after the other, in the order of their places. Each balancer goes round by itself.

use std::sync::atomic::Ordering::Relaxed;

use super::Free;
use crate::view::members::Members;

/// The next of those that are free.
pub(super) fn next(members: &Members, free: &Free<'_>) -> Option<usize> {
    let count = free.range.len();
    if count == 0 {
        return None;
    }
    let round = members.round();
    let offset = round.fetch_add(1, Relaxed) % count;
    let position = free.next_from(offset)?;
    // Who was passed over has had its turn: else the one behind it would get two.
    let passed = (position - free.range.start + count - offset) % count;
    round.fetch_add(passed, Relaxed);
    Some(position)
}
