//! `score`: the highest value of an expression of the owner's.
//!
//! Of many members only the least busy are looked at, so that a pick costs the same however many there are. Equals
//! come in the order of their load.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, Value, objects::Key};

use crate::{
    model::score::Score,
    view::{Endpoint, members::Members, numbers::Numbers, question::Question},
};

/// So many members are looked at.
const MOST: usize = 64;

/// The language's functions; making them takes longer than using them.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The members with the highest scores. `null` leaves a member out. One whose score is no number, or cannot be
/// told, as when a label is missing, comes after those with one.
pub(super) fn choose(
    score: &Score,
    members: &Members,
    question: &Question<'_>,
    numbers: &mut Numbers,
) -> Vec<Arc<Endpoint>> {
    let mut asked = Context::with_env(Arc::clone(&ENV));
    if score.speaks_of("request") {
        let known = question.attributes.into_iter().flatten();
        asked.add_variable_from_value("request", texts(known));
    }
    let admitted = members
        .tree()
        .in_order(numbers)
        .filter(|position| question.admits(&members.endpoints()[*position]));
    let mut ranked: Vec<(bool, f64, usize)> = Vec::new();
    for position in admitted.take(MOST) {
        let value = evaluate(score, members, position, &asked);
        let suspect = position >= members.normal();
        let number = match value {
            Value::Null => continue,
            Value::Float(number) if !number.is_nan() => number,
            Value::Int(number) => number as f64,
            Value::UInt(number) => number as f64,
            _ => f64::NEG_INFINITY,
        };
        ranked.push((suspect, number, position));
    }
    // Stable: equals stay in the order of their load.
    ranked.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let chosen = ranked.into_iter().take(question.count);
    let answer = chosen.map(|(_, _, position)| {
        members.pick(position);
        Arc::clone(&members.endpoints()[position])
    });
    answer.collect()
}

/// The value for a member; a value that is no number where there is none.
fn evaluate(score: &Score, members: &Members, position: usize, asked: &Context<'_, '_>) -> Value {
    let endpoint = &members.endpoints()[position];
    let mut context = asked.new_inner_scope();
    let labels = endpoint.node().labels();
    if score.speaks_of("labels") {
        context.add_variable_from_value("labels", texts(labels.iter()));
    }
    if score.speaks_of("node") {
        let node = [
            ("name", endpoint.node().name().as_str().into()),
            ("labels", texts(labels.iter())),
        ];
        context.add_variable_from_value("node", map(node));
    }
    if score.speaks_of("endpoint") {
        let instance = endpoint.instance();
        let known = [
            ("host", endpoint.host().into()),
            ("port", i64::from(endpoint.port()).into()),
            ("instance", instance.to_string().into()),
            ("service", instance.service.as_str().into()),
        ];
        context.add_variable_from_value("endpoint", map(known));
    }
    if score.speaks_of("load") {
        let rate = endpoint.effective_load(members.dial());
        let counts = endpoint.load().counts;
        let known = [
            ("rate", rate.unwrap_or(f64::INFINITY).into()),
            (
                "current",
                counts.map_or(-1, |counts| i64::from(counts.current)).into(),
            ),
            (
                "capacity",
                counts
                    .map_or(-1, |counts| i64::from(counts.capacity))
                    .into(),
            ),
        ];
        context.add_variable_from_value("load", map(known));
    }
    let value = score.program().execute(&context);
    value.unwrap_or(Value::Bool(false))
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter();
    let entries: HashMap<Key, Value> = entries
        .map(|(key, value)| (Key::from(key), value))
        .collect();
    entries.into()
}

fn texts<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>) -> Value {
    let entries: HashMap<Key, Value> = entries
        .map(|(key, value)| (Key::from(key.as_str()), Value::from(value.as_str())))
        .collect();
    entries.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{LoadReport, Moment, ServerStats, service::BalanceSpec},
        view::{
            members::Candidate,
            policy::{Rules, choose as by_rules},
            tests::{Setting, endpoint},
        },
    };

    /// Members at port 0 and on, on nodes with this dataset, with so many of ten requests.
    fn members(score: &str, known: &[(&str, i32)]) -> Members {
        let balance = BalanceSpec {
            score: Some(score.to_owned()),
            ..BalanceSpec::default()
        };
        let setting = Setting {
            balance,
            ..Setting::default()
        };
        let candidates = known.iter().zip(0..).map(|((dataset, current), port)| {
            let endpoint = endpoint("h", port);
            let labels = BTreeMap::from([("dataset".to_owned(), (*dataset).to_owned())]);
            endpoint.node().set(true, Some(labels));
            let stats = Some(ServerStats {
                request_capacity: 10,
                current_requests: *current,
                ..ServerStats::default()
            });
            let report = LoadReport {
                known_rate: None,
                stats,
            };
            endpoint.set_load(Some(&report), &setting.dial);
            Candidate {
                endpoint: Arc::new(endpoint),
                suspect: false,
            }
        });
        setting.members(candidates.collect())
    }

    fn ports(members: &Members, attributes: &[(&str, &str)], count: usize) -> Vec<u16> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let attributes: HashMap<String, String> = attributes.iter().map(owned).collect();
        let question = Question {
            count,
            attributes: Some(&attributes),
            ..Question::new("a", 1, Moment::default())
        };
        let chosen = by_rules(members, &question, std::time::Duration::ZERO);
        chosen.iter().map(|endpoint| endpoint.port()).collect()
    }

    const DATASET: &str =
        "node.labels.dataset == request.dataset && load.rate < 0.8 ? 2.0 : 1.0 - load.rate";

    #[test]
    fn the_highest_score_wins_and_a_busy_favourite_stands_back() {
        let members = members(DATASET, &[("a", 0), ("b", 5), ("b", 9)]);
        assert_eq!(ports(&members, &[("dataset", "b")], 3), [1, 0, 2]);
        // Each pick counts: 5, 6 and 7 of ten are less than 0.8.
        assert_eq!(ports(&members, &[("dataset", "b")], 1), [1]);
        assert_eq!(ports(&members, &[("dataset", "b")], 1), [1]);
        assert_eq!(ports(&members, &[("dataset", "b")], 1), [0]);
    }

    #[test]
    fn null_leaves_a_member_out() {
        let members = members("labels.dataset == 'a' ? 1 : null", &[("a", 0), ("b", 0)]);
        assert_eq!(ports(&members, &[], 2), [0]);
    }

    #[test]
    fn where_the_score_cannot_be_told_a_member_comes_last_but_is_found() {
        let members = members(
            "request.wanted == labels.dataset ? 1 : 0",
            &[("a", 3), ("b", 1)],
        );
        assert_eq!(ports(&members, &[], 2), [1, 0], "the less busy first");
        assert_eq!(ports(&members, &[("wanted", "a")], 2), [0, 1]);
    }

    #[test]
    fn a_stored_score_that_cannot_be_read_is_as_if_there_were_none() {
        let balance = BalanceSpec {
            score: Some("1 +".to_owned()),
            ..BalanceSpec::default()
        };
        assert!(Rules::new(balance).score.is_none());
    }
}
