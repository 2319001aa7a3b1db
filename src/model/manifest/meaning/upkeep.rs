//! How a service is watched and kept up: health, load, restarts, logs.

use super::{super::tree::Path, Problem};
use crate::model::{
    Name,
    quantity::{Period, Size},
    service::{HealthSpec, LoadSpec, LogSpec, PortSpec, RecycleWhen, RestartSpec, ServiceSpec},
};

/// A line has up to 64 KiB.
const SMALLEST_LOG: Size = Size::from_mebibytes(1);

/// What is wrong with `health`, `load`, `restart`, `recycle` and `logs`.
pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = health(spec);
    problems.extend(load(spec));
    problems.extend(restart(&spec.restart));
    problems.extend(hooks(spec));
    problems.extend(recycle(spec));
    problems.extend(logs(&spec.logs));
    problems.extend(adopt(spec));
    problems
}

/// Whom nobody can find is not adopted, and whom nobody checks is never noticed to be gone.
fn adopt(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !spec.adopt || !spec.external.is_empty() {
        return problems;
    }
    let path = Path::of("spec.adopt");
    let is_fixed = |port: &PortSpec| port.port.is_some() || port.range.is_some();
    if !spec.ports.iter().any(is_fixed) {
        problems.push(
            Problem::new(
                path.clone(),
                "there is no port by which anyone could be found",
            )
            .considering("ports")
            .help("give a port a number, as in `ports: [{name: grpc, port: 7070}]`"),
        );
    }
    let health = &spec.health;
    if health.grpc.is_none() && health.http.is_none() && health.tcp.is_none() {
        problems.push(
            Problem::new(
                path,
                "only a check of its port shows when the adopted program is gone",
            )
            .considering("health")
            .help("add `health: {tcp: {}}`, or a check that tells more"),
        );
    }
    problems
}

fn health(spec: &ServiceSpec) -> Vec<Problem> {
    let health = &spec.health;
    let root = Path::of("spec.health");
    let http_port = health.http.as_ref().map(|check| check.port.as_ref());
    let kinds = [
        (
            "grpc",
            health.grpc.as_ref().map(|check| check.port.as_ref()),
        ),
        ("http", http_port),
        ("tcp", health.tcp.as_ref().map(|check| check.port.as_ref())),
        ("exec", health.exec.as_ref().map(|_| None)),
        ("notify", health.notify.as_ref().map(|_| None)),
        ("none", health.none.map(|_| None)),
    ];
    let mut problems: Vec<Problem> = one_kind(&root, &kinds).into_iter().collect();
    let real = |kind: &&(&str, Option<Option<&Name>>)| kind.0 != "none";
    let over_a_port = |kind: &&(&str, _)| !["none", "exec", "notify"].contains(&kind.0);
    for (kind, port) in kinds.iter().filter(over_a_port) {
        if let Some(port) = port {
            problems.extend(reachable(spec, root.clone().key(kind), kind, *port));
        }
    }
    if let Some(exec) = &health.exec {
        let path = root.clone().key("exec");
        problems.extend(runnable(path.clone().key("command"), &exec.command));
        if !spec.external.is_empty() {
            problems.push(
                Problem::new(path, "there is no process beside which it could run")
                    .considering("external")
                    .help("check external endpoints by `grpc`, `http` or `tcp`"),
            );
        }
    }
    problems.extend(notify(spec));
    problems.extend(positive(root.clone().key("interval"), health.interval));
    problems.extend(positive(root.clone().key("timeout"), health.timeout));
    if health.failure_threshold == 0 {
        problems.push(
            Problem::new(
                root.clone().key("failureThreshold"),
                "no check can fail 0 times in a row",
            )
            .help("1 restarts at the first failure"),
        );
    }
    if let Some(check) = &health.http
        && !is_path(&check.path)
    {
        problems.push(
            Problem::new(
                root.clone().key("http").key("path"),
                format!("`{}` is not a path", check.path),
            )
            .help("begin with `/`, without scheme, host and spaces"),
        );
    }
    if let Some(deadline) = health.busy_deadline {
        let path = root.clone().key("busyDeadline");
        problems.extend(positive(path.clone(), deadline));
        if !spec.load.is_asked() {
            problems.push(
                Problem::new(path, "without load reports nobody knows whether it is busy")
                    .considering("load")
                    .help("add `load: {reportLoad: {}}`, or remove `busyDeadline`"),
            );
        }
    }
    let timing_only = HealthSpec {
        none: None,
        ..health.clone()
    };
    let checked = kinds.iter().filter(real).any(|(_, given)| given.is_some());
    if !checked && timing_only != HealthSpec::default() {
        problems.push(
            Problem::new(root, "`health` says how often to check, but not how").help(
                "add `grpc: {}`, `http: {}`, `tcp: {}`, `exec` or `notify: {}`, or remove `health`",
            ),
        );
    }
    problems
}

fn notify(spec: &ServiceSpec) -> Vec<Problem> {
    let Some(notify) = &spec.health.notify else {
        return Vec::new();
    };
    let path = Path::of("spec.health.notify");
    let watchdog = notify.watchdog;
    let mut problems: Vec<Problem> = watchdog
        .and_then(|watchdog| positive(path.clone().key("watchdog"), watchdog))
        .into_iter()
        .collect();
    if !spec.external.is_empty() {
        problems.push(
            Problem::new(
                path,
                "there is no process of ours that could be listened to",
            )
            .considering("external")
            .help("check external endpoints by `grpc`, `http` or `tcp`"),
        );
    }
    problems
}

fn load(spec: &ServiceSpec) -> Vec<Problem> {
    let load = &spec.load;
    let root = Path::of("spec.load");
    let report = load.report_load.as_ref().map(|report| report.port.as_ref());
    let orca = load.orca.as_ref().map(|orca| orca.port.as_ref());
    let http = load.http.as_ref().map(|http| http.port.as_ref());
    let kinds = [
        ("reportLoad", report),
        ("orca", orca),
        ("process", load.process.as_ref().map(|_| None)),
        ("http", http),
        ("constant", load.constant.map(|_| None)),
        ("none", load.none.map(|_| None)),
    ];
    let mut problems: Vec<Problem> = one_kind(&root, &kinds).into_iter().collect();
    for (kind, port) in [("reportLoad", report), ("orca", orca), ("http", http)] {
        if let Some(port) = port {
            problems.extend(reachable(spec, root.clone().key(kind), kind, port));
        }
    }
    problems.extend(positive(root.clone().key("interval"), load.interval));
    problems.extend(load_source(spec));
    let is_given = kinds
        .iter()
        .any(|(kind, given)| *kind != "none" && given.is_some());
    if !is_given && load.interval != LoadSpec::default().interval {
        problems.push(
            Problem::new(root, "`load` says how often to ask, but not what").help(
                "add `reportLoad: {}`, `orca: {}`, `http: {}` or `process: {}`, or remove `load`",
            ),
        );
    }
    problems
}

/// What is wrong with one source of load.
fn load_source(spec: &ServiceSpec) -> Vec<Problem> {
    let load = &spec.load;
    let root = Path::of("spec.load");
    let mut problems = Vec::new();
    if let Some(rate) = load.constant
        && !(rate >= 0.0 && rate.is_finite())
    {
        let text = format!("a rate cannot be {rate}");
        problems.push(
            Problem::new(root.clone().key("constant"), text).help("0 is idle; more is busier"),
        );
    }
    if let Some(process) = &load.process {
        let path = root.clone().key("process");
        if let Some(cores) = process.cores
            && !(cores > 0.0 && cores.is_finite())
        {
            let text = format!("nothing can be measured by {cores} processors");
            problems.push(Problem::new(path.clone().key("cores"), text).help("as in 2 or 0.5"));
        }
        if !spec.external.is_empty() {
            problems.push(
                Problem::new(path, "with `external` there is no process to be measured")
                    .considering("external")
                    .help("use `reportLoad`, `http` or `constant`"),
            );
        }
    }
    if let Some(http) = &load.http {
        let path = root.key("http");
        if !is_path(&http.path) {
            let text = format!("`{}` is not a path", http.path);
            problems.push(
                Problem::new(path.clone().key("path"), text)
                    .help("begin with `/`, without scheme, host and spaces"),
            );
        }
        if !http.pointer.is_empty() && !http.pointer.starts_with('/') {
            let text = format!("`{}` is no JSON pointer", http.pointer);
            problems.push(Problem::new(path.key("pointer"), text).help(format!(
                "begin with `/`, as in /{}",
                http.pointer.replace('.', "/")
            )));
        }
    }
    problems
}

/// Whether it can be asked for over HTTP.
fn is_path(path: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    path.starts_with('/') && !path.contains(odd)
}

/// At most one of `kinds`, which are all fields of `root`, may be given.
fn one_kind(root: &Path, kinds: &[(&str, Option<Option<&Name>>)]) -> Option<Problem> {
    let given: Vec<&str> = kinds
        .iter()
        .filter(|(_, given)| given.is_some())
        .map(|(kind, _)| *kind)
        .collect();
    let [.., _, last] = given.as_slice() else {
        return None;
    };
    Some(
        Problem::new(
            root.clone().key(last),
            format!("only one of {} is possible", given.join(", ")),
        )
        .help("keep the one that is meant"),
    )
}

/// Checks that the check at `path` has a port to go to.
fn reachable(spec: &ServiceSpec, path: Path, kind: &str, port: Option<&Name>) -> Option<Problem> {
    let problem = match port {
        Some(name) if !spec.external.is_empty() => Problem::new(
            path.key("port"),
            format!("there is no port `{name}`: external endpoints have their port in `external`"),
        )
        .help("remove `port`"),
        None if !spec.external.is_empty() => return None,
        Some(name) if spec.ports.iter().any(|port| port.name == *name) => return None,
        None if !spec.ports.is_empty() => return None,
        _ if spec.ports.is_empty() => Problem::new(
            path,
            format!("`{kind}` needs a port, but the service has none"),
        )
        .help("add one, as in `ports: [{name: grpc}]`"),
        name => {
            let known: Vec<&str> = spec.ports.iter().map(|port| port.name.as_str()).collect();
            let name = name.map_or("", Name::as_str);
            Problem::new(path.key("port"), format!("there is no port `{name}`"))
                .help(format!("the ports are: {}", known.join(", ")))
        }
    };
    Some(problem.considering("ports").considering("external"))
}

fn logs(logs: &LogSpec) -> Vec<Problem> {
    let root = Path::of("spec.logs");
    let mut problems = Vec::new();
    if logs.max_size < SMALLEST_LOG {
        let text = format!("a file of {} holds hardly a line", logs.max_size);
        problems.push(
            Problem::new(root.clone().key("maxSize"), text)
                .help(format!("write {SMALLEST_LOG} or more, as in 10MiB")),
        );
    }
    if logs.max_files == 0 {
        problems.push(
            Problem::new(root.key("maxFiles"), "the current file counts too")
                .help("1 keeps the current file alone"),
        );
    }
    problems
}

fn restart(restart: &RestartSpec) -> Vec<Problem> {
    let root = Path::of("spec.restart");
    let mut problems: Vec<Problem> = [
        positive(root.clone().key("maxDelay"), restart.max_delay),
        positive(root.clone().key("resetAfter"), restart.reset_after),
    ]
    .into_iter()
    .flatten()
    .collect();
    if restart.max_attempts == Some(0) {
        problems.push(
            Problem::new(
                root.clone().key("maxAttempts"),
                "no start is allowed at all",
            )
            .help("1 starts it once; `replicas: 0` keeps a service without instances"),
        );
    }
    if restart.max_delay < restart.delay && restart.max_delay != Period::from_secs(0) {
        problems.push(
            Problem::new(
                root.key("maxDelay"),
                format!(
                    "`maxDelay` ({}) is shorter than `delay` ({})",
                    restart.max_delay, restart.delay
                ),
            )
            .help("the pauses grow from `delay` to `maxDelay`"),
        );
    }
    problems
}

fn hooks(spec: &ServiceSpec) -> Vec<Problem> {
    let hooks = [("preStart", &spec.pre_start), ("preStop", &spec.pre_stop)];
    let hooks = hooks
        .into_iter()
        .filter_map(|(field, hook)| Some((Path::of("spec").key(field), hook.as_ref()?)));
    hooks
        .flat_map(|(path, hook)| {
            let command = runnable(path.clone().key("command"), &hook.command);
            command
                .into_iter()
                .chain(positive(path.key("timeout"), hook.timeout))
        })
        .collect()
}

/// Checks that a command names a program.
fn runnable(path: Path, command: &[String]) -> Option<Problem> {
    let named = command
        .first()
        .is_some_and(|program| !program.trim().is_empty());
    (!named).then(|| {
        Problem::new(path, "the program is an empty text")
            .help("the first item of `command` names what is run")
    })
}

fn recycle(spec: &ServiceSpec) -> Vec<Problem> {
    let Some(recycle) = &spec.recycle else {
        return Vec::new();
    };
    let root = Path::of("spec.recycle");
    let mut problems: Vec<Problem> =
        (positive(root.clone().key("every"), recycle.every).into_iter()).collect();
    if recycle.when == RecycleWhen::Idle && !spec.load.is_asked() {
        problems.push(
            Problem::new(root, "without load reports nobody knows when it is idle")
                .considering("load")
                .help("add `load: {reportLoad: {}}`, or write `when: always`"),
        );
    }
    problems
}

/// Refuses a period of no time, which would make a loop spin.
fn positive(path: Path, period: Period) -> Option<Problem> {
    (period == Period::from_secs(0))
        .then(|| Problem::new(path, "this must be longer than no time").help("as in 500ms or 5s"))
}
