//! The store adapter against a real etcd.
//!
//! - reads and writes: `a_transaction_*`, `a_listing_*`, `a_dead_endpoint_*`, `without_a_store_*`,
//!   `a_write_*`, `a_guarded_write_*`
//! - following: `a_follower_*`
//! - leases: `a_lease_*`
//! - election: `the_next_leader_*`, `an_old_leader_*`
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests panic, start tasks and measure real time"
)]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quaestor::{
    host::Host,
    store::{Change, Config, Error, Follow, Guard, Outcome, Store, Txn, Update, Write},
};
use support::{
    PATIENCE,
    etcd::Etcd,
    ports::free_port,
    proxy::{Mode, Proxy},
};

fn connect(endpoints: &[String]) -> Store {
    let mut config = Config::new(endpoints);
    config.request_timeout = Duration::from_secs(2);
    Store::new(config, Host::system()).unwrap()
}

/// An etcd and a store on it.
fn start() -> (Etcd, Store) {
    let etcd = Etcd::start();
    let store = connect(&[etcd.endpoint()]);
    (etcd, store)
}

async fn put(store: &Store, key: &str, value: &str) -> i64 {
    write(store, Txn::new().then(Write::put(key, value.to_owned()))).await
}

/// Commits `txn`, whatever it takes.
async fn write(store: &Store, txn: Txn) -> i64 {
    match store.commit(txn).await {
        Ok(Outcome::Committed(revision)) => revision,
        outcome => panic!("{outcome:?}"),
    }
}

/// Lets the store find out that its connection broke while the test blocked the runtime: the first
/// request over it fails. A read is then repeated inside; a write without guards would not be.
async fn notice_restart(store: &Store) {
    store.get("/").await.unwrap();
}

/// `future`, unless it takes too long.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not in {PATIENCE:?}: {what}"),
    }
}

async fn next(follow: &mut Follow) -> Update {
    soon("an update", follow.next()).await
}

/// A change as text: `key=value` or `-key`.
fn text(change: &Change) -> String {
    match change {
        Change::Put(entry) => {
            format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value))
        }
        Change::Delete { key, .. } => format!("-{key}"),
    }
}

fn texts(update: &Update) -> Vec<String> {
    update.changes.iter().map(text).collect()
}

#[tokio::test]
async fn a_transaction_happens_if_its_guards_hold_and_else_not() {
    let (_etcd, store) = start();
    assert_eq!(store.get("/a").await.unwrap(), None);

    let create = Txn::new()
        .when(Guard::Absent("/a".into()))
        .then(Write::put("/a", "1"))
        .then(Write::put("/b", "1"));
    let revision = write(&store, create.clone()).await;
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!(
        (entry.create_revision, entry.mod_revision),
        (revision, revision)
    );
    assert_eq!(store.commit(create).await.unwrap(), Outcome::Conflict);

    let guarded = |guard| Txn::new().when(guard).then(Write::put("/a", "2"));
    for broken in [
        Guard::ModRevision("/a".into(), revision - 1),
        Guard::CreateRevision("/a".into(), revision - 1),
        Guard::Value("/a".into(), "0".into()),
        Guard::ModRevision("/none".into(), revision),
    ] {
        let outcome = store.commit(guarded(broken.clone())).await.unwrap();
        assert_eq!(outcome, Outcome::Conflict, "{broken:?}");
    }
    write(&store, guarded(Guard::ModRevision("/a".into(), revision))).await;
    write(
        &store,
        guarded(Guard::CreateRevision("/a".into(), revision)),
    )
    .await;
    write(&store, guarded(Guard::Value("/a".into(), "2".into()))).await;
    write(&store, Txn::new().then(Write::delete("/a"))).await;
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert!(store.get("/b").await.unwrap().is_some());
}

#[tokio::test]
async fn a_transaction_that_the_store_never_does_is_refused_with_its_reason() {
    let (_etcd, store) = start();
    let twice = Txn::new()
        .then(Write::put("/a", "1"))
        .then(Write::put("/a", "2"));
    let error = store.commit(twice).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused { .. }) && !error.is_retryable(),
        "{error}"
    );
    assert!(error.to_string().contains("duplicate key"), "{error}");

    let leased = Txn::new().then(Write::put_leased("/a", "1", 12345));
    let error = store.commit(leased).await.unwrap_err();
    assert!(matches!(error, Error::LeaseEnded), "{error}");
}

#[tokio::test]
async fn a_listing_larger_than_an_answer_may_be_is_read_whole_and_in_order() {
    let (_etcd, store) = start();
    let large = "x".repeat(1_000_000);
    for number in 0..9 {
        put(&store, &format!("/large/{number}"), &large).await;
    }
    for batch in 0..30 {
        let txn = (0..100).fold(Txn::new(), |txn, number| {
            txn.then(Write::put(
                format!("/small/{:04}", batch * 100 + number),
                "v",
            ))
        });
        write(&store, txn).await;
    }
    let revision = put(&store, "/largest", "not under the prefix").await;

    let listing = store.list("/large/").await.unwrap();
    assert_eq!(listing.revision, revision);
    assert_eq!(listing.entries.len(), 9);
    assert!(
        listing
            .entries
            .iter()
            .all(|entry| entry.value.len() == large.len())
    );

    let listing = store.list("/small/").await.unwrap();
    let keys: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    assert_eq!(keys.len(), 3000);
    assert!(keys.is_sorted());
    assert_eq!(store.list("").await.unwrap().entries.len(), 3010);
    assert_eq!(
        store.list("/large").await.unwrap().entries,
        [],
        "one key, which is not there"
    );
}

#[tokio::test]
async fn a_dead_endpoint_fails_no_call_while_another_lives() {
    let (etcd, dead) = (Etcd::start(), free_port());
    let store = connect(&[format!("127.0.0.1:{dead}"), etcd.endpoint()]);
    for number in 0..50 {
        // Not guarded: even so it must be sent again, because nothing was sent at first.
        put(&store, "/a", &number.to_string()).await;
        store.get("/a").await.unwrap().unwrap();
        // Each has its own idea of which endpoint is the good one.
        connect(&[format!("127.0.0.1:{dead}"), etcd.endpoint()])
            .list("/")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn without_a_store_the_error_names_the_endpoints_and_the_cause() {
    let (one, two) = (free_port(), free_port());
    let store = connect(&[
        format!("127.0.0.1:{one}"),
        format!("http://127.0.0.1:{two}"),
    ]);
    let expected = format!(
        "the store cannot be reached at http://127.0.0.1:{one}, http://127.0.0.1:{two}: \
         connection refused"
    );
    assert_eq!(store.get("/a").await.unwrap_err().to_string(), expected);
    let error = store
        .commit(Txn::new().then(Write::put("/a", "1")))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_has_an_unknown_outcome() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(&etcd.endpoint()).await;
    let store = connect(&[proxy.endpoint(), etcd.endpoint()]);
    store.get("/a").await.unwrap();
    proxy.set(Mode::Mute);
    // Although another endpoint would answer: without guards it could happen twice.
    let unguarded = Txn::new().then(Write::put("/a", "1"));
    let error = soon("an error", store.commit(unguarded)).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(error.to_string().contains("`/a`"), "{error}");
    assert!(!error.is_retryable());
    let entry = soon("a read", store.get("/a")).await.unwrap().unwrap();
    assert_eq!(
        (&*entry.value, entry.create_revision),
        (&b"1"[..], entry.mod_revision)
    );
}

#[tokio::test]
async fn a_write_after_a_lost_answer_goes_to_another_endpoint_first() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(&etcd.endpoint()).await;
    let store = connect(&[proxy.endpoint(), etcd.endpoint()]);
    store.get("/a").await.unwrap();
    proxy.set(Mode::Stall);
    let unguarded = Txn::new().then(Write::put("/a", "1"));
    let error = store.commit(unguarded.clone()).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    write(&store, unguarded).await;
}

#[tokio::test]
async fn a_guarded_write_whose_answer_is_lost_is_sent_again_but_never_done_twice() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(&etcd.endpoint()).await;
    let direct = connect(&[etcd.endpoint()]);
    let revision = put(&direct, "/a", "0").await;
    let guarded = |revision, value: &'static str| {
        Txn::new()
            .when(Guard::ModRevision("/a".into(), revision))
            .then(Write::put("/a", value))
    };
    let both = || connect(&[proxy.endpoint(), etcd.endpoint()]);

    // The first attempt does not arrive: the second one is the only one.
    let store = both();
    store.get("/a").await.unwrap();
    proxy.set(Mode::Stall);
    let revision = write(&store, guarded(revision, "1")).await;

    // The first attempt arrives, its answer does not: the second one meets its own write.
    proxy.set(Mode::Carry);
    let store = both();
    store.get("/a").await.unwrap();
    proxy.set(Mode::Mute);
    let error = store.commit(guarded(revision, "2")).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    let entry = direct.get("/a").await.unwrap().unwrap();
    assert_eq!(
        (&*entry.value, entry.mod_revision),
        (&b"2"[..], revision + 1)
    );
}

#[tokio::test]
async fn a_follower_hears_everything_under_each_prefix_in_order_and_transactions_whole() {
    let (_etcd, store) = start();
    put(&store, "/a/1", "old").await;
    put(&store, "/other/1", "unseen").await;
    let mut follow = store.follow(vec!["/a/".into(), "/b/".into()]);
    assert_eq!(texts(&next(&mut follow).await), ["/a/1=old"]);

    let mut expected = [Vec::new(), Vec::new()];
    for number in 0..200 {
        let keys = [("/a/x", 0), ("/a/y", 0), ("/b/x", 1), ("/b/y", 1)];
        let mut txn = Txn::new();
        for (key, prefix) in keys {
            let is_put = number % 3 != 1;
            txn = txn.then(match is_put {
                true => Write::put(key, number.to_string()),
                false => Write::delete(key),
            });
            expected[prefix].push(match is_put {
                true => format!("{key}={number}"),
                false => format!("-{key}"),
            });
        }
        write(&store, txn).await;
        put(&store, "/other/1", "unseen").await;
    }
    let mut said = [Vec::new(), Vec::new()];
    while said[0].len() + said[1].len() < 800 {
        let update = next(&mut follow).await;
        assert!(update.changes.is_sorted_by_key(Change::revision));
        assert_eq!(update.changes.last().unwrap().revision(), update.revision);
        for text in texts(&update) {
            said[usize::from(text.contains("/b/"))].push(text);
        }
        let is_even = |said: &Vec<String>| said.len().is_multiple_of(2);
        assert!(said.iter().all(is_even), "half a transaction: {update:?}");
    }
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_follower_of_several_prefixes_hears_a_change_as_soon_as_it_is_made() {
    let (_etcd, store) = start();
    let mut follow = store.follow(vec!["/a/".into(), "/b/".into()]);
    assert_eq!(next(&mut follow).await.changes, []);
    let mut shortest = Duration::MAX;
    for number in 0..100 {
        let start = Instant::now();
        let value = number.to_string();
        tokio::join!(put(&store, "/a/1", &value), next(&mut follow));
        shortest = shortest.min(start.elapsed());
    }
    // Of many, because the machine may be busy. Half of it where it is not.
    assert!(shortest < Duration::from_millis(2), "{shortest:?}");
}

/// What a follower that is told everything knows.
#[derive(Default)]
struct Copy(BTreeMap<String, (i64, String)>);

impl Copy {
    fn take(&mut self, update: &Update) {
        for change in &update.changes {
            match change {
                Change::Put(entry) => {
                    let value = String::from_utf8_lossy(&entry.value).into_owned();
                    let old = self
                        .0
                        .insert(entry.key.clone(), (entry.mod_revision, value));
                    assert!(old.is_none_or(|(revision, _)| revision < entry.mod_revision));
                }
                Change::Delete { key, .. } => assert!(self.0.remove(key).is_some(), "{key}"),
            }
        }
    }

    /// Takes updates until `key` is known with `value`.
    async fn until(&mut self, follow: &mut Follow, key: &str, value: &str) {
        while self.0.get(key).is_none_or(|(_, known)| known != value) {
            self.take(&next(follow).await);
        }
    }
}

#[tokio::test]
async fn a_follower_survives_a_killed_server_and_resumes_where_it_was() {
    let (mut etcd, store) = start();
    put(&store, "/a/1", "1").await;
    let mut follow = store.follow(vec!["/a/".into(), "/b/".into()]);
    let mut copy = Copy::default();
    copy.until(&mut follow, "/a/1", "1").await;
    for round in ["2", "3"] {
        etcd.kill();
        // The follower notices, and tries in vain.
        let idle = tokio::time::timeout(Duration::from_millis(300), follow.next()).await;
        assert!(idle.is_err(), "{idle:?}");
        etcd.restart();
        notice_restart(&store).await;
        put(&store, "/b/1", round).await;
        put(&store, "/a/1", round).await;
        copy.until(&mut follow, "/a/1", round).await;
        copy.until(&mut follow, "/b/1", round).await;
        assert!(follow.silence() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_follower_learns_of_deletions_that_were_compacted_while_it_was_away() {
    let (mut etcd, store) = start();
    for key in ["/a/gone", "/a/kept", "/a/changed"] {
        put(&store, key, "1").await;
    }
    let mut follow = store.follow(vec!["/a/".into()]);
    assert_eq!(next(&mut follow).await.changes.len(), 3);
    // Not polled, the follower does not hear of this before its stream breaks.
    etcd.kill();
    etcd.restart();
    notice_restart(&store).await;
    write(&store, Txn::new().then(Write::delete("/a/gone"))).await;
    put(&store, "/a/changed", "2").await;
    let revision = put(&store, "/a/new", "1").await;
    let mut client = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .unwrap();
    client.compact(revision, None).await.unwrap();

    let update = next(&mut follow).await;
    assert_eq!(texts(&update), ["/a/changed=2", "/a/new=1", "-/a/gone"]);
    assert_eq!(update.revision, revision);
    put(&store, "/a/new", "2").await;
    assert_eq!(texts(&next(&mut follow).await), ["/a/new=2"]);
}

#[tokio::test]
async fn a_follower_starts_over_with_a_store_whose_revision_fell() {
    let mut etcd = Etcd::start();
    let store = connect(&[etcd.endpoint()]);
    put(&store, "/a/early", "1").await;
    for number in 0..20 {
        put(&store, "/a/late", &number.to_string()).await;
    }
    let mut follow = store.follow(vec!["/a/".into()]);
    assert_eq!(next(&mut follow).await.changes.len(), 2);
    etcd.forget();
    notice_restart(&store).await;
    let revision = put(&store, "/a/early", "2").await;
    let update = next(&mut follow).await;
    assert_eq!(texts(&update), ["/a/early=2", "-/a/late"]);
    assert_eq!(update.revision, revision);
    put(&store, "/a/early", "3").await;
    assert_eq!(texts(&next(&mut follow).await), ["/a/early=3"]);
}

#[tokio::test]
async fn a_follower_that_stood_still_notices_a_restored_store_that_has_come_further_than_before() {
    for has_stream in [true, false] {
        let (mut etcd, store) = start();
        put(&store, "/a/kept", "1").await;
        put(&store, "/a/changed", "1").await;
        let snapshot = etcd.snapshot();
        put(&store, "/a/changed", "2").await;
        let known = put(&store, "/a/lost", "1").await;
        let mut follow = store.follow(vec!["/a/".into()]);
        assert_eq!(next(&mut follow).await.revision, known);
        if has_stream {
            let idle = tokio::time::timeout(Duration::from_millis(300), follow.next()).await;
            assert!(idle.is_err(), "{idle:?}");
        }

        // Not polled, it stands still.
        etcd.restore(&snapshot);
        let store = connect(&[etcd.endpoint()]);
        // At the revisions at which others were written that are lost now.
        put(&store, "/a/new", "1").await;
        put(&store, "/a/new", "2").await;
        assert!(put(&store, "/elsewhere", "1").await > known);
        let update = next(&mut follow).await;
        assert_eq!(update.restored_from, Some(known));
        assert_eq!(
            texts(&update),
            ["/a/kept=1", "/a/changed=1", "/a/new=2", "-/a/lost"]
        );
        put(&store, "/a/new", "3").await;
        assert_eq!(texts(&next(&mut follow).await), ["/a/new=3"]);
    }
}

#[tokio::test]
async fn a_follower_of_overlapping_prefixes_hears_each_change_once() {
    let (_etcd, store) = start();
    put(&store, "/a/b/1", "1").await;
    let prefixes = ["/a/b/", "/a/", "/a/b/1", "/a/", "/c"].map(String::from);
    let mut follow = store.follow(prefixes.into());
    assert_eq!(texts(&next(&mut follow).await), ["/a/b/1=1"]);
    put(&store, "/cc", "another key").await;
    put(&store, "/a/b/1", "2").await;
    assert_eq!(texts(&next(&mut follow).await), ["/a/b/1=2"]);
    put(&store, "/c", "1").await;
    assert_eq!(texts(&next(&mut follow).await), ["/c=1"]);
}

#[tokio::test]
async fn a_follower_hears_a_transaction_larger_than_an_answer_in_one_update() {
    let (_etcd, store) = start();
    let mut follow = store.follow(vec!["/a/".into()]);
    assert_eq!(next(&mut follow).await.changes, []);
    let mut other = store.follow(vec!["/a/".into()]);
    assert_eq!(next(&mut other).await.changes, []);
    // Together more than 4 MiB, while the follower is not polled.
    let large = "x".repeat(140_000);
    for batch in 0..4 {
        let txn = (0..10).fold(Txn::new(), |txn, number| {
            txn.then(Write::put(format!("/a/{batch}-{number}"), large.clone()))
        });
        write(&store, txn).await;
    }
    let mut heard = 0;
    while heard < 40 {
        let update = next(&mut follow).await;
        assert_eq!(update.changes.len() % 10, 0, "no transaction is split");
        heard += update.changes.len();
    }
}

#[tokio::test]
async fn a_follower_leaves_a_silent_server_for_another_endpoint() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(&etcd.endpoint()).await;
    let store = connect(&[proxy.endpoint(), etcd.endpoint()]);
    let mut follow = store.follow(vec!["/a/".into()]);
    assert_eq!(next(&mut follow).await.changes, []);
    put(&store, "/a/1", "1").await;
    assert_eq!(texts(&next(&mut follow).await), ["/a/1=1"]);
    // The way over the proxy goes silent: nothing is refused, nothing is answered.
    proxy.set(Mode::Stall);
    let start = Instant::now();
    put(&connect(&[etcd.endpoint()]), "/a/1", "2").await;
    assert_eq!(texts(&next(&mut follow).await), ["/a/1=2"]);
    assert!(
        start.elapsed() < Duration::from_secs(25),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lease_survives_a_restart_of_the_server_and_ends_when_it_is_revoked() {
    let (mut etcd, store) = start();
    let lease = store.grant(Duration::from_secs(15)).await.unwrap();
    write(
        &store,
        Txn::new().then(Write::put_leased("/a", "1", lease.id())),
    )
    .await;
    let keeping = tokio::spawn({
        let lease = lease.clone();
        async move { lease.keep().await }
    });
    // Longer than the lease would last by itself, with an outage in between.
    tokio::time::sleep(Duration::from_secs(2)).await;
    etcd.kill();
    etcd.restart();
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert!(!keeping.is_finished());
    assert!(store.get("/a").await.unwrap().is_some());

    lease.revoke().await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), None);
    soon("the end of keeping", keeping).await.unwrap();
    lease.revoke().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_in_time_is_given_up() {
    let (etcd, store) = start();
    let lease = store.grant(Duration::from_secs(3)).await.unwrap();
    let start = Instant::now();
    etcd.signal("STOP");
    soon("the end of keeping", lease.keep()).await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    etcd.signal("CONT");
}

#[tokio::test]
async fn a_lease_revoked_by_somebody_else_is_noticed_at_the_next_renewal() {
    let (etcd, store) = start();
    let lease = store.grant(Duration::from_secs(30)).await.unwrap();
    let mut client = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .unwrap();
    client.lease_revoke(lease.id()).await.unwrap();
    let start = Instant::now();
    soon("the end of keeping", lease.keep()).await;
    // Earlier than it would have ended by itself.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn the_next_leader_takes_over_as_soon_as_the_last_one_resigns() {
    let (_etcd, store) = start();
    let ttl = Duration::from_secs(4);
    let first = soon("a leader", store.campaign("/leader", ttl))
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.campaign("/leader", ttl).await }
    });
    // Longer than the lease: the first keeps leading, the second keeps waiting.
    let hold = tokio::time::timeout(Duration::from_secs(5), first.hold()).await;
    assert!(hold.is_err(), "the first lost its leadership");
    assert!(!waiting.is_finished());

    let start = Instant::now();
    first.resign().await.unwrap();
    let second = soon("the next leader", waiting).await.unwrap().unwrap();
    // It has not waited for the lease to end.
    assert!(start.elapsed() < ttl, "{:?}", start.elapsed());
    let txn = |guards| Txn {
        guards,
        writes: vec![Write::put("/a", "1")],
    };
    write(&store, txn(second.guards())).await;
}

#[tokio::test]
async fn an_old_leader_is_refused_by_its_guards_and_told_that_it_is_over() {
    let (_etcd, store) = start();
    let ttl = Duration::from_secs(10);
    let old = soon("a leader", store.campaign("/leader", ttl))
        .await
        .unwrap();
    let txn = |guards| Txn {
        guards,
        writes: vec![Write::put("/a", "1")],
    };
    write(&store, txn(old.guards())).await;
    write(&store, Txn::new().then(Write::delete("/leader"))).await;
    let new = soon("a leader", store.campaign("/leader", ttl))
        .await
        .unwrap();
    assert_eq!(
        store.commit(txn(old.guards())).await.unwrap(),
        Outcome::Conflict
    );
    write(&store, txn(new.guards())).await;
    soon("the end of the old leadership", old.hold()).await;
}
