//! What is heard of the agents' units: one stream per node that matters.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{AbortHandle, BoxStream, FuturesUnordered, abortable},
};

use super::{Agent, Agents, Unreachable};
use crate::{
    host::Host,
    model::{Name, ticket::Board},
    retry::Retry,
};

/// Pauses between attempts to reach an agent.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

type Boards = BoxStream<'static, Result<Board, Unreachable>>;

/// The streams.
#[derive(Default)]
pub(super) struct Links {
    links: BTreeMap<Name, Link>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Counts links, so that news of an earlier one is not taken for news of its successor.
    made: u64,
}

struct Link {
    number: u64,
    agent: Agent,
    end: AbortHandle,
    retry: Retry,
    /// Whether it has said what there is.
    speaks: bool,
}

/// Something of the link `number` to a node.
struct Event {
    node: Name,
    number: u64,
    what: What,
}

enum What {
    Said(Option<Result<Board, Unreachable>>, Boards),
    Paused,
}

/// What there is to know.
pub(super) enum News {
    /// These are all units of the node.
    Board(Name, Board),
    /// Nobody knows what there is.
    Lost(Name),
}

impl Links {
    /// Keeps links to these agents and no others. Returns the nodes that are not heard any more.
    pub(super) fn want(
        &mut self,
        wanted: &BTreeSet<Name>,
        agents: &BTreeMap<Name, Agent>,
        by: &dyn Agents,
    ) -> Vec<Name> {
        let is_wanted = |node: &Name, link: &mut Link| {
            wanted.contains(node) && agents.get(node).is_none_or(|agent| *agent == link.agent)
        };
        let (kept, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.links)
            .into_iter()
            .map(|(node, mut link)| {
                let keep = is_wanted(&node, &mut link);
                (node, (link, keep))
            })
            .partition(|(_, (_, keep))| *keep);
        self.links = kept
            .into_iter()
            .map(|(node, (link, _))| (node, link))
            .collect();
        let mut lost = Vec::new();
        for (node, (link, _)) in rest {
            link.end.abort();
            lost.push(node);
        }
        for node in wanted {
            if let (None, Some(agent)) = (self.links.get(node), agents.get(node)) {
                self.open(agent.clone(), Retry::new(RETRY.0, RETRY.1), by);
            }
        }
        lost
    }

    /// The next news. Cancel-safe; pending while there are no links.
    pub(super) async fn next(&mut self, host: &Host, by: &dyn Agents) -> News {
        loop {
            let Some(event) = self.events.next().await else {
                return std::future::pending().await;
            };
            let Event { node, number, what } = event;
            let Some(link) = self
                .links
                .get_mut(&node)
                .filter(|link| link.number == number)
            else {
                continue;
            };
            match what {
                What::Said(Some(Ok(board)), boards) => {
                    link.retry.reset();
                    link.speaks = true;
                    self.events.push(heard(node.clone(), number, boards));
                    return News::Board(node, board);
                }
                What::Said(why, _) => {
                    if let Some(Err(error)) = why {
                        tracing::debug!(%node, %error, "the agent's units are not known");
                    }
                    link.speaks = false;
                    let pause = host.clock.sleep(link.retry.pause(&*host.entropy));
                    let event = Event {
                        node: node.clone(),
                        number,
                        what: What::Paused,
                    };
                    self.events.push(pause.map(move |()| event).boxed());
                    return News::Lost(node);
                }
                What::Paused => {
                    if let Some(link) = self.links.remove(&node) {
                        self.open(link.agent, link.retry, by);
                    }
                }
            }
        }
    }

    /// Of these nodes, those whose units are not known.
    pub(super) fn silent<'a>(&self, nodes: impl Iterator<Item = &'a Name>) -> Vec<Name> {
        let speaks = |node: &Name| self.links.get(node).is_some_and(|link| link.speaks);
        let mut silent: Vec<Name> = nodes.filter(|node| !speaks(node)).cloned().collect();
        silent.dedup();
        silent
    }

    fn open(&mut self, agent: Agent, retry: Retry, by: &dyn Agents) {
        self.made += 1;
        let number = self.made;
        let (boards, end) = abortable(by.watch(&agent));
        self.events
            .push(heard(agent.node.clone(), number, boards.boxed()));
        let link = Link {
            number,
            end,
            retry,
            speaks: false,
            agent,
        };
        self.links.insert(link.agent.node.clone(), link);
    }
}

fn heard(node: Name, number: u64, boards: Boards) -> BoxFuture<'static, Event> {
    let event = boards.into_future().map(move |(said, boards)| Event {
        node,
        number,
        what: What::Said(said, boards),
    });
    event.boxed()
}
