//! The Python client of `clients/python` against whole clusters: its own tests, run by the tests' Python.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that starts a program"
)]

use std::{env, fs, path::Path, process::Command};

#[test]
fn the_python_client_keeps_its_promises() {
    let python = env::var_os("QUAESTOR_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let output = Command::new(python)
        .args(["-m", "unittest", "discover", "--start-directory", "tests"])
        .args(["--top-level-directory", "."])
        .current_dir(&client)
        .env("QUAESTOR", env!("CARGO_BIN_EXE_quaestor"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("Ran 0 tests"), "{told}");
}

#[test]
fn the_generated_messages_name_every_field_of_the_protocols() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for protocol in ["balancer", "reservations"] {
        let source = fs::read_to_string(root.join(format!("proto/{protocol}.proto"))).unwrap();
        let generated = format!("clients/python/quaestor_client/_proto/{protocol}_pb2.pyi");
        let generated = fs::read_to_string(root.join(generated)).unwrap();
        let fields = source.lines().filter_map(|line| {
            let declaration = line.trim().strip_suffix(';')?.split_once(" = ")?.0;
            declaration.rsplit(' ').next()
        });
        for field in fields.filter(|field| !["syntax"].contains(field)) {
            assert!(
                generated.contains(field),
                "{field} of {protocol}.proto is missing; run scripts/python-client"
            );
        }
    }
}
