//! Order, hints about units, who keeps which queue.

use super::*;

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn units(capacity: u32, taken: u32) -> Units {
    Units {
        capacity,
        taken,
        open: true,
    }
}

/// A queue that knows of `free` units of w-0 on node n.
fn queue(free: u32) -> Queue {
    let mut queue = Queue::default();
    let w = "w-0".parse().unwrap();
    queue.learn(&name("n"), 1, &[(w, units(free, 0))].into());
    queue
}

fn place() -> Place {
    Place {
        node: name("n"),
        instance: "w-0".parse().unwrap(),
    }
}

#[test]
fn who_has_waited_longest_is_next_wherever_it_has_waited() {
    let mut queue = queue(9);
    queue.enter(1, at(10_000), at(10_000)).unwrap();
    queue.enter(2, at(3_000), at(10_001)).unwrap();
    queue.enter(3, at(10_002), at(10_002)).unwrap();
    assert_eq!(queue.place(3), Some(3));
    let next = |queue: &mut Queue| queue.next(at(10_003)).unwrap().0;
    assert_eq!([next(&mut queue), next(&mut queue)], [2, 1]);
    queue.back(2);
    assert_eq!(queue.waiting().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_queue_that_moved_is_given_time_to_gather() {
    let mut queue = queue(1);
    queue.enter(1, at(9_000), at(10_000)).unwrap();
    assert_eq!(queue.next(at(10_999)), None);
    assert_eq!(queue.wake(at(10_000)), Some(at(11_000)));
    queue.enter(2, at(5_000), at(10_400)).unwrap();
    assert_eq!(queue.next(at(11_000)), Some((2, place())));
}

#[test]
fn a_unit_is_asked_for_once_and_older_news_of_it_do_not_count() {
    let mut queue = queue(1);
    for caller in 1..4 {
        queue.enter(caller, at(0), at(0)).unwrap();
    }
    assert_eq!(queue.next(at(0)), Some((1, place())));
    assert_eq!(queue.next(at(0)), None, "an answer is outstanding");
    queue.granted(&place(), 5, units(1, 1));
    let stale = [(place().instance, units(1, 0))].into();
    queue.learn(&name("n"), 4, &stale);
    assert_eq!(queue.next(at(0)), None);
    queue.learn(&name("n"), 6, &stale);
    assert_eq!(queue.next(at(0)), Some((2, place())));
}

#[test]
fn a_refused_unit_is_asked_for_again_a_little_later() {
    let mut queue = queue(1);
    queue.enter(1, at(0), at(0)).unwrap();
    queue.next(at(0)).unwrap();
    queue.refused(&place(), at(5));
    queue.back(1);
    assert_eq!(queue.next(at(5)), None);
    assert_eq!(queue.wake(at(5)), Some(at(105)));
    assert_eq!(queue.next(at(105)), Some((1, place())));
}

#[test]
fn what_an_agent_out_of_reach_has_is_not_given_out_and_a_doubt_outlives_it() {
    let mut queue = queue(1);
    queue.enter(1, at(0), at(0)).unwrap();
    queue.next(at(0)).unwrap();
    queue.back(1);
    queue.lose(&name("n"));
    assert_eq!((queue.next(at(1)), queue.units()), (None, 0));
    queue.learn(&name("n"), 1, &[(place().instance, units(1, 0))].into());
    assert_eq!(queue.next(at(1)), None, "nobody knows who has got it");
    queue.settled(&place());
    assert_eq!(queue.next(at(1)), Some((1, place())));
}

#[test]
fn who_leaves_is_never_next_and_a_full_queue_says_so() {
    let mut queue = queue(1);
    for caller in 0..LONGEST as u64 {
        queue.enter(caller, at(0), at(0)).unwrap();
    }
    assert_eq!(queue.enter(99_999, at(0), at(0)), Err(Full));
    queue.leave(0);
    assert_eq!(queue.next(at(0)), Some((1, place())));
    queue.leave(1);
    queue.back(1);
    assert!(!queue.waiting().any(|caller| caller < 2));
    assert_eq!(queue.dissolve().len(), LONGEST - 2);
    assert!(queue.is_empty());
}

#[test]
fn queues_are_spread_over_balancers_and_move_only_with_their_own() {
    let balancers: Vec<Name> = (0..5_u64)
        .map(|id| name(&format!("{:032x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
        .collect();
    let mut kept = BTreeMap::<_, u32>::new();
    for service in (0..1_000).map(|number| name(&format!("service-{number}"))) {
        let owner = keeper(&service, balancers.iter()).unwrap();
        *kept.entry(owner).or_default() += 1;
        for lost in balancers.iter().filter(|lost| *lost != owner) {
            let rest = balancers.iter().filter(|balancer| *balancer != lost);
            assert_eq!(keeper(&service, rest), Some(owner));
        }
    }
    assert!(
        kept.values().all(|count| (140..260).contains(count)),
        "{kept:?}"
    );
    assert_eq!(keeper(&name("a"), std::iter::empty()), None);
}
