//! What runs, how often, and the texts it is started with.

use super::{
    super::{suggest::closest, tree::Path},
    Problem,
};
use crate::model::{
    placeholder,
    service::{FromFile, ServiceSpec, Variable},
};

/// Environment variables that the agent sets.
const RESERVED: [&str; 2] = ["PORT", "QUAESTOR_INSTANCE"];

/// The longest name of a file that a process is given.
const LONGEST_FILE_NAME: usize = 64;

/// Also in the schema. A typing error must not make the leader plan for millions.
const MOST_REPLICAS: u32 = 10_000;

/// What is wrong with `command` or `external`, how many are wanted, and the texts of the process.
pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = what_runs(spec);
    problems.extend(how_many(spec));
    problems.extend(texts(spec));
    problems.extend(files(spec));
    problems
}

fn what_runs(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.external.is_empty() {
        if spec.command.is_empty() {
            problems.push(
                Problem::new(Path::of("spec"), "nothing is to run: `command` is missing")
                    .judging_by(&["command", "external"])
                    .help("give a `command`, or `external` for endpoints that somebody else runs"),
            );
        }
    } else {
        // Fields of a process that does not exist must not look as if they did something.
        let idle = [
            ("command", !spec.command.is_empty()),
            ("artifact", spec.artifact.is_some()),
            ("workingDirectory", spec.working_directory.is_some()),
            ("env", !spec.env.is_empty()),
            ("files", !spec.files.is_empty()),
            ("user", spec.run_as.user.is_some()),
            ("group", spec.run_as.group.is_some()),
            ("umask", spec.run_as.umask != Default::default()),
            ("limits", spec.run_as.limits != Default::default()),
            ("resources", spec.resources.is_limited()),
            ("nice", spec.run_as.nice.is_some()),
            ("oomScoreAdjust", spec.run_as.oom_score_adjust.is_some()),
            ("ports", !spec.ports.is_empty()),
            ("after", !spec.after.is_empty()),
            ("restart", spec.restart != Default::default()),
            ("recycle", spec.recycle.is_some()),
            ("preStart", spec.pre_start.is_some()),
            ("preStop", spec.pre_stop.is_some()),
            ("stop", spec.stop != Default::default()),
            ("rollout", spec.rollout != Default::default()),
            ("onAgentStop", spec.on_agent_stop != Default::default()),
            ("adopt", spec.adopt),
            ("onPartition", spec.on_partition != Default::default()),
            ("logs", spec.logs != Default::default()),
        ];
        for (field, _) in idle.iter().filter(|(_, given)| *given) {
            problems.push(
                Problem::new(
                    Path::of("spec").key(field),
                    format!("`{field}` is for processes, but with `external` nothing is started"),
                )
                .considering("external")
                .help(format!("remove `{field}` or `external`")),
            );
        }
    }
    if let Some(program) = spec.command.first()
        && program.trim().is_empty()
    {
        problems.push(
            Problem::new(
                Path::of("spec.command").index(0),
                "the program is an empty text",
            )
            .help("the first item of `command` names what is started"),
        );
    }
    if let Some(directory) = &spec.working_directory
        && !is_rooted(directory)
    {
        problems.push(
            Problem::new(
                Path::of("spec.workingDirectory"),
                format!("`{directory}` is no absolute path"),
            )
            .help("write an absolute path, or remove the field to start in a directory of the instance's own"),
        );
    }
    problems
}

/// Whether a path is absolute on some system, or begins with a placeholder.
fn is_rooted(path: &str) -> bool {
    path.starts_with(['/', '\\', '{']) || matches!(path.get(1..3), Some(":\\" | ":/"))
}

fn how_many(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec
        .replicas
        .is_some_and(|replicas| replicas > MOST_REPLICAS)
    {
        problems.push(
            Problem::new(
                Path::of("spec.replicas"),
                "more than any cluster of this kind can run",
            )
            .help(format!("at most {MOST_REPLICAS}")),
        );
    }
    let mut conflict = |field: &str, other: &str, why: &str| {
        problems.push(
            Problem::new(
                Path::of("spec").key(field),
                format!("`{field}` cannot go with `{other}`: {why}"),
            )
            .considering(other)
            .help(format!("remove `{field}` or `{other}`")),
        );
    };
    if spec.replicas.is_some() && spec.one_per_node {
        conflict("replicas", "onePerNode", "the nodes say how many there are");
    }
    if spec.replicas.is_some() && !spec.external.is_empty() {
        conflict("replicas", "external", "each endpoint is listed once");
    }
    if spec.one_per_node && !spec.external.is_empty() {
        conflict("onePerNode", "external", "endpoints belong to no node");
    }
    problems
}

/// Checks every text that the process is started with.
fn texts(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut check = |path: Path, text: &str| {
        if text.contains('\0') {
            problems.push(Problem::new(
                path.clone(),
                "no process can be given a NUL character",
            ));
        }
        problems.extend(placeholders(&path, text, spec));
    };
    for (at, word) in spec.command.iter().enumerate() {
        check(Path::of("spec.command").index(at), word);
    }
    if let Some(directory) = &spec.working_directory {
        check(Path::of("spec.workingDirectory"), directory);
    }
    for (name, value) in &spec.env {
        let path = Path::of("spec.env").key(name);
        match value {
            Variable::Text(text) => check(path, text),
            Variable::File(FromFile { from_file }) => check(path.key("fromFile"), from_file),
        }
    }
    let exec = spec.health.exec.as_ref().map(|exec| &exec.command);
    let commands = [
        (
            "spec.preStart",
            spec.pre_start.as_ref().map(|hook| &hook.command),
        ),
        (
            "spec.preStop",
            spec.pre_stop.as_ref().map(|hook| &hook.command),
        ),
        ("spec.health.exec", exec),
    ];
    for (field, command) in commands {
        for (at, word) in command.into_iter().flatten().enumerate() {
            check(Path::of(field).key("command").index(at), word);
        }
    }
    for (at, file) in spec.files.iter().enumerate() {
        check(
            Path::of("spec.files").index(at).key("fromFile"),
            &file.from_file,
        );
    }
    problems.extend(spec.env.keys().filter_map(|name| variable(name)));
    problems
}

/// What is wrong with the placeholders in `text`.
fn placeholders(path: &Path, text: &str, spec: &ServiceSpec) -> Vec<Problem> {
    let ports = &spec.ports;
    let names = match placeholder::names(text) {
        Ok(names) => names,
        Err(error) => return vec![Problem::told(path.clone(), &error)],
    };
    let mut allowed: Vec<String> = placeholder::GENERAL.map(str::to_owned).to_vec();
    if !ports.is_empty() {
        allowed.push("port".to_owned());
    }
    allowed.extend(ports.iter().map(|port| format!("port.{}", port.name)));
    if !spec.files.is_empty() {
        allowed.push(placeholder::FILES.to_owned());
    }
    if spec.artifact.is_some() {
        allowed.push(placeholder::ARTIFACT.to_owned());
    }
    names
        .into_iter()
        .filter(|name| !allowed.contains(name))
        .map(|name| {
            if name == "port" {
                let message = "`{port}` has no value: the service has no ports";
                return Problem::new(path.clone(), message)
                    .considering("ports")
                    .help("add one, as in `ports: [{name: grpc}]`");
            }
            if name == placeholder::FILES {
                let message = "`{files}` has no value: the service has no files";
                return Problem::new(path.clone(), message)
                    .considering("files")
                    .help("add one, as in `files: [{name: license, fromFile: /etc/qa/license}]`");
            }
            if name == placeholder::ARTIFACT {
                let message = "`{artifact}` has no value: the service has no artifact";
                return Problem::new(path.clone(), message)
                    .considering("artifact")
                    .help("add one, as in `artifact: {url: https://..., sha256: ...}`");
            }
            let problem = Problem::new(
                path.clone(),
                placeholder::Error::Unknown(name.clone()).to_string(),
            );
            let problem = if name.starts_with("port") {
                problem.considering("ports")
            } else {
                problem
            };
            match closest(&name, allowed.iter().map(String::as_str)) {
                Some(close) => problem.help(format!("did you mean `{{{close}}}`?")),
                None => {
                    let allowed: Vec<String> =
                        allowed.iter().map(|name| format!("{{{name}}}")).collect();
                    problem.help(format!(
                        "there are {}; `{{{{` is a literal brace",
                        allowed.join(" ")
                    ))
                }
            }
        })
        .collect()
}

/// What is wrong with the files that are read on the host.
fn files(spec: &ServiceSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut read = |path: Path, from: &str| {
        if !is_rooted(from) {
            problems.push(
                Problem::new(path, format!("`{from}` is no absolute path"))
                    .help("write the full path of the file on the host"),
            );
        }
    };
    for (name, value) in &spec.env {
        if let Variable::File(FromFile { from_file }) = value {
            read(Path::of("spec.env").key(name).key("fromFile"), from_file);
        }
    }
    for (at, file) in spec.files.iter().enumerate() {
        read(
            Path::of("spec.files").index(at).key("fromFile"),
            &file.from_file,
        );
    }
    for (at, file) in spec.files.iter().enumerate() {
        let path = Path::of("spec.files").index(at).key("name");
        let name = &file.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        let fits = (1..=LONGEST_FILE_NAME).contains(&name.len());
        if !fits || !name.chars().all(plain) || name.starts_with('.') {
            problems.push(
                Problem::new(path, format!("`{name}` cannot be the name of a file"))
                    .help("use up to 64 letters, digits, `.`, `_` and `-`, without a dot in front"),
            );
        } else if spec.files[..at].iter().any(|other| other.name == *name) {
            problems.push(
                Problem::new(path, format!("`{name}` is listed twice")).help("remove one of them"),
            );
        }
    }
    problems
}

/// What is wrong with the name of an environment variable.
fn variable(name: &str) -> Option<Problem> {
    let path = Path::of("spec.env").key(name);
    if RESERVED.contains(&name) {
        return Some(
            Problem::new(path, format!("`{name}` is always set by the agent"))
                .help("choose another name")
                .at_key(),
        );
    }
    let odd = |c: char| c == '=' || c.is_whitespace() || c.is_control();
    (name.is_empty() || name.contains(odd)).then(|| {
        Problem::new(
            path,
            format!("`{name}` cannot be the name of an environment variable"),
        )
        .help("use letters, digits and _")
        .at_key()
    })
}
