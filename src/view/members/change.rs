//! From one set of members to the next, by what came and what left: nothing else is looked at.

use std::{ops::Range, sync::Arc};

use super::{Candidate, Members, by_place, most};
use crate::view::{
    Endpoint,
    roll::{Edit, Piece, pieces},
};

/// An endpoint that came, or one that left.
#[derive(Clone, Debug)]
pub(in crate::view) struct Change {
    /// Who it is.
    pub candidate: Candidate,
    /// Whether it is a member from now on.
    pub is_member: bool,
}

impl Change {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.candidate.endpoint
    }
}

/// What changes make of members.
struct Plan {
    /// Of those in normal use.
    edits: Vec<Edit>,
    /// Of the others, behind them.
    edits_of_last: Vec<Edit>,
    normal: usize,
    suspects: usize,
}

impl Members {
    /// The same members after some came or left, by the same terms; keys of those that stay are taken over. None where
    /// they have to be put together anew: many changed, several claim one place, or most are suspect.
    pub(in crate::view) fn after(&self, changes: Vec<Change>) -> Option<Self> {
        let len = self.endpoints.len();
        if self.had_doubles || most(self.suspects, len) || changes.len() > 16 + len / 4 {
            return None;
        }
        let changes = distinct(changes)?;
        let Plan {
            mut edits,
            mut edits_of_last,
            normal,
            suspects,
        } = self.plan(&changes)?;
        let mut keys = Vec::with_capacity(len + changes.len());
        self.edit_keys(0..self.normal, &edits, false, &mut keys);
        self.edit_keys(self.normal..len, &edits_of_last, true, &mut keys);
        edits.append(&mut edits_of_last);
        let endpoints = self.endpoints.edited(&edits);
        if most(suspects, endpoints.len()) {
            return None;
        }
        let near = match &self.near {
            Some(near) => Some(near.after(&self.terms, changes)?),
            None => None,
        };
        let terms = self.terms.clone();
        Some(Self {
            suspects,
            ..Self::of(endpoints, normal, keys, near, terms)
        })
    }

    fn plan(&self, changes: &[Change]) -> Option<Plan> {
        let (mut normal, mut suspects) = (self.normal, self.suspects);
        let (mut edits, mut edits_of_last) = (Vec::new(), Vec::new());
        for change in changes {
            let endpoint = change.endpoint();
            let (is_suspect, is_last) = (change.candidate.suspect, change.candidate.is_last());
            match self.search(|member| by_place(member, endpoint)) {
                Some(at) if Arc::ptr_eq(&self.endpoints[at], endpoint) => {
                    suspects -= usize::from(is_suspect);
                    normal -= usize::from(at < self.normal);
                    match at < self.normal {
                        true => edits.push(Edit::Take(at)),
                        false => edits_of_last.push(Edit::Take(at)),
                    }
                }
                // Another one's place.
                Some(_) if change.is_member => return None,
                _ => {}
            }
            if change.is_member {
                let (part, edits) = match is_last {
                    true => (self.normal..self.endpoints.len(), &mut edits_of_last),
                    false => (0..self.normal, &mut edits),
                };
                suspects += usize::from(is_suspect);
                normal += usize::from(!is_last);
                let precedes = |member: &Endpoint| by_place(member, endpoint).is_lt();
                let at = self.endpoints.partition_point(part, precedes);
                edits.push(Edit::Put(at, Arc::clone(endpoint)));
            }
        }
        Edit::sort(&mut edits);
        Edit::sort(&mut edits_of_last);
        Some(Plan {
            edits,
            edits_of_last,
            normal,
            suspects,
        })
    }

    /// Adds to `keys` those of a part after its `edits`. Who is picked meanwhile is busier than its key says, which
    /// whoever picks it next notices.
    fn edit_keys(&self, part: Range<usize>, edits: &[Edit], is_last: bool, keys: &mut Vec<u32>) {
        for piece in pieces(part, edits) {
            match piece {
                Piece::Kept(kept) => keys.extend(kept.map(|at| self.tree.key(at))),
                Piece::New(endpoint) => keys.push(self.terms.key(endpoint, is_last)),
            }
        }
    }
}

/// Each endpoint once, in the order of places; none if two claim one.
fn distinct(mut changes: Vec<Change>) -> Option<Vec<Change>> {
    changes.sort_by(|a, b| {
        let (a, b) = (a.endpoint(), b.endpoint());
        by_place(a, b).then_with(|| Arc::as_ptr(a).cmp(&Arc::as_ptr(b)))
    });
    changes.dedup_by(|b, a| Arc::ptr_eq(a.endpoint(), b.endpoint()));
    let mut pairs = changes.windows(2);
    let claim_one = pairs.any(|pair| by_place(pair[0].endpoint(), pair[1].endpoint()).is_eq());
    (!claim_one).then_some(changes)
}
