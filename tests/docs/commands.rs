//! Each command that a page shows is one that the program takes.

use std::process::Command;

use crate::{pages, support::cluster::QUAESTOR};

#[test]
fn the_program_takes_every_command_that_is_shown() {
    let mut refused = Vec::new();
    let mut count = 0;
    for (page, text) in pages() {
        // What changed may be gone by now.
        let shown = match page == "CHANGELOG.md" {
            true => Vec::new(),
            false => [in_blocks(&text), in_sentences(&text)].concat(),
        };
        for words in shown
            .iter()
            .filter(|words| words.first().is_some_and(|first| first != "command"))
        {
            count += 1;
            // With it a command only says what it takes; what stands before it is still looked at.
            let output = Command::new(QUAESTOR).args(words).arg("--help").output();
            if !output.unwrap().status.success() {
                refused.push(format!("{page}: quaestor {}", words.join(" ")));
            }
        }
    }
    assert_eq!(refused, [""; 0]);
    assert!(count > 100, "{count}");
}

/// The commands in indented blocks.
fn in_blocks(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    let commands = lines.filter_map(|line| {
        let line = line.trim_start_matches(' ').trim_start_matches("$ ");
        let line = line.trim_start_matches("sudo ");
        line.strip_prefix("quaestor ")
            .filter(|rest| !rest.starts_with(' '))
    });
    commands.map(words).collect()
}

/// The commands between backticks.
fn in_sentences(text: &str) -> Vec<Vec<String>> {
    let parts = text.split('`').skip(1).step_by(2);
    let commands = parts.filter_map(|part| part.strip_prefix("quaestor "));
    commands.map(words).collect()
}

/// `[--since DURATION]`, `INSTANCE|SERVICE` and the like as somebody would write them.
fn filled_in(word: &str) -> Option<String> {
    let word = word.trim_matches(['[', ']']);
    let word = word.split('|').next()?;
    if word == "..." {
        return None;
    }
    let is_placeholder =
        |letter: char| letter.is_ascii_uppercase() || matches!(letter, '.' | '=' | ':');
    Some(match word {
        "N" => "1".to_owned(),
        "DURATION" => "1s".to_owned(),
        word if word.chars().all(is_placeholder) => word.to_lowercase(),
        word => word.to_owned(),
    })
}

/// The words of a command, with something in place of what may stand there: up to what the shell does with its output,
/// and to what is another's command.
fn words(command: &str) -> Vec<String> {
    let command = command.split(" #").next().unwrap();
    let ends = |word: &&str| matches!(*word, "|" | ">" | "--" | "[--" | "-->");
    let words = command.split_whitespace().take_while(|word| !ends(word));
    let words = words.map(|word| word.trim_matches(['\'', '"']));
    words.filter_map(filled_in).collect()
}
