//! Whose turn it is to be replaced.
//!
//! One instance of a service at a time, and only while every one that was replaced or newly placed has
//! become ready. Those that serve nobody anyway go first, then the lowest slot.

use crate::model::{InstanceState, Name, Phase};

/// An instance that stays, with its assignment as this plan leaves it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The slot.
    pub slot: u32,
    /// The node.
    pub node: &'a Name,
    /// Whether the node's agent is present.
    pub live: bool,
    /// What is observed.
    pub state: Option<&'a InstanceState>,
    /// Whether its assignment asks for the current revision.
    pub current: bool,
    /// Whether its state shows the current revision.
    pub shown: bool,
    /// Whether it has to leave its node, or its port numbers.
    pub leaves: bool,
    /// The generation of its assignment; none while it has none.
    pub generation: Option<u64>,
}

impl Member<'_> {
    /// Whether it cannot stay as it is.
    pub fn is_due(&self) -> bool {
        self.leaves || !self.current
    }

    /// Whether it is as it should be, and its agent has taken that up.
    pub fn is_updated(&self) -> bool {
        self.has_taken_up() && !self.leaves
    }

    /// Whether its agent has taken up an assignment of the current revision.
    fn has_taken_up(&self) -> bool {
        let generation = self.state.map(|state| state.observed_generation);
        self.current && self.shown && generation >= self.generation
    }

    /// Whether clients may be sent to it, as far as is known.
    pub fn is_ready(&self) -> bool {
        self.live && self.state.is_some_and(|state| state.ready)
    }

    /// Whether its replacement or start is over, so that the next one may be touched. That its node
    /// has gone since is no reason to hold up the others.
    pub fn is_settled(&self) -> bool {
        let done = |state: &InstanceState| state.ready || state.phase == Phase::Completed;
        self.has_taken_up() && self.state.is_some_and(done)
    }

    /// What it does, for people.
    pub fn describe(&self, service: &Name) -> String {
        let who = format!("{service}-{} on {}", self.slot, self.node);
        match self.state {
            _ if !self.live => format!("{who}: the agent is not connected"),
            None => format!("{who}: not started yet"),
            Some(state) => {
                let phase = format!("{:?}", state.phase);
                let mut text = format!("{who}: {phase}");
                if !state.reason.is_empty() && state.reason != phase {
                    text.push_str(&format!(" ({})", state.reason));
                }
                if !state.message.is_empty() {
                    text.push_str(&format!(": {}", state.message));
                }
                text
            }
        }
    }
}

/// Those of `members` of which one may be replaced now, the first choice first.
pub fn queue<'a>(members: &[Member<'a>]) -> Vec<Member<'a>> {
    let in_flight = in_flight(members).map(|member| member.slot);
    let mut queue: Vec<Member<'a>> = (members.iter())
        .filter(|member| member.is_due())
        .filter(|m| in_flight.is_none_or(|slot| slot == m.slot && !m.is_ready()))
        .copied()
        .collect();
    queue.sort_by_key(|member| (member.is_ready(), member.slot));
    queue
}

/// The instance that has to become ready before the next one is replaced. One that is not ready and
/// has to leave comes last: nothing but its own move may make it ready.
pub fn in_flight<'m, 'a>(members: &'m [Member<'a>]) -> Option<&'m Member<'a>> {
    members
        .iter()
        .filter(|member| member.current && !member.is_settled())
        .min_by_key(|member| (member.leaves && !member.is_ready(), member.slot))
}
