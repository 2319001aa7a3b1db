//! Reads YAML 1.2, and so JSON, into trees.
//!
//! Both entries of a duplicate key are kept, a broken document does not hide the next one, and no
//! alias can make a tree much larger than its text.

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, StrInput};

use super::{
    diagnostic::{Diagnostic, Place},
    syntax::{DEEPEST, QUOTE_BRACES, explain},
    tree::{Entry, Node, Span, Value},
};

/// Values in one source; a service of a usual size takes 50.
const MOST_VALUES: usize = 250_000;

/// What aliases may repeat in one source, in bytes of text and [`NODE_WEIGHT`] for each value.
const REPEATABLE: usize = 1024 * 1024;

/// What a value counts besides its text.
const NODE_WEIGHT: usize = 64;

/// A document of a source.
pub(super) struct Document {
    /// Its content.
    pub(super) root: Node,
    /// The line of its first character, from 1.
    pub(super) line: usize,
}

/// The documents of `text`, without empty ones, and what is wrong with its YAML. `source` is its
/// index.
pub(super) fn read(source: usize, text: &str) -> (Vec<Document>, Vec<Diagnostic>) {
    let mut options = Options::default();
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    options.emit_unresolved_aliases = true;
    let mut reader = Reader {
        source,
        text,
        parser: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        repeatable: REPEATABLE,
        values: 0,
        wrong: Vec::new(),
    };
    let documents = reader.documents();
    (documents, reader.wrong)
}

struct Reader<'a> {
    source: usize,
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    /// What aliases of the current document may stand for.
    anchors: BTreeMap<usize, Node>,
    /// What aliases and anchors may still copy.
    repeatable: usize,
    /// Values read so far.
    values: usize,
    wrong: Vec<Diagnostic>,
}

/// Why a document cannot be read on.
enum Stop {
    /// Its syntax is broken.
    Syntax(ScanError),
    /// It was reported.
    Reported,
    /// The source has more values than it may; it was reported.
    Full,
}

impl<'a> Reader<'a> {
    fn documents(&mut self) -> Vec<Document> {
        let mut documents = Vec::new();
        loop {
            match self.next_document() {
                Ok(Some(document)) => {
                    // What is broken was reported, and what is empty is no manifest.
                    if !matches!(document.root.value, Value::Null | Value::Broken) {
                        documents.push(document);
                    }
                }
                Ok(None) => return documents,
                Err(Stop::Full) => return documents,
                Err(stop) => {
                    if let Stop::Syntax(error) = stop {
                        self.syntax_error(&error);
                    }
                    match self.parser.proceed_next_document() {
                        Ok(true) => {}
                        Ok(false) => return documents,
                        Err(error) => {
                            self.syntax_error(&error);
                            return documents;
                        }
                    }
                }
            }
        }
    }

    fn next_document(&mut self) -> Result<Option<Document>, Stop> {
        self.anchors.clear();
        loop {
            match self.event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _)) => {}
                Some((event, span)) => {
                    let line = span.start.line();
                    let root = self.node(event, span)?;
                    return Ok(Some(Document { root, line }));
                }
            }
        }
    }

    fn event(&mut self) -> Result<Option<(Event<'a>, granit_parser::Span)>, Stop> {
        self.parser.next_event().transpose().map_err(Stop::Syntax)
    }

    /// The next event inside a document.
    fn inner(&mut self) -> Result<(Event<'a>, granit_parser::Span), Stop> {
        match self.event()? {
            Some(event) => Ok(event),
            None => Err(self.unexpected(self.text.len()..self.text.len())),
        }
    }

    /// The node that begins with `event`. Its depth is limited by the parser.
    fn node(&mut self, event: Event<'a>, at: granit_parser::Span) -> Result<Node, Stop> {
        let mut span = at.byte_range().unwrap_or_default();
        self.values += 1;
        if self.values > MOST_VALUES {
            let message = format!("this source has more than {MOST_VALUES} values");
            self.report(span, message, "split it into several files");
            return Err(Stop::Full);
        }
        let tag = event.tag().map(|tag| tag.original());
        let anchor = event.anchor_id();
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.inner()? {
                        (Event::SequenceEnd, end) => {
                            span.end = end.byte_range().unwrap_or_default().end;
                            break Value::List(items);
                        }
                        (event, at) => items.push(self.node(event, at)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                let mut usable = true;
                loop {
                    match self.inner()? {
                        (Event::MappingEnd, end) => {
                            span.end = end.byte_range().unwrap_or_default().end;
                            break if usable {
                                Value::Map(entries)
                            } else {
                                Value::Broken
                            };
                        }
                        (event, at) => {
                            let entry = self.entry(event, at)?;
                            usable &= entry.is_some();
                            entries.extend(entry);
                        }
                    }
                }
            }
            Event::Alias(id) => return self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                self.report(
                    span.clone(),
                    format!("there is no anchor `&{name}` before this in its document"),
                    "quote the text if it is not meant as an alias",
                );
                Value::Broken
            }
            // No other event can begin a node.
            _ => return Err(self.unexpected(span)),
        };
        let value = match tag {
            None => value,
            Some(tag) => {
                let place = at.tag_span().and_then(|at| at.byte_range());
                self.report(
                    place.unwrap_or(span.clone()),
                    format!("the tag `{tag}` is not allowed: manifests have no tags"),
                    "remove it",
                );
                Value::Broken
            }
        };
        let node = Node { value, span };
        if let Some(id) = anchor {
            self.spend(&node, &node.span)?;
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    /// The entry whose key begins with `event`; none when the key cannot be one.
    fn entry(&mut self, event: Event<'a>, at: granit_parser::Span) -> Result<Option<Entry>, Stop> {
        let key = self.node(event, at)?;
        let (event, at) = self.inner()?;
        let value = self.node(event, at)?;
        let name = match key.value {
            Value::Text(text) | Value::Number(text) => text,
            Value::Bool(value) => value.to_string(),
            Value::Broken => return Ok(None),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.report(key.span, "a key must be text", QUOTE_BRACES);
                return Ok(None);
            }
        };
        Ok(Some(Entry {
            key: name,
            key_span: key.span,
            value,
        }))
    }

    /// A copy of what the alias at `span` stands for.
    fn alias(&mut self, id: usize, span: Span) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            self.report(
                span.clone(),
                "this alias is a part of what it stands for",
                "write it out",
            );
            let value = Value::Broken;
            return Ok(Node { value, span });
        };
        self.spend(&node, &span)?;
        Ok(node)
    }

    /// Takes a copy of `node`, made for `span`, out of what may be copied.
    fn spend(&mut self, node: &Node, span: &Span) -> Result<(), Stop> {
        match self.repeatable.checked_sub(weight(node)) {
            Some(rest) => {
                self.repeatable = rest;
                Ok(())
            }
            None => {
                self.report(
                    span.clone(),
                    "the anchors and aliases up to here repeat more than 1 MiB",
                    "write out what is meant",
                );
                Err(Stop::Reported)
            }
        }
    }

    fn unexpected(&mut self, span: Span) -> Stop {
        self.report(span, "this is not YAML", "write it as in the examples");
        Stop::Reported
    }

    fn report(&mut self, span: Span, message: impl Into<String>, help: &str) {
        let place = Place::new(self.source, span);
        self.wrong.push(Diagnostic::new(place, message).help(help));
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let at = error.marker().byte_offset().unwrap_or(self.text.len());
        // The parser looks ahead; an end of input is best seen at the last line that has text.
        let at = at.min(self.text.trim_end().len());
        let (before, after) = self.text.split_at_checked(at).unwrap_or_default();
        let (message, help) = if before.ends_with('}') && after.starts_with(':') {
            ("this is not YAML".to_owned(), Some(QUOTE_BRACES))
        } else {
            explain(error.kind())
        };
        let place = Place::new(self.source, at..at + 1);
        self.wrong
            .push(Diagnostic::new(place, message).help_if(help));
    }
}

/// What a scalar is by the rules of YAML 1.2: `yes` and `on` are text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix, radix| {
        unsigned.strip_prefix(prefix).is_some_and(|digits: &str| {
            !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix))
        })
    };
    matches!(unsigned, ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
        || radix("0x", 16)
        || radix("0o", 8)
        // Rust reads what YAML calls a float, and words such as `inf` and `nan`, which are text.
        || (unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && unsigned.parse::<f64>().is_ok())
}

/// What a copy of `node` costs.
fn weight(node: &Node) -> usize {
    NODE_WEIGHT
        + match &node.value {
            Value::Null | Value::Bool(_) | Value::Broken => 0,
            Value::Number(text) | Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(weight).sum(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| entry.key.len() + weight(&entry.value))
                .sum(),
        }
}
