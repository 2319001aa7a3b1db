//! Whether the clients of this balancer are known to know that an endpoint goes, for its agent ([`crate::plan::proof`]).

use std::{collections::BTreeMap, time::Duration};

use super::{
    answers::Answers,
    reservations::Reservations,
    xds::{Gone, place},
};
use crate::{
    host::Host,
    model::{Moment, Name},
    plan::proof::{Doubt, Evidence, Question, Testimony, testify},
    view::Leaver,
};

/// How often is looked whether the last client has said that it knows.
const LOOK: Duration = Duration::from_millis(5);

/// No question takes longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Answers such questions. Cheap to clone.
#[derive(Clone)]
pub struct Witness {
    answers: Answers,
    reservations: Reservations,
    host: Host,
    began: Moment,
}

impl Witness {
    /// That of a balancer that begins now.
    pub fn new(answers: Answers, reservations: Reservations, host: Host) -> Self {
        let began = host.clock.now();
        Self {
            answers,
            reservations,
            host,
            began,
        }
    }

    /// Which balancer this is.
    pub fn id(&self) -> &Name {
        self.reservations.id()
    }

    /// Waits until all clients are known to know, or that is certain not to happen within the window.
    ///
    /// # Errors
    /// Why they are not.
    pub async fn testify(&self, question: &Question) -> Result<(), Doubt> {
        let clock = &self.host.clock;
        let until = clock.now() + question.window.min(LONGEST);
        // What has been seen so far: a view that has the news, and the first assignments that have them.
        let (mut read, mut gone) = (None, Vec::new());
        let mut last = None;
        loop {
            let now = clock.now();
            let evidence = self.look(question, &mut read, &mut gone, now);
            match testify(&evidence, question.window) {
                Testimony::Known => return Ok(()),
                // It was stopped without a proof: for want of what was waited for.
                Testimony::Never(Doubt::Stays) => return Err(last.unwrap_or(Doubt::Stays)),
                Testimony::Never(doubt) => return Err(doubt),
                Testimony::NotYet(doubt) if now >= until => return Err(doubt),
                Testimony::NotYet(doubt) => {
                    last = Some(doubt);
                    clock.sleep(LOOK).await;
                }
            }
        }
    }

    fn look(
        &self,
        question: &Question,
        read: &mut Option<Moment>,
        gone: &mut Vec<Gone>,
        now: Moment,
    ) -> Evidence {
        let directory = self.answers.directory();
        if directory.seen() >= question.revision {
            read.get_or_insert(now);
        }
        let leaving = directory.leaving();
        let leaver = leaving.get(&question.whose);
        let endpoint = leaver.map(|leaver| &leaver.endpoint);
        let ago = |moment: Moment| now.since(moment);
        let (behind, left) = match leaver {
            Some(leaver) => self.clients(leaver, gone),
            None => (0, None),
        };
        Evidence {
            began: ago(self.began),
            // One look later: an answer that was made from the view before may not have been noted at the first.
            is_read: read.is_some_and(|read| read < now),
            is_leaving: leaver.is_some(),
            named: endpoint.and_then(|endpoint| endpoint.named()).map(ago),
            is_watched: endpoint.is_some_and(|endpoint| endpoint.is_watched()),
            is_mirrored: self.answers.is_mirrored(),
            knows_more: self.reservations.knows_others_than(&question.balancers),
            vanished: self.reservations.vanished().map(ago),
            left: left.map(ago),
            behind,
        }
    }

    /// How many xDS clients are behind, and when one left last.
    fn clients(&self, leaver: &Leaver, gone: &mut Vec<Gone>) -> (usize, Option<Moment>) {
        let place = place(leaver.endpoint.host(), leaver.endpoint.port());
        let surfaces = self.answers.xds();
        gone.resize_with(surfaces.len(), BTreeMap::new);
        let mut behind = 0;
        let mut left = None;
        for (xds, gone) in surfaces.iter().zip(gone) {
            behind += xds.behind(&leaver.names, &place, gone);
            left = left.max(xds.left(&leaver.names));
        }
        (behind, left)
    }
}
