//! Processes that say themselves how they are.

use quaestor::model::service::NotifySpec;

use super::*;

/// Says what comes in single files `say`, and sends pings as long as there is no file `mute`.
const SPEAKER: &str = "\
import os, socket, time
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
voice.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
while True:
    if os.path.exists('say'):
        words = open('say', 'rb').read()
        os.remove('say')
        voice.send(words)
    if not os.path.exists('mute'):
        voice.send(b'WATCHDOG=1')
    time.sleep(0.02)
";

/// A speaker that is looked at every `interval` milliseconds, and restarted at the second failure in a row.
fn speaker(watchdog: Option<u64>, interval: u64) -> Assignment {
    let notify = NotifySpec {
        watchdog: watchdog.map(Period::from_millis),
    };
    let wanted = command(&["python3", "-c", SPEAKER]);
    let Run::Process(template) = wanted.run else {
        panic!("it is a process")
    };
    Assignment {
        run: Run::Process(Template {
            notify: Some(notify.clone()),
            ..template
        }),
        health: HealthSpec {
            notify: Some(notify),
            interval: Period::from_millis(interval),
            failure_threshold: 2,
            ..HealthSpec::default()
        },
        restart: quaestor::model::service::RestartSpec {
            delay: Period::from_millis(50),
            max_delay: Period::from_millis(50),
            ..Default::default()
        },
        ..wanted
    }
}

impl World {
    fn say(&self, words: &str) {
        let place = self.path("a/run/worker-0");
        std::fs::write(place.join("words"), words).unwrap();
        std::fs::rename(place.join("words"), place.join("say")).unwrap();
    }

    fn mute(&self, is_mute: bool) {
        let file = self.path("a/run/worker-0/mute");
        match is_mute {
            true => std::fs::write(file, "").unwrap(),
            false => std::fs::remove_file(file).unwrap(),
        }
    }

    async fn speaks(&self, wanted: &Assignment) -> InstanceState {
        self.state_when(&wanted.instance, "it lives", |state| state.pid.is_some())
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_ready_from_its_word_on_and_not_while_it_reloads_or_stops() {
    let world = World::new();
    // What it says counts at once, not at the next look.
    let wanted = speaker(None, 600_000);
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world.speaks(&wanted).await;
    assert_eq!((state.phase, state.ready), (Phase::Starting, false));
    world.say("STATUS=Serving 3 models\u{1b}[31m\nREADY=1");
    let ready = world.ready(&wanted.instance).await;
    assert_eq!(ready.phase, Phase::Running);
    assert_eq!(ready.status_text, "Serving 3 models[31m");
    for (words, why) in [("RELOADING=1", "RELOADING=1"), ("STOPPING=1", "STOPPING=1")] {
        world.say(words);
        let state = world
            .state_when(&wanted.instance, "it is not ready", |state| !state.ready)
            .await;
        assert!(state.message.contains(why), "{state:?}");
        assert_eq!((state.pid, state.restarts), (ready.pid, 0));
        if words == "RELOADING=1" {
            world.say("READY=1");
            world.ready(&wanted.instance).await;
        }
    }
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_sends_no_more_pings_is_unready_and_then_replaced() {
    let world = World::new();
    let wanted = speaker(Some(500), 200);
    world.assign(&wanted).await;
    let agent = world.agent("a");
    world.speaks(&wanted).await;
    world.say("READY=1");
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    world.mute(true);
    let state = world
        .state_when(&wanted.instance, "it is not ready", |state| !state.ready)
        .await;
    assert!(
        state.message.contains("no WATCHDOG=1 for 500ms"),
        "{state:?}"
    );
    gone(pid).await;
    world.mute(false);
    let next = world
        .state_when(&wanted.instance, "another one lives", |state| {
            state.pid.is_some_and(|other| other != pid)
        })
        .await;
    assert_eq!((next.ready, next.restarts), (false, 1), "{next:?}");
    world.say("READY=1");
    world.ready(&wanted.instance).await;
    // Its own verdict counts as much.
    world.say("WATCHDOG=trigger");
    gone(next.pid.unwrap()).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_never_says_it_is_ready_has_its_grace_and_is_then_restarted() {
    let world = World::new();
    let mut wanted = speaker(None, 100);
    wanted.health.startup_grace = Period::from_millis(700);
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let pid = world.speaks(&wanted).await.pid.unwrap();
    let state = world
        .state_when(&wanted.instance, "its grace is over", |state| {
            state.message.contains("has not said READY=1")
        })
        .await;
    assert!(!state.ready);
    gone(pid).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_agent_knows_what_was_said_and_which_ping_was_missed() {
    let world = World::new();
    let wanted = Assignment {
        on_agent_stop: OnAgentStop::Keep,
        ..speaker(Some(1000), 600_000)
    };
    world.assign(&wanted).await;
    let agent = world.agent("a");
    world.speaks(&wanted).await;
    world.say("READY=1\nSTATUS=up");
    let before = world.ready(&wanted.instance).await;
    agent.crash().await;
    let agent = world.agent("a");
    let after = world
        .state_when(&wanted.instance, "it is confirmed", |state| {
            state.epoch > before.epoch
        })
        .await;
    let same = InstanceState {
        epoch: after.epoch,
        ..before.clone()
    };
    assert_eq!(after, same);
    agent.crash().await;
    world.mute(true);
    let agent = world.agent("a");
    let late = world
        .state_when(&wanted.instance, "it is not ready", |state| !state.ready)
        .await;
    assert!(late.message.contains("WATCHDOG=1"), "{late:?}");
    world.mute(false);
    let healed = world.ready(&wanted.instance).await;
    assert_eq!((healed.pid, healed.restarts), (before.pid, 0));
    agent.end().await;
}
