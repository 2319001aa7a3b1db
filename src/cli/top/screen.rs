//! The screen: the state, drawn.
//!
//! ```text
//! quaestor top  default                       what is wrong, or that all is well
//! READY 4/4      LOAD 12%      CPU 1.20      PICKS/S 310
//! charts         of the        last          minutes
//! 1 Services  2 Instances  3 Nodes  4 Events
//! the table, or a pane: `why`, a log
//! the last events
//! the last words, or what keys do
//! ```

mod charts;
mod pane;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    super::output::{age, clean},
    keys::HELP,
    rows::{Column, Tone, View},
    state::{Mode, Pane, State, Wish, Within},
};

/// Events below the table, where there is room.
const EVENTS: u16 = 4;

/// A screen with fewer lines has no charts, and no events below the table.
const LOW: u16 = 16;

/// Looks: colours, where they are wanted.
#[derive(Clone, Copy)]
struct Looks {
    has_colour: bool,
}

impl Looks {
    fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => self.colour(Color::Green),
            Tone::Waiting => self.colour(Color::Yellow),
            Tone::Bad => self.colour(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn curve(self) -> Style {
        self.colour(Color::Cyan)
    }

    fn colour(self, colour: Color) -> Style {
        match self.has_colour {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let looks = Looks {
        has_colour: state.has_colour,
    };
    let area = frame.area();
    let is_high = area.height >= LOW;
    let is_table = state.pane.is_none() && state.mode != Mode::Help;
    let has_events = is_high && is_table && state.view != View::Events;
    let [top, trouble, graphs, tabs, main, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(if state.away.is_some() { 2 } else { 0 }),
        Constraint::Length(if is_high { charts::HEIGHT } else { 0 }),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(if has_events { EVENTS } else { 0 }),
        Constraint::Length(1),
    ])
    .areas(area);
    title(frame, top, state, looks);
    away(frame, trouble, state, looks);
    if is_high {
        charts::draw(frame, graphs, state, looks);
    }
    headline(frame, tabs, state, looks);
    match (&state.mode, state.pane.is_some()) {
        (Mode::Help, _) => help(frame, main, looks),
        (_, true) => pane::draw(frame, main, state, looks),
        (_, false) => table(frame, main, state, looks),
    }
    if has_events {
        events(frame, below, state, looks);
    }
    footer(frame, foot, state, looks);
}

/// Which cluster, who leads, and how it is in a few words.
fn title(frame: &mut Frame<'_>, area: Rect, state: &State, looks: Looks) {
    let picture = &state.picture;
    let mut words = vec![
        Span::styled("quaestor top", looks.strong()),
        Span::raw(format!("  cluster {}", state.cluster)),
    ];
    if picture.is_read {
        let [(good, services), (ready, nodes)] = super::rows::whole(picture);
        let part = |name: &str, part: usize, all: usize| {
            let tone = if part < all {
                Tone::Waiting
            } else {
                Tone::Plain
            };
            Span::styled(format!("  {name} {part}/{all}"), looks.tone(tone))
        };
        words.push(part("services", good, services));
        words.push(part("nodes", ready, nodes));
        words.push(Span::raw(format!(
            "  balancers {}",
            picture.balancers.len()
        )));
        if !picture.led {
            words.push(Span::styled("  nobody leads", looks.tone(Tone::Bad)));
        }
        let status = picture.status.as_ref();
        if status.is_some_and(|status| status.restored_from.is_some()) {
            words.push(Span::styled(
                "  restored: `quaestor cluster status`",
                looks.tone(Tone::Bad),
            ));
        }
    } else {
        words.push(Span::raw("  reading the cluster"));
    }
    let live = match state.away {
        Some(_) => Span::styled("store away", looks.tone(Tone::Bad)),
        None => Span::styled("live", looks.tone(Tone::Good)),
    };
    let room = area.width.saturating_sub(live.width() as u16 + 1);
    let buffer = frame.buffer_mut();
    buffer.set_line(area.x, area.y, &Line::from(words), room);
    let at = area.right().saturating_sub(live.width() as u16);
    buffer.set_span(at, area.y, &live, live.width() as u16);
}

/// That the store does not answer, and what that means.
fn away(frame: &mut Frame<'_>, area: Rect, state: &State, looks: Looks) {
    let Some((since, why)) = &state.away else {
        return;
    };
    let first = format!("for {}: {}", age(Some(*since), state.now), clean(why));
    let second = "shown is what was known then; services run on, balancers answer from memory";
    let lines = [first, second.to_owned()].map(|text| Line::styled(text, looks.tone(Tone::Bad)));
    frame.render_widget(Paragraph::new(lines.to_vec()), area);
}

/// The views, and what is listed how.
fn headline(frame: &mut Frame<'_>, area: Rect, state: &State, looks: Looks) {
    let mut spans = Vec::new();
    for (number, view) in View::ALL.into_iter().enumerate() {
        let text = format!("{} {}", number + 1, view.title());
        let style = match view == state.view {
            true => looks.strong().add_modifier(Modifier::UNDERLINED),
            false => looks.quiet(),
        };
        spans.extend([Span::styled(text, style), Span::raw("  ")]);
    }
    let mut right = match &state.within {
        Some(Within::Service(name)) => format!("of {name}  "),
        Some(Within::Node(name)) => format!("on {name}  "),
        None => String::new(),
    };
    if !state.filter.is_empty() {
        right.push_str(&format!("/{}  ", clean(&state.filter)));
    }
    match state.rows.len() == state.all {
        true => right.push_str(&state.all.to_string()),
        false => right.push_str(&format!("{} of {}", state.rows.len(), state.all)),
    }
    let buffer = frame.buffer_mut();
    buffer.set_line(area.x, area.y, &Line::from(spans), area.width);
    let width = u16::try_from(right.chars().count())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let at = area.right() - width;
    buffer.set_stringn(at, area.y, right, usize::from(width), looks.quiet());
}

/// How wide each of the columns is that there is room for.
fn widths(columns: &[Column], width: u16) -> Vec<(usize, u16)> {
    let shown = columns.iter().enumerate();
    let shown = shown.filter(|(_, column)| column.from <= width);
    let shown: Vec<(usize, &Column)> = shown.collect();
    let gaps = u16::try_from(shown.len().saturating_sub(1)).unwrap_or_default();
    let taken: u16 = shown.iter().map(|(_, column)| column.width).sum();
    let left = width.saturating_sub(taken + gaps);
    let parts: u16 = shown.iter().map(|(_, column)| column.grows).sum();
    let grown = |(index, column): (usize, &Column)| {
        let more = (left * column.grows).checked_div(parts).unwrap_or_default();
        (index, column.width + more)
    };
    shown.into_iter().map(grown).collect()
}

fn table(frame: &mut Frame<'_>, area: Rect, state: &mut State, looks: Looks) {
    state.fit(usize::from(area.height.saturating_sub(1)));
    let columns = state.view.columns();
    let widths = widths(columns, area.width);
    let (sorted, descends) = state.order();
    let buffer = frame.buffer_mut();
    let mut x = area.x;
    for (index, width) in &widths {
        let column = columns[*index];
        let arrow = match (*index == sorted, descends) {
            (true, true) => "▾",
            (true, false) => "▴",
            (false, _) => "",
        };
        let text = fitted(
            &format!("{}{arrow}", column.title),
            *width,
            column.is_number,
        );
        let room = usize::from(area.right().saturating_sub(x));
        buffer.set_stringn(x, area.y, text, room, looks.quiet());
        x = x.saturating_add(width + 1);
    }
    if state.rows.is_empty() {
        let text = match (state.picture.is_read, state.filter.is_empty()) {
            (false, _) => "",
            (true, false) => "Nothing has this text. Esc takes the filter away.",
            (true, true) => state.view.empty(),
        };
        let room = usize::from(area.width);
        if area.height > 1 {
            buffer.set_stringn(area.x, area.y + 1, text, room, looks.quiet());
        }
    }
    let seen = state.rows.iter().enumerate().skip(state.first);
    for (line, (number, row)) in (area.y + 1..area.bottom()).zip(seen) {
        let mut x = area.x;
        for (index, width) in &widths {
            let column = columns[*index];
            let text = row.cells.get(*index).map_or("", |cell| cell.text.as_str());
            // The name and the state tell how it is.
            let style = match column.title {
                "NAME" | "READY" | "PHASE" | "STATUS" | "REASON" => looks.tone(row.tone),
                _ => Style::new(),
            };
            let room = usize::from(area.right().saturating_sub(x));
            let text = fitted(text, *width, column.is_number);
            buffer.set_stringn(x, line, text, room, style);
            x = x.saturating_add(width + 1);
        }
        if number == state.index {
            let whole = Rect::new(area.x, line, area.width, 1);
            buffer.set_style(whole, looks.chosen());
        }
    }
}

/// The text in a column of that width: numbers at its right; what is too long ends in an ellipsis.
fn fitted(text: &str, width: u16, is_number: bool) -> String {
    let width = usize::from(width);
    let length = text.chars().count();
    if length > width {
        let kept: String = text.chars().take(width.saturating_sub(1)).collect();
        return format!("{kept}…");
    }
    match is_number {
        true => format!("{text:>width$}"),
        false => format!("{text:<width$}"),
    }
}

/// The last events, the newest at the top.
fn events(frame: &mut Frame<'_>, area: Rect, state: &State, looks: Looks) {
    let buffer = frame.buffer_mut();
    let rule = "─".repeat(usize::from(area.width));
    buffer.set_stringn(area.x, area.y, rule, usize::from(area.width), looks.quiet());
    buffer.set_stringn(area.x + 1, area.y, " events ", 8, looks.quiet());
    for (line, event) in (area.y + 1..area.bottom()).zip(&state.picture.events) {
        let note = &event.note;
        let tone = if note.warning { Tone::Bad } else { Tone::Plain };
        let ago = age(Some(event.last_at), state.now);
        let words = Line::from(vec![
            Span::styled(format!("{ago:>5}  "), looks.quiet()),
            Span::raw(format!("{}  ", clean(&note.object.to_string()))),
            Span::styled(clean(&note.reason), looks.tone(tone)),
            Span::raw(format!("  {}", clean(&note.message))),
        ]);
        buffer.set_line(area.x, line, &words, area.width);
    }
}

fn help(frame: &mut Frame<'_>, area: Rect, looks: Looks) {
    let line = |(keys, meaning): (&'static str, &'static str)| {
        Line::from(vec![
            Span::styled(format!("  {keys:<16}"), looks.strong()),
            Span::raw(meaning),
        ])
    };
    let lines: Vec<Line<'_>> = HELP.into_iter().map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// What is asked, was said last, or what keys do.
fn footer(frame: &mut Frame<'_>, area: Rect, state: &State, looks: Looks) {
    let line = match (&state.mode, &state.message) {
        (Mode::Filter, _) => Line::from(vec![
            Span::styled("/", looks.strong()),
            Span::raw(clean(&state.filter)),
            Span::styled("█  Enter keeps it, Esc takes it away", looks.quiet()),
        ]),
        (Mode::Confirm(wish), _) => Line::styled(
            format!("{} (y/n)", question(wish)),
            looks.tone(Tone::Waiting),
        ),
        (Mode::Help, _) => Line::styled("any key goes back", looks.quiet()),
        (Mode::Browse, Some((text, is_wrong))) => {
            let tone = if *is_wrong { Tone::Bad } else { Tone::Good };
            Line::styled(clean(text), looks.tone(tone))
        }
        (Mode::Browse, None) => Line::styled(hint(state), looks.quiet()),
    };
    let buffer = frame.buffer_mut();
    buffer.set_line(area.x, area.y, &line, area.width);
}

fn question(wish: &Wish) -> String {
    match wish {
        Wish::Restart(what) => format!("give {what} new processes, one after the other?"),
        Wish::Drain(node) => format!("move all instances of node {node} to others?"),
        Wish::Uncordon(node) => format!("let node {node} take instances again?"),
        Wish::Quit | Wish::Why(_) | Wish::Follow(..) | Wish::Unfollow => "really?".to_owned(),
    }
}

fn hint(state: &State) -> &'static str {
    match (&state.pane, state.view) {
        (Some(Pane::Why { .. }), _) => "Esc back   Up Down PgUp PgDn scroll   ? help",
        (Some(Pane::Log { .. }), _) => "Esc back   PgUp PgDn scroll   End follows   ? help",
        (None, View::Services) => {
            "? help  / filter  s sort  Enter instances  w why  r restart  q quit"
        }
        (None, View::Instances) => {
            "? help  / filter  s sort  w why  l logs  r restart  Esc back  q quit"
        }
        (None, View::Nodes) => {
            "? help  / filter  s sort  Enter instances  w why  d drain  u undo  q quit"
        }
        (None, View::Events) => "? help  / filter  s sort  w why  q quit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_the_width_and_never_more_than_it_from_80_on() {
        for view in View::ALL {
            for width in 80..300 {
                let columns = widths(view.columns(), width);
                let gaps = columns.len() - 1;
                let all: usize = columns.iter().map(|(_, width)| usize::from(*width)).sum();
                let all = all + gaps;
                assert!(all <= usize::from(width), "{view:?} at {width}: {all}");
            }
        }
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        assert_eq!(fitted("worker-17", 6, false), "worke…");
        assert_eq!(fitted("12", 4, true), "  12");
        assert_eq!(fitted("", 0, false), "");
    }
}
