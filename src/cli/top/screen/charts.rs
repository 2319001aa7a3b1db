//! Courses of time as small bars, now at the right.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{RenderDirection, Sparkline},
};

use super::{
    super::{
        rows::{bytes, percent},
        state::State,
    },
    Looks,
};

/// Lines that they take: numbers, and two of bars.
pub(super) const HEIGHT: u16 = 3;

/// Bars are drawn in parts of a whole this large.
const SCALE: f32 = 10_000.0;

/// Wide screens show memory as well.
const WIDE: u16 = 110;

/// A chart: its title, the present value, all values (the newest first) and the top of the scale.
struct Chart {
    title: &'static str,
    now: String,
    values: Vec<Option<f32>>,
    top: f32,
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, looks: Looks) {
    let mut charts = charts(state);
    if area.width < WIDE {
        charts.retain(|chart| chart.title != "MEMORY");
    }
    let parts = charts.iter().map(|_| Constraint::Fill(1));
    let areas = Layout::horizontal(parts).spacing(2).split(area);
    for (chart, area) in charts.iter().zip(areas.iter()) {
        let [head, bars] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(*area);
        let words = Line::from(vec![
            Span::styled(format!("{} ", chart.title), looks.quiet()),
            Span::styled(chart.now.clone(), looks.strong()),
        ]);
        frame.render_widget(words, head);
        let scaled = |value: &Option<f32>| {
            value.map(|value| (value.max(0.0) / chart.top * SCALE).round() as u64)
        };
        let room = usize::from(bars.width);
        let values: Vec<Option<u64>> = chart.values.iter().take(room).map(scaled).collect();
        let line = Sparkline::default()
            .data(values)
            .max(SCALE as u64)
            .direction(RenderDirection::RightToLeft)
            .absent_value_symbol(" ")
            .style(looks.curve());
        frame.render_widget(line, bars);
    }
}

fn charts(state: &State) -> Vec<Chart> {
    let course = &state.course;
    let newest_first =
        |values: &[f32]| -> Vec<Option<f32>> { values.iter().rev().map(|it| Some(*it)).collect() };
    let counts = |values: &[u32]| -> Vec<f32> { values.iter().map(|it| *it as f32).collect() };
    let all = counts(&course.all);
    let last = |values: &[Option<f32>], write: fn(f32) -> String| {
        let last = values.first().copied().flatten();
        last.map_or("-".to_owned(), write)
    };
    let ready = newest_first(&counts(&course.ready));
    let load: Vec<Option<f32>> = course.load.iter().rev().copied().collect();
    let cpu = newest_first(&course.cpu);
    let memory = newest_first(&course.memory);
    let mut picks: Vec<Option<f32>> = course.picks.iter().rev().copied().collect();
    if picks.is_empty() && state.service().is_none() {
        picks.push(state.picture.picks);
    }
    let up = course.ready.last().copied().unwrap_or_default();
    let of = course.all.last().copied().unwrap_or_default();
    vec![
        Chart::new("READY", format!("{up}/{of}"), ready, highest(&all)),
        Chart::new("LOAD", last(&load, percent), load, 1.0),
        Chart::new("CPU", last(&cpu, |cores| format!("{cores:.2}")), cpu, 0.0),
        Chart::new("MEMORY", last(&memory, |it| bytes(it as u64)), memory, 0.0),
        Chart::new(
            "PICKS/S",
            last(&picks, |rate| format!("{rate:.0}")),
            picks,
            0.0,
        ),
    ]
}

fn highest(values: &[f32]) -> f32 {
    values.iter().copied().fold(0.0, f32::max)
}

impl Chart {
    /// One whose scale reaches up to `top` at least.
    fn new(title: &'static str, now: String, values: Vec<Option<f32>>, top: f32) -> Self {
        let known: Vec<f32> = values.iter().copied().flatten().collect();
        let top = highest(&known).max(top);
        Self {
            title,
            now,
            values,
            top: if top > 0.0 { top } else { 1.0 },
        }
    }
}
