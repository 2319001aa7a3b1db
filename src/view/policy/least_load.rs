//! `leastLoad`: the least effective load; equals at random.

use std::sync::Arc;

use crate::view::{Endpoint, members::Members, numbers::Numbers, question::Question};

/// So often a member is tried that somebody else picks at the same time.
const TRIES: usize = 64;

/// The least busy members, each with its pick counted.
pub(super) fn choose(
    members: &Members,
    question: &Question<'_>,
    numbers: &mut Numbers,
) -> Vec<Arc<Endpoint>> {
    if question.count == 1 {
        for _ in 0..TRIES {
            let Some((position, key)) = members.tree().least(numbers) else {
                return Vec::new();
            };
            let endpoint = &members.endpoints()[position];
            if !question.admits(endpoint) {
                break;
            }
            if members.pick_if_still(position, key) {
                return vec![Arc::clone(endpoint)];
            }
        }
    }
    several(members, question, numbers)
}

/// As [`choose`], however many and whatever is excluded. Two who ask at the same time may get the same.
fn several(
    members: &Members,
    question: &Question<'_>,
    numbers: &mut Numbers,
) -> Vec<Arc<Endpoint>> {
    let admitted = members
        .tree()
        .in_order(numbers)
        .filter(|position| question.admits(&members.endpoints()[*position]));
    let chosen: Vec<usize> = admitted.take(question.count).collect();
    let answer = chosen.into_iter().map(|position| {
        members.pick(position);
        Arc::clone(&members.endpoints()[position])
    });
    answer.collect()
}
