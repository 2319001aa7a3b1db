//! What only the host knows reaches the process, and nobody else.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use quaestor::model::service::{FileMode, FileSpec, FromFile, RestartSpec, Variable};

use super::*;

/// Stands in no other place than where a secret is.
const SECRET: &str = "tr0ub4dor-and-3";

/// A script that is given `LICENSE` and the file `key`, both from `source`.
fn given(text: &str, source: &Path) -> Assignment {
    let wanted = script(text);
    let Run::Process(template) = wanted.run else {
        panic!("it is a process")
    };
    let from_file = source.display().to_string();
    let key = FileSpec {
        name: "key".to_owned(),
        from_file: from_file.clone(),
        mode: FileMode(0o440),
    };
    let license = Variable::File(FromFile { from_file });
    Assignment {
        run: Run::Process(Template {
            env: BTreeMap::from([
                ("LICENSE".to_owned(), license),
                ("KEY".to_owned(), "{files}/key".into()),
            ]),
            files: vec![key],
            ..template
        }),
        restart: RestartSpec {
            delay: Period::from_millis(100),
            max_delay: Period::from_millis(100),
            ..RestartSpec::default()
        },
        ..wanted
    }
}

/// Every file below `directory` that holds the secret.
fn tainted(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            found.extend(tainted(&path));
        } else if kind.is_file() {
            let content = std::fs::read(&path).unwrap();
            let holds = String::from_utf8_lossy(&content).contains(SECRET);
            found.extend(holds.then_some(path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_process_and_stands_nowhere_else() {
    let world = World::new();
    let source = world.path("source");
    std::fs::write(&source, format!("{SECRET}\n")).unwrap();
    let text = r#"test "$LICENSE" = "$(cat "$KEY")" && echo the same
        touch started; exec sleep 1000"#;
    let wanted = given(text, &source);
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    let log = world.path("a/logs/worker-0/current.log");
    eventually_async("it was given the same twice", async || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("the same"))
    })
    .await;
    let handed = world.path("a/runtime/files/worker-0/key");
    assert_eq!(std::fs::metadata(&handed).unwrap().mode() & 0o777, 0o440);
    assert_eq!(tainted(&world.path("a")), [handed.as_path()]);
    for entry in world.store.list("").await.unwrap().entries {
        let value = String::from_utf8_lossy(&entry.value);
        assert!(!value.contains(SECRET), "{}: {value}", entry.key);
    }
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!arguments.contains(SECRET));
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.contains(&format!("LICENSE={SECRET}\0")));
    agent.end().await;
    assert!(!handed.exists());
    assert_eq!(tainted(&world.path("a")), [""; 0].map(PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_named_until_it_is_there() {
    let world = World::new();
    let source = world.path("source");
    let wanted = given("exec sleep 1000", &source);
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world
        .state_when(&wanted.instance, "it is refused", |state| {
            state.phase == Phase::StartFailed
        })
        .await;
    assert_eq!(state.reason, "SecretUnreadable");
    let path = source.display().to_string();
    assert!(state.message.contains(&path), "{state:?}");
    assert!(state.next_start_at.is_some(), "{state:?}");
    std::fs::write(&source, SECRET).unwrap();
    world.ready(&wanted.instance).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_leads_out_of_what_the_owner_of_the_host_allows() {
    let world = World::new();
    let (allowed, other) = (world.path("allowed"), world.path("other"));
    std::fs::create_dir(&allowed).unwrap();
    std::fs::write(&other, SECRET).unwrap();
    std::os::unix::fs::symlink(&other, allowed.join("link")).unwrap();
    std::fs::write(allowed.join("own"), SECRET).unwrap();
    let refused = given("exec sleep 1000", &allowed.join("link"));
    let accepted = Assignment {
        instance: instance("worker-1"),
        ..given("exec sleep 1000", &allowed.join("own"))
    };
    world.assign(&refused).await;
    world.assign(&accepted).await;
    let agent = world.agent_by(agent::Config {
        allowed: agent::Allowed {
            secrets: vec![allowed.canonicalize().unwrap()],
            ..Default::default()
        },
        ..world.config("a")
    });
    world.ready(&accepted.instance).await;
    let state = world
        .state_when(&refused.instance, "it is refused", |state| {
            state.phase == Phase::StartFailed
        })
        .await;
    assert_eq!(state.reason, "NotAllowed");
    assert!(state.message.contains("--allow-secret"), "{state:?}");
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_a_process_may_read_its_files_and_change_nothing() {
    let world = World::new();
    if std::fs::metadata(world.directory.path()).unwrap().uid() != 0 {
        // Only root can start processes as others.
        return;
    }
    let all = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(world.directory.path(), all).unwrap();
    let source = world.path("source");
    std::fs::write(&source, SECRET).unwrap();
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = r#"cat "$KEY" > /dev/null && echo reads
        touch "$(dirname "$KEY")/x" || echo but makes nothing
        exec sleep 1000"#;
    let mut wanted = given(text, &source);
    if let Run::Process(template) = &mut wanted.run {
        template.run_as.user = Some("nobody".to_owned());
    }
    world.assign(&wanted).await;
    let agent = world.agent("a");
    world.ready(&wanted.instance).await;
    let log = world.path("a/logs/worker-0/current.log");
    eventually_async("it reads and makes nothing", async || {
        std::fs::read_to_string(&log)
            .is_ok_and(|log| log.contains("reads") && log.contains("but makes nothing"))
    })
    .await;
    agent.end().await;
}
