//! etcd's own users: what each role may do to which keys, and that this is enough.

use std::process::{Command, Output, Stdio};

use quaestor::{
    host::Host,
    store::{Config, Login, Store, Txn, Write},
};

use crate::{
    ground::{Ground, fails, quaestor},
    support::{
        cluster::{QUAESTOR, demo_workers},
        etcd::Etcd,
        eventually,
        ports::free_port,
    },
};

const ROOT: &str = "/quaestor/default";

/// An etcd that goes by the rights that `quaestor rbac` prints.
fn guarded() -> Ground {
    let ground = Ground::with_etcd(1);
    let script = ground.ok(&[
        "rbac",
        "controller.c1",
        "agent.h1",
        "agent.h2",
        "balancer.b1",
        "operator.ann",
    ]);
    ground.script("root", &script);
    ground
}

fn is_denied(output: &Output) -> bool {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || errors.contains("permission denied"),
        "{errors}"
    );
    !output.status.success()
}

#[test]
fn each_role_may_write_what_is_its_and_nothing_else() {
    let ground = guarded();
    for owner in [
        ["controller", "c1"],
        ["agent", "h1"],
        ["agent", "h2"],
        ["balancer", "b1"],
        ["operator", "ann"],
    ] {
        ground.issue(&owner);
    }
    let owners = [
        "controller.c1",
        "agent.h1",
        "agent.h2",
        "balancer.b1",
        "operator.ann",
    ];
    let writers = |key: &str| {
        let key = format!("{ROOT}/{key}");
        let may = |owner: &&str| !is_denied(&ground.etcdctl(owner, &["put", &key, "x"]));
        owners.into_iter().filter(may).collect::<Vec<_>>()
    };
    for (key, expected) in [
        ("spec/service/a", &["operator.ann"][..]),
        ("spec/deleted/a", &["operator.ann"]),
        ("spec/node/h1", &["operator.ann"]),
        ("spec/cluster", &["operator.ann"]),
        ("meta/identity", &["controller.c1"]),
        ("assign/h1/a-0", &["controller.c1"]),
        ("state/h1/a-0", &["controller.c1", "agent.h1"]),
        ("state/h10/a-0", &["controller.c1"]),
        ("load/h1", &["agent.h1"]),
        ("load/h10", &[]),
        ("session/h2", &["agent.h2"]),
        ("route/a", &["controller.c1"]),
        ("status/service/a", &["controller.c1"]),
        ("revision/a/00", &["controller.c1"]),
        ("leader", &["controller.c1"]),
        ("balancer/x", &["balancer.b1"]),
        ("event/controller/leader/0", &["controller.c1"]),
        ("event/agent/h1/0", &["agent.h1"]),
        // Another cluster's.
        ("../other/spec/service/a", &[]),
    ] {
        assert_eq!(writers(key), expected, "{key}");
    }
    let readers = |key: &str| {
        let key = format!("{ROOT}/{key}");
        let may = |owner: &&str| !is_denied(&ground.etcdctl(owner, &["get", "--prefix", &key]));
        owners.into_iter().filter(may).collect::<Vec<_>>()
    };
    for (key, expected) in [
        ("", &["controller.c1", "operator.ann"][..]),
        ("spec/", &["controller.c1", "operator.ann"]),
        ("assign/", &["controller.c1", "operator.ann"]),
        ("assign/h1/", &["controller.c1", "agent.h1", "operator.ann"]),
        ("state/", &["controller.c1", "balancer.b1", "operator.ann"]),
        (
            "session/",
            &["controller.c1", "balancer.b1", "operator.ann"],
        ),
    ] {
        assert_eq!(readers(key), expected, "{key}");
    }
    // Without a certificate that etcd knows there is nothing at all.
    ground.issue(&["client", "eve"]);
    let refused = ground.etcdctl("client.eve", &["get", "--prefix", ROOT]);
    assert!(!refused.status.success());
}

/// A command that follows; killed when dropped.
struct Following(std::process::Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_rights_of_each_role_are_enough_for_its_work() {
    let mut ground = guarded();
    let balancer = ground.start_roles(&[]);
    ground.apply_as("operator.ann", &demo_workers(2, ""));
    // What is in the store reaches the balancer a moment later.
    eventually("a worker is picked", || {
        let pick = ["pick", "Worker", "--balancer", &balancer];
        ground.run_as("operator.ann", &pick).status.success()
    });
    let lines = ground.path("followed");
    let mut following = Command::new(QUAESTOR);
    let config = ground.config("operator.ann");
    following.args(["logs", "worker", "-f", "--config", &config]);
    // What Quaestor says of starts comes beside what workers print.
    let file = std::fs::File::create(&lines).unwrap();
    following.stdout(Stdio::null()).stderr(file);
    let following = Following(following.spawn().unwrap());
    let starts = || {
        let lines = std::fs::read_to_string(&lines).unwrap();
        lines.matches("[quaestor] started").count()
    };
    eventually("what was said is read", || starts() == 2);
    ground.ok_as("operator.ann", &["restart", "worker", "--wait"]);
    eventually("what is said is followed", || starts() >= 4);
    drop(following);
    ground.ok_as("operator.ann", &["describe", "service", "worker"]);
    ground.ok_as("operator.ann", &["rollout", "history", "worker"]);
    ground.ok_as("operator.ann", &["cordon", "h1"]);
    ground.ok_as("operator.ann", &["uncordon", "h1"]);
    ground.ok_as("operator.ann", &["label", "h1", "pool=qa"]);
    ground.ok_as(
        "operator.ann",
        &["scale", "worker", "--replicas", "1", "--wait"],
    );
    ground.ok_as("operator.ann", &["delete", "worker", "--wait"]);
    for owner in ["controller.c1", "agent.h1", "balancer.b1"] {
        let log = ground.log(owner);
        assert!(!log.contains("permission denied"), "{owner}: {log}");
    }
    // Who lacks a right is told what to do.
    ground.issue(&["balancer", "b2"]);
    let refused = ground.run_as("balancer.b1", &["scale", "worker", "--replicas", "1"]);
    fails(&refused, &["permission denied", "quaestor rbac"]);
}

#[test]
fn a_dashboard_with_the_certificate_of_an_operator_reads_logs_and_does_deeds() {
    let mut ground = guarded();
    ground.issue(&["operator", "ann"]);
    for owner in [["controller", "c1"], ["agent", "h1"]] {
        ground.issue(&owner);
    }
    let (token, state) = (ground.path("token"), ground.path("state"));
    std::fs::write(&token, "a-token-of-sixteen-letters").unwrap();
    let http = format!("127.0.0.1:{}", free_port());
    let (certificate, key) = (
        ground.path("pki/operator.ann.crt"),
        ground.path("pki/operator.ann.key"),
    );
    let shown = ["--http", &http, "--http-token-file", &token];
    let own = ["--dashboard-cert", &certificate, "--dashboard-key", &key];
    ground.start(
        "controller.c1",
        &[&["controller"][..], &shown, &own].concat(),
    );
    let agent = ["agent", "--node", "h1", "--state-dir", &state];
    ground.start("agent.h1", &agent);
    ground.apply_as("operator.ann", &demo_workers(1, ""));
    let ask = |method: &str, path: &str| ask(&ground, method, &format!("https://{http}{path}"));
    eventually("the log is read", || {
        ask("GET", "/api/logs?node=h1&instance=worker-0").contains("started: incarnation 1")
    });
    let restarted = ask("POST", "/api/restart?target=worker");
    assert!(restarted.contains("\"generation\":2"), "{restarted}");
    let cordoned = ask("POST", "/api/node?name=h1&do=cordon");
    assert!(cordoned.contains("true"), "{cordoned}");
}

/// What the dashboard answers to whoever has the token: the first bytes, as a log does not end.
fn ask(ground: &Ground, method: &str, url: &str) -> String {
    const SCRIPT: &str = "
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile=sys.argv[3])
headers = {'authorization': 'Bearer a-token-of-sixteen-letters'}
request = urllib.request.Request(sys.argv[2], method=sys.argv[1], headers=headers)
try:
    print(urllib.request.urlopen(request, context=context, timeout=5).read1(65536).decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError as error:
    print(error)
";
    let python = std::env::var("QUAESTOR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    let authority = ground.path("pki/ca.crt");
    let output = command
        .args(["-c", SCRIPT, method, url, &authority])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// An etcd without TLS whose users have passwords: `root`, and `ann`, who may do everything in `/`.
fn with_passwords() -> Etcd {
    let etcd = Etcd::start();
    let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    for command in [
        "user add root:secret",
        "role add root",
        "user grant-role root root",
        "user add ann:word",
        "role add all",
        "role grant-permission --prefix all readwrite /",
        "user grant-role ann all",
        "auth enable",
    ] {
        let output = Command::new(&program)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &etcd.endpoint()])
            .args(command.split(' '))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
    }
    etcd
}

#[test]
fn a_user_of_etcd_is_known_by_a_password_that_no_command_line_holds() {
    let etcd = with_passwords();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let file = file.to_str().unwrap();
    std::fs::write(file, "word\n").unwrap();
    let get =
        |more: &[&str]| quaestor(&[&["get", "nodes", "--etcd", &etcd.endpoint()], more].concat());
    let known = get(&["--etcd-user", "ann", "--etcd-password-file", file]);
    assert!(known.status.success(), "{known:?}");
    fails(
        &get(&[]),
        &["user name is empty", "--etcd-cert", "--etcd-user"],
    );
    fails(&get(&["--etcd-user", "ann"]), &["QUAESTOR_ETCD_PASSWORD"]);
    std::fs::write(file, "wrong").unwrap();
    let refused = get(&["--etcd-user", "ann", "--etcd-password-file", file]);
    fails(&refused, &["invalid user ID or password"]);
}

#[tokio::test]
async fn a_login_that_etcd_has_forgotten_is_renewed_and_what_is_followed_goes_on() {
    let mut etcd = with_passwords();
    let config = Config {
        login: Some(Login {
            user: "ann".to_owned(),
            password: "word".to_owned(),
        }),
        ..Config::new([etcd.endpoint()])
    };
    let store = Store::new(config, Host::system()).unwrap();
    let mut follow = store.follow(vec!["/a/".to_owned()]);
    follow.next().await;
    // It keeps logins in memory.
    etcd.restart();
    let mut written = false;
    while !written {
        let txn = Txn::new().then(Write::put("/a/b", "1"));
        written = store.commit(txn).await.is_ok();
    }
    let update = tokio::time::timeout(crate::support::PATIENCE, follow.next())
        .await
        .unwrap();
    assert_eq!(update.changes[0].key(), "/a/b");
    eventually("etcd answers", || true);
}
