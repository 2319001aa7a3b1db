//! That the rules find what breaks them, and nothing else, on snippets.

use super::*;

/// What a file breaks, in a crate of three levels, as `line: rule` words.
fn broken(file: &str, text: &str) -> Vec<(usize, String)> {
    let levels = Levels::read(
        "//! | level | modules | what |\n//! |---|---|---|\n\
         //! | 0 nouns | [`model`], [`keys`] | a |\n//! | 1 decisions | [`plan`], [`view`] | b |\n\
         //! | 2 adapters | [`host`], [`retry`], [`store`], [`probe`] | c |\n\
         //! | 3 loops | [`agent`] | e |\n//! | 4 surfaces | [`rpc`] | d |",
    );
    check(file, text, &levels)
        .into_iter()
        .map(|violation| (violation.line, violation.rule))
        .collect()
}

/// Whether the file breaks one rule, at `line`, whose text contains `rule`.
#[track_caller]
fn assert_breaks(file: &str, text: &str, line: usize, rule: &str) {
    let broken = broken(file, text);
    assert!(
        broken.len() == 1 && broken[0].0 == line && broken[0].1.contains(rule),
        "not one violation of {rule} in line {line}: {broken:?}",
    );
}

#[track_caller]
fn assert_keeps(file: &str, text: &str) {
    assert_eq!(broken(file, text), []);
}

#[test]
fn a_use_of_a_lower_level() {
    assert_breaks(
        "plan/mod.rs",
        "//! x\nuse crate::store::Store;",
        2,
        "`plan` (level 1) uses `store` (level 2)",
    );
    assert_keeps("store/mod.rs", "use crate::plan::Plan;");
}

#[test]
fn a_use_deep_in_a_tree() {
    let text =
        "use crate::{\n    model::{self, Name as Label},\n    store::{\n        Store,\n    },\n};";
    assert_breaks("view/mod.rs", text, 4, "`view` (level 1) uses `store`");
}

#[test]
fn a_path_inside_an_expression() {
    assert_breaks(
        "model/a.rs",
        "fn a() -> u8 {\n    Vec::<crate::host::Clock>::new()\n}",
        2,
        "`host`",
    );
}

#[test]
fn a_use_by_super() {
    assert_breaks("plan/a.rs", "use super::super::store::Store;", 1, "`store`");
    assert_breaks("plan/mod.rs", "use super::store::Store;", 1, "`store`");
    assert_keeps("plan/a.rs", "use super::store::Store;");
}

#[test]
fn a_step_sideways() {
    assert_breaks(
        "store/mod.rs",
        "use crate::probe::Probe;",
        1,
        "`store` (level 2) uses `probe` (level 2)",
    );
    assert_keeps("store/mod.rs", "use crate::host::Host;");
    assert_breaks("host/mod.rs", "use crate::retry::Retry;", 1, "`retry`");
    assert_breaks("model/mod.rs", "use crate::keys::Keys;", 1, "`keys`");
    assert_keeps("keys.rs", "use crate::model::Name;");
}

#[test]
fn a_cut() {
    assert_breaks(
        "rpc/mod.rs",
        "use crate::store::Store;",
        1,
        "answered from the view",
    );
}

#[test]
fn an_unknown_module() {
    assert_breaks(
        "plan/mod.rs",
        "use crate::misc::Thing;",
        1,
        "`misc` is not in the table",
    );
}

#[test]
fn a_crate_out_of_its_place() {
    assert_breaks(
        "agent/mod.rs",
        "fn a(s: tonic::Status) {}",
        1,
        "`tonic` belongs in",
    );
    assert_keeps(
        "store/client.rs",
        "use etcd_client::Client;\nuse tonic::Status;",
    );
    assert_breaks("probe/http.rs", "use tonic;", 1, "`tonic`");
    assert_keeps("probe/grpc.rs", "use tonic::Status;");
    assert_keeps(
        "agent/mod.rs",
        "fn a(tonic: u8, tonic_like: tonic_like::B) { tonic }",
    );
}

#[test]
fn a_process_started_elsewhere() {
    assert_breaks(
        "agent/a.rs",
        "use std::process::{Command, ExitCode};",
        1,
        "`std::process::Command`",
    );
    assert_breaks(
        "agent/a.rs",
        "use std::{fmt, process};\nfn a() { process::Command::new(\"a\"); }",
        2,
        "Command",
    );
    assert_breaks(
        "agent/a.rs",
        "use tokio::process::Child;",
        1,
        "`tokio::process`",
    );
    assert_keeps("agent/a.rs", "use std::process::ExitCode;");
}

#[test]
fn what_is_not_pure() {
    assert_breaks("plan/a.rs", "async fn a() {}", 1, "`async`");
    assert_breaks("view/a.rs", "use tokio::sync::watch;", 1, "`tokio`");
    assert_breaks(
        "model/a.rs",
        "fn a() { std::fs::read(\"a\"); }",
        1,
        "`std::fs`",
    );
}

#[test]
fn a_condition_on_the_system() {
    assert_breaks(
        "agent/a.rs",
        "#[cfg(all(feature = \"a\", unix))]\nfn a() {}",
        1,
        "condition on the system",
    );
    assert_breaks(
        "agent/a.rs",
        "fn a() -> bool {\n cfg!(target_os = \"linux\") }",
        2,
        "condition on the system",
    );
    assert_keeps("process/mod.rs", "#[cfg(windows)]\nmod windows;");
}

#[test]
fn code_that_the_compiler_cannot_check() {
    assert_breaks("host/a.rs", "fn a() { unsafe { b() } }", 1, "`unsafe`");
    assert_keeps("bin/quaestor-shim/raw.rs", "fn a() { unsafe { b() } }");
    assert_keeps("host/a.rs", "#![deny(unsafe_code)]");
}

#[test]
fn a_file_that_is_too_long() {
    assert_breaks(
        "model/a.rs",
        &"\n".repeat(LONGEST + 1),
        LONGEST + 1,
        "501 lines",
    );
    assert_keeps("model/a.rs", &"\n".repeat(LONGEST));
}

#[test]
fn nothing_in_comments_strings_and_tests() {
    assert_keeps(
        "model/a.rs",
        "// crate::store\n/* crate::store /* unsafe */ crate::host */\n/// [`crate::store`]\nfn a() {}",
    );
    assert_keeps(
        "model/a.rs",
        r####"fn a<'a>() { ("crate::store \" unsafe", r#"" crate::host"#, '"', b'"', b"unsafe") }"####,
    );
    assert_keeps(
        "model/a.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n    fn a() {}\n}",
    );
    assert_keeps("model/a/tests.rs", "use crate::store::Store;");
}

#[test]
fn what_follows_a_string_or_a_test() {
    assert_breaks(
        "model/a.rs",
        "fn a() { '\\''; \"\n\\\\\"; r\"\\\"; unsafe {} }",
        2,
        "`unsafe`",
    );
    assert_breaks(
        "model/a.rs",
        "#[cfg(test)]\nuse crate::store::{A, B};\nuse crate::host::C;",
        3,
        "`host`",
    );
    assert_breaks(
        "model/a.rs",
        "#[cfg(test)]\nmod tests { fn a() {} }\nfn b() { crate::host::c() }",
        3,
        "`host`",
    );
}

#[test]
fn a_dependency_of_a_small_program() {
    for file in ["bin/quaestor-shim/main.rs", "process/shim/wire/mod.rs"] {
        assert_breaks(
            file,
            "use serde::Serialize;",
            1,
            "`serde` in a program that",
        );
        assert_breaks(
            file,
            "fn a() { tokio::spawn(b) }",
            1,
            "`tokio` in a program that",
        );
        assert_keeps(file, "use std::fs;\nuse rustix::fs::open;");
    }
    assert_keeps(
        "bin/quaestor-shim/raw.rs",
        "use crate::launch;\nunsafe { a() }",
    );
}
