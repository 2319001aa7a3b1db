//! What stands in a column, and how rows are sorted by it.

use std::cmp::Ordering;

use super::{
    super::super::output::{age, clean},
    Row,
};
use crate::model::Timestamp;

/// What stands in a column, and what it is sorted by.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli::top) struct Cell {
    pub text: String,
    order: Order,
}

#[derive(Clone, Debug, PartialEq)]
enum Order {
    Text(String),
    Number(f64),
    /// Comes last, whichever way it is sorted.
    Unknown,
}

/// By a column, downwards where `descends`. Equal ones stay as they are.
pub(in crate::cli::top) fn sort(rows: &mut [Row], column: usize, descends: bool) {
    rows.sort_by(|a, b| {
        let [a, b] = [a, b].map(|row| row.cells.get(column).map(|cell| &cell.order));
        match (a, b) {
            (Some(Order::Unknown) | None, Some(Order::Unknown) | None) => Ordering::Equal,
            (Some(Order::Unknown) | None, _) => Ordering::Greater,
            (_, Some(Order::Unknown) | None) => Ordering::Less,
            (Some(a), Some(b)) if descends => compare(b, a),
            (Some(a), Some(b)) => compare(a, b),
        }
    });
}

fn compare(a: &Order, b: &Order) -> Ordering {
    match (a, b) {
        (Order::Number(a), Order::Number(b)) => a.total_cmp(b),
        (Order::Text(a), Order::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        let text = clean(&text.into());
        Self {
            order: match text.as_str() {
                "-" | "" => Order::Unknown,
                _ => Order::Text(text.clone()),
            },
            text,
        }
    }

    /// A text that is sorted as if it were another one.
    pub(super) fn sorted_as(text: String, order: String) -> Self {
        let order = Order::Text(order);
        Self { text, order }
    }

    pub(super) fn number(text: String, order: Option<f64>) -> Self {
        let order = order.map_or(Order::Unknown, Order::Number);
        Self { text, order }
    }

    pub(super) fn count(count: u32) -> Self {
        Self::number(count.to_string(), Some(f64::from(count)))
    }

    pub(super) fn share(share: Option<f64>) -> Self {
        let text = share.map_or("-".to_owned(), |share| percent(share as f32));
        Self::number(text, share)
    }

    pub(super) fn cores(cores: Option<f64>) -> Self {
        let text = cores.map_or("-".to_owned(), |cores| format!("{cores:.2}"));
        Self::number(text, cores)
    }

    pub(super) fn bytes(count: Option<u64>) -> Self {
        let text = count.map_or("-".to_owned(), bytes);
        Self::number(text, count.map(|count| count as f64))
    }

    /// The youngest first.
    pub(super) fn age(since: Option<Timestamp>, now: Timestamp) -> Self {
        let order = since.map(|since| now.since(since).as_secs_f64());
        Self::number(age(since, now), order)
    }
}

/// A part of a whole.
pub(in crate::cli::top) fn percent(share: f32) -> String {
    format!("{:.0}%", share * 100.0)
}

/// An amount of memory in the unit that suits it.
pub(in crate::cli::top) fn bytes(count: u64) -> String {
    let mebibytes = count as f64 / f64::from(1 << 20);
    match mebibytes {
        0.0 => "0".to_owned(),
        ..1.0 => format!("{:.0}KiB", mebibytes * 1024.0),
        ..1024.0 => format!("{mebibytes:.0}MiB"),
        ..1_048_576.0 => format!("{:.1}GiB", mebibytes / 1024.0),
        _ => format!("{:.1}TiB", mebibytes / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Id, Tone},
        *,
    };
    use crate::model::event::Object;

    fn row(name: &str, order: Order) -> Row {
        Row {
            id: Id::of(Object::Cluster),
            tone: Tone::Plain,
            cells: vec![Cell {
                text: name.to_owned(),
                order,
            }],
        }
    }

    #[test]
    fn what_is_not_known_comes_last_whichever_way_it_is_sorted() {
        let mut rows = vec![
            row("unknown", Order::Unknown),
            row("ten", Order::Number(10.0)),
            row("nine", Order::Number(9.0)),
        ];
        let names = |rows: &[Row]| -> Vec<String> {
            rows.iter().map(|row| row.cells[0].text.clone()).collect()
        };
        sort(&mut rows, 0, false);
        assert_eq!(names(&rows), ["nine", "ten", "unknown"]);
        sort(&mut rows, 0, true);
        assert_eq!(names(&rows), ["ten", "nine", "unknown"]);
    }

    #[test]
    fn memory_is_told_in_the_unit_that_suits_it() {
        let told = [0, 512 << 10, 7 << 20, 3 << 29, 5 << 40].map(bytes);
        assert_eq!(told, ["0", "512KiB", "7MiB", "1.5GiB", "5.0TiB"]);
    }
}
