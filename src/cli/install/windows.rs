//! A role as a service of Windows, by the words of `sc.exe`.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::super::{args::ServiceRole, output::say};
use crate::process::errand;

const PROGRAM: &str = "sc.exe";

/// What `sc.exe start` answers of a service that runs already, and `sc.exe stop` of one that does not; and both of one that
/// there is not.
const RUNS_ALREADY: &str = "1056";
const RUNS_NOT: &str = "1062";
const IS_NOT: &str = "1060";

/// What it is called.
pub(super) fn name(role: ServiceRole) -> String {
    format!("quaestor-{}", role.name())
}

/// The words that make the service of `role`, or change it: `program` is started with `flags`.
pub(super) fn settings(
    role: ServiceRole,
    program: &Path,
    flags: &[String],
    exists: bool,
) -> Vec<Vec<String>> {
    let name = name(role);
    let command = std::iter::once(program.display().to_string())
        .chain([role.name().to_owned()])
        .chain(flags.iter().cloned());
    let command: Vec<String> = command.map(|word| quoted(&word)).collect();
    let verb = if exists { "config" } else { "create" };
    let description = match role {
        ServiceRole::Agent => {
            "Starts and watches over the processes of this host. They run on while it is stopped."
        }
        ServiceRole::Controller => "Decides what runs where. Of several in a cluster, one leads.",
        ServiceRole::Balancer => "Tells clients which instance to call.",
    };
    let words: [&[&str]; 4] = [
        &[
            verb,
            &name,
            "binPath=",
            &command.join(" "),
            // Once the network is there.
            "start=",
            "delayed-auto",
            "DisplayName=",
            &format!("Quaestor {}", role.name()),
        ],
        &["description", &name, description],
        // However often it fails, it is tried again, also when it ends with an error by itself.
        &[
            "failure",
            &name,
            "reset=",
            "3600",
            "actions=",
            "restart/2000/restart/2000/restart/10000",
        ],
        &["failureflag", &name, "1"],
    ];
    let own = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    words.iter().map(own).collect()
}

/// A word of a command line, as programs of Windows take it apart (`CommandLineToArgvW`).
fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '\t', '"']) {
        return word.to_owned();
    }
    let mut text = String::from('"');
    let mut backslashes = 0;
    for character in word.chars() {
        match character {
            '\\' => backslashes += 1,
            '"' => {
                // As many again, and one for the quote: before a quote they mean half as many.
                text.push_str(&"\\".repeat(backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        text.push(character);
    }
    text.push_str(&"\\".repeat(backslashes));
    text.push('"');
    text
}

/// Has `sc.exe` do something, and says so.
///
/// # Errors
/// What it said when it did not; `but`: the number of a failure that is none.
async fn tell(words: &[String], but: &[&str]) -> anyhow::Result<()> {
    let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let line = format!("{PROGRAM} {}", line.join(" "));
    let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = errand::run(PROGRAM, &arguments).await;
    let ran = ran.with_context(|| format!("cannot run `{line}`"))?;
    let told = format!("{}{}", ran.output, ran.errors);
    if !ran.succeeded && !but.iter().any(|number| told.contains(number)) {
        bail!(
            "`{line}` failed: {} (a service of the host needs an administrator)",
            told.trim()
        );
    }
    say(line)
}

/// Makes and starts the service.
pub(super) async fn install(
    role: ServiceRole,
    program: &Path,
    flags: &[String],
) -> anyhow::Result<()> {
    let name = name(role);
    let known = errand::run(PROGRAM, &["query", &name]).await;
    let known = known.with_context(|| format!("cannot run {PROGRAM}"))?;
    for words in settings(role, program, flags, known.succeeded) {
        tell(&words, &[]).await?;
    }
    if known.succeeded {
        // So that it runs with what was said now.
        tell(&["stop".to_owned(), name.clone()], &[RUNS_NOT]).await?;
    }
    tell(&["start".to_owned(), name.clone()], &[RUNS_ALREADY]).await?;
    say(format_args!("how it is: {PROGRAM} query {name}"))
}

/// Stops and removes the service.
pub(super) async fn uninstall(role: ServiceRole) -> anyhow::Result<()> {
    let name = name(role);
    tell(&["stop".to_owned(), name.clone()], &[RUNS_NOT, IS_NOT]).await?;
    tell(&["delete".to_owned(), name], &[]).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `CommandLineToArgvW` does it with the words behind the program's name.
    fn apart(line: &str) -> Vec<String> {
        let (mut words, mut word, mut is_open, mut has_word) =
            (Vec::new(), String::new(), false, false);
        let mut rest = line.chars().peekable();
        while let Some(character) = rest.next() {
            let mut backslashes = 0;
            let mut character = Some(character);
            while character == Some('\\') {
                backslashes += 1;
                character = rest.next();
            }
            match character {
                Some('"') => {
                    word.push_str(&"\\".repeat(backslashes / 2));
                    has_word = true;
                    if backslashes % 2 == 1 {
                        word.push('"');
                    } else {
                        is_open = !is_open;
                    }
                }
                Some(' ' | '\t') if !is_open => {
                    word.push_str(&"\\".repeat(backslashes));
                    if has_word || backslashes > 0 {
                        words.push(std::mem::take(&mut word));
                    }
                    has_word = false;
                }
                other => {
                    word.push_str(&"\\".repeat(backslashes));
                    word.extend(other);
                    has_word = true;
                }
            }
        }
        if has_word {
            words.push(word);
        }
        words
    }

    #[test]
    fn a_service_starts_its_program_with_its_flags() {
        let program = Path::new(r"C:\Program Files\Quaestor\quaestor.exe");
        let flags = ["--node".to_owned(), "qa 1".to_owned()];
        let words = settings(ServiceRole::Agent, program, &flags, false);
        assert_eq!(words[0][..2], ["create", "quaestor-agent"]);
        let command = r#""C:\Program Files\Quaestor\quaestor.exe" agent --node "qa 1""#;
        assert_eq!(words[0][3], command);
        let again = settings(ServiceRole::Agent, program, &flags, true);
        assert_eq!(again[0][0], "config");
        assert_eq!(again[1..], words[1..]);
    }

    proptest! {
        #[test]
        fn words_come_apart_as_they_were(words in prop::collection::vec(r#"[a\\" \tä]{0,9}"#, 0..5)) {
            let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            prop_assert_eq!(apart(&line.join(" ")), words);
        }
    }
}
