//! One string of arguments, taken apart as .NET does on every system, by the rules of Windows.

/// The arguments in `line`. Spaces and tabs part them, double quotes keep them together, and a backslash
/// is one of the text unless quotes follow: `\"` is a quote, and before it `\\` is a backslash.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut argument: Option<String> = None;
    let mut is_quoted = false;
    let mut backslashes = 0;
    for character in line.chars() {
        if character == '\\' {
            backslashes += 1;
            continue;
        }
        let is_escaped = character == '"' && backslashes % 2 == 1;
        let kept = if character == '"' {
            backslashes / 2
        } else {
            backslashes
        };
        if backslashes > 0 {
            argument
                .get_or_insert_default()
                .extend(std::iter::repeat_n('\\', kept));
            backslashes = 0;
        }
        match character {
            '"' if is_escaped => argument.get_or_insert_default().push('"'),
            '"' => {
                argument.get_or_insert_default();
                is_quoted = !is_quoted;
            }
            ' ' | '\t' | '\r' | '\n' if !is_quoted => arguments.extend(argument.take()),
            other => argument.get_or_insert_default().push(other),
        }
    }
    if backslashes > 0 {
        argument
            .get_or_insert_default()
            .extend(std::iter::repeat_n('\\', backslashes));
    }
    arguments.extend(argument);
    arguments
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn arguments_are_parted_by_the_rules_of_windows() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  {Port}\t100 ", &["{Port}", "100"]),
            (r#"--name "two words" x"#, &["--name", "two words", "x"]),
            (r#"a"b c"d"#, &["ab cd"]),
            (r#""" x"#, &["", "x"]),
            (r"--data C:\bin\etcd\data", &["--data", r"C:\bin\etcd\data"]),
            (r#""C:\with space\\" next"#, &[r"C:\with space\", "next"]),
            (r#"say \"hello\""#, &["say", r#""hello""#]),
            (r"ends\ with\", &[r"ends\", r"with\"]),
        ];
        for (line, arguments) in cases {
            assert_eq!(split(line), arguments, "{line}");
        }
    }
}
