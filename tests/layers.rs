//! The architecture's rules, held over `src/`: who may use whom, what is named where, how long a file is.
//!
//! - [`Levels`]: a module uses only modules of the levels above its own in the table of `src/lib.rs`,
//!   which is read from there, and the [`SIDEWAYS`] steps within a level, but for [`CUTS`].
//! - [`BANS`]: crates and constructs that belong into a few places.
//! - [`LONGEST`]: no file is longer.
//! - [`SMALL_PROGRAMS`] and what they share with the library are built on std and rustix alone.
//!
//! Tests inside `src/` (`#[cfg(test)]`, `tests.rs`) may use what they like. What is read are tokens:
//! comments and strings do not count, and `use` trees are flattened (`syntax`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "layers/syntax.rs"]
mod syntax;
#[path = "layers/cases.rs"]
mod the_rules_find;

use std::{collections::BTreeMap, fmt, fs, path::Path as FilePath};
use syntax::{Kind, Path, Token};

/// Lines that a file may have. Past it, a file holds more than one noun.
const LONGEST: usize = 500;

/// `(user, used, why)`: what a module may use of its own level. `*`: any module of that level that is not
/// itself offered to all.
const SIDEWAYS: &[(&str, &str, &str)] = &[
    (
        "keys",
        "model",
        "keys are built from names and parsed into them",
    ),
    (
        "*",
        "host",
        "the seams to the outside world are for every adapter",
    ),
    ("*", "retry", "so are the pauses between attempts"),
    ("*", "task", "so is the way to run a task"),
    (
        "host",
        "metrics",
        "what a machine's parts count goes with it",
    ),
    ("retry", "host", "pauses vary by the injected randomness"),
    (
        "store",
        "grpc",
        "the embedded store is served like every server of ours",
    ),
];

/// `(user, used, why not)`: what a module may not use although it lies above.
const CUTS: &[(&str, &str, &str)] = &[
    (
        "rpc",
        "store",
        "a request is answered from the view, without a call to the store",
    ),
    (
        "http",
        "store",
        "a request is answered from the view, without a call to the store",
    ),
    (
        "dns",
        "store",
        "a question is answered from the view, without a call to the store",
    ),
    ("worker", "store", "a worker needs no store"),
];

/// A crate or construct with the places that may name it, or those that may not.
struct Ban {
    /// Beginnings of paths; a single `word` is a crate or keyword.
    names: &'static [&'static str],
    place: Place,
    why: &'static str,
}

/// Beginnings of file names below `src/`.
enum Place {
    Only(&'static [&'static str]),
    Not(&'static [&'static str]),
}

/// Every place on a list has earned it; the reason stands beside it.
const BANS: &[Ban] = &[
    Ban {
        names: &["etcd_client"],
        place: Place::Only(&["store/"]),
        why: "only the store knows which store it is",
    },
    Ban {
        names: &[
            "tonic",
            "tonic_health",
            "tonic_reflection",
            "tonic_prost",
            "prost",
        ],
        place: Place::Only(&[
            "grpc.rs",    // how servers run
            "store/",     // speaks etcd's protocol, and serves it
            "rpc/",       // the balancer's service and its client
            "probe/grpc", // asks workers about their health and load
            "worker/",    // what workers serve
            "proto.rs",   // the generated messages
        ]),
        why: "wire formats stay at the edges; what is behind them speaks `model`",
    },
    Ban {
        names: &["rustls", "tokio_rustls", "rcgen", "x509_parser"],
        place: Place::Only(&["tls/"]),
        why: "whom to trust is decided in one place",
    },
    Ban {
        names: &["axum"],
        place: Place::Only(&["http/"]),
        why: "one surface speaks HTTP; others use what answers it",
    },
    Ban {
        names: &["prometheus_client"],
        place: Place::Only(&["metrics/"]),
        why: "who counts says what happened; how it is told is another matter",
    },
    Ban {
        names: &[
            "opentelemetry",
            "opentelemetry_otlp",
            "opentelemetry_sdk",
            "tracing_opentelemetry",
        ],
        place: Place::Only(&[
            "rpc/trace.rs",     // whose child a call is
            "cli/telemetry.rs", // where spans are sent
        ]),
        why: "spans are tracing's; where they go is another matter",
    },
    Ban {
        names: &["ratatui", "crossterm"],
        place: Place::Only(&[
            "cli/top/",      // draws a screen
            "cli/output.rs", // knows how large the terminal is
        ]),
        why: "commands print lines; one of them draws",
    },
    Ban {
        names: &["hickory_proto"],
        place: Place::Only(&["dns/"]),
        why: "one surface speaks DNS",
    },
    Ban {
        names: &["clap", "anyhow"],
        place: Place::Only(&["cli/", "main.rs"]),
        why: "modules take typed arguments and give typed errors; only the command line prints",
    },
    Ban {
        names: &[
            "std::process::Command",
            "std::process::Child",
            "std::process::Stdio",
            "tokio::process",
            "process::Command",
        ],
        place: Place::Only(&["process/"]),
        why: "processes start and end in one place, or some outlive us",
    },
    Ban {
        names: &["rustix::process", "std::os::unix", "std::os::windows"],
        place: Place::Only(&[
            "process/",
            "host/disk", // file permissions and locks
        ]),
        why: "systems differ behind the seams only",
    },
    Ban {
        names: &["unsafe"],
        place: Place::Only(&[
            "bin/quaestor-shim/raw.rs",
            "bin/quaestor-shim/windows/raw.rs",
            "process/windows/", // job objects, the service manager
        ]),
        why: "what the compiler cannot check is argued for in one place",
    },
    Ban {
        names: &[
            "tokio",
            "std::fs",
            "std::env",
            "std::thread",
            "std::net::TcpStream",
            "getrandom",
            "async",
            "await",
        ],
        place: Place::Not(&["model/", "keys.rs", "keys/", "proto.rs", "plan/", "view/"]),
        why: "nouns and decisions are pure: time, randomness and the world's state are arguments",
    },
];

/// Programs that run beside every instance, and what they compile of the library. To stay small they
/// name no dependency but rustix, nor the library. What they do to processes, files and memory is their
/// purpose: levels and [`BANS`] are not for them.
const SMALL_PROGRAMS: &[&str] = &["bin/quaestor-shim/", "process/shim/wire/"];

/// `cfg(unix)` and its like, which are a [`Ban`] on words inside of an attribute.
const SYSTEMS: &[&str] = &["unix", "windows", "target_os", "target_family"];
const SYSTEM_FILES: &[&str] = &["process/", "host/disk"];

/// A place that breaks a rule.
#[derive(Debug, PartialEq)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
    remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            remedy,
        } = self;
        write!(f, "src/{file}:{line}: {rule}\n    remedy: {remedy}")
    }
}

/// The level of every module, from the table in the header of `src/lib.rs`.
struct Levels(BTreeMap<String, usize>);

impl Levels {
    /// Reads rows such as ``//! | 1 decisions | [`plan`], [`view`] | pure functions |``.
    fn read(lib: &str) -> Self {
        let mut levels = BTreeMap::new();
        for row in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let mut cells = row.split('|');
            let level = cells
                .next()
                .and_then(|cell| cell.split(' ').next()?.parse().ok());
            if let (Some(level), Some(modules)) = (level, cells.next()) {
                levels.extend(
                    modules
                        .split('`')
                        .skip(1)
                        .step_by(2)
                        .map(|module| (module.to_owned(), level)),
                );
            }
        }
        // The program is the command line's caller.
        levels.insert("main".to_owned(), usize::MAX);
        Self(levels)
    }

    /// Why `user` may not use `used`; `None` where it may.
    fn forbid(&self, user: &str, used: &str) -> Option<String> {
        let (Some(own), Some(other)) = (self.0.get(user), self.0.get(used)) else {
            let unknown = if self.0.contains_key(user) {
                used
            } else {
                user
            };
            return Some(format!(
                "`{unknown}` is not in the table of levels in src/lib.rs"
            ));
        };
        if let Some((.., why)) = CUTS
            .iter()
            .find(|(from, to, _)| (*from, *to) == (user, used))
        {
            return Some(format!("`{user}` uses `{used}`: {why}"));
        }
        let sideways = || {
            let offered = SIDEWAYS
                .iter()
                .any(|(from, to, _)| (*from, *to) == ("*", user));
            SIDEWAYS
                .iter()
                .any(|(from, to, _)| *to == used && (*from == user || *from == "*" && !offered))
        };
        (user != used && !(other < own || own == other && sideways()))
            .then(|| format!("`{user}` (level {own}) uses `{used}` (level {other})"))
    }
}

/// What the file `file` (relative to `src/`) breaks.
fn check(file: &str, text: &str, levels: &Levels) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut violate = |line, rule: String, remedy: &str| {
        let remedy = remedy.to_owned();
        violations.push(Violation {
            file: file.to_owned(),
            line,
            rule,
            remedy,
        });
    };
    let lines = text.lines().count();
    if lines > LONGEST {
        violate(
            lines,
            format!("{lines} lines, more than {LONGEST}"),
            "split the file by its nouns",
        );
    }
    if file.ends_with("/tests.rs") || file.contains("/tests/") {
        return violations;
    }

    let tokens = syntax::without_tests(&syntax::tokens(text));
    let paths = syntax::paths(&tokens);
    if is_in(file, SMALL_PROGRAMS) {
        let large = dependencies();
        let is_large = |path: &&Path| large.contains(&path.segments[0]);
        for path in paths.iter().filter(is_large) {
            violate(
                path.line,
                format!(
                    "`{}` in a program that runs beside every instance",
                    path.segments[0]
                ),
                "use std or rustix; what both programs share goes to process/shim/wire",
            );
        }
        if file.starts_with("bin/") {
            return violations;
        }
    }
    let module = file
        .split('/')
        .next()
        .unwrap_or(file)
        .trim_end_matches(".rs");
    for path in paths.iter().filter(|_| file != "lib.rs") {
        let Some(used) = module_used(file, path) else {
            continue;
        };
        if let Some(rule) = levels.forbid(module, used) {
            violate(
                path.line,
                rule,
                "take what is needed as an argument, or move it to the level that owns it",
            );
        }
    }

    for ban in BANS.iter().filter(|ban| !ban.allows(file)) {
        for (line, name) in named(ban, &tokens, &paths) {
            let rule = match ban.place {
                Place::Only(places) => {
                    format!("`{name}` belongs in {}: {}", places.join(", "), ban.why)
                }
                Place::Not(_) => format!("`{name}`: {}", ban.why),
            };
            violate(
                line,
                rule,
                "move the code to where it belongs, and use it through types of that module's own",
            );
        }
    }
    if !is_in(file, SYSTEM_FILES) {
        for line in system_conditions(&tokens) {
            let rule = format!(
                "a condition on the system belongs in {}",
                SYSTEM_FILES.join(", ")
            );
            violate(
                line,
                rule,
                "put the difference behind a function of those modules",
            );
        }
    }
    violations
}

/// The top-level module that a path leads to, from the root or by enough `super`s; `None` for other paths.
fn module_used<'p>(file: &str, path: &'p Path) -> Option<&'p str> {
    let segments = &path.segments;
    let first = match segments[0].as_str() {
        // The program's own name, in `main.rs`.
        "crate" | "quaestor" => 1,
        "super" => {
            let depth = file.split('/').count() - usize::from(file.ends_with("/mod.rs"));
            let supers = segments
                .iter()
                .take_while(|segment| *segment == "super")
                .count();
            if supers < depth {
                return None;
            }
            supers
        }
        _ => return None,
    };
    segments.get(first).map(String::as_str)
}

impl Ban {
    /// Whether the file may name it.
    fn allows(&self, file: &str) -> bool {
        match self.place {
            Place::Only(places) => is_in(file, places),
            Place::Not(places) => !is_in(file, places),
        }
    }
}

/// What a small program may not name: the library, and what the package depends on but for rustix.
fn dependencies() -> Vec<String> {
    let manifest = include_str!("../Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[").unwrap();
    let names = dependencies
        .lines()
        .filter_map(|line| line.split_once(" ="));
    let names = names.map(|(name, _)| name).chain(["quaestor"]);
    names.map(|name| name.replace('-', "_")).collect()
}

/// Whether the file is one of the places.
fn is_in(file: &str, places: &[&str]) -> bool {
    places.iter().any(|place| file.starts_with(place))
}

/// Where a file names what is banned.
fn named(ban: &Ban, tokens: &[Token], paths: &[Path]) -> Vec<(usize, String)> {
    let in_paths = paths.iter().filter_map(|path| {
        let spelled = path.segments.join("::");
        let name = ban.names.iter().find(|name| {
            spelled
                .strip_prefix(**name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })?;
        Some((path.line, (*name).to_owned()))
    });
    let keywords = tokens.iter().filter_map(|token| match &token.kind {
        Kind::Word(word) if ["unsafe", "async", "await"].contains(&word.as_str()) => ban
            .names
            .contains(&word.as_str())
            .then(|| (token.line, word.clone())),
        _ => None,
    });
    in_paths.chain(keywords).collect()
}

/// The lines of `cfg(...)`, `cfg_attr(...)` and `cfg!(...)` that name a system.
fn system_conditions(tokens: &[Token]) -> Vec<usize> {
    let is_condition = |token: &Token| token.is_word("cfg") || token.is_word("cfg_attr");
    let mut lines = Vec::new();
    for (index, token) in tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| is_condition(token))
    {
        let end = tokens[index..]
            .iter()
            .position(|token| token.is(')'))
            .unwrap_or(0);
        let mut condition = tokens[index..index + end].iter();
        if condition.any(|token| SYSTEMS.iter().any(|system| token.is_word(system))) {
            lines.push(token.line);
        }
    }
    lines
}

/// Every file below `src/`, by its name relative to it.
fn sources() -> BTreeMap<String, String> {
    fn gather(directory: &FilePath, root: &FilePath, sources: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, root, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                sources.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    gather(&root, &root, &mut sources);
    sources
}

#[test]
fn the_source_keeps_the_rules() {
    let sources = sources();
    let levels = Levels::read(&sources["lib.rs"]);
    let violations: Vec<String> = sources
        .iter()
        .flat_map(|(file, text)| check(file, text, &levels))
        .map(|violation| violation.to_string())
        .collect();
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn every_module_has_a_level() {
    let sources = sources();
    let levels = Levels::read(&sources["lib.rs"]);
    let declared: Vec<&str> = sources["lib.rs"]
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert!(
        declared.len() > 10,
        "src/lib.rs declares its modules as `pub mod name;`"
    );
    for module in declared {
        assert!(
            levels.0.contains_key(module),
            "`{module}` is not in the table of levels in src/lib.rs"
        );
    }
}

#[test]
fn every_named_place_and_module_is_there() {
    let sources = sources();
    let levels = Levels::read(&sources["lib.rs"]);
    for (user, used, _) in SIDEWAYS.iter().chain(CUTS) {
        assert!(
            *user == "*" || levels.0.contains_key(*user),
            "no module `{user}`"
        );
        assert!(levels.0.contains_key(*used), "no module `{used}`");
    }
    let places = BANS.iter().flat_map(|ban| match ban.place {
        Place::Only(places) | Place::Not(places) => places,
    });
    for place in places.chain(SYSTEM_FILES) {
        assert!(
            sources.keys().any(|file| file.starts_with(place)),
            "no file src/{place}..."
        );
    }
}
