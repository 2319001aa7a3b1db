//! What is wrong with manifests, and how that is shown.

use std::{fmt, ops::Range};

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::{Source, tree::Span};

/// At most this many of a source are shown: nobody reads more, and garbage has thousands.
const SHOWN: usize = 50;

/// Texts are cut behind this many bytes: they quote what may be anything.
const LONGEST_TEXT: usize = 400;

/// Columns of a page.
const WIDTH: usize = 80;

/// Columns that `  = help: ` and the line numbers before it take.
const INDENT: usize = 14;

/// Longer lines are not quoted, only named by their number.
const LONGEST_LINE: usize = 16 * 1024;

/// Everything that is wrong with a set of manifests; never empty. It prints as text for people.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    sources: Vec<Source>,
    found: Vec<Diagnostic>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnostic {
    place: Place,
    message: String,
    label: Option<String>,
    help: Option<String>,
    related: Option<(Place, String)>,
}

/// A part of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index of the source in its set.
    pub(super) source: usize,
    /// Where in its text.
    pub(super) start: usize,
    /// Behind its last byte.
    pub(super) end: usize,
}

impl Place {
    /// `span` of the source with index `source`.
    pub(super) fn new(source: usize, span: Span) -> Self {
        Self {
            source,
            start: span.start,
            end: span.end,
        }
    }

    /// The part of this place from byte `at` of `text` on, where `text` stands here as it is; else all of it.
    pub(super) fn within(self, sources: &[Source], text: &str, at: usize) -> Self {
        let source = sources.get(self.source);
        let here = source.and_then(|source| source.text.get(self.start..self.end));
        match here.and_then(|here| here.find(text)) {
            Some(begin) => Self {
                start: self.start + begin + at.min(text.len()),
                end: self.start + begin + text.len(),
                ..self
            },
            None => self,
        }
    }
}

impl Diagnostic {
    /// `message` about `place`.
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: clip(message.into()),
            label: None,
            help: None,
            related: None,
        }
    }

    /// Says something right at the marked place.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(clip(label.into()));
        self
    }

    /// Says what to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(clip(help.into()));
        self
    }

    /// Says what to do, where that is known.
    pub(super) fn help_if(mut self, help: Option<impl Into<String>>) -> Self {
        self.help = help.map(Into::into).map(clip);
        self
    }

    /// Shows a second place, and what it has to do with the first.
    pub(super) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related = Some((place, label.into()));
        self
    }
}

impl Diagnostics {
    /// What was `found` in `sources`, in the order of the sources and of the places in them.
    pub(super) fn new(sources: &[Source], mut found: Vec<Diagnostic>) -> Self {
        found.sort_by(|a, b| a.place.cmp(&b.place));
        // What an anchor repeats is wrong once.
        found.dedup();
        Self {
            sources: sources.to_vec(),
            found,
        }
    }

    /// As text with ANSI colours.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled().hyperlink(false))
    }

    fn render(&self, renderer: &Renderer) -> String {
        let renderer = renderer.clone().term_width(WIDTH);
        let mut text = String::new();
        for of_source in self.found.chunk_by(|a, b| a.place.source == b.place.source) {
            for diagnostic in of_source.iter().take(SHOWN) {
                text.push_str(&renderer.render(&[self.report(diagnostic)]));
                text.push_str("\n\n");
            }
            let more = of_source.len().saturating_sub(SHOWN);
            let source = of_source
                .first()
                .and_then(|d| self.sources.get(d.place.source));
            if let (1.., Some(source)) = (more, source) {
                text.push_str(&format!("... and {more} more in {}\n\n", source.name));
            }
        }
        text.push_str(&match self.found.len() {
            1 => "1 error".to_owned(),
            count => format!("{count} errors"),
        });
        text
    }

    fn report<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(&diagnostic.message));
        group = self.show(
            group,
            &diagnostic.place,
            diagnostic.label.as_deref(),
            AnnotationKind::Primary,
        );
        if let Some((place, label)) = &diagnostic.related {
            group = self.show(group, place, Some(label), AnnotationKind::Context);
        }
        if let Some(help) = &diagnostic.help {
            let help = wrap(&normalize_untrusted_str(help));
            group = group.element(Level::HELP.message(help));
        }
        group
    }

    fn show<'a>(
        &'a self,
        group: Group<'a>,
        place: &Place,
        label: Option<&'a str>,
        kind: AnnotationKind,
    ) -> Group<'a> {
        let Some(source) = self.sources.get(place.source) else {
            return group;
        };
        let text = source.text.as_str();
        let start = floor_char_boundary(text, place.start);
        let line = line_around(text, start);
        let number = 1 + text[..line.start].matches('\n').count();
        if line.len() > LONGEST_LINE {
            let column = 1 + text[line.start..start].chars().count();
            let origin = Origin::path(&source.name).line(number).char_column(column);
            return group.element(origin);
        }
        // What goes on in further lines is marked in its first one only.
        let start = start.min(line.end);
        let end = floor_char_boundary(text, place.end).clamp(start, line.end);
        group.element(
            Snippet::source(&text[line.clone()])
                .path(&source.name)
                .line_start(number)
                .annotation(kind.span(start - line.start..end - line.start).label(label)),
        )
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Diagnostics {}

/// `text`, cut where it is very long.
fn clip(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(floor_char_boundary(&text, LONGEST_TEXT));
        text.push_str("...");
    }
    text
}

/// Message and help of an error that ends with what to do, as in `this is wrong: do that`.
pub(super) fn advice(error: &str) -> (String, Option<String>) {
    match error.rsplit_once(": ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (error.to_owned(), None),
    }
}

/// `text` in lines of at most [`WIDTH`], as far as its words allow.
fn wrap(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH - INDENT {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

/// The line of `text` that byte `at` is in, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline);
    start..start + text[start..end].trim_end_matches('\r').len()
}

/// `at`, or the next lower place where a character of `text` begins.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
