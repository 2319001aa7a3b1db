//! Whose turn it is to be replaced.
//!
//! So many at a time that enough stay available: `rollout.maxUnavailable` counts all that is missing or
//! not ready, whatever the cause. Those that serve nobody anyway go first and cost nothing, then the lowest
//! slot.

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
    /// Whether it keeps another template on purpose: behind a partition, or while the rollout is paused.
    pub held: bool,
    /// Whether its process is the one that its assignment asks for, so that its agent does not replace it.
    pub steady: bool,
    /// Whether its agent may recycle its process at any moment.
    pub recycled: bool,
    /// The generation of its assignment; none while it has none.
    pub generation: Option<u64>,
}

impl Member<'_> {
    /// Whether it cannot stay as it is.
    pub fn is_due(&self) -> bool {
        self.leaves || self.is_outdated()
    }

    /// Whether it is to be made anew from another template.
    pub fn is_outdated(&self) -> bool {
        !(self.current || self.held)
    }

    /// Whether it is as it should be, and its agent has taken that up.
    pub fn is_updated(&self) -> bool {
        self.has_taken_up() && !self.leaves && !self.held
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

    /// Whether it is available, and its agent is not about to replace its process.
    pub fn is_available(&self) -> bool {
        self.live && self.steady && self.state.is_some_and(InstanceState::is_available)
    }

    /// Whether it does what can be asked of it: it is available, or has done its work.
    pub fn is_settled(&self) -> bool {
        let done = self
            .state
            .is_some_and(|state| state.phase == Phase::Completed);
        self.is_available() || (done && self.has_taken_up())
    }

    /// Whether it does, and goes on doing so if nobody replaces it.
    fn counts(&self) -> bool {
        self.is_settled() && !self.recycled
    }

    /// Whether it was given up, or what it had to do ended in failure: nothing is tried any more.
    pub fn has_failed(&self) -> bool {
        let badly = |state: &InstanceState| match state.phase {
            Phase::Failed => true,
            Phase::Completed => state
                .last_exit
                .as_ref()
                .is_some_and(|exit| exit.code != Some(0)),
            _ => false,
        };
        self.has_taken_up() && self.state.is_some_and(badly)
    }

    /// Whether the rollout has nothing more to do about it.
    pub fn is_finished(&self) -> bool {
        (self.held || self.is_updated()) && self.is_settled()
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
                } else if state.settling {
                    text.push_str(", ready for too short a time");
                } else if !self.steady {
                    text.push_str(", to be replaced");
                }
                text
            }
        }
    }
}

/// Those of `members` that are to be replaced, the first choice first.
pub fn queue<'a>(members: &[Member<'a>]) -> Vec<Member<'a>> {
    let due = members.iter().filter(|member| member.is_due());
    let mut queue: Vec<Member<'a>> = due.copied().collect();
    queue.sort_by_key(|member| (member.is_ready(), member.slot));
    queue
}

/// How many of those that do their part may be taken from their processes.
#[derive(Clone, Copy, Debug)]
pub struct Spare {
    settled: usize,
    least: usize,
}

impl Spare {
    /// Of `members`, so many have to be settled at `least`. One that is about to be recycled does not count.
    pub fn of<'m, 'a: 'm>(members: impl Iterator<Item = &'m Member<'a>>, least: usize) -> Self {
        Self {
            settled: members.filter(|member| member.counts()).count(),
            least,
        }
    }

    /// Whether `member` may be replaced. One that is not ready costs nobody anything; one that is ready but
    /// does not count yet may go while enough others do.
    pub fn allows(&self, member: &Member<'_>) -> bool {
        let cost = usize::from(member.counts());
        !member.is_ready() || self.settled >= self.least + cost
    }

    /// `member` is replaced.
    pub fn take(&mut self, member: &Member<'_>) {
        self.settled -= usize::from(member.counts()).min(self.settled);
    }

    /// So many are settled.
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// So many have to be, at least.
    pub fn least(&self) -> usize {
        self.least
    }
}
