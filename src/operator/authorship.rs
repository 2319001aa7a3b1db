//! Who changed what of a service, as it is read and written.

use serde_json::{Value, json};

use super::{Operator, before::Before, decode};
use crate::{
    model::{Authorship, Edit, ServiceObject, ServiceSpec, applied::PAUSED, service::Metadata},
    plan::merge,
};

/// What is known; nothing where older versions wrote the service.
pub(super) fn read(before: &Before) -> Authorship {
    let stored = before.authorship.as_ref();
    stored.and_then(decode).unwrap_or_default()
}

/// A manifest as one document, whose fields are compared.
pub(super) fn document(metadata: &Metadata, spec: &ServiceSpec) -> Value {
    json!({"metadata": metadata, "spec": spec})
}

/// The fields in which the manifests of two objects differ, and whether one is paused.
pub(super) fn changed(before: &ServiceObject, after: &ServiceObject) -> Vec<String> {
    let document = |object: &ServiceObject| document(&object.metadata, &object.spec);
    let fields = merge::differences(&document(before), &document(after));
    let paused = (before.paused != after.paused).then(|| PAUSED.to_owned());
    let fields = fields.iter().map(|keys| merge::path(keys));
    fields.chain(paused).collect()
}

impl Operator {
    /// A change of this operator's, now.
    pub(super) fn edit(&self, how: &str, generation: u64) -> Edit {
        Edit {
            by: self.author.clone(),
            at: self.store.host().clock.timestamp(),
            how: how.to_owned(),
            generation,
        }
    }
}
