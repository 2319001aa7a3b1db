//! Names whose spelling is not certain: DNS does not tell upper from lower case, and parts names by dots.

/// What there is of such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spelled {
    /// This is how it is spelled.
    Name(String),
    /// There are only names that end in a dot and this one.
    Above,
    /// Nothing.
    Unknown,
}

impl Spelled {
    /// What there is of `text` among `names`; of several that differ in case only, the first in order.
    pub(super) fn among<'a>(names: impl Iterator<Item = &'a String> + Clone, text: &str) -> Self {
        let alike = |name: &&String| name.eq_ignore_ascii_case(text);
        if let Some(name) = names.clone().filter(alike).min() {
            return Self::Name(name.clone());
        }
        let is_below = |name: &String| {
            let above = name.len().checked_sub(text.len() + 1);
            let parts = above.and_then(|above| name.split_at_checked(above));
            let end = parts.and_then(|(_, end)| end.strip_prefix('.'));
            end.is_some_and(|end| end.eq_ignore_ascii_case(text))
        };
        match names.clone().any(is_below) {
            true => Self::Above,
            false => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_and_what_is_above_one_exists() {
        let names = ["worker", "Worker", "a.b.Scan"].map(str::to_owned);
        for (text, expected) in [
            ("WORKER", Spelled::Name("Worker".to_owned())),
            ("A.B.SCAN", Spelled::Name("a.b.Scan".to_owned())),
            ("b.scan", Spelled::Above),
            ("scan", Spelled::Above),
            ("can", Spelled::Unknown),
            ("", Spelled::Unknown),
            ("\u{e9}", Spelled::Unknown),
        ] {
            assert_eq!(Spelled::among(names.iter(), text), expected, "{text}");
        }
    }
}
