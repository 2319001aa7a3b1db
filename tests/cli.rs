//! What the command line says when something is wrong: what failed, where, and what to do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use support::{
    cluster::{Cluster, Kind, QUAESTOR, demo_workers},
    eventually,
    ports::free_port,
    signal,
};

fn quaestor(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(QUAESTOR)
        .args(arguments)
        .env_remove("QUAESTOR_ETCD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn fails(output: &Output, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it succeeded");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in:\n{errors}");
    }
}

#[test]
fn without_a_store_the_error_names_where_it_looked() {
    let store = format!("http://127.0.0.1:{}", free_port());
    let output = quaestor(&["get", "services", "--etcd", &store], "");
    fails(&output, &["cannot be reached", &store, "refused"]);
}

#[test]
fn without_a_balancer_the_error_names_all_that_were_asked() {
    let (first, second) = (free_port(), free_port());
    let balancers = format!("127.0.0.1:{first},127.0.0.1:{second}");
    let output = quaestor(&["pick", "Worker", "--balancer", &balancers], "");
    fails(
        &output,
        &[&first.to_string(), &second.to_string(), "--balancer"],
    );
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = quaestor(&["dev", "--store-listen", &address], "");
    fails(&output, &[&address, "--store-listen", "in use"]);
    let output = quaestor(
        &[
            "dev",
            "--store-listen",
            "127.0.0.1:0",
            "--balancer-listen",
            &address,
        ],
        "",
    );
    fails(&output, &[&address, "--balancer-listen", "in use"]);
    let output = quaestor(&["balancer", "--listen", &address], "");
    fails(&output, &[&address, "--listen", "in use"]);
}

#[test]
fn manifests_are_validated_without_a_store_and_from_standard_input() {
    let output = quaestor(&["validate", "-"], &demo_workers(2, ""));
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "valid: 1 service (worker)\n"
    );
    let output = quaestor(&["validate", "-"], &demo_workers(2, "  colour: blue\n"));
    fails(&output, &["<stdin>:12:3", "colour"]);
}

#[test]
fn what_means_nothing_on_windows_is_named_in_its_place() {
    let file = "tests/manifests/windows.yaml";
    let output = quaestor(&["validate", file], "");
    assert!(output.status.success());
    let output = quaestor(&["validate", "--platform", "windows", file], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let kept = "tests/manifests/windows.txt";
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(kept, &said).unwrap();
    }
    assert_eq!(said, std::fs::read_to_string(kept).unwrap(), "{kept}");
}

#[test]
fn every_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let [binary, empty] = ["binary.yaml", "empty"].map(|name| directory.path().join(name));
    std::fs::write(&binary, [0xff, 0]).unwrap();
    std::fs::create_dir(&empty).unwrap();
    let paths = [&binary, &empty].map(|path| path.to_str().unwrap());
    let output = quaestor(&["validate", paths[0], paths[1], "/no/such/file"], "");
    let words = [paths[0], "UTF-8", paths[1], "no manifests", "/no/such/file"];
    fails(&output, &words);
}

#[test]
fn output_that_nobody_reads_on_is_no_failure_but_a_full_disk_is() {
    let mut child = Command::new(QUAESTOR)
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");

    let full = std::fs::File::options().write(true).open("/dev/full");
    let output = Command::new(QUAESTOR)
        .arg("schema")
        .stdout(full.unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    fails(&output, &["error: cannot write to standard output"]);
}

#[test]
fn a_cluster_outlives_the_terminal_that_it_was_started_in() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("worker.yaml");
    std::fs::write(&manifest, demo_workers(1, "")).unwrap();
    let [store, balancer] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let mut dev = Command::new(QUAESTOR)
        .args(["dev", "--store-listen", &store])
        .args(["--balancer-listen", &balancer, "-f"])
        .arg(&manifest)
        .arg("--state-dir")
        .arg(directory.path().join("state"))
        .env_remove("QUAESTOR_ETCD")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((dev.stdout.take(), dev.stderr.take()));
    let arguments = ["pick", "Worker", "--balancer", &balancer];
    eventually("the worker is answered", || {
        assert_eq!(dev.try_wait().unwrap(), None, "dev has ended");
        quaestor(&arguments, "").status.success()
    });
    signal(dev.id(), "INT");
    assert!(dev.wait().unwrap().success());
}

#[test]
fn unknown_names_are_errors_that_say_where_to_look() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    fails(
        &cluster.run(&["get", "services", "nobody"]),
        &["no service nobody", "get services"],
    );
    fails(
        &cluster.run(&["describe", "service", "nobody"]),
        &["no service nobody", "get services"],
    );
    fails(
        &cluster.run(&["delete", "nobody"]),
        &["no service nobody", "get services"],
    );
    for command in [
        ["get", "services", "wroker"],
        ["get", "endpoints", "wroker"],
        ["describe", "service", "wroker"],
        ["delete", "--wait", "wroker"],
    ] {
        let output = cluster.run(&command);
        fails(&output, &["wroker", "did you mean worker?"]);
    }
    fails(
        &cluster.run(&["pick", "nobody"]),
        &["no service is found as `nobody`", "get services"],
    );
}

#[test]
fn a_store_that_is_none_and_a_balancer_that_is_none_are_told_apart_from_absent_ones() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    let balancer = cluster.balancer();
    let output = cluster.run(&["get", "services", "--etcd", balancer]);
    fails(&output, &["refused", "is no etcd"]);
    let store = cluster.store();
    let output = cluster.run(&["pick", "Worker", "--balancer", store]);
    fails(&output, &[store, "is no balancer"]);
}

#[test]
fn dev_does_not_run_on_the_store_that_the_environment_names() {
    let work = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    work.await_ready("worker", 1);
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("other.yaml");
    std::fs::write(&manifest, demo_workers(2, "")).unwrap();
    let mut dev = Command::new(QUAESTOR)
        .args([
            "dev",
            "--store-listen",
            "127.0.0.1:0",
            "--balancer-listen",
            "127.0.0.1:0",
            "-f",
        ])
        .arg(&manifest)
        .arg("--state-dir")
        .arg(directory.path().join("state"))
        .env("QUAESTOR_ETCD", work.store())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It says what it has applied, and where its store is.
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let mut said: Vec<String> = Vec::new();
    // How many lines come before depends on which ports others have.
    while !said.last().is_some_and(|line| line.contains("created")) {
        said.push(lines.next().unwrap().unwrap());
    }
    signal(dev.id(), "TERM");
    dev.wait().unwrap();
    assert!(
        said.iter().any(|line| line.contains("worker created")),
        "{said:?}"
    );
    assert!(
        said.iter().all(|line| !line.contains(work.store())),
        "{said:?}"
    );
    assert_eq!(work.services()[0]["generation"], 1);
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    let changed = demo_workers(2, "");
    let said = cluster.apply(&changed, &["--dry-run"]);
    assert_eq!(said, "service/worker configured (generation 2) (dry run)\n");
    assert_eq!(cluster.services()[0]["generation"], 1);
}

#[test]
fn a_deletion_that_is_under_way_can_be_waited_for_again() {
    let manifest = r#"
apiVersion: quaestor/v1
kind: Service
metadata: {name: stubborn}
spec:
  command: [sh, -c, "trap '' TERM; echo set; while :; do sleep 0.1; done"]
  stop: {grace: 10s}
"#;
    let cluster = Cluster::start(Kind::Embedded, manifest);
    // It would die of the signal before.
    eventually("it is stubborn", || {
        cluster.run(&["logs", "stubborn-0"]).stdout == b"set\n"
    });
    let said = cluster.ok(&["delete", "stubborn"]);
    assert_eq!(said, "service/stubborn deleted\n");
    let said = cluster.ok(&["delete", "stubborn", "--wait"]);
    assert_eq!(said, "service/stubborn is being deleted\n");
    let again = cluster.run(&["delete", "stubborn"]);
    fails(&again, &["no service stubborn"]);
}

#[test]
fn a_manifest_that_init_prints_can_be_applied() {
    for command in [
        &["/opt/qa/worker", "--listen", "{host}:{port}"][..],
        &["sh", "-c", "echo \"a: b\" # 'c'"],
    ] {
        let printed = quaestor(&[&["init", "worker", "--"], command].concat(), "");
        assert!(printed.status.success());
        let manifest = String::from_utf8(printed.stdout).unwrap();
        let checked = quaestor(&["validate", "-"], &manifest);
        assert!(checked.status.success(), "{manifest}\n{checked:?}");
    }
    fails(
        &quaestor(&["init", "worker", "--", "run", "{prot}"], ""),
        &["no placeholder `{prot}`"],
    );
}

#[test]
fn a_field_is_explained_and_one_that_is_not_there_is_guessed() {
    let page = quaestor(&["explain", "spec.restart.delay"], "");
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.starts_with("spec.restart.delay <period>\n"), "{page}");
    fails(
        &quaestor(&["explain", "spec.restrat"], ""),
        &["did you mean `restart`?"],
    );
}

#[test]
fn a_shell_is_told_what_there_is_in_the_cluster() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    let completed = |words: &[&str]| {
        let output = Command::new(QUAESTOR)
            .args([&["--", "quaestor", "--etcd", cluster.store()], words].concat())
            .env("QUAESTOR_COMPLETE", "fish")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (words, offered) in [
        (&["delete", ""][..], "worker"),
        (&["logs", ""], "worker-0"),
        (&["drain", ""], "local"),
        (&["pick", ""], "Worker"),
        (&["rol"], "rollout"),
    ] {
        // On a slow machine it gives up asking the cluster: who types is not to wait.
        eventually(&format!("{words:?} offers {offered}"), || {
            let offers = completed(words);
            let mut names = offers.lines().filter_map(|it| it.split('\t').next());
            names.any(|name| name == offered)
        });
    }
}

#[test]
fn completion_goes_on_without_a_store() {
    let store = format!("http://127.0.0.1:{}", free_port());
    let output = Command::new(QUAESTOR)
        .args(["--", "quaestor", "--etcd", &store, "delete", ""])
        .env("QUAESTOR_COMPLETE", "fish")
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let script = quaestor(&["completion", "bash"], "");
    assert!(String::from_utf8_lossy(&script.stdout).contains("QUAESTOR_COMPLETE"));
}

#[test]
fn what_is_shown_can_be_selected_sorted_and_named() {
    let other = "---\napiVersion: quaestor/v1\nkind: Service\nmetadata: {name: another, labels: {team: qa}}\nspec: \
                 {replicas: 2, command: [/bin/sleep, \"1000\"]}\n";
    let cluster = Cluster::start(Kind::Embedded, &(demo_workers(1, "") + other));
    cluster.await_ready("worker", 1);
    cluster.await_ready("another", 2);
    let shown = |arguments: &[&str]| cluster.ok(&[&["get"], arguments].concat());
    let names = shown(&["instances", "-o", "name"]);
    assert_eq!(
        names,
        "instance/another-0\ninstance/another-1\ninstance/worker-0\n"
    );
    let names = shown(&["instances", "-l", "team=qa", "-o", "name"]);
    assert_eq!(names, "instance/another-0\ninstance/another-1\n");
    let names = shown(&["services", "-l", "!team", "-o", "name"]);
    assert_eq!(names, "service/worker\n");
    assert_eq!(
        shown(&["services", "-l", "team=qa,team!=qa", "-o", "name"]).trim(),
        ""
    );
    let names = shown(&["services", "--sort-by", "-name", "-o", "name"]);
    assert_eq!(names, "service/worker\nservice/another\n");
    let names = shown(&["instances", "--sort-by", "pid", "-o", "json"]);
    let sorted: Vec<serde_json::Value> = serde_json::from_str(&names).unwrap();
    let pids = sorted.iter().map(|item| item["pid"].as_u64().unwrap());
    assert!(pids.is_sorted());
}

#[test]
fn what_changes_is_appended_where_there_is_no_terminal() {
    let cluster = Cluster::start(
        Kind::Embedded,
        &demo_workers(2, "").replacen("replicas: 2", "replicas: 1", 1),
    );
    cluster.await_ready("worker", 1);
    let mut watch = Command::new(QUAESTOR)
        .args(["get", "instances", "--watch"])
        .env("QUAESTOR_ETCD", cluster.store())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(watch.stdout.take().unwrap());
    let (send, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let next = || lines.recv_timeout(support::PATIENCE).unwrap();
    assert!(next().starts_with("NAME"));
    assert!(next().starts_with("worker-0"));
    cluster.ok(&["scale", "worker", "--replicas", "2"]);
    // The first instance may change as well; the second one comes, and is ready in the end.
    while !(next()
        .split_whitespace()
        .take(4)
        .eq(["worker-1", "local", "Running", "yes"]))
    {}
    cluster.ok(&["scale", "worker", "--replicas", "1"]);
    while next() != "instance/worker-1 is gone" {}
    signal(watch.id(), "INT");
    assert!(watch.wait().unwrap().success());
    reader.join().unwrap();
}
