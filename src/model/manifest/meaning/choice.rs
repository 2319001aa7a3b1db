//! What is wrong with how instances are chosen.

use super::{super::tree::Path, Problem};
use crate::model::{
    score::Score,
    service::{BalanceSpec, Policy},
};

/// What is wrong with `policy`, `score` and what belongs to them.
pub(super) fn check(balance: &BalanceSpec) -> Vec<Problem> {
    let root = Path::of("spec.balance");
    let mut problems = Vec::new();
    if let Some(text) = &balance.score {
        let path = root.clone().key("score");
        if let Err(wrong) = Score::new(text) {
            problems.push(
                Problem::new(path.clone(), wrong.message)
                    .within(text, wrong.at)
                    .help("as in `1.0 - load.rate`; the language is CEL, https://cel.dev"),
            );
        }
        if balance.policy.is_some() {
            problems.push(
                Problem::new(path.clone(), "a score takes the place of a policy")
                    .considering("balance")
                    .help("remove `score` or `policy`"),
            );
        }
        if balance.exclusive {
            problems.push(
                Problem::new(
                    path,
                    "an exclusive service is given out by tickets: there is nothing to choose",
                )
                .considering("balance")
                .help("remove `score` or `exclusive`"),
            );
        }
    }
    problems.extend(balance.allow.iter().filter_map(|allow| callers(allow)));
    if balance.weight_label.is_some() && balance.policy != Some(Policy::Weighted) {
        problems.push(
            Problem::new(
                root.clone().key("weightLabel"),
                "only the policy `weighted` knows weights",
            )
            .considering("balance")
            .help("write `policy: weighted`, or remove `weightLabel`"),
        );
    }
    if balance.weights.is_some() && balance.exclusive {
        problems.push(
            Problem::new(
                root.clone().key("weights"),
                "an exclusive service is given out by tickets: nobody weighs its instances",
            )
            .considering("balance")
            .help("remove `weights` or `exclusive`"),
        );
    }
    let by_load = matches!(
        balance.policy.unwrap_or_default(),
        Policy::LeastLoad | Policy::P2c
    );
    if balance.slow_start.is_some() && !by_load {
        problems.push(
            Problem::new(
                root.clone().key("slowStart"),
                "a slow start is one of load, which this policy does not go by",
            )
            .considering("balance")
            .help("remove `slowStart`, or choose by `leastLoad` or `p2c`"),
        );
    }
    problems.extend(prefer(balance, &root));
    problems.extend(ejection(balance, &root));
    problems
}

/// What is wrong with `prefer`.
fn prefer(balance: &BalanceSpec, root: &Path) -> Option<Problem> {
    let prefer = balance.prefer.as_ref()?;
    let path = root.clone().key("prefer");
    if prefer.label.is_empty() {
        return Some(
            Problem::new(path.key("label"), "no label is named")
                .help("name a label of nodes, as in `prefer: {label: zone}`"),
        );
    }
    let (why, other) = match balance.policy {
        _ if balance.exclusive => ("an exclusive service is given out by tickets", "exclusive"),
        _ if balance.score.is_some() => ("a score can speak of `node.labels` itself", "score"),
        Some(Policy::Hash) => ("with `hash` the key says where a request goes", "policy"),
        Some(Policy::Ordered) => ("`ordered` has an order of its own", "policy"),
        _ => return None,
    };
    let problem = Problem::new(path, format!("nothing can be preferred: {why}"));
    Some(
        problem
            .considering("balance")
            .help(format!("remove `prefer` or `{other}`")),
    )
}

/// What is wrong with `ejection`.
fn ejection(balance: &BalanceSpec, root: &Path) -> Option<Problem> {
    if balance.exclusive && !balance.ejection.is_default() {
        return Some(
            Problem::new(
                root.clone().key("ejection"),
                "an exclusive service is given out by tickets: nothing is ejected",
            )
            .considering("balance")
            .help("remove `ejection` or `exclusive`"),
        );
    }
    let (duration, longest) = (balance.ejection.duration?, balance.ejection.max_duration?);
    (duration > longest).then(|| {
        Problem::new(
            root.clone().key("ejection").key("duration"),
            format!("it is longer than `maxDuration`, {longest}"),
        )
        .considering("balance")
        .help("make `duration` shorter, or `maxDuration` longer")
    })
}

/// What is wrong with the names of those who may ask.
fn callers(allow: &[String]) -> Option<Problem> {
    let path = Path::of("spec.balance.allow");
    let Some(at) = allow.iter().position(|name| !is_common_name(name)) else {
        let nobody = Problem::new(path, "nobody but operators could ask for it");
        return allow
            .is_empty()
            .then(|| nobody.help("name the clients, as in `allow: [billing]`, or remove `allow`"));
    };
    Some(
        Problem::new(
            path.index(at),
            format!(
                "`{}` cannot stand in a certificate",
                allow[at].escape_debug()
            ),
        )
        .help("1 to 64 letters, digits and any of . - _ @, as in `billing`"),
    )
}

/// Whether a certificate's owner can be called so.
fn is_common_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte))
}
