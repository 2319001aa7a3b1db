//! Endpoints that finish their work before they go: clients are told that they drain, then that they are gone.

use std::time::Duration;

use crate::{
    client::{PATIENCE, await_only, together},
    setting::Setting,
    support::eventually,
};

#[test]
fn who_drains_gets_no_new_calls_and_may_come_back() {
    let mut setting = Setting::serving(3);
    let mut clients = setting.calling(&[0, 1, 2]);
    let mut soonest = Duration::MAX;
    for comes_back in [true, false] {
        let said = setting.drain(2);
        await_only(&mut clients, &[0, 1]);
        let late = setting.last_call(2).unwrap();
        let late = late.saturating_duration_since(said);
        println!("last called {late:?} after it was said that it drains");
        soonest = soonest.min(late);
        let calls = setting.calls(2);
        await_only(&mut clients, &[0, 1]);
        assert_eq!(setting.calls(2), calls);
        if comes_back {
            setting.say(2, true);
            await_only(&mut clients, &[0, 1, 2]);
        }
    }
    setting.forget(2);
    setting.end_backend(2);
    await_only(&mut clients, &[0, 1]);
    // What a stopping instance waits for before its signal; a busy machine makes some of them later.
    assert!(soonest < Duration::from_millis(500), "{soonest:?}");
}

#[test]
fn what_is_under_way_where_it_drains_is_finished() {
    let mut setting = Setting::serving(1);
    setting.start_backends([1]);
    let mut clients = setting.clients();
    together(&mut clients, |client| {
        assert_eq!(client.calls("Worker", 1, PATIENCE, true).errors, [""; 0]);
    });
    let before = setting.calls(0);
    let all = before + u64::try_from(clients.len()).unwrap();
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            together(&mut clients, |client| {
                let seen = client.work(Duration::from_secs(3));
                assert_eq!(seen.errors, [""; 0], "{}", client.kind);
                assert!(seen.by.contains_key("worker-0"), "{}", client.kind);
            });
        });
        eventually("all work has begun", || setting.calls(0) == all);
        setting.say(1, true);
        setting.drain(0);
        working.join().unwrap();
    });
    together(&mut clients, |client| {
        let seen = client.calls("Worker", 10, 10, false);
        assert_eq!(seen.errors, [""; 0], "{}", client.kind);
        assert_eq!(seen.by.get("worker-1"), Some(&10), "{}", client.kind);
    });
}

#[test]
fn where_all_drain_calls_fail_at_once_and_those_that_wait_go_out_with_the_next_endpoint() {
    let setting = Setting::serving(2);
    let mut clients = setting.clients();
    together(&mut clients, |client| {
        assert_eq!(client.calls("Worker", 1, PATIENCE, true).errors, [""; 0]);
    });
    for slot in [0, 1] {
        setting.drain(slot);
    }
    together(&mut clients, |client| {
        eventually("all calls fail", || {
            client.calls("Worker", 5, 30, false).errors.len() == 5
        });
        let seen = client.calls("Worker", 3, 30, false);
        println!("{}: {seen:?}", client.kind);
        let unavailable = |error: &String| error.starts_with("UNAVAILABLE");
        assert!(seen.errors.len() == 3 && seen.errors.iter().all(unavailable));
        assert!(seen.millis < 10_000, "{}: {seen:?}", client.kind);
    });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            together(&mut clients, |client| {
                let seen = client.calls("Worker", 1, 60, true);
                assert_eq!(seen.errors, [""; 0], "{}", client.kind);
                assert!(seen.by.contains_key("worker-1"), "{}", client.kind);
            });
        });
        setting.say(1, true);
        waiting.join().unwrap();
    });
}
