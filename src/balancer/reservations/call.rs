//! One caller on its way to a ticket.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::watch;
use tracing::Span;

use super::{
    Progress, Refusal, Shared,
    desk::{Command, Stage},
};
use crate::model::{
    Moment, Name,
    ticket::{Age, Stamp},
};

/// A balancer that could not be reached is not asked again for so long.
const AVOID: Duration = Duration::from_secs(2);

/// A caller whose queue has moved, or went away with its balancer, looks again after this time.
const AGAIN: Duration = Duration::from_millis(50);

/// Balancers that could not be reached, until when they are not asked, and the callers that there were.
#[derive(Default)]
pub(super) struct Avoided {
    until: Mutex<BTreeMap<Name, Moment>>,
    callers: AtomicU64,
}

/// A caller who waits for a ticket. Dropping it leaves the queue; a ticket that it was not told of yet is
/// given back.
pub struct Call {
    shared: Arc<Shared>,
    service: String,
    /// Since when the caller waits, here or elsewhere.
    since: Moment,
    /// What the last queue that it was in has told it.
    stamp: Option<Stamp>,
    forwarded: bool,
    at: At,
}

/// Where it waits.
enum At {
    Nowhere,
    Here(Visit),
    There(Name, BoxStream<'static, Result<Progress, Refusal>>),
    Done,
}

/// A caller in one of this balancer's queues.
struct Visit {
    shared: Arc<Shared>,
    caller: u64,
    stage: watch::Receiver<Stage>,
    served: bool,
}

impl Call {
    pub(super) fn new(shared: Arc<Shared>, service: String, age: Age, forwarded: bool) -> Self {
        Self {
            since: shared.host.clock.now() - age.waited,
            stamp: age.stamp,
            shared,
            service,
            forwarded,
            at: At::Nowhere,
        }
    }

    /// How far it is; none after the ticket.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Progress, Refusal>> {
        loop {
            let step = match &mut self.at {
                At::Done => return None,
                At::Nowhere => self.choose().err().map(Err),
                At::Here(visit) => visit.next().await,
                At::There(_, progress) => {
                    let ended = || {
                        Refusal::Unavailable("the balancer that keeps the queue is gone".to_owned())
                    };
                    Some(progress.next().await.unwrap_or_else(|| Err(ended())))
                }
            };
            let Some(step) = step else {
                continue;
            };
            if let (Err(why), At::There(keeper, _)) = (&step, &self.at) {
                match why {
                    Refusal::Unavailable(cause) => {
                        tracing::debug!(%keeper, cause, "the queue is looked for elsewhere");
                        self.avoid(keeper.clone());
                    }
                    Refusal::Moved => {}
                    _ => {
                        self.at = At::Done;
                        return Some(step);
                    }
                }
                self.look_again().await;
                continue;
            }
            if matches!(step, Err(Refusal::Moved)) && !self.forwarded {
                self.look_again().await;
                continue;
            }
            match &step {
                Ok(Progress::Waiting(waiting)) => self.stamp = waiting.stamp.or(self.stamp),
                _ => self.at = At::Done,
            }
            return Some(step);
        }
    }

    async fn look_again(&mut self) {
        self.at = At::Nowhere;
        let Shared { host, .. } = &*self.shared;
        host.clock
            .sleep(AGAIN.mul_f64(0.5 + host.entropy.fraction() / 2.0))
            .await;
    }

    /// Finds out where to wait, and goes there.
    fn choose(&mut self) -> Result<(), Refusal> {
        let known = self.shared.known.load();
        if !known.synced {
            return Err(Refusal::NotSynced);
        }
        let Some(service) = known.service(&self.service) else {
            let name = self.service.clone();
            return Err(match known.has(&name) {
                true => Refusal::Shared(name),
                false => Refusal::Unknown(name),
            });
        };
        let now = self.shared.host.clock.now();
        let avoided = self.shared.avoided.now(now);
        let keeper = known.keeper(service, |id| avoided.contains(id));
        let age = Age {
            waited: now.since(self.since),
            stamp: self.stamp,
        };
        self.at = match keeper {
            Some((id, address)) if *id != self.shared.id && !self.forwarded => {
                let progress = self.shared.peers.acquire(address, &self.service, age);
                At::There(id.clone(), progress)
            }
            _ => At::Here(Visit::enter(&self.shared, service.clone(), age)),
        };
        Ok(())
    }

    fn avoid(&self, keeper: Name) {
        let until = self.shared.host.clock.now() + AVOID;
        let mut avoided = self
            .shared
            .avoided
            .until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        avoided.insert(keeper, until);
    }
}

impl Avoided {
    fn now(&self, now: Moment) -> Vec<Name> {
        let mut avoided = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        avoided.retain(|_, until| *until > now);
        avoided.keys().cloned().collect()
    }
}

impl Visit {
    fn enter(shared: &Arc<Shared>, service: Name, age: Age) -> Self {
        let caller = shared.avoided.callers.fetch_add(1, Relaxed);
        let (sender, stage) = watch::channel(Stage::Entering);
        // Were the loop gone, the stage would say so.
        let _ = shared.commands.send(Command::Enter {
            service,
            caller,
            age,
            stage: sender,
            span: Span::current(),
        });
        Self {
            shared: Arc::clone(shared),
            caller,
            stage,
            served: false,
        }
    }

    /// None: nothing new yet.
    async fn next(&mut self) -> Option<Result<Progress, Refusal>> {
        if self.stage.changed().await.is_err() {
            let ending = "the balancer is ending; ask another one".to_owned();
            return Some(Err(Refusal::Unavailable(ending)));
        }
        let stage = self.stage.borrow_and_update().clone();
        match stage {
            Stage::Entering => None,
            Stage::Waiting(waiting) => Some(Ok(Progress::Waiting(waiting))),
            Stage::Ticket(ticket) => {
                self.served = true;
                Some(Ok(Progress::Ticket(ticket)))
            }
            Stage::Full(why) => Some(Err(Refusal::Full(why))),
            Stage::Moved => Some(Err(Refusal::Moved)),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Were the loop gone, nobody would be in its queues.
        let _ = self.shared.commands.send(Command::Leave {
            caller: self.caller,
            served: self.served,
        });
    }
}
