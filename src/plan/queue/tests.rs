//! Order, hints about units, who keeps which queue; `fairness`: a thousand callers while things break.

mod fairness;

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
    let mut queue = Queue::new(0);
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

fn age(millis: u64) -> Age {
    Age::of(Duration::from_millis(millis))
}

/// Of one who came to the queue `id` at that time.
fn stamped(waited: u64, id: u64, millis: u64) -> Age {
    let stamp = Stamp {
        queue: id,
        at: at(millis),
    };
    Age {
        stamp: Some(stamp),
        ..age(waited)
    }
}

fn order(queue: &Queue) -> Vec<Caller> {
    queue.waiting().map(|(caller, _)| caller).collect()
}

#[test]
fn who_has_waited_longest_is_next_wherever_it_has_waited() {
    let mut queue = queue(9);
    queue.enter(1, age(0), at(10_000)).unwrap();
    queue.enter(2, age(7_000), at(10_001)).unwrap();
    queue.enter(3, age(0), at(10_002)).unwrap();
    assert_eq!(queue.place(3).map(|(place, _)| place), Some(3));
    let mut next = || {
        let place = queue.next(at(10_003)).unwrap();
        queue.granted(&place, 0, units(9, 0)).unwrap()
    };
    assert_eq!([next(), next(), next()], [2, 1, 3]);
}

#[test]
fn whoever_is_next_when_a_grant_comes_gets_it() {
    let mut queue = queue(9);
    queue.enter(1, age(0), at(10)).unwrap();
    queue.enter(2, age(0), at(11)).unwrap();
    for _ in 0..2 {
        assert_eq!(queue.next(at(11)), Some(place()));
    }
    assert_eq!(queue.next(at(11)), None, "no more are asked for than wait");
    queue.leave(1);
    queue.enter(3, age(5), at(12)).unwrap();
    assert_eq!(queue.granted(&place(), 2, units(9, 1)), Some(3));
    assert_eq!(queue.granted(&place(), 3, units(9, 2)), Some(2));
    queue.enter(4, age(0), at(13)).unwrap();
    queue.next(at(13)).unwrap();
    queue.leave(4);
    assert_eq!(queue.granted(&place(), 4, units(9, 3)), None);
}

#[test]
fn a_queue_that_moved_comes_out_in_its_old_order_however_long_each_took_to_come() {
    let mut first = Queue::new(1);
    let waits: Vec<_> = (0..4)
        .map(|caller| {
            let now = at(1_000 + caller);
            first.enter(caller, age(0), now).unwrap();
            first.place(caller).unwrap().1
        })
        .collect();
    // At the next keeper, whose clock tells another time.
    let mut second = queue(9);
    for (caller, late) in [(2, 0), (0, 300), (3, 350), (1, 900)] {
        let stamp = Some(waits[usize::try_from(caller).unwrap()]);
        let waited = Duration::from_secs(2);
        let now = at(90_000 + late);
        second.enter(caller, Age { waited, stamp }, now).unwrap();
    }
    second.enter(9, age(0), at(90_901)).unwrap();
    assert_eq!(order(&second), [0, 1, 2, 3, 9]);
}

#[test]
fn a_queue_that_moved_is_waited_for_while_it_comes_but_not_for_ever() {
    let mut queue = queue(9);
    queue.enter(1, age(0), at(1_000)).unwrap();
    assert!(queue.next(at(1_000)).is_some());
    queue.enter(2, age(0), at(1_000)).unwrap();
    // Another queue is lost while this one is in use.
    queue.enter(3, stamped(900, 7, 500), at(1_100)).unwrap();
    assert_eq!(queue.next(at(2_099)), None);
    queue.enter(4, stamped(900, 7, 510), at(2_000)).unwrap();
    assert_eq!(queue.wake(at(2_100)), Some(at(2_500)));
    assert!(queue.next(at(2_500)).is_some());

    let mut queue = self::queue(1);
    for more in 0..30 {
        let now = 1_000 + 400 * more;
        queue.enter(more, stamped(2_000, 7, 500), at(now)).unwrap();
    }
    assert!(queue.next(at(6_000)).is_some(), "no longer than 5 s");
}

#[test]
fn those_who_only_say_that_a_queue_was_lost_cannot_keep_another_closed() {
    let mut queue = queue(9);
    queue.enter(0, stamped(900, 1, 500), at(20_000)).unwrap();
    queue.enter(1, stamped(900, 2, 500), at(21_000)).unwrap();
    for id in 3..30 {
        let age = stamped(u64::MAX, id, u64::MAX);
        queue.enter(id, age, at(21_000)).unwrap();
    }
    assert!(queue.next(at(21_000)).is_some());
    assert!(queue.origins.len() <= ORIGINS);
}

#[test]
fn without_stamps_a_queue_that_moved_is_given_time_too() {
    let mut queue = queue(1);
    queue.enter(1, age(1_000), at(10_000)).unwrap();
    assert_eq!(queue.next(at(10_999)), None);
    assert_eq!(queue.wake(at(10_000)), Some(at(11_000)));
    queue.enter(2, age(5_400), at(10_400)).unwrap();
    assert_eq!(queue.next(at(11_000)), Some(place()));
    assert_eq!(queue.granted(&place(), 2, units(1, 1)), Some(2));
}

#[test]
fn who_comes_back_to_the_same_queue_has_its_old_place() {
    let mut queue = queue(0);
    queue.enter(1, age(0), at(1_000)).unwrap();
    let (_, stamp) = queue.place(1).unwrap();
    queue.enter(2, age(0), at(1_001)).unwrap();
    queue.leave(1);
    let age = Age {
        waited: Duration::from_secs(3),
        stamp: Some(stamp),
    };
    queue.enter(3, age, at(4_500)).unwrap();
    assert_eq!(order(&queue), [3, 2]);
}

#[test]
fn a_unit_is_asked_for_once_and_older_news_of_it_do_not_count() {
    let mut queue = queue(1);
    for caller in 1..4 {
        queue.enter(caller, age(0), at(0)).unwrap();
    }
    assert_eq!(queue.next(at(0)), Some(place()));
    assert_eq!(queue.next(at(0)), None, "an answer is outstanding");
    assert_eq!(queue.granted(&place(), 5, units(1, 1)), Some(1));
    let stale = [(place().instance, units(1, 0))].into();
    queue.learn(&name("n"), 4, &stale);
    assert_eq!(queue.next(at(0)), None);
    queue.learn(&name("n"), 6, &stale);
    assert_eq!(queue.next(at(0)), Some(place()));
}

#[test]
fn a_refused_unit_is_asked_for_again_a_little_later() {
    let mut queue = queue(1);
    queue.enter(1, age(0), at(0)).unwrap();
    queue.next(at(0)).unwrap();
    queue.refused(&place(), at(5));
    assert_eq!(queue.next(at(5)), None);
    assert_eq!(queue.wake(at(5)), Some(at(105)));
    assert_eq!(queue.next(at(105)), Some(place()));
}

#[test]
fn what_an_agent_out_of_reach_has_is_not_given_out_and_a_doubt_outlives_it() {
    let mut queue = queue(1);
    queue.enter(1, age(0), at(0)).unwrap();
    queue.next(at(0)).unwrap();
    queue.doubted();
    queue.lose(&name("n"));
    assert_eq!((queue.next(at(1)), queue.units()), (None, 0));
    queue.learn(&name("n"), 1, &[(place().instance, units(1, 0))].into());
    assert_eq!(queue.next(at(1)), None, "nobody knows who has got it");
    queue.settled(&place());
    assert_eq!(queue.next(at(1)), Some(place()));
}

#[test]
fn who_leaves_is_never_next_and_a_full_queue_says_so() {
    let mut queue = queue(2);
    for caller in 0..LONGEST as u64 {
        queue.enter(caller, age(0), at(0)).unwrap();
    }
    assert_eq!(queue.enter(99_999, age(0), at(0)), Err(Full));
    queue.leave(0);
    queue.next(at(0)).unwrap();
    assert_eq!(queue.granted(&place(), 2, units(2, 1)), Some(1));
    assert!(!order(&queue).iter().any(|caller| *caller < 2));
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
