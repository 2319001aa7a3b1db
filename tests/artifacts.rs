//! Artifacts on a real etcd: fetched once, verified, shared, and never at the cost of what runs; over https from whom
//! the host or its agent trusts.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use sha2::{Digest as _, Sha256};
use support::{
    cluster::{Cluster, Kind, QUAESTOR, lives},
    eventually,
    hosts::Hosts,
};

/// A server of files, which counts how often each was asked for.
struct Files {
    address: String,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
}

impl Files {
    fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let files: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
        let asked: Arc<AtomicUsize> = Arc::default();
        let (served, count) = (Arc::clone(&files), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else {
                    continue;
                };
                while lines
                    .next()
                    .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                {}
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let moved = path.strip_prefix("/moved");
                let found = served.lock().unwrap().get(&path).cloned();
                let (status, header, body) = match (moved, found) {
                    (Some(there), _) => ("302 Found", format!("location: {there}\r\n"), Vec::new()),
                    (None, Some(body)) => {
                        count.fetch_add(1, Ordering::SeqCst);
                        ("200 OK", String::new(), body)
                    }
                    (None, None) => ("404 Not Found", String::new(), Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&body);
            }
        });
        Self {
            address,
            files,
            asked,
        }
    }

    /// Offers a tar.gz with a program that prints `word` and sleeps; its digest.
    fn offer(&self, name: &str, word: &str) -> String {
        let script = format!("#!/bin/sh\necho {word}\nexec sleep 1000\n");
        let archive = packed("bin/run", script.as_bytes());
        let digest = Sha256::digest(&archive)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.files
            .lock()
            .unwrap()
            .insert(format!("/{name}"), archive);
        digest
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A gzipped tar with one executable file.
fn packed(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000755");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[148..156].fill(b' ');
    block[156] = b'0';
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    block.extend(content);
    block.resize(block.len().div_ceil(512) * 512 + 1_024, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&block).unwrap();
    gzip.finish().unwrap()
}

fn manifest(url: &str, digest: &str) -> String {
    format!(
        r#"
apiVersion: quaestor/v1
kind: Service
metadata: {{name: app}}
spec:
  replicas: 2
  artifact: {{url: "{url}", sha256: "{digest}"}}
  command: ["{{artifact}}/bin/run"]
  stop: {{grace: 1s}}
"#
    )
}

#[test]
fn an_artifact_is_fetched_once_for_all_instances_and_a_new_one_rolls_out() {
    let files = Files::serve();
    let first = files.offer("app-1.tar.gz", "first");
    // By way of a redirect.
    let url = format!("http://{}/moved/app-1.tar.gz", files.address);
    let cluster = Cluster::start(Kind::Etcd, &manifest(&url, &first));
    cluster.await_ready("app", 2);
    assert_eq!(files.asked(), 1);
    let said = |word: &str| cluster.ok(&["logs", "app", "--tail", "9"]).contains(word);
    eventually("the first runs", || said("first"));
    let directory = cluster.state_directory().join("artifacts").join(&first);
    assert!(directory.join("bin/run").is_file());

    let second = files.offer("app-2.tar.gz", "second");
    let url = format!("http://{}/app-2.tar.gz", files.address);
    cluster.apply(&manifest(&url, &second), &["--wait"]);
    eventually("the second runs", || said("second"));
    assert_eq!(files.asked(), 2);
}

#[test]
fn what_runs_goes_on_while_another_artifact_cannot_be_had() {
    let files = Files::serve();
    let good = files.offer("app-1.tar.gz", "good");
    let url = format!("http://{}/app-1.tar.gz", files.address);
    let cluster = Cluster::start(Kind::Etcd, &manifest(&url, &good));
    let before = cluster.await_ready("app", 2);

    for (name, digest, why) in [
        ("app-1.tar.gz", "0".repeat(64), "its SHA-256 is"),
        ("gone.tar.gz", "1".repeat(64), "404"),
    ] {
        let url = format!("http://{}/{name}", files.address);
        cluster.apply(&manifest(&url, &digest), &[]);
        eventually("it is said what is wrong", || {
            let instances = cluster.instances();
            instances
                .iter()
                .any(|it| it.reason == "ArtifactFailed" && it.message.contains(why))
        });
        for instance in &before {
            let now = cluster.instance(&instance.name);
            assert!(now.ready && now.pid == instance.pid, "{now:?}");
            assert!(lives(instance.pid.unwrap()));
        }
    }
    // What can be had again is run again, by the same processes.
    cluster.apply(&manifest(&url, &good), &["--wait"]);
    for instance in &before {
        let now = cluster.instance(&instance.name);
        assert_eq!((now.pid, now.reason.as_str()), (instance.pid, ""));
    }
}

/// Serves the files of a directory over TLS, and says first at which port.
const SECURED: &str = "
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2] + '.crt', sys.argv[2] + '.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// A server of the files in `directory` with the certificate `pair`; killed when dropped.
struct Secured(std::process::Child, String);

impl Secured {
    fn serve(directory: &str, pair: &str) -> Self {
        let python = std::env::var("QUAESTOR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut child = std::process::Command::new(python)
            .args(["-c", SECURED, directory, pair])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut port).unwrap();
        Self(child, port.trim().to_owned())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_with_a_certificate_of_ones_own_authority_is_trusted_once_agents_are_told_so() {
    let mut hosts = Hosts::empty();
    let path = |name: &str| hosts.directory.path().join(name).display().to_string();
    let (pki, served) = (path("pki"), path("served"));
    hosts.ok(&["pki", "init", "--dir", &pki]);
    hosts.ok(&[
        "pki",
        "issue",
        "client",
        "files",
        "--san",
        "localhost",
        "--dir",
        &pki,
    ]);
    std::fs::create_dir(&served).unwrap();
    let archive = packed("bin/run", b"#!/bin/sh\nexec sleep 1000\n");
    std::fs::write(format!("{served}/app.tar.gz"), &archive).unwrap();
    let digest: String = (Sha256::digest(&archive).iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let server = Secured::serve(&served, &format!("{pki}/client.files"));
    let url = |host: &str| format!("https://{host}:{}/app.tar.gz", server.1);

    hosts.role("controller", &["controller"]);
    hosts.agent("a");
    let file = hosts.manifest("app", &manifest(&url("localhost"), &digest));
    hosts.ok(&["apply", "-f", &file]);
    let fails = |hosts: &Hosts, why: &str| {
        let instances = hosts.get("instances");
        instances.iter().any(|one| {
            let message = one["message"].as_str().unwrap_or_default();
            one["reason"] == "ArtifactFailed" && message.contains(why)
        })
    };
    // Hosts without any certificates trust nobody.
    hosts.until("it is not trusted", |hosts| {
        fails(hosts, "localhost is not who it should be")
            || fails(hosts, "this host has no certificates to trust")
    });

    hosts.kill("a");
    let authority = format!("{pki}/ca.crt");
    hosts.agent_of(QUAESTOR, "a", &["--artifact-ca", &authority]);
    hosts.until("both run", |hosts| hosts.pids("app", None).len() == 2);

    // Its certificate is for that name only. Another digest, so that it is fetched at all.
    let file = hosts.manifest("app", &manifest(&url("127.0.0.1"), &"0".repeat(64)));
    hosts.ok(&["apply", "-f", &file]);
    hosts.until("another name is not trusted", |hosts| {
        fails(hosts, "127.0.0.1 is not who it should be")
    });
    assert_eq!(hosts.pids("app", None).len(), 2);
}
