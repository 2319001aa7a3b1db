//! Both ends of secured connections, over pipes.

mod world;

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use self::world::{Pipes, World};
use super::{Certificate, Credentials, Door, Error, Secured, authority::Authority};
use crate::{
    host::{Clock as _, Listener, Network as _, Stream},
    model::{Caller, Identity},
};

const DAY: Duration = Duration::from_secs(86_400);

fn told(error: io::Error) -> String {
    error.to_string()
}

/// Says a word, and reads what the other end says.
async fn talk(stream: &mut Stream, word: &str) -> Result<String, String> {
    let mut heard = [0; 5];
    stream.write_all(word.as_bytes()).await.map_err(told)?;
    stream.flush().await.map_err(told)?;
    stream.read_exact(&mut heard).await.map_err(told)?;
    Ok(String::from_utf8(heard.to_vec()).unwrap())
}

/// Takes a call, reads a word and says who has called. What was read, or why nothing was.
async fn answer(listener: &mut dyn Listener) -> Result<String, String> {
    let (mut stream, _) = listener.accept().await.map_err(told)?;
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.map_err(told)?;
    let caller = stream.peer().caller();
    stream.write_all(b"world").await.map_err(told)?;
    stream.flush().await.map_err(told)?;
    Ok(match caller {
        Caller::Known(identity) => identity.to_string(),
        caller => format!("{caller:?}"),
    })
}

#[tokio::test(start_paused = true)]
async fn both_ends_know_each_other() {
    let world = World::new();
    world.enrol("balancer.b1", &["localhost", "127.0.0.1"], DAY);
    world.enrol("operator.ann", &[], DAY);
    let balancer = world.credentials("balancer.b1");
    let mut door = balancer.guard(world.pipes.listener(), Door::Known);
    let operator = world.credentials("operator.ann");
    for host in ["localhost", "127.0.0.1"] {
        let (heard, caller) = world.call(&operator, &mut *door, host).await;
        assert_eq!(heard, Ok("world".to_owned()));
        assert_eq!(caller, Ok("operator.ann".to_owned()));
    }
    assert_eq!(Identity::of("operator.ann").name(), "ann");
}

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_is_let_in_where_that_is_wanted_only() {
    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], DAY);
    let balancer = world.credentials("balancer.b1");
    let listener = world.pipes.listener();
    let mut door = balancer.guard(listener, Door::Open);
    let (heard, caller) = world
        .call(&world.anonymous(), &mut *door, "localhost")
        .await;
    assert_eq!(heard, Ok("world".to_owned()));
    assert_eq!(caller, Ok("Anonymous".to_owned()));

    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], DAY);
    let balancer = world.credentials("balancer.b1");
    let mut door = balancer.guard(world.pipes.listener(), Door::Known);
    let (heard, caller) = world
        .call(&world.anonymous(), &mut *door, "localhost")
        .await;
    let heard = heard.unwrap_err();
    assert!(heard.contains("localhost wants a certificate"), "{heard}");
    assert!(heard.contains("--tls-cert and --tls-key"), "{heard}");
    let why = caller.unwrap_err();
    assert!(why.contains("has shown no certificate"), "{why}");
}

/// What both ends say when a `balancer.b1` for `localhost` is called.
async fn refused(world: &World, caller: &Arc<Credentials>, host: &str) -> (String, String) {
    let balancer = world.credentials("balancer.b1");
    let mut door = balancer.guard(world.pipes.listener(), Door::Known);
    let (heard, why) = world.call(caller, &mut *door, host).await;
    (heard.unwrap_err(), why.unwrap_err())
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_refused_by_both_ends_and_named() {
    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], DAY);
    world.enrol("operator.ann", &[], 3 * DAY);
    let operator = world.credentials("operator.ann");
    let later = i64::try_from((2 * DAY).as_millis()).unwrap();
    world.calendar.millis.fetch_add(later, Relaxed);
    let (heard, why) = refused(&world, &operator, "localhost").await;
    says(&heard, &["the certificate of localhost expired at 20"]);
    says(&why, &["balancer.b1.crt", "does not hold now"]);

    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], 3 * DAY);
    world.enrol("operator.ann", &[], DAY);
    let operator = world.credentials("operator.ann");
    world.calendar.millis.fetch_add(later, Relaxed);
    let (heard, why) = refused(&world, &operator, "localhost").await;
    says(&heard, &["operator.ann.crt", "it has expired"]);
    says(&why, &["its certificate expired at 20"]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_host_is_refused_with_both_names() {
    let world = World::new();
    world.enrol("balancer.b1", &["qa-1.example", "10.0.0.7"], DAY);
    world.enrol("operator.ann", &[], DAY);
    let operator = world.credentials("operator.ann");
    let (heard, why) = refused(&world, &operator, "localhost").await;
    says(
        &heard,
        &[
            "is for qa-1.example, 10.0.0.7, not for localhost",
            "--san localhost",
        ],
    );
    says(&why, &["balancer.b1.crt", "does not name the host"]);
}

#[tokio::test(start_paused = true)]
async fn certificates_of_another_authority_are_refused_by_both_ends() {
    let world = World::new();
    let now = world.calendar.timestamp();
    let (other, _) = Authority::found("other", DAY, now).unwrap();
    world.enrol("operator.ann", &[], DAY);
    let pair = world.issue(&other, "balancer.b1", &["localhost"], DAY);
    world.keep("balancer.b1", &pair);
    let operator = world.credentials("operator.ann");
    let (heard, why) = refused(&world, &operator, "localhost").await;
    says(&heard, &["none of the authorities in", "ca.crt (--tls-ca)"]);
    says(&why, &["does not know the authority"]);

    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], DAY);
    let pair = world.issue(&other, "operator.eve", &[], DAY);
    world.keep("operator.eve", &pair);
    let eve = world.credentials("operator.eve");
    let (heard, why) = refused(&world, &eve, "localhost").await;
    says(
        &heard,
        &["operator.eve.crt", "no authority that counts there"],
    );
    says(&why, &["issued by none of the authorities", "ca.crt"]);
}

#[tokio::test(start_paused = true)]
async fn an_operators_certificate_cannot_pass_for_a_servers() {
    let world = World::new();
    world.enrol("balancer.b1", &[], DAY);
    world.enrol("operator.ann", &[], DAY);
    let operator = world.credentials("operator.ann");
    let (heard, _) = refused(&world, &operator, "localhost").await;
    says(&heard, &["localhost"]);
}

#[tokio::test(start_paused = true)]
async fn who_speaks_no_tls_is_told_so() {
    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], DAY);
    let balancer = world.credentials("balancer.b1");
    let mut door = balancer.guard(world.pipes.listener(), Door::Known);
    let plain = async {
        let mut stream = world.pipes.connect("localhost", 7).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    };
    let ((), why) = tokio::join!(plain, answer(&mut *door));
    says(&why.unwrap_err(), &["it speaks no TLS", "--tls-ca"]);

    let world = World::new();
    world.enrol("operator.ann", &[], DAY);
    let mut listener = world.pipes.listener();
    let operator = world.credentials("operator.ann");
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    };
    let network = Secured::new(Arc::<Pipes>::clone(&world.pipes), operator);
    let (heard, ()) = tokio::join!(network.connect("localhost", 7), plain);
    says(&told(heard.err().unwrap()), &["localhost speaks no TLS"]);
}

#[tokio::test(start_paused = true)]
async fn who_stays_silent_is_let_go_and_holds_up_nobody() {
    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], DAY);
    let balancer = world.credentials("balancer.b1");
    let mut door = balancer.guard(world.pipes.listener(), Door::Known);
    let _silent = world.pipes.connect("localhost", 7).await.unwrap();
    let start = tokio::time::Instant::now();
    let (mut first, _) = door.accept().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let mut byte = [0];
    let why = first.read(&mut byte).await.unwrap_err().to_string();
    says(&why, &["did not show in time who it is"]);
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn new_files_are_used_from_then_on_and_open_connections_stay() {
    let world = World::new();
    world.enrol("balancer.b1", &["localhost"], DAY);
    world.enrol("operator.ann", &[], DAY);
    let balancer = world.credentials("balancer.b1");
    let operator = world.credentials("operator.ann");
    let mut door = balancer.guard(world.pipes.listener(), Door::Known);
    let stop = CancellationToken::new();
    let keeping = Arc::clone(&balancer).keep(stop.clone());

    let network = Secured::new(Arc::<Pipes>::clone(&world.pipes), Arc::clone(&operator));
    let (mut ours, mut theirs) = {
        let calling = async {
            let mut stream = network.connect("localhost", 7).await.unwrap();
            stream.write_all(b"first").await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let answering = async {
            let (mut stream, _) = door.accept().await.unwrap();
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            stream
        };
        tokio::join!(calling, answering)
    };

    let changing = async {
        // A new name: the old one does not hold for calls any more.
        world.enrol("balancer.b1", &["elsewhere"], DAY);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let (heard, _) = world.call(&operator, &mut *door, "elsewhere").await;
        assert_eq!(heard, Ok("world".to_owned()));
        let (heard, _) = world.call(&operator, &mut *door, "localhost").await;
        says(&heard.unwrap_err(), &["is for elsewhere"]);

        // What cannot be used changes nothing: no certificate, a key of another pair, an expired one.
        world.write("balancer.b1.crt", "nonsense");
        tokio::time::sleep(Duration::from_secs(4)).await;
        let stray = world.issue(&world.authority, "balancer.b1", &["stray"], DAY);
        world.write("balancer.b1.crt", &stray.certificate);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let expired = world.issue(&world.authority, "balancer.b1", &["late"], Duration::ZERO);
        world.calendar.millis.fetch_add(1_000, Relaxed);
        world.keep("balancer.b1", &expired);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let (heard, _) = world.call(&operator, &mut *door, "elsewhere").await;
        assert_eq!(heard, Ok("world".to_owned()));
        stop.cancel();
    };
    let (kept, ()) = tokio::join!(keeping, changing);
    assert_eq!(kept, Ok(()));

    let (heard, ()) = tokio::join!(talk(&mut ours, "still"), async {
        let mut heard = [0; 5];
        theirs.read_exact(&mut heard).await.unwrap();
        theirs.write_all(&heard).await.unwrap();
        theirs.flush().await.unwrap();
    });
    assert_eq!(heard, Ok("still".to_owned()));
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_flags() {
    let world = World::new();
    let read = || match Credentials::read(world.files("balancer.b1"), &world.host) {
        Ok(_) => panic!("they were used"),
        Err(error) => error,
    };
    says(
        &read().to_string(),
        &["cannot read", "balancer.b1.crt (--tls-cert)"],
    );
    world.enrol("balancer.b1", &["localhost"], DAY);
    let other = world.issue(&world.authority, "x", &["y"], DAY);
    world.write("balancer.b1.key", &other.key);
    assert!(matches!(read(), Error::Mismatch { .. }));
    says(
        &read().to_string(),
        &["balancer.b1.key (--tls-key)", "balancer.b1.crt"],
    );
    world.write("balancer.b1.key", "");
    says(&read().to_string(), &["private key", "--tls-key"]);
    world.write("balancer.b1.crt", &other.key);
    says(
        &read().to_string(),
        &["no certificate in PEM", "--tls-cert"],
    );
    world.write("ca.crt", "x");
    says(
        &read().to_string(),
        &["ca.crt (--tls-ca)", "no certificate in PEM"],
    );
}

#[test]
fn a_certificate_says_whose_it_is_and_until_when() {
    let world = World::new();
    let pair = world.issue(
        &world.authority,
        "agent.qa-1",
        &["qa-1.example", "::1"],
        DAY,
    );
    let certificate = Certificate::first(pair.certificate.as_bytes()).unwrap();
    assert_eq!(certificate.common_name, "agent.qa-1");
    assert_eq!(certificate.names, ["qa-1.example", "::1"]);
    assert!(!certificate.is_authority);
    let now = world.calendar.timestamp();
    assert!(certificate.begins < now);
    assert!(certificate.ends.since(now) > DAY - Duration::from_secs(2));
    let ca = std::fs::read(world.path("ca.crt")).unwrap();
    assert!(Certificate::first(&ca).unwrap().is_authority);
}
