//! Load in a JSON document.

use serde_json::Value;

use super::Trouble;
use crate::model::{LoadReport, ServerStats, service::HttpLoad};

/// What the document `body` says, read as `spec` says.
pub(super) fn report(body: &[u8], spec: &HttpLoad) -> Result<LoadReport, Trouble> {
    let wrong = |what: String| Trouble::Answer(what);
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| wrong(format!("the answer is no JSON: {error}")))?;
    let pointer = &spec.pointer;
    let found = document
        .pointer(pointer)
        .ok_or_else(|| wrong(format!("there is nothing at `{pointer}`")))?;
    let number = |value: &Value| value.as_f64().filter(|number| *number >= 0.0);
    let field = |name: &str| number(&found[name]);
    let (rate, current, capacity) = match number(found) {
        Some(count) if spec.capacity.is_some() => (None, Some(count), None),
        Some(rate) => (Some(rate), None, None),
        None => (field("rate"), field("current"), field("capacity")),
    };
    if rate.is_none() && current.is_none() {
        return Err(wrong(format!(
            "at `{pointer}` is neither a number nor an object with `rate` or `current`"
        )));
    }
    let capacity = capacity.or(spec.capacity.map(f64::from));
    Ok(LoadReport {
        known_rate: rate,
        stats: current.map(|current| ServerStats {
            request_capacity: capacity.map_or(-1, whole),
            current_requests: whole(current),
            server_utilization: 0.0,
            server_memory_usage_percent: -1.0,
        }),
    })
}

/// The nearest count.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a cast from a float stays within the bounds"
)]
fn whole(number: f64) -> i32 {
    number.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, pointer: &str, capacity: Option<u32>) -> Result<LoadReport, String> {
        let spec = HttpLoad {
            port: None,
            path: "/".to_owned(),
            pointer: pointer.to_owned(),
            capacity,
        };
        report(body.as_bytes(), &spec).map_err(|trouble| match trouble {
            Trouble::Answer(what) | Trouble::Connection(what) => what,
        })
    }

    #[test]
    fn a_number_is_a_rate_or_with_a_capacity_a_count() {
        let body = r#"{"queue": {"depth": 3, "rate": 0.25}}"#;
        let rate = read(body, "/queue/rate", None).unwrap();
        assert_eq!((rate.known_rate, rate.stats), (Some(0.25), None));
        let count = read(body, "/queue/depth", Some(4)).unwrap().stats.unwrap();
        assert_eq!((count.current_requests, count.request_capacity), (3, 4));
        assert!(!read(body, "/queue/depth", Some(4)).unwrap().is_idle());
        assert!(read("0", "", Some(4)).unwrap().is_idle());
    }

    #[test]
    fn an_object_says_what_it_means() {
        let stats = read(r#"{"current": 2, "capacity": 8}"#, "", None)
            .unwrap()
            .stats
            .unwrap();
        assert_eq!((stats.current_requests, stats.request_capacity), (2, 8));
        let unknown = read(r#"{"current": 2}"#, "", None).unwrap().stats.unwrap();
        assert_eq!(unknown.request_capacity, -1);
        let rate = read(r#"{"rate": 0.5}"#, "", None).unwrap();
        assert_eq!(rate.known_rate, Some(0.5));
    }

    #[test]
    fn what_is_no_load_is_told_in_words() {
        assert!(
            read("<html>", "", None)
                .unwrap_err()
                .starts_with("the answer is no JSON")
        );
        assert_eq!(
            read("{}", "/a", None),
            Err("there is nothing at `/a`".to_owned())
        );
        let neither = "at `` is neither a number nor an object with `rate` or `current`";
        for body in ["-1", "{}", "[]", r#"{"rate": "high"}"#, "null"] {
            assert_eq!(read(body, "", None), Err(neither.to_owned()), "{body}");
        }
    }
}
