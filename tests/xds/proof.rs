//! Stops that need not wait for clients who have said that they know, on a cluster of real processes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quaestor::{
    model::Timestamp,
    proto::v1::{PickRequest, balancer_client::BalancerClient},
};
use serde_json::Value;
use tonic::transport::Channel;

use crate::{
    idle::Idle,
    setting::Setting,
    support::{cluster::demo_workers, eventually},
};

/// For how long clients may call where something stops, unless they are known to know.
const WINDOW: Duration = Duration::from_millis(500);

/// The doubt of a stop of which nothing was heard yet.
const UNHEARD: &str = "unheard";

/// A stop, from its decision to the signal.
#[derive(Debug)]
struct Stop {
    took: Duration,
    /// Why it was not certain that clients knew; none: it was.
    doubt: Option<String>,
}

/// The stops in these lines of the agent's log.
fn stops_of(log: &[Value]) -> Vec<Stop> {
    let mut open: BTreeMap<&str, (i64, Option<String>)> = BTreeMap::new();
    let mut stops: BTreeMap<&str, Stop> = BTreeMap::new();
    for line in log {
        let text = |field: &str| line[field].as_str().unwrap_or_default();
        let at: Timestamp = serde_json::from_value(line["timestamp"].clone()).unwrap();
        match text("message") {
            "clients are sent elsewhere" => {
                open.insert(text("instance"), (at.as_millis(), Some(UNHEARD.to_owned())));
            }
            "all clients are known to know that it goes" => {
                heard(text("instance"), None, &mut open, &mut stops);
            }
            "clients get all the time there is to learn that it goes" => {
                let doubt = Some(text("doubt").to_owned());
                heard(text("instance"), doubt, &mut open, &mut stops);
            }
            "asked to stop" => {
                if let Some((since, doubt)) = open.remove(text("instance")) {
                    let took = u64::try_from(at.as_millis() - since).unwrap();
                    let took = Duration::from_millis(took);
                    stops.insert(text("instance"), Stop { took, doubt });
                }
            }
            _ => {}
        }
    }
    stops.into_values().collect()
}

/// Notes what came of a question, before the stop or after it.
fn heard(
    instance: &str,
    doubt: Option<String>,
    open: &mut BTreeMap<&str, (i64, Option<String>)>,
    stops: &mut BTreeMap<&str, Stop>,
) {
    match (open.get_mut(instance), stops.get_mut(instance)) {
        (Some(open), _) => open.1 = doubt,
        (None, Some(stop)) => stop.doubt = doubt,
        (None, None) => {}
    }
}

/// Restarts both workers, one after the other: their stops.
fn restart(setting: &Setting) -> Vec<Stop> {
    let before = setting.agent_log().len();
    setting.ok(&["restart", "worker", "--wait"]);
    // The answer to what was asked may come later than the end of the time for it; and nothing is asked where the
    // store was slow to take the news.
    let unheard = |stop: &Stop| stop.doubt.as_deref() == Some(UNHEARD);
    let patience = Instant::now() + 3 * WINDOW;
    let stops = loop {
        let stops = stops_of(&setting.agent_log()[before..]);
        if !stops.iter().any(unheard) || Instant::now() >= patience {
            break stops;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    println!("{stops:?}");
    let certain = |stop: &Stop| stop.doubt.is_none() || stop.took >= WINDOW;
    assert!(stops.iter().all(certain), "{stops:?}");
    stops
}

/// Restarts until a stop did not take the whole time, which is soon: clients may have come only lately.
fn restart_until_known(setting: &Setting) {
    eventually("a stop as soon as all clients know", || {
        let stops = restart(setting);
        stops.iter().any(|stop| stop.took < WINDOW)
    });
}

/// Restarts until a stop took its time for a reason with these words in it; meanwhile no client may be taken to know.
fn restart_in_doubt(setting: &Setting, words: &str) {
    eventually(words, || {
        let stops = restart(setting);
        assert!(stops.iter().all(|stop| stop.doubt.is_some()), "{stops:?}");
        is_in_doubt(&stops, words)
    });
}

fn is_in_doubt(stops: &[Stop], words: &str) -> bool {
    let mut doubts = stops.iter().filter_map(|stop| stop.doubt.as_ref());
    doubts.any(|doubt| doubt.contains(words))
}

/// Picks both workers, over and over.
async fn pick(balancer: String) {
    let channel = Channel::from_shared(format!("http://{balancer}")).unwrap();
    let mut client = BalancerClient::new(channel.connect_lazy());
    let request = PickRequest {
        service: "Worker".to_owned(),
        count: 9,
        ..PickRequest::default()
    };
    loop {
        client.pick(request.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An xDS client of a balancer.
async fn client(setting: &Setting, balancer: usize) -> Idle {
    let address = format!("http://{}", setting.balancer(balancer));
    Idle::connect(Channel::from_shared(address).unwrap().connect_lazy()).await
}

#[test]
fn a_stop_waits_for_clients_no_longer_than_until_all_have_said_that_they_know() {
    // Some clients close a connection that they do not use only after seconds, which a worker waits for.
    let manifest = demo_workers(2, "  rollout: {maxUnavailable: 1}\n  stop: {grace: 1s}\n")
        .replace("demo-worker,", "demo-worker, --capacity, \"64\",");
    let setting = Setting::cluster(2, &manifest);
    setting.bootstrap();
    // Stock clients are not always quick to say what they have taken; these are.
    for balancer in [0, 0, 1] {
        let client = setting.runtime.block_on(client(&setting, balancer));
        setting.runtime.spawn(client.follow());
    }
    restart_until_known(&setting);

    // One that takes what it is told first and nothing afterwards.
    let mute = setting.runtime.block_on(client(&setting, 1));
    restart_in_doubt(&setting, "have not said that they know");
    drop(mute);
    eventually("a stop takes its time because a client left", || {
        drop(setting.runtime.block_on(client(&setting, 1)));
        is_in_doubt(&restart(&setting), "left lately")
    });
    restart_until_known(&setting);

    let picking = setting.runtime.spawn(pick(setting.balancer(0)));
    restart_in_doubt(&setting, "answered with the endpoint");
    picking.abort();
    restart_until_known(&setting);

    setting.signal_balancer(1, "STOP");
    restart_in_doubt(&setting, "balancer ");
    setting.signal_balancer(1, "CONT");
    restart_until_known(&setting);
}
