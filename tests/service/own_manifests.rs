//! Services that an agent runs without the store.

use std::path::Path;

use super::{Place, number_in};
use crate::support::{cluster::lives, eventually, http, ports::free_port, signal};

/// How the agent shows its own instance of that name.
fn own(place: &Place, name: &str) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(place.path("state/own-instances.json")).ok()?;
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
    all.into_iter().find(|state| state["instance"] == name)
}

/// The process of the agent's own instance, once that is ready and another than `before`.
#[track_caller]
fn own_pid(place: &Place, name: &str, before: Option<u32>) -> u32 {
    let mut pid = None;
    eventually(&format!("{name} is ready"), || {
        let state = own(place, name);
        let state = state.filter(|state| state["ready"] == true);
        pid = state.and_then(|state| u32::try_from(state["pid"].as_u64()?).ok());
        pid.is_some() && pid != before
    });
    pid.unwrap()
}

fn sleeper(name: &str, replicas: u32, pid: &Path) -> String {
    format!(
        "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{replicas: {replicas}, command: [sh, -c, 'echo $$ > {}; exec sleep 1000']}}\n",
        pid.display()
    )
}

#[test]
fn an_agent_starts_the_store_that_it_then_works_for() {
    let (client, peer) = (free_port(), free_port());
    let place = Place::new(format!("http://127.0.0.1:{client}"));
    let manifests = place.path("manifests");
    std::fs::create_dir(&manifests).unwrap();
    let etcd = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
    let data = place.path("data");
    let manifest = format!(
        r#"
apiVersion: quaestor/v1
kind: Service
metadata: {{name: etcd}}
spec:
  replicas: 1
  command:
    - {etcd}
    - --name={{node}}
    - --data-dir={}
    - --listen-client-urls=http://{{host}}:{{port.client}}
    - --advertise-client-urls=http://{{host}}:{{port.client}}
    - --listen-peer-urls=http://{{host}}:{{port.peer}}
    - --initial-advertise-peer-urls=http://{{host}}:{{port.peer}}
    - --initial-cluster={{node}}=http://{{host}}:{{port.peer}}
  ports: [{{name: client, port: {client}}}, {{name: peer, port: {peer}}}]
  health: {{http: {{path: /health}}, interval: 1s, startupGrace: 60s}}
"#,
        data.display()
    );
    std::fs::write(manifests.join("etcd.yaml"), &manifest).unwrap();
    let dashboard = format!("127.0.0.1:{}", free_port());
    let flags = ["--manifests", manifests.to_str().unwrap()];
    let flags = [&flags[..], &["--http", &dashboard]].concat();
    let agent = place.agent(&flags);
    let store = own_pid(&place, "etcd-0", None);
    let _controller = place.role("controller.log", &["controller"]);
    let pid = place.path("pid");
    place.apply(&sleeper("sleeper", 1, &pid));
    let assigned = place.instance("sleeper-0", "it is ready", |it| it.ready);
    eventually("it has said who it is", || number_in(&pid) == assigned.pid);

    // What the agent itself runs is read as well where it is asked for, and seen in the agent's dashboard.
    let speaker = "apiVersion: quaestor/v1\nkind: Service\nmetadata: {name: speaker}\n\
                   spec: {command: [sh, -c, 'echo I am its own; exec sleep 1000']}\n";
    std::fs::write(manifests.join("speaker.yaml"), speaker).unwrap();
    let logs = |more: &[&str]| place.run(&[&["logs", "speaker-0"], more].concat());
    eventually("what it prints is read", || {
        logs(&["--node", "n1"]).as_deref() == Some("I am its own\n")
    });
    assert_eq!(logs(&[]), None, "the store knows nothing of it");
    assert_eq!(logs(&["--node", "n2"]), None, "there is no such node");
    let shown = || {
        let (_, board) = http::get(&dashboard, "/api/board").unwrap_or_default();
        let board: serde_json::Value = serde_json::from_str(&board).unwrap_or_default();
        board["changes"]["put"]["i/n1/speaker-0"].clone()
    };
    eventually("it is in the dashboard", || {
        let own = shown();
        own["own"] == true && own["ready"] == true && own["pid"].is_u64()
    });
    std::fs::remove_file(manifests.join("speaker.yaml")).unwrap();
    eventually("it has left the dashboard", || shown().is_null());

    // A dead store comes back, and nobody else is touched.
    signal(store, "KILL");
    let second = own_pid(&place, "etcd-0", Some(store));
    place.instance("sleeper-0", "it is as it was", |it| {
        it.ready && it.pid == assigned.pid && it.restarts == 0
    });

    // The next agent goes on with it.
    agent.kill();
    let _agent = place.agent(&flags);
    place.instance("sleeper-0", "it is as it was", |it| {
        it.ready && it.pid == assigned.pid
    });
    assert_eq!(own_pid(&place, "etcd-0", None), second);

    // Somebody gives the name away once more: the agent's own one stays, and it is said.
    place.apply(&sleeper("etcd", 1, &place.path("impostor")));
    let refused = place.instance("etcd-0", "it is refused", |it| it.reason == "NameTaken");
    assert!(!refused.ready && refused.pid.is_none(), "{refused:?}");
    assert!(refused.message.contains("--manifests"), "{refused:?}");
    assert!(lives(second) && number_in(&place.path("impostor")).is_none());
    place
        .run(&["delete", "etcd", "--wait"])
        .expect("it is deleted");
    assert!(lives(second));
}

#[test]
fn the_directory_is_followed_and_only_what_is_whole_counts() {
    // Nobody listens there: all of this needs no store.
    let place = Place::new(format!("http://127.0.0.1:{}", free_port()));
    let manifests = place.path("manifests");
    std::fs::create_dir(&manifests).unwrap();
    let file = |name: &str, text: &str| std::fs::write(manifests.join(name), text).unwrap();
    let [a, b] = ["a", "b"].map(|name| place.path(name));
    file("a.yaml", &sleeper("a", 1, &a));
    let _agent = place.agent(&["--manifests", manifests.to_str().unwrap()]);
    let first = own_pid(&place, "a-0", None);

    // A mistake anywhere changes nothing, and is said.
    file("b.yaml", "kind: Service\n");
    let log = || std::fs::read_to_string(place.path("agent.log")).unwrap();
    eventually("it is said", || log().contains("manifests are not taken"));
    file("b.yaml", &sleeper("b", 1, &b));
    let second = own_pid(&place, "b-0", None);

    // A changed template is a new process; a manifest that is gone is the end of its processes.
    file("a.yaml", &sleeper("a", 1, &a).replace("1000", "2000"));
    let third = own_pid(&place, "a-0", Some(first));
    assert!(!lives(first) && lives(second));
    std::fs::remove_file(manifests.join("b.yaml")).unwrap();
    eventually("it is gone", || {
        !lives(second) && own(&place, "b-0").is_none()
    });

    // The directory itself is gone, as when it is not mounted.
    std::fs::rename(&manifests, place.path("elsewhere")).unwrap();
    eventually("it is said", || {
        log().contains("there is no file or directory")
    });
    assert!(lives(third));
}
