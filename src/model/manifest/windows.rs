//! What of a service has no meaning on Windows, or is another thing there.

use super::{Candidate, Source, diagnostic::Diagnostic, tree::Path};
use crate::model::service::{ServiceSpec, StopSignal};

/// What is wrong with a service for nodes with Windows.
pub(super) fn diagnose(candidate: &Candidate, sources: &[Source]) -> Vec<Diagnostic> {
    let Some(spec) = &candidate.spec else {
        return Vec::new();
    };
    let told = unmeant(spec).into_iter().map(|(path, why, help)| {
        let place = candidate.key_place(&path, sources);
        Diagnostic::new(place, format!("`{path}` {why}")).help(help)
    });
    told.collect()
}

/// Each field, what is the matter with it, and what to do.
fn unmeant(spec: &ServiceSpec) -> Vec<(Path, &'static str, &'static str)> {
    let mut found = Vec::new();
    let mut say = |is_there: bool, path: &str, why, help| {
        if is_there {
            found.push((Path::of("spec").key(path), why, help));
        }
    };
    let run_as = &spec.run_as;
    let is_number = |user: &String| user.bytes().all(|byte| byte.is_ascii_digit());
    let account =
        r"name an account, as in 'CORP\qa', whose password its agents have by --credential";
    say(
        run_as.user.as_ref().is_some_and(is_number),
        "user",
        "is a number, which means nothing on Windows",
        account,
    );
    let group = "a process is in the groups of its account there: remove it";
    say(run_as.group.is_some(), "group", NOTHING, group);
    let umask = "files get the rights of the directory that they are made in: remove it";
    say(run_as.umask != Default::default(), "umask", NOTHING, umask);
    let limits = "`resources` are held there by a job object: remove `limits`";
    say(
        run_as.limits.given().next().is_some(),
        "limits",
        NOTHING,
        limits,
    );
    let adjust = "Windows does not kill for memory: remove it";
    say(
        run_as.oom_score_adjust.is_some(),
        "oomScoreAdjust",
        NOTHING,
        adjust,
    );
    if spec.health.notify.is_some() {
        let path = Path::of("spec.health.notify");
        found.push((
            path,
            NOTHING,
            "there is no sd_notify: use `grpc`, `http`, `tcp` or `exec`",
        ));
    }
    if matches!(spec.stop.signal, StopSignal::SigUsr1 | StopSignal::SigUsr2) {
        let path = Path::of("spec.stop.signal");
        let help = "every other signal is Ctrl-Break there, and an event that QUAESTOR_STOP_EVENT names: remove it, \
                    or ask by `preStop`";
        found.push((path, NOTHING, help));
    }
    let program = spec.command.first().map_or("", String::as_str);
    if program.starts_with('/') {
        let path = Path::of("spec.command");
        found.push((
            path,
            "begins with a path of Linux",
            r"name a program with its drive, as in 'C:\qa\worker.exe'",
        ));
    }
    found
}

/// What is said of most.
const NOTHING: &str = "means nothing on Windows";

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spec: &str) -> Vec<String> {
        let spec: ServiceSpec = serde_json::from_str(spec).unwrap();
        let paths = unmeant(&spec).into_iter();
        paths.map(|(path, ..)| path.to_string()).collect()
    }

    #[test]
    fn what_only_linux_has_is_named_and_nothing_else() {
        let linux = r#"{"command": ["/opt/worker"], "user": "1001", "group": "qa", "umask": "027",
            "limits": {"nofile": 9}, "oomScoreAdjust": 5, "nice": 5, "stop": {"signal": "SIGUSR1"},
            "health": {"notify": {}}, "resources": {"memory": "1GiB"}}"#;
        let wanted = [
            "spec.user",
            "spec.group",
            "spec.umask",
            "spec.limits",
            "spec.oomScoreAdjust",
            "spec.health.notify",
            "spec.stop.signal",
            "spec.command",
        ];
        assert_eq!(told(linux), wanted);
        let both = r#"{"command": ["C:\\qa\\worker.exe", "/quiet"], "nice": 5, "stop": {"signal": "SIGINT"},
            "user": "CORP\\qa", "resources": {"memory": "1GiB", "cpu": 2}, "health": {"grpc": {}}}"#;
        assert_eq!(told(both), Vec::<String>::new());
        assert_eq!(
            told(r#"{"command": ["{quaestor}", "demo-worker"]}"#),
            Vec::<String>::new()
        );
    }
}
