//! A YAML document as a tree that knows where each of its parts stands.

use std::{collections::BTreeSet, fmt, ops::Range};

/// Where something stands: a range of bytes of its source.
pub(super) type Span = Range<usize>;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What was written.
    pub(super) value: Value,
    /// From its first to behind its last character.
    pub(super) span: Span,
}

/// What YAML can say, as far as manifests use it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is spelled.
    Number(String),
    /// Anything else, and all that is quoted.
    Text(String),
    /// `[a, b]`, or lines that begin with `-`.
    List(Vec<Node>),
    /// `{a: 1}`, or lines `a: 1`.
    Map(Vec<Entry>),
    /// What nobody can use; it was reported.
    Broken,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key; a number or a boolean counts as the text that spells it.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) key_span: Span,
    /// What it stands for.
    pub(super) value: Node,
}

/// A step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// The way from a document to a part of it, written `spec.ports[0].range`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// The whole document.
    pub(super) fn root() -> Self {
        Self::default()
    }

    /// The part that `dotted`, such as `spec.health`, leads to.
    pub(super) fn of(dotted: &str) -> Self {
        dotted.split('.').fold(Self::root(), Self::key)
    }

    /// The value of `key` in the map that this leads to.
    pub(super) fn key(mut self, key: &str) -> Self {
        self.0.push(Step::Key(key.to_owned()));
        self
    }

    /// The item at `index` of the list that this leads to.
    pub(super) fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// A place in the list that this leads to which is none of its items: where one was taken out.
    pub(super) fn hole(self) -> Self {
        self.index(usize::MAX)
    }

    /// Renames the index with which this goes on behind `list`.
    pub(super) fn move_item(&mut self, list: &Self, index: usize) {
        if let Some(Step::Index(at)) = self.0.get_mut(list.0.len()) {
            *at = index;
        }
    }

    /// Whether one of the two leads to the other or to a part of it.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    /// The value of `key`, where this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Takes out the items of lists that begin at one of `starts`.
    pub(super) fn remove_items(&mut self, starts: &BTreeSet<usize>) {
        match &mut self.value {
            Value::List(items) => {
                items.retain(|item| !starts.contains(&item.span.start));
                items.iter_mut().for_each(|item| item.remove_items(starts));
            }
            Value::Map(entries) => entries
                .iter_mut()
                .for_each(|entry| entry.value.remove_items(starts)),
            _ => {}
        }
    }

    /// The place of the key that `path` ends with, else that of its value.
    pub(super) fn key_place(&self, path: &Path, text: &str) -> Span {
        let mut around = path.clone();
        let key = match around.0.pop() {
            Some(Step::Key(key)) => self.follow(&around).and_then(|node| node.entry(&key)),
            _ => None,
        };
        key.map_or_else(|| self.place(path, text), |entry| entry.key_span.clone())
    }

    fn follow(&self, path: &Path) -> Option<&Node> {
        path.0
            .iter()
            .try_fold(self, |node, step| match (step, &node.value) {
                (Step::Key(key), _) => node.get(key),
                (Step::Index(index), Value::List(items)) => items.get(*index),
                _ => None,
            })
    }

    /// Whether it stands in a single line of `text`.
    pub(super) fn is_short(&self, text: &str) -> bool {
        let own = text.get(self.span.clone()).unwrap_or_default();
        !own.is_empty() && !own.trim_end().contains('\n')
    }

    /// The place that a complaint about `path` points at: a value of one line, else its key, and
    /// the nearest part around it where `path` leads to nothing.
    pub(super) fn place(&self, path: &Path, text: &str) -> Span {
        let mut node = self;
        let mut key = None;
        for step in &path.0 {
            let next = match step {
                Step::Key(name) => node.entry(name).map(|entry| {
                    key = Some(&entry.key_span);
                    &entry.value
                }),
                Step::Index(index) => match &node.value {
                    Value::List(items) => items.get(*index).inspect(|_| key = None),
                    _ => None,
                },
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        match key {
            Some(key) if !node.is_short(text) => key.clone(),
            _ => node.span.clone(),
        }
    }
}
