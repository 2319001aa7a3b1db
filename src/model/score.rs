//! Scores: expressions in CEL, the Common Expression Language, that say how well an endpoint suits a request.
//!
//! What is let in costs little whatever it is given: bounded in size and depth, and without loops (`all`,
//! `exists`, `map` and so on), so that its work grows with its length only.

use cel::{
    Env, Program,
    common::ast::{EntryExpr, Expr, IdedExpr},
};

/// What an expression can speak of.
pub const VARIABLES: [&str; 5] = ["endpoint", "load", "node", "labels", "request"];

/// Bytes of an expression.
const LONGEST: usize = 1024;

/// Parts of an expression: operators, names and values.
const MOST_PARTS: usize = 200;

/// An expression that may be evaluated.
#[derive(Debug)]
pub struct Score {
    program: Program,
    /// Which of [`VARIABLES`] it speaks of.
    variables: [bool; VARIABLES.len()],
}

/// Why a text is no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Wrong {
    /// What is wrong with it.
    pub message: String,
    /// Where: the byte at which that begins.
    pub at: usize,
}

impl Score {
    /// The score that `text` says.
    ///
    /// # Errors
    /// When it is no expression, or one that is not let in.
    pub fn new(text: &str) -> Result<Self, Wrong> {
        let wrong = |at, message: String| Wrong { message, at };
        if text.len() > LONGEST {
            return Err(wrong(0, format!("the score has more than {LONGEST} bytes")));
        }
        let program = Env::stdlib().compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let at = first.map_or(0, |error| offset(text, error.pos));
            let message = first.map_or("it cannot be read", |error| error.msg.as_str());
            let message = message.lines().next().unwrap_or_default();
            wrong(at, format!("the score is no CEL expression: {message}"))
        })?;
        let mut look = Look::default();
        look.at(program.expression());
        let place = |id| {
            let start = program
                .source_info()
                .offset_for(id)
                .map_or(0, |range| range.0);
            let mut characters = text.char_indices();
            characters.nth(start as usize).map_or(0, |(at, _)| at)
        };
        if let Some((id, message)) = look.wrong {
            return Err(wrong(place(id), message));
        }
        if look.parts > MOST_PARTS {
            let message = format!("the score has {} parts, more than {MOST_PARTS}", look.parts);
            return Err(wrong(0, message));
        }
        let references = program.references();
        let variables = VARIABLES.map(|name| references.has_variable(name));
        drop(references);
        Ok(Self { program, variables })
    }

    /// The expression.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Whether it speaks of this one of [`VARIABLES`].
    pub fn speaks_of(&self, variable: &str) -> bool {
        let mut known = VARIABLES.iter().zip(self.variables);
        known.any(|(name, spoken)| *name == variable && spoken)
    }
}

/// A walk over an expression.
#[derive(Default)]
struct Look {
    parts: usize,
    /// The first part that is not let in, and why.
    wrong: Option<(u64, String)>,
}

impl Look {
    fn at(&mut self, part: &IdedExpr) {
        self.parts += 1;
        match &part.expr {
            Expr::Ident(name) if !VARIABLES.contains(&name.as_str()) => {
                let known = VARIABLES.join(", ");
                self.refuse(part, format!("a score knows no `{name}`: it has {known}"));
            }
            Expr::Comprehension(_) => {
                let message = "a score must not loop: compare single values".to_owned();
                self.refuse(part, message);
            }
            Expr::Struct(_) => self.refuse(part, "a score must not make messages".to_owned()),
            Expr::Call(call) => {
                let function = call.func_name.as_str();
                if !FUNCTIONS.contains(&function) {
                    let known = FUNCTIONS.iter().filter(|name| !name.contains('_'));
                    let known = known.copied().collect::<Vec<_>>().join(", ");
                    let message = format!("a score has no function `{function}`: it has {known}");
                    self.refuse(part, message);
                }
                call.target.iter().for_each(|target| self.at(target));
                call.args.iter().for_each(|argument| self.at(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.at(element)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.at(&entry.key);
                        self.at(&entry.value);
                    }
                }
            }
            Expr::Select(select) => self.at(&select.operand),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn refuse(&mut self, part: &IdedExpr, message: String) {
        self.wrong.get_or_insert((part.id, message));
    }
}

/// What a score can call; the first are how the language names its operators.
const FUNCTIONS: [&str; 25] = [
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_==_",
    "_!=_",
    "_<_",
    "_<=_",
    "_>_",
    "_>=_",
    "_+_",
    "_-_",
    "_*_",
    "_/_",
    "_%_",
    "-_",
    "_[_]",
    "@in",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "double",
    "string",
];

/// The byte of `text` at a line and column, both from 1.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let mut characters = text[before.min(text.len())..].char_indices();
    characters
        .nth(column)
        .map_or(text.len(), |(at, _)| before + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let wrong = Score::new(text).unwrap_err();
        (wrong.at, wrong.message)
    }

    #[test]
    fn what_a_score_needs_is_let_in() {
        for text in [
            "1.0 - load.rate",
            "node.labels.dataset == request.dataset && load.rate < 0.8 ? 2.0 : 1.0 - load.rate",
            "has(request.dataset) && request['dataset'] in [labels.a, labels.b] ? 1 : null",
            "endpoint.instance.startsWith('worker-') ? double(load.current) : -1.0",
        ] {
            let score = Score::new(text).unwrap();
            assert_eq!(score.speaks_of("load"), text.contains("load"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let (at, message) = wrong("1.0 - lod.rate");
        assert_eq!((at, message.contains("`lod`")), (6, true), "{message}");
        let (at, message) = wrong("[1].all(x, x > 0) ? 1 : 2");
        assert_eq!(
            (at < 8, message.contains("loop")),
            (true, true),
            "{message}"
        );
        let (_, message) = wrong("load.rate.matches('a')");
        assert!(message.contains("`matches`"), "{message}");
        let (at, message) = wrong("1.0 -");
        assert!(
            at >= 4 && message.contains("no CEL expression"),
            "{at} {message}"
        );
        assert!(wrong(&"1+".repeat(600)).1.contains("1024 bytes"));
        assert!(wrong(&format!("1{}", "+1".repeat(150))).1.contains("parts"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[ -~]{0,60}|[\\PC]{0,20}|[()\\[\\]{}?:.,a1'\"+-]{0,40}") {
            if let Err(wrong) = Score::new(&text) {
                prop_assert!(text.is_char_boundary(wrong.at));
            }
        }
    }
}
