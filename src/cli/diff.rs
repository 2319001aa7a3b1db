//! `quaestor diff`: what `apply` would change, and what of that restarts instances.

use std::{collections::BTreeMap, process::ExitCode};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use serde_json::{Value, json};
use similar::TextDiff;

use super::{
    args::DiffArgs,
    complain, files,
    output::{BAD, clean, note, say},
};
use crate::{
    model::{
        ServiceObject,
        manifest::{self, Manifest},
        secrecy::conceal,
    },
    operator::{
        Operator,
        apply::{Change, Preview, by},
    },
    plan::{
        blueprint::Blueprint,
        impact::{Effect, impact},
    },
};

/// Something differs, as diff(1) says it.
const DIFFERS: u8 = 1;

/// It could not be found out.
const TROUBLE: u8 = 2;

/// So many lines around a change are shown.
const CONTEXT: usize = 3;

const TITLE: Style = Style::new().bold();
const OLD: Style = AnsiColor::Red.on_default();
const NEW: Style = AnsiColor::Green.on_default();
const PLACE: Style = AnsiColor::Cyan.on_default();

pub(super) async fn run(operator: anyhow::Result<Operator>, args: DiffArgs) -> ExitCode {
    let shown = match operator {
        Ok(operator) => show(&operator, &args).await,
        Err(error) => Err(error),
    };
    match shown {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(DIFFERS),
        Err(error) => {
            complain(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

/// Whether something differs.
async fn show(operator: &Operator, args: &DiffArgs) -> anyhow::Result<bool> {
    let mut differs = false;
    for manifest in files::manifests(&args.files)? {
        // Seen with force: what the manifest says is shown, and what stands in the way beside it.
        let preview = operator.preview(&manifest, true).await?;
        for conflict in &preview.conflicts {
            let by = by(conflict.edit.as_ref());
            note(clean(&format!(
                "{}: {} was changed by others ({by}); `apply` takes --force-conflicts",
                manifest.metadata.name, conflict.field
            )));
        }
        if preview.change == Change::Unchanged {
            continue;
        }
        differs = true;
        print(&manifest, &preview)?;
    }
    Ok(differs)
}

fn print(manifest: &Manifest, preview: &Preview) -> anyhow::Result<()> {
    let (before, after) = (preview.before.as_ref(), &preview.after);
    let name = &after.metadata.name;
    let stored = before.map_or("not stored".to_owned(), |before| {
        format!("stored, generation {}", before.generation)
    });
    say(format_args!(
        "{TITLE}--- service/{name} ({stored}){TITLE:#}"
    ))?;
    let source = clean(&manifest.origin.source);
    say(format_args!(
        "{TITLE}+++ service/{name} ({source}){TITLE:#}"
    ))?;
    let old = before.map_or(Ok(String::new()), |before| {
        text(before, Some(after), " (before)")
    })?;
    let new = text(after, before, " (after)")?;
    let diff = TextDiff::from_lines(&old, &new);
    let unified = diff.unified_diff().context_radius(CONTEXT).to_string();
    for line in unified.lines() {
        let line = clean(line);
        match line.as_bytes().first() {
            Some(b'-') => say(format_args!("{OLD}{line}{OLD:#}"))?,
            Some(b'+') => say(format_args!("{NEW}{line}{NEW:#}"))?,
            Some(b'@') => say(format_args!("{PLACE}{line}{PLACE:#}"))?,
            _ => say(line)?,
        }
    }
    for line in consequences(before, after) {
        say(format_args!("# {line}"))?;
    }
    Ok(())
}

/// The manifest as YAML without its secrets; one that is not as in `other` is marked.
fn text(
    object: &ServiceObject,
    other: Option<&ServiceObject>,
    mark: &str,
) -> anyhow::Result<String> {
    let value = |object: &ServiceObject| json!({"metadata": object.metadata, "spec": object.spec});
    let shown = conceal("", &value(object), other.map(value).as_ref(), mark);
    let part = |name: &str| shown.get(name).cloned().unwrap_or(Value::Null);
    let metadata = serde_json::from_value(part("metadata"));
    let spec = serde_json::from_value(part("spec"));
    let cannot = "cannot print the manifest";
    manifest::to_yaml(&metadata.context(cannot)?, &spec.context(cannot)?).context(cannot)
}

/// What the change does to what runs, in a line for each kind of consequence.
fn consequences(before: Option<&ServiceObject>, after: &ServiceObject) -> Vec<String> {
    let Some(before) = before else {
        return vec!["a new service: its instances are started".to_owned()];
    };
    let mut fields: BTreeMap<Effect, Vec<String>> = BTreeMap::new();
    for (field, effect) in impact(before, after) {
        fields.entry(effect).or_default().push(field);
    }
    let revision = |object| Blueprint::new(object).revision();
    let line = |(effect, fields): (&Effect, &Vec<String>)| {
        let does = match effect {
            Effect::NewProcesses => format!(
                "{BAD}new processes{BAD:#} for all instances, as `rollout` says (revision {} -> {}){}",
                revision(before),
                revision(after),
                if after.paused {
                    ", once the rollout is resumed"
                } else {
                    ""
                }
            ),
            Effect::Moves => {
                "instances that do not fit any more are moved; no others restart".to_owned()
            }
            Effect::Number => {
                "instances are added or ended; those that stay are not restarted".to_owned()
            }
            Effect::Nothing => "nothing is restarted".to_owned(),
        };
        format!("{}: {does}", fields.join(", "))
    };
    fields.iter().map(line).collect()
}
