//! As whom a process runs, and what it may use up.

use super::{super::tree::Path, Problem};
use crate::model::{
    run_as::{NICEST, OOM_SCORES},
    service::ServiceSpec,
};

/// What is wrong with `user`, `group`, `nice` and `oomScoreAdjust`.
pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let run_as = &spec.run_as;
    let accounts = [("user", &run_as.user), ("group", &run_as.group)];
    let accounts = accounts
        .into_iter()
        .filter_map(|(field, account)| named(field, account.as_deref()?));
    let numbers = [
        ("nice", run_as.nice, NICEST),
        ("oomScoreAdjust", run_as.oom_score_adjust, OOM_SCORES),
    ];
    let numbers = numbers
        .into_iter()
        .filter_map(|(field, number, range)| within(field, number?, range));
    accounts.chain(numbers).collect()
}

/// What is wrong with the name or number of a user or group.
fn named(field: &str, account: &str) -> Option<Problem> {
    let path = Path::of("spec").key(field);
    let odd = |c: char| c == ':' || c == '/' || c.is_whitespace() || c.is_control();
    if account.is_empty() || account.starts_with(['-', '+']) || account.contains(odd) {
        let message = format!("`{account}` cannot be the name of a {field}");
        let help = "as in qa, or \"1001\" for a number";
        return Some(Problem::new(path, message).help(help));
    }
    let is_number = account.bytes().all(|byte| byte.is_ascii_digit());
    // The largest means "leave it as it is" to the system.
    let fits = account.parse::<u32>().is_ok_and(|n| n < u32::MAX);
    (is_number && !fits).then(|| {
        let message = format!("no {field} has the number {account}");
        Problem::new(path, message).help(format!("the largest is {}", u32::MAX - 1))
    })
}

/// What is wrong with a number that has to be from `least` to `most`.
fn within(field: &str, number: i32, (least, most): (i32, i32)) -> Option<Problem> {
    (!(least..=most).contains(&number)).then(|| {
        let message = format!("`{field}` cannot be {number}");
        let help = format!("it is between {least} and {most}");
        Problem::new(Path::of("spec").key(field), message).help(help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fields: &str) -> Vec<String> {
        let spec: ServiceSpec = serde_json::from_str(fields).unwrap();
        check(&spec).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn accounts_are_names_or_numbers() {
        assert_eq!(told(r#"{"user": "qa", "group": "4294967294"}"#), [""; 0]);
        assert_eq!(
            told(r#"{"user": "qa:x", "group": "4294967295"}"#),
            [
                "spec.user: `qa:x` cannot be the name of a user",
                "spec.group: no group has the number 4294967295",
            ]
        );
        assert_eq!(told(r#"{"user": ""}"#).len(), 1);
    }

    #[test]
    fn what_the_system_would_refuse_is_refused_in_stored_specs_too() {
        assert_eq!(told(r#"{"nice": 19, "oomScoreAdjust": -1000}"#), [""; 0]);
        assert_eq!(
            told(r#"{"nice": -21, "oomScoreAdjust": 1001}"#),
            [
                "spec.nice: `nice` cannot be -21",
                "spec.oomScoreAdjust: `oomScoreAdjust` cannot be 1001",
            ]
        );
    }
}
