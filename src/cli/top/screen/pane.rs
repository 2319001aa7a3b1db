//! What lies over the table: why something is as it is, or what an instance prints.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    super::{
        rows::Tone,
        state::{Pane, State},
    },
    Looks,
};
use crate::plan::why::text;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State, looks: Looks) {
    let now = state.now;
    let page = usize::from(area.height.saturating_sub(1));
    state.page = page.max(1);
    let Some(pane) = &mut state.pane else { return };
    let (head, lines) = match pane {
        Pane::Why {
            object,
            answer,
            scroll,
        } => {
            let lines: Vec<Line<'_>> = match answer {
                None => vec![Line::raw("looking...")],
                Some(Err(why)) => vec![Line::styled(why.clone(), looks.tone(Tone::Bad))],
                Some(Ok(cause)) => {
                    let text = text::tree(cause, now, usize::from(area.width), text::plain);
                    text.lines()
                        .map(|line| Line::raw(line.to_owned()))
                        .collect()
                }
            };
            *scroll = (*scroll).min(lines.len().saturating_sub(page));
            let seen = lines.into_iter().skip(*scroll).take(page).collect();
            (format!(" why {object} "), seen)
        }
        Pane::Log {
            instance,
            node,
            lines,
            back,
        } => {
            *back = (*back).min(lines.len().saturating_sub(page));
            let end = lines.len() - *back;
            let seen = lines.range(end.saturating_sub(page)..end);
            let seen: Vec<Line<'_>> = seen
                .map(|line| {
                    let style = match line.is_ours {
                        true => looks.quiet(),
                        false => ratatui::style::Style::new(),
                    };
                    Line::styled(line.text.clone(), style)
                })
                .collect();
            let state = match back {
                0 => "followed".to_owned(),
                back => format!("{back} lines further"),
            };
            (format!(" {instance} on {node}, {state} "), seen)
        }
    };
    let rule = "─".repeat(usize::from(area.width));
    let buffer = frame.buffer_mut();
    buffer.set_stringn(area.x, area.y, rule, usize::from(area.width), looks.quiet());
    let title = Span::styled(head, looks.strong());
    buffer.set_span(area.x + 1, area.y, &title, area.width.saturating_sub(1));
    let below = Rect::new(
        area.x,
        area.y + 1,
        area.width,
        area.height.saturating_sub(1),
    );
    frame.render_widget(Paragraph::new(lines), below);
}
