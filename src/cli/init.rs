//! `quaestor init`: a first manifest for a command.

use std::process::ExitCode;

use super::{args::InitArgs, output::say};
use crate::model::manifest::{self, Source};

pub(super) fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    let text = text(&args);
    // What is printed can be applied: a command may hold what a manifest gives a meaning to.
    let source = Source {
        name: "<init>".to_owned(),
        text: text.clone(),
    };
    manifest::read(&[source])?;
    say(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn text(args: &InitArgs) -> String {
    let InitArgs { name, command } = args;
    // JSON is YAML, and quotes where it has to.
    let words: Vec<String> = command
        .iter()
        .map(|word| serde_json::Value::from(word.as_str()).to_string())
        .collect();
    let words = words.join(", ");
    let serves = command.iter().any(|word| word.contains("{port"));
    let reached = match serves {
        true => {
            "  ports: [{name: main}]            # any free port; or port: 8080, or range: 8080-8089\n  \
             health: {tcp: {}, interval: 5s}  # or grpc, http: {path: /healthz}, exec, notify\n  \
             # load: {reportLoad: {}}         # or http, process, constant: who is the least busy\n"
        }
        false => {
            "  # With {port} in the command the instance gets a port, and is found by clients:\n  \
             # ports: [{name: main}]\n  \
             # health: {tcp: {}, interval: 5s}\n"
        }
    };
    format!(
        "# `quaestor explain spec.FIELD` says what each field means.\n\
         apiVersion: quaestor/v1\n\
         kind: Service\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
         replicas: 1\n  \
         command: [{words}]\n\
         {reached}  \
         restart: {{policy: always}}        # also when it ends by itself, with pauses that grow\n  \
         stop: {{signal: SIGTERM, grace: 30s}}\n  \
         # user: {name}\n  \
         # env: {{KEY: value}}\n"
    )
}
