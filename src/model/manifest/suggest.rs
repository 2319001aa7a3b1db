//! What somebody who wrote something unknown likely meant.

/// Longer texts are no slips of a field's name.
const LONGEST: usize = 64;

/// The one of `candidates` that `text` was likely meant to be.
pub fn closest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase();
    // Nobody misspells most of a word, and a swap of neighbours is one slip.
    let slips = text.chars().count().max(3) / 3;
    candidates
        .map(|candidate| {
            let distance = strsim::osa_distance(&text, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= slips)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The words of a command line, each as a YAML item.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(
            |word| match word.contains(['{', '}', '[', ']', ',', ':', '#', '"', '\'']) {
                true => format!("{word:?}"),
                false => word.to_owned(),
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["command", "external", "ports", "replicas"];

    #[test]
    fn a_slip_finds_its_word() {
        for (slip, word) in [
            ("comand", "command"),
            ("Replicas", "replicas"),
            ("port", "ports"),
            ("exteranl", "external"),
        ] {
            assert_eq!(closest(slip, FIELDS.into_iter()), Some(word), "{slip}");
        }
    }

    #[test]
    fn another_word_finds_nothing() {
        for word in ["", "image", "pots and pans", &"command".repeat(100)] {
            assert_eq!(closest(word, FIELDS.into_iter()), None, "{word}");
        }
    }

    #[test]
    fn a_command_line_becomes_items_that_yaml_reads_as_text() {
        assert_eq!(words("run  -x {port}"), ["run", "-x", "\"{port}\""]);
    }
}
