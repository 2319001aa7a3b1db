//! One cluster of both systems: an agent on Linux, an agent under Wine, a Linux balancer.

use std::{
    collections::BTreeMap,
    env,
    io::{ErrorKind, Read as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use serde_json::Value as Json;

use super::support::{hosts::Hosts, ports::free_port, ports::free_range};

/// What a program of ours needs beside itself under Wine.
const RANDOM: &str = "bcryptprimitives.dll";

/// The node of the Wine agent.
const WINDOWS: &str = "windows";

/// What runs programs of Windows, and where ours are; none where nobody has built them (`scripts/test windows` does).
fn wine() -> Option<(String, String)> {
    let programs = env::var("QUAESTOR_TEST_WINDOWS").ok()?;
    let wine = env::var("WINE").unwrap_or_else(|_| "wine64".to_owned());
    Some((wine, format!("{programs}/quaestor.exe")))
}

fn start_agent(hosts: &mut Hosts, wine: &str, program: &str) {
    let state = hosts.state(WINDOWS);
    // As Wine shows this file system.
    let state = format!("Z:{}", state.to_str().unwrap().replace('/', "\\"));
    let flags = ["agent", "--node", WINDOWS, "--state-dir", &state];
    hosts.role_of(wine, WINDOWS, &[&[program], &flags[..]].concat());
}

/// Node, pid, restarts and port of each ready instance.
fn ready(hosts: &Hosts) -> BTreeMap<String, (String, u64, u64, u64)> {
    let told = |one: Json| {
        let number = |value: &Json| value.as_u64().unwrap_or_default();
        let name = one["name"].as_str()?.to_owned();
        let node = one["node"].as_str()?.to_owned();
        let port = number(&one["ports"]["grpc"]);
        let it = (node, number(&one["pid"]), number(&one["restarts"]), port);
        (one["ready"] == true).then_some((name, it))
    };
    hosts
        .get("instances")
        .into_iter()
        .filter_map(told)
        .collect()
}

/// Whether the other side still has that connection.
fn is_open(connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).unwrap();
    let mut buffer = [0; 64];
    let mut reader = connection;
    match reader.read(&mut buffer) {
        // What a server says of itself first.
        Ok(length) => length > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[test]
fn a_service_is_spread_over_both_systems_and_outlives_its_agent_on_windows() {
    let Some((wine, program)) = wine() else {
        eprintln!("skipped: nobody has built the programs for Windows: scripts/test windows");
        return;
    };
    assert!(Path::new(&program).exists(), "there is no {program}");
    let mut hosts = Hosts::start(&["linux"], &[]);
    start_agent(&mut hosts, &wine, &program);
    hosts.until_ready(2);
    let balancer = format!("127.0.0.1:{}", free_port());
    hosts.role("balancer", &["balancer", "--listen", &balancer]);
    let (first, last) = free_range(4);
    let manifest = format!(
        "{{apiVersion: quaestor/v1, kind: Service, metadata: {{name: worker}}, spec: {{replicas: 4, \
         command: ['{{quaestor}}', demo-worker, --listen, '{{host}}:{{port}}'], \
         ports: [{{name: grpc, range: {first}-{last}}}], serviceNames: [Worker], \
         health: {{grpc: {{}}, interval: 500ms}}, stop: {{grace: 300s}}}}}}"
    );
    let file = hosts.manifest("worker", &manifest);
    hosts.ok(&["apply", "-f", &file, "--wait", "--timeout", "120s"]);

    let before = ready(&hosts);
    let on = |node: &str| before.values().filter(|one| one.0 == node).count();
    assert_eq!((on("linux"), on(WINDOWS)), (2, 2), "{before:?}");
    let pick = |hosts: &Hosts| -> Vec<String> {
        let arguments = ["pick", "Worker", "-n", "4", "--balancer", &balancer];
        let picked = String::from_utf8(hosts.run(&arguments).stdout).unwrap();
        let mut picked: Vec<_> = picked.lines().map(str::to_owned).collect();
        picked.sort();
        picked
    };
    let mut all: Vec<_> = before
        .values()
        .map(|one| format!("127.0.0.1:{}", one.3))
        .collect();
    all.sort();
    hosts.until("the balancer answers with all four", |hosts| {
        pick(hosts) == all
    });

    // A connection to each worker tells whether it is the same one all the time.
    let connect = |one: &(String, u64, u64, u64)| {
        let address = format!("127.0.0.1:{}", one.3).parse().unwrap();
        TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap()
    };
    let connections: Vec<_> = before.values().map(connect).collect();
    hosts.kill(WINDOWS);
    assert_eq!(pick(&hosts), all, "its agent's end is no end of a worker");
    start_agent(&mut hosts, &wine, &program);
    hosts.until("the agent has found its workers", |hosts| {
        hosts.log().matches("adopted").count() == 2
    });
    hosts.until_ready(2);
    assert_eq!(
        ready(&hosts),
        before,
        "no pid and no count of restarts is another"
    );
    assert!(connections.iter().all(is_open));
    drop(connections);

    // They end because they are asked to: what has to be killed is there for longer than anybody waits.
    hosts.ok(&["delete", "worker", "--wait", "--timeout", "120s"]);
    assert_eq!(hosts.get("instances"), Vec::<Json>::new());
}

#[test]
fn a_cluster_file_of_the_ancestor_runs_on_windows() {
    let Some((wine, program)) = wine() else {
        eprintln!("skipped: nobody has built the programs for Windows: scripts/test windows");
        return;
    };
    let mut hosts = Hosts::start(&[], &[]);
    start_agent(&mut hosts, &wine, &program);
    hosts.until_ready(1);
    // Where the sample has it, but for the drive: with a blank.
    let folder = hosts.directory.path().join("Print Shop");
    std::fs::create_dir(&folder).unwrap();
    let built = Path::new(&program).parent().unwrap();
    for (name, of) in [("worker.exe", "quaestor.exe"), (RANDOM, RANDOM)] {
        std::os::unix::fs::symlink(built.join(of), folder.join(name)).unwrap();
    }
    let worker = format!("Z:{}/worker.exe", folder.to_str().unwrap()).replace('/', "\\");
    let (first, last) = free_range(2);
    let sample = std::fs::read_to_string("tests/import/windows.yml").unwrap();
    let changes = [
        (r"C:\Program Files\Print Shop\worker.exe", worker.as_str()),
        (
            r#"--host {HostName} --port {Port} --data "D:\print data\\" --share \\files\print"#,
            "demo-worker --listen {HostName}:{Port}",
        ),
        ("hostName: qa-7", "hostName: 127.0.0.1"),
        ("[5201, 5202]", &format!("[{first}, {last}]")),
    ];
    let sample = changes.iter().fold(sample, |text, (from, to)| {
        assert!(text.contains(from), "the sample has no `{from}`");
        text.replace(from, to)
    });
    let file = hosts.manifest("ancestor", &sample);
    let imported = hosts.manifest("imported", &hosts.ok(&["import", &file]));
    hosts.ok(&["validate", "--platform", "windows", &imported]);
    hosts.ok(&["apply", "-f", &imported, "--wait", "--timeout", "120s"]);
    let ports: Vec<_> = ready(&hosts).into_values().map(|one| one.3).collect();
    assert_eq!(ports, [u64::from(first), u64::from(last)]);
    hosts.ok(&["delete", "worker", "--wait", "--timeout", "120s"]);
}
