//! Variables of processes. On Windows their names mean the same however they are written: `Path` is `PATH`.

use std::collections::BTreeMap;

/// What every process gets of the agent's own environment: where programs are, whose home, how texts and times are
/// written, and what programs of the system cannot do without. The rest, which may hold the agent's secrets, stays with
/// the agent.
#[cfg(unix)]
const INHERITED: &[&str] = &["PATH", "HOME", "LANG", "TZ"];
#[cfg(windows)]
const INHERITED: &[&str] = &[
    "PATH",
    "LANG",
    "TZ",
    // Without these neither sockets nor the .NET runtime work.
    "SystemRoot",
    "SystemDrive",
    "windir",
    "ComSpec",
    "PATHEXT",
    "TEMP",
    "TMP",
    "OS",
    "NUMBER_OF_PROCESSORS",
    "PROCESSOR_ARCHITECTURE",
    "ProgramData",
    "ProgramFiles",
    "ProgramFiles(x86)",
    "CommonProgramFiles",
    "USERNAME",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
];

/// Those that tell whose home this is.
#[cfg(unix)]
const PERSONAL: &[&str] = &["HOME"];
#[cfg(windows)]
const PERSONAL: &[&str] = &[
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
];

/// Where programs are when nobody says so.
#[cfg(unix)]
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
#[cfg(windows)]
const PATH: &str = r"C:\Windows\System32;C:\Windows";

/// Whether names mean the same in upper and lower case here.
const IGNORES_CASE: bool = cfg!(windows);

/// What every process gets of this program's environment.
pub fn inherited() -> BTreeMap<String, String> {
    let inherited = INHERITED.iter();
    let mut environment: BTreeMap<_, _> = inherited
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    environment
        .entry("PATH".to_owned())
        .or_insert_with(|| PATH.to_owned());
    environment
}

/// Removes what another account would find itself in somebody else's home by.
pub fn remove_personal(environment: &mut BTreeMap<String, String>) {
    for name in PERSONAL {
        remove(environment, name);
    }
}

/// Sets a variable, in place of one that means the same.
pub fn set(environment: &mut BTreeMap<String, String>, name: &str, value: String) {
    remove(environment, name);
    environment.insert(name.to_owned(), value);
}

/// Removes a variable, however its name is written.
pub fn remove(environment: &mut BTreeMap<String, String>, name: &str) {
    remove_as(environment, name, IGNORES_CASE);
}

fn remove_as(environment: &mut BTreeMap<String, String>, name: &str, ignores_case: bool) {
    match ignores_case {
        true => environment.retain(|other, _| !is_same(other, name)),
        false => drop(environment.remove(name)),
    }
}

/// Whether two names mean the same variable to Windows, which compares them character by character, in upper case.
fn is_same(one: &str, other: &str) -> bool {
    one.chars().map(upper).eq(other.chars().map(upper))
}

/// A character in upper case, if that is one character as well.
fn upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_in_another_case_is_the_same_variable_where_case_does_not_matter() {
        let before = BTreeMap::from([("Path".to_owned(), "a".to_owned())]);
        let mut environment = before.clone();
        remove_as(&mut environment, "PATH", false);
        assert_eq!(environment, before);
        remove_as(&mut environment, "PATH", true);
        assert!(environment.is_empty());
    }

    #[test]
    fn letters_beyond_ascii_have_cases_too() {
        assert!(is_same("größe", "GRÖßE"));
        // It has no upper case of one character, so it is itself alone.
        assert!(!is_same("größe", "GRÖSSE"));
    }

    proptest! {
        #[test]
        fn of_names_that_mean_the_same_only_one_is_left(names in prop::collection::vec("[aAbB]{1,2}", 0..9)) {
            let mut environment = BTreeMap::new();
            for name in &names {
                remove_as(&mut environment, name, true);
                environment.insert(name.clone(), String::new());
            }
            for (at, one) in environment.keys().enumerate() {
                for other in environment.keys().skip(at + 1) {
                    prop_assert!(!is_same(one, other), "{one} and {other}");
                }
            }
            for name in &names {
                prop_assert!(environment.keys().any(|kept| is_same(kept, name)));
            }
        }
    }
}
