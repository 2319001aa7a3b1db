//! What exactly is started: placeholders replaced, environment complete.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::{
    Config, Home,
    account::{self, Account, Accounts},
    logon,
    ports::Ports,
    secrets::Safe,
    words::Words,
};
use crate::{
    host::Host,
    model::{Assignment, RunAs, assignment::Template, service::Variable},
    plan::agent::{NOT_ALLOWED, NotStarted, START_FAILED},
    process::{Identity, PreStart, Program, environment, identity},
};

/// The program of an assignment with these `ports`. Its directories exist on return.
pub(super) fn resolve(
    config: &Config,
    home: &Home,
    host: &Host,
    assignment: &Assignment,
    template: &Template,
    ports: &Ports,
) -> Result<Program, NotStarted> {
    let instance = &assignment.instance;
    let words = Words {
        config,
        home,
        assignment,
        ports,
    };
    let expand = |text: &String| words.expand(text);
    let refuse = |reason| {
        move |why: String| NotStarted {
            reason,
            message: format!("on {}, {why}", config.node),
        }
    };
    let arguments = words.command(&template.command)?;
    let pre_start = template.pre_start.as_ref().map(|hook| {
        Ok(PreStart {
            arguments: words.command(&hook.command)?,
            timeout: hook.timeout.get(),
        })
    });
    let pre_start = pre_start.transpose()?;
    let (account, logon) = match identity::LOGS_ON {
        true => {
            let found = logon::find(&template.run_as, &config.allowed, host);
            (None, found.map_err(|(reason, why)| refuse(reason)(why))?)
        }
        false => {
            let account = permitted(config, host, &template.run_as);
            (account.map_err(|(reason, why)| refuse(reason)(why))?, None)
        }
    };
    let person = account.as_ref().and_then(|account| account.person.as_ref());

    let mut environment = environment::inherited();
    if account.is_some() || logon.is_some() {
        environment::remove_personal(&mut environment);
    }
    if let Some(person) = person {
        environment.insert("HOME".to_owned(), person.home.clone());
        environment.insert("USER".to_owned(), person.name.clone());
        environment.insert("LOGNAME".to_owned(), person.name.clone());
    }
    if template
        .command
        .first()
        .is_some_and(|program| program == "{quaestor}")
    {
        environment.insert("QUAESTOR_ETCD".to_owned(), config.endpoints.join(","));
        environment.insert("QUAESTOR_CLUSTER".to_owned(), config.cluster.to_string());
    }
    let safe = Safe { config, host };
    let mut secrets = BTreeMap::new();
    for (name, value) in &template.env {
        match value {
            Variable::Text(text) => {
                environment::set(&mut environment, name, expand(text)?);
            }
            Variable::File(file) => {
                environment::remove(&mut environment, name);
                secrets.insert(
                    name.clone(),
                    safe.variable(name, &expand(&file.from_file)?)?,
                );
            }
        }
    }
    if let Some(port) = words.first_port() {
        environment::set(&mut environment, "PORT", port.to_string());
    }
    environment.insert("QUAESTOR_INSTANCE".to_owned(), instance.to_string());

    let identity = account.map(|account| account.identity);
    let let_in = |path: &Path| match &logon {
        Some(logon) => identity::let_in(path, &logon.user),
        None => Ok(()),
    };
    let create = |directory: &Path| host.disk.create_directory(directory);
    let made = |directory: PathBuf, made: io::Result<()>| match made {
        Ok(()) => Ok(directory),
        Err(error) => Err(NotStarted {
            reason: "StateDirectory",
            message: format!("cannot make `{}`: {error}", directory.display()),
        }),
    };
    let logs = home.logs(instance);
    let created = create(&logs);
    let logs = made(logs, created)?;
    let working_directory = match &template.working_directory {
        Some(text) => expand(text)?.into(),
        None => {
            let directory = home.working_directory(instance);
            let created = create(&directory)
                .and_then(|()| give(host, &directory, identity.as_ref()))
                .and_then(|()| let_in(&directory));
            made(directory, created)?
        }
    };
    let files = template.files.iter();
    let files = files
        .map(|file| safe.file(file, &expand(&file.from_file)?))
        .collect::<Result<Vec<_>, _>>()?;
    if !files.is_empty() {
        let directory = home.files(instance);
        let reader = identity.as_ref().map(|reader| (reader.user, reader.group));
        let handed = host.disk.hand_over(
            &directory,
            &files,
            reader.filter(|_| identity::own().0 == 0),
        );
        let handed = handed.and_then(|()| {
            let_in(&directory)?;
            let mut files = files.iter();
            files.try_for_each(|file| let_in(&directory.join(&file.name)))
        });
        made(directory, handed)?;
    }
    let run_as = &template.run_as;
    Ok(Program {
        arguments,
        pre_start,
        notify: template.notify.clone(),
        environment,
        secrets,
        working_directory,
        identity,
        logon,
        umask: run_as.umask,
        limits: run_as.limits.clone(),
        resources: assignment.resources.clone(),
        nice: run_as.nice,
        oom_score_adjust: run_as.oom_score_adjust,
        logs,
        log_limits: assignment.logs.clone(),
        stop: assignment.stop.clone(),
        stop_within: None,
    })
}

/// The account of this host that `run_as` asks for, if it may run here; none: the agent's own. Else the reason as a word,
/// and the words for people.
fn permitted(
    config: &Config,
    host: &Host,
    run_as: &RunAs,
) -> Result<Option<Account>, (&'static str, String)> {
    let failed = |why| (START_FAILED, why);
    let accounts = Accounts::read(host).map_err(failed)?;
    let account = account::find(run_as, &accounts).map_err(failed)?;
    let allowed = (config.allowed).check_user(account.as_ref(), identity::own().0, &accounts);
    allowed.map_err(|why| (NOT_ALLOWED, why))?;
    Ok(account)
}

/// Lets a directory belong to who runs in it: another one may have done so before.
fn give(host: &Host, directory: &Path, runner: Option<&Identity>) -> io::Result<()> {
    let own = identity::own();
    let (user, group) = runner.map_or(own, |runner| (runner.user, runner.group));
    match own.0 {
        0 => host.disk.give(directory, user, group),
        // Others than root start everything as who they are.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AssignedPort, Desired, Run};

    #[test]
    fn placeholders_and_environment_are_complete() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::system();
        let home = Home::open(directory.path(), &directory.path().join("runtime"), &host).unwrap();
        let config = Config {
            cluster: "default".parse().unwrap(),
            node: "n1".parse().unwrap(),
            address: "10.0.0.1".to_owned(),
            agent_address: None,
            capacity: Default::default(),
            labels: BTreeMap::new(),
            state_directory: directory.path().to_owned(),
            runtime_directory: directory.path().join("runtime"),
            ends_all: false,
            allowed: Default::default(),
            manifests: None,
            artifact_ca: None,
            quaestor: "/opt/quaestor".into(),
            endpoints: vec!["http://a:1".to_owned(), "http://b:2".to_owned()],
        };
        let template = Template {
            command: vec![
                "{quaestor}".to_owned(),
                "{host}:{port} {port.http} {instance} {slot} {node} {service} {cluster} {{}}"
                    .to_owned(),
            ],
            working_directory: None,
            env: BTreeMap::from([
                ("WHERE".to_owned(), "{node}".into()),
                ("PORT".to_owned(), "not this".into()),
            ]),
            ..Template::default()
        };
        let port = |name: &str| AssignedPort {
            name: name.parse().unwrap(),
            number: None,
            advertise: None,
        };
        let mut assignment = Assignment {
            instance: "worker-3".parse().unwrap(),
            desired: Desired::Present,
            generation: 1,
            revision: "r".to_owned(),
            run: Run::Process(template.clone()),
            replaced: false,
            requests: Default::default(),
            ports: vec![port("grpc"), port("http")],
            service_names: Vec::new(),
            published: true,
            health: Default::default(),
            load: Default::default(),
            restart: Default::default(),
            recycle: None,
            recycle_turn: None,
            min_ready: crate::model::quantity::Period::from_secs(0),
            pre_stop: None,
            stop: Default::default(),
            on_agent_stop: Default::default(),
            adopt: false,
            tickets: None,
            resources: Default::default(),
            on_partition: Default::default(),
            singleton: false,
            logs: Default::default(),
        };
        let ports = Ports::from([
            ("grpc".parse().unwrap(), 5161),
            ("http".parse().unwrap(), 8080),
        ]);
        let program = resolve(&config, &home, &host, &assignment, &template, &ports).unwrap();
        assert_eq!(
            program.arguments,
            [
                "/opt/quaestor",
                "10.0.0.1:5161 8080 worker-3 3 n1 worker default {}"
            ]
        );
        let variable = |name: &str| program.environment.get(name).map(String::as_str);
        assert_eq!(variable("WHERE"), Some("n1"));
        assert_eq!(variable("PORT"), Some("5161"));
        assert_eq!(variable("QUAESTOR_INSTANCE"), Some("worker-3"));
        assert_eq!(variable("QUAESTOR_ETCD"), Some("http://a:1,http://b:2"));
        assert_eq!(variable("QUAESTOR_CLUSTER"), Some("default"));
        assert!(variable("PATH").is_some());
        assert_eq!(variable("CARGO_MANIFEST_DIR"), None);
        assert!(program.working_directory.is_dir());

        assignment.ports.clear();
        let refused = resolve(&config, &home, &host, &assignment, &template, &Ports::new());
        let refused = refused.unwrap_err();
        assert!(
            refused.message.contains("no placeholder `{port}`"),
            "{refused:?}"
        );
    }
}
