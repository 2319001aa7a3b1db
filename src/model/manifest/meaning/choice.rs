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
    let by_load = matches!(
        balance.policy.unwrap_or_default(),
        Policy::LeastLoad | Policy::P2c
    );
    if balance.slow_start.is_some() && !by_load {
        problems.push(
            Problem::new(
                root.key("slowStart"),
                "a slow start is one of load, which this policy does not go by",
            )
            .considering("balance")
            .help("remove `slowStart`, or choose by `leastLoad` or `p2c`"),
        );
    }
    problems
}
