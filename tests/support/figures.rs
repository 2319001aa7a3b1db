//! What a bench has measured, for `docs/performance.md`: appended to the file that `$QUAESTOR_BENCH_FIGURES` names, one
//! JSON object a line, beside what the bench prints. `scripts/lib/performance.py` makes tables and plots of it.

use std::{fs::OpenOptions, io::Write as _};

use serde_json::{Value, json};

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Bar {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

/// A figure that has a bar, in `unit`; a ratio has none.
pub fn bar(name: &str, figure: f64, unit: &str, bar: Bar) {
    let (least, most) = match bar {
        Bar::AtLeast(bar) => (Some(bar), None),
        Bar::AtMost(bar) => (None, Some(bar)),
    };
    let bar = json!({"name": name, "figure": figure, "unit": unit, "least": least, "most": most});
    append(&json!({"bar": bar}));
}

/// A row of a table: what is in each of its columns, with its unit.
pub fn row(table: &str, name: &str, cells: &[(&str, f64, &str)]) {
    let cells: Vec<Value> = cells.iter().map(|cell| json!(cell)).collect();
    append(&json!({"row": {"table": table, "name": name, "cells": cells}}));
}

/// A point of a curve in a plot.
pub fn point(plot: &str, curve: &str, x: f64, y: f64) {
    append(&json!({"point": {"plot": plot, "curve": curve, "x": x, "y": y}}));
}

fn append(figure: &Value) {
    let Some(path) = std::env::var_os("QUAESTOR_BENCH_FIGURES") else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.unwrap(), "{figure}").unwrap();
}
