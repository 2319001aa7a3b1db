//! What is recorded as events of this node and its instances.

use crate::{
    agent::session::Held,
    keys::Keys,
    model::{Instance, Name, event::Recorder},
    plan::news,
    store::{Chronicle, Store},
};

use super::Supervisor;

/// So many events of one node are kept: what a few dozen instances do within an hour.
const MOST: usize = 200;

/// What the agent of `node` records.
pub(super) fn chronicle(store: &Store, keys: &Keys, node: &Name) -> Chronicle {
    let recorder = Recorder::Agent(node.clone());
    let by = format!("agent {node}");
    Chronicle::new(store.clone(), keys.clone(), recorder, by, MOST)
}

impl Supervisor {
    /// Records under this session from now on.
    pub(super) fn tell_session(&mut self, held: Option<&Held>) {
        if held.is_some() && !self.chronicle.may_write() {
            self.chronicle.note([news::of_session(&self.config.node)]);
        }
        self.chronicle.guard(held.map(Held::guards));
    }

    /// What the agent before this one had written down of these could not be read.
    pub(in crate::agent) fn tell_broken(&mut self, broken: Vec<(Instance, String)>) {
        let node = &self.config.node;
        let notes = broken.into_iter();
        let notes = notes.map(|(name, why)| news::of_broken_record(node, name, &why));
        self.chronicle.note(notes);
    }

    /// Nothing is left of an instance.
    pub(super) fn tell_end(&mut self, name: &Instance) {
        let last = self.reporter.wanted(name).map(news::of_end);
        self.chronicle.note(last);
    }
}
