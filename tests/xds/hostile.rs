//! Clients that mean no good, all at once, against a real balancer: what they take of its memory is bounded, and nobody
//! else waits for them.

use std::{
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use quaestor::proto::standard::{
    envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
    google::rpc,
};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::{
    idle::{self, Idle, request},
    setting::Setting,
    support::eventually,
};

/// Streams of each kind that are kept open.
const STREAMS: usize = 300;

/// What all of them may take of a balancer's memory.
const MOST: u64 = 150 << 20;

type Stream = (mpsc::Sender<DiscoveryRequest>, Streaming<DiscoveryResponse>);

/// Some that are full of words never take what they are told.
async fn refuse(channel: Channel) -> Result<(), Status> {
    let (requests, mut responses) = idle::open(channel).await?;
    let mut refusal = request("Worker", "");
    let _ = requests.send(refusal.clone()).await;
    loop {
        tokio::select! {
            response = responses.message() => {
                let Some(response) = response? else { return Ok(()) };
                refusal.response_nonce = response.nonce;
                refusal.error_detail = Some(rpc::Status { code: 3, message: "no ".repeat(10_000) });
            }
            sent = requests.send(refusal.clone()) => if sent.is_err() { return Ok(()) },
        }
    }
}

/// Some answer what nobody has said.
async fn stray(channel: Channel) -> Result<(), Status> {
    let (requests, mut responses) = idle::open(channel).await?;
    let mut nonces = ["", "0", "-1", "x", "18446744073709551616"].iter().cycle();
    loop {
        tokio::select! {
            response = responses.message() => if response?.is_none() { return Ok(()) },
            sent = requests.send(request("Worker", nonces.next().unwrap())) => {
                if sent.is_err() { return Ok(()) }
            }
        }
    }
}

/// Some want more than may be wanted, and are sent away with a reason each time.
async fn want_too_much(channel: Channel) -> Result<(), Status> {
    loop {
        let Err(refused) = want(channel.clone(), 0, 1001).await else {
            panic!("it was let in");
        };
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    }
}

/// A stream that has asked for so many names of a set, and was told something of them.
async fn want(channel: Channel, set: usize, names: usize) -> Result<Stream, Status> {
    let (requests, mut responses) = idle::open(channel).await?;
    let name = |number| format!("a-name-that-is-long-and-that-nobody-serves-{set}-{number}");
    let wanted = DiscoveryRequest {
        resource_names: (0..names).map(name).collect(),
        ..request("", "")
    };
    let _ = requests.send(wanted).await;
    responses.message().await?;
    Ok((requests, responses))
}

#[test]
fn those_who_mean_no_good_take_bounded_memory_and_keep_nobody_waiting() {
    let setting = Setting::serving(2);
    setting.bootstrap();
    let address = format!("http://{}", setting.balancer(0));
    let channel = || {
        let endpoint = Channel::from_shared(address.clone()).unwrap();
        endpoint.connect_lazy()
    };
    let _guard = setting.runtime.enter();
    let mut honest = setting.runtime.block_on(Idle::connect(channel()));
    let before = setting.balancer_memory(0);

    let mut busy = JoinSet::new();
    for _ in 0..2 {
        busy.spawn(refuse(channel()));
        busy.spawn(stray(channel()));
        busy.spawn(want_too_much(channel()));
    }
    let sockets: Vec<TcpStream> = (0..STREAMS)
        .map(|number| {
            let mut socket = TcpStream::connect(setting.balancer(0)).unwrap();
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
            socket
                .write_all(&preface[..number % preface.len()])
                .unwrap();
            socket
        })
        .collect();
    // Some say nothing; some are told something and read none of it; some want all that may be wanted.
    let (silent, deaf, greedy) = setting.runtime.block_on(async {
        let channels: Vec<Channel> = (0..3).map(|_| channel()).collect();
        let on = |number: usize| channels[number % 3].clone();
        let silent = (0..STREAMS).map(|number| idle::open(on(number)));
        let silent = futures::future::join_all(silent).await;
        let deaf = (0..STREAMS).map(async |number| {
            let stream = idle::open(on(number)).await?;
            let _ = stream.0.send(request("Worker", "")).await;
            Ok::<Stream, Status>(stream)
        });
        let deaf = futures::future::join_all(deaf).await;
        let greedy = (0..STREAMS).map(|number| want(on(number), number % 20, 1000));
        (silent, deaf, futures::future::join_all(greedy).await)
    });
    assert!(silent.iter().chain(&deaf).all(Result::is_ok));
    let refused: Vec<&Status> = greedy.iter().filter_map(|one| one.as_ref().err()).collect();
    println!(
        "{} of {STREAMS} that want too much together were sent away",
        refused.len()
    );
    let says_why = |status: &&Status| status.code() == Code::ResourceExhausted;
    assert!(!refused.is_empty() && refused.len() < STREAMS && refused.iter().all(says_why));

    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let said = setting.say(1, round % 2 == 1);
        setting.runtime.block_on(honest.told());
        slowest = slowest.max(said.elapsed());
        assert!(busy.try_join_next().is_none(), "one has given up");
    }
    let grown = setting.balancer_memory(0).saturating_sub(before);
    println!(
        "{} MiB more, an honest client told within {slowest:?}",
        grown >> 20
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(grown < MOST, "{} MiB", grown >> 20);

    // Nothing is left of those who go.
    drop((busy, sockets, silent, deaf, greedy));
    let began = Instant::now();
    eventually("only the honest client is there", || {
        let clients = setting.ok(&["xds", "clients"]);
        clients.lines().count() == 2
    });
    println!("the others were forgotten within {:?}", began.elapsed());
    setting.say(1, false);
    setting.runtime.block_on(honest.told());
}
