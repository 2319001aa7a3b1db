//! `quaestor apply --prune`: services that are in no file any more end, once somebody agreed.

use std::{collections::BTreeSet, io::BufRead as _};

use anyhow::{Context as _, bail};

use super::{
    args::ApplyArgs,
    output::{clean, note, say, table},
};
use crate::{
    host::Host,
    model::{Name, manifest::Manifest, service::Labels},
    operator::{Operator, delete::Deletion, prune::Surplus},
};

/// From so many services on it takes more than a `y`: nobody means as many by accident.
const MASS: usize = 3;

/// The services that --prune would delete, which were shown and agreed to.
///
/// # Errors
/// When they were not agreed to.
pub(super) async fn ask(
    operator: &Operator,
    manifests: &[Manifest],
    args: &ApplyArgs,
) -> anyhow::Result<Vec<Surplus>> {
    let labels: Labels = args.selector.iter().cloned().collect();
    let selector: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let selector = clean(&selector.join(","));
    for manifest in manifests {
        let own = &manifest.metadata.labels;
        if labels
            .iter()
            .any(|(key, value)| own.get(key) != Some(value))
        {
            bail!(
                "service `{}` is applied, but does not have the labels {selector}, by which --prune knows what \
                 belongs together: add them to its metadata, or select by others",
                manifest.metadata.name
            );
        }
    }
    let kept: BTreeSet<Name> = manifests
        .iter()
        .map(|manifest| manifest.metadata.name.clone())
        .collect();
    let surplus = operator.surplus(&labels, &kept).await?;
    if surplus.is_empty() || args.dry_run {
        return Ok(surplus);
    }
    note(format_args!(
        "in no manifest, with the labels {selector}; to be deleted:"
    ));
    note(listed(&surplus));
    match args.yes {
        true if surplus.len() > args.prune_at_most => bail!(
            "{} services are more than the {} that --prune deletes unasked: nothing was changed; if they are meant, \
             say --prune-at-most {}",
            surplus.len(),
            args.prune_at_most,
            surplus.len()
        ),
        true => Ok(surplus),
        false if is_agreed(surplus.len())? => Ok(surplus),
        false => bail!("nothing was changed, and nothing deleted"),
    }
}

/// Deletes them. Who is gone from then on.
pub(super) async fn carry_out(
    operator: &Operator,
    host: &Host,
    surplus: &[Surplus],
    dry_run: bool,
) -> anyhow::Result<BTreeSet<Name>> {
    let mut gone = BTreeSet::new();
    for service in surplus {
        let name = &service.object.metadata.name;
        if dry_run {
            say(format_args!("service/{name} pruned (dry run)"))?;
            continue;
        }
        let deletion = operator.prune(service, host.clock.timestamp()).await;
        match deletion.context("a service could not be pruned")? {
            Deletion::Begun => say(format_args!("service/{name} pruned"))?,
            Deletion::UnderWay | Deletion::Unknown => {
                say(format_args!("service/{name} was deleted before"))?;
            }
        }
        gone.insert(name.clone());
    }
    Ok(gone)
}

fn listed(surplus: &[Surplus]) -> String {
    let row = |service: &Surplus| {
        let object = &service.object;
        let spec = &object.spec;
        let replicas = match (spec.one_per_node, spec.external.is_empty()) {
            (true, _) => "one per node".to_owned(),
            (_, false) => "external".to_owned(),
            _ => spec.replicas.unwrap_or(1).to_string(),
        };
        [
            format!("  {}", object.metadata.name),
            replicas,
            object.generation.to_string(),
        ]
    };
    let rows = surplus.iter().map(row);
    table(["  SERVICE", "REPLICAS", "GENERATION"], rows, "")
}

/// Asks on standard error, and reads the answer from standard input.
fn is_agreed(count: usize) -> anyhow::Result<bool> {
    let (question, wanted) = match count {
        0..MASS => ("delete them? y/N".to_owned(), "y".to_owned()),
        _ => (
            format!("these are {count} services; type {count} to delete them all"),
            count.to_string(),
        ),
    };
    note(&question);
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.context("cannot read an answer from standard input")? == 0 {
        bail!(
            "nobody is there to agree to it, and nothing was changed: say --yes if they are to be deleted unasked"
        );
    }
    let answer = answer.trim();
    Ok(
        answer.eq_ignore_ascii_case(&wanted)
            || (count < MASS && answer.eq_ignore_ascii_case("yes")),
    )
}
