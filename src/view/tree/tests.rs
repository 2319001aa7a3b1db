use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use proptest::prelude::*;

use super::*;

fn tree(keys: &[u32]) -> Tree {
    Tree::new(keys.iter().copied())
}

proptest! {
    #[test]
    fn the_least_is_found_whatever_changed(
        keys in prop::collection::vec(0_u32..9, 1..600),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0_u32..9, Just(ABSENT)]), 0..60),
        seed in any::<u64>(),
    ) {
        let tree = tree(&keys);
        let mut keys = keys;
        let mut numbers = Numbers::new(seed);
        for (index, key) in changes {
            let position = index.index(keys.len());
            keys[position] = key;
            tree.refresh(position, || key);
            let least = keys.iter().copied().min().filter(|least| *least != ABSENT);
            prop_assert_eq!(tree.least(&mut numbers).map(|(_, key)| key), least);
        }
        let in_order: Vec<_> = tree.in_order(&mut numbers).collect();
        let mut expected: Vec<_> = keys.iter().copied().filter(|key| *key != ABSENT).collect();
        expected.sort_unstable();
        prop_assert_eq!(in_order.iter().map(|position| keys[*position]).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn equals_are_drawn_equally_often() {
    let keys: Vec<u32> = (0..300).map(|at| u32::from(at % 3 != 0)).collect();
    let tree = tree(&keys);
    let mut numbers = Numbers::new(7);
    let mut times = vec![0; 300];
    for _ in 0..40_000 {
        times[tree.least(&mut numbers).unwrap().0] += 1;
    }
    // 400 each; 6 standard deviations are 120.
    assert!(
        times
            .iter()
            .step_by(3)
            .all(|times| (280..520).contains(times))
    );
    assert_eq!(times.iter().step_by(3).sum::<i32>(), 40_000);
}

#[test]
fn nothing_is_the_least_of_nothing() {
    let mut numbers = Numbers::new(1);
    assert_eq!(tree(&[]).least(&mut numbers), None);
    assert_eq!(tree(&[ABSENT; 40]).least(&mut numbers), None);
    assert_eq!(tree(&[ABSENT; 40]).in_order(&mut numbers).count(), 0);
}

#[test]
fn after_many_have_changed_keys_at_once_the_tree_is_as_if_one_had() {
    let truth: Vec<AtomicU32> = (0..300).map(|_| AtomicU32::new(1_000_000)).collect();
    let tree = Tree::new(truth.iter().map(|key| key.load(SeqCst)));
    let work = |seed| {
        let mut numbers = Numbers::new(seed);
        for _ in 0..20_000 {
            let position = numbers.below(truth.len());
            let step = numbers.below(3) as u32;
            truth[position].fetch_add(step, SeqCst);
            truth[position].fetch_sub(1, SeqCst);
            tree.refresh(position, || truth[position].load(SeqCst));
            assert!(tree.least(&mut numbers).is_some());
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || work(seed));
        }
    });
    let keys: Vec<u32> = truth.iter().map(|key| key.load(SeqCst)).collect();
    let least = *keys.iter().min().unwrap();
    assert_eq!(tree.least(&mut Numbers::new(1)).unwrap().1, least);
    for (position, key) in keys.iter().enumerate() {
        assert_eq!(tree.key(position), *key);
    }
}
