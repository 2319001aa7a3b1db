//! `quaestor top`: the cluster on a terminal, live.
//!
//! - `state`: what is known and shown, as a pure function of `keys` and news; `rows`: its tables
//! - `screen`: the state, drawn
//! - `hands`: what is done for it
//!
//! What is shown is the dashboard's [`Board`]. The terminal is as before however this ends: on errors and signals by
//! [`Terminal`]'s end, on panics by ratatui's hook.

mod hands;
mod keys;
mod rows;
mod screen;
mod state;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use crossterm::event::{Event, EventStream, KeyEvent};
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream, stream::FuturesUnordered};
use ratatui::DefaultTerminal;
use tokio_util::sync::CancellationToken;

use self::{
    rows::View,
    state::{News, Pane, State, Wish},
};
use super::{
    args::{Global, TopArgs, TopView},
    security::{Security, endpoints},
    site::Agents,
};
use crate::{
    host::Host,
    operator::{
        Operator,
        board::{Board, Mark, Scope},
    },
    process::Terminations,
    rpc::tally::Balancers,
};

/// The time between two samples of the charts.
const STEP: Duration = Duration::from_secs(1);

/// Changes are drawn no more often than this...
const PAUSE: Duration = Duration::from_millis(150);

/// ... nor than that reading all of a large cluster takes up more than this part of the time.
const SHARE: u32 = 5;

/// What failed when the terminal did.
const UNDRAWN: &str = "the terminal cannot be drawn on";

/// How often ages grow.
const TICK: Duration = Duration::from_secs(1);

/// How often the store is asked whether it answers, and why things are as they are.
const PROBE: Duration = Duration::from_secs(2);

/// Shows the cluster until the user leaves.
pub(super) async fn run(global: &Global, host: Host, args: TopArgs) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!(
            "`top` needs a terminal; `quaestor get instances --watch` prints what changes anywhere"
        );
    }
    let security = Security::read(global, &host)?;
    let store = security.store(endpoints(global), &host)?;
    let operator = Operator::new(store.clone(), &global.cluster);
    let operator = operator.named(super::author(global, &host));
    // Who cannot begin is told so on the terminal as it is.
    operator.is_led().await?;
    let mut signals = Terminations::listen().context("cannot listen for signals")?;

    let board = Board::sampled(&host, Scope::Cluster, STEP);
    let network = security.network(&host);
    let balancers = Arc::new(Balancers::new(Arc::clone(&network)));
    let stop = CancellationToken::new();
    let _on_return = stop.clone().drop_guard();
    let keeper = board.clone();
    let keeping = keeper.keep(store, global.cluster.clone(), Some(balancers), stop);
    let keeping = std::pin::pin!(keeping);

    let view = args.view.map_or(View::default(), |view| match view {
        TopView::Services => View::Services,
        TopView::Instances => View::Instances,
        TopView::Nodes => View::Nodes,
        TopView::Events => View::Events,
    });
    let has_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let now = host.clock.timestamp();
    let show = Show {
        state: State::new(global.cluster.clone(), view, has_colour, now),
        doing: FuturesUnordered::new(),
        is_probing: false,
        is_asking: false,
        log: None,
        agents: Agents {
            board: board.clone(),
            network,
        },
        operator,
        board,
        host,
    };
    let terminal = Terminal::open()?;
    tokio::select! {
        shown = show.run(terminal) => shown?,
        () = signals.next() => {}
        // It goes on until it is told to end.
        _ = keeping => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The terminal as our screen; as it was before once this is dropped.
struct Terminal(DefaultTerminal);

impl Terminal {
    fn open() -> anyhow::Result<Self> {
        let terminal = ratatui::try_init();
        if terminal.is_err() {
            ratatui::restore();
        }
        terminal.map(Self).context(UNDRAWN)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nobody may be there any more to see it.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// The screen, and what is going on for it.
struct Show {
    state: State,
    operator: Operator,
    board: Board,
    agents: Agents,
    host: Host,
    doing: FuturesUnordered<BoxFuture<'static, News>>,
    /// Whether the store is being asked whether it answers.
    is_probing: bool,
    /// Whether it is being asked why something is as it is.
    is_asking: bool,
    /// The log that is followed.
    log: Option<BoxStream<'static, News>>,
}

impl Show {
    /// Until the user leaves, or the terminal has gone.
    async fn run(mut self, mut terminal: Terminal) -> anyhow::Result<()> {
        let clock = Arc::clone(&self.host.clock);
        let mut keys = EventStream::new();
        let mut mark = self.look();
        let (mut tick_at, mut probe_at) = (clock.now() + TICK, clock.now() + PROBE);
        let mut look_at = clock.now();
        loop {
            let state = &mut self.state;
            let drawn = terminal.0.draw(|frame| screen::draw(frame, state));
            drawn.context(UNDRAWN)?;
            let changed = async {
                self.board.newer(&mark).await;
                clock.sleep_until(look_at).await;
            };
            tokio::select! {
                event = keys.next() => match event {
                    Some(Ok(Event::Key(key))) => if !self.act(key) {
                        return Ok(());
                    },
                    // Of another size it is drawn anew.
                    Some(Ok(_)) => {}
                    // The terminal has gone.
                    Some(Err(_)) | None => return Ok(()),
                },
                Some(news) = self.doing.next() => self.hear(news),
                Some(news) = logged(&mut self.log) => self.hear(news),
                () = changed => {
                    let began = clock.now();
                    mark = self.look();
                    let now = clock.now();
                    look_at = now + PAUSE.max(now.since(began) * SHARE);
                }
                () = clock.sleep_until(tick_at) => {
                    tick_at = clock.now() + TICK;
                    self.state.course = self.board.course(self.state.service());
                    self.state.tick(self.host.clock.timestamp());
                }
                () = clock.sleep_until(probe_at) => {
                    probe_at = clock.now() + PROBE;
                    self.probe();
                }
            }
        }
    }

    /// Takes in what the board shows; the mark of that.
    fn look(&mut self) -> Mark {
        let (picture, mark) = self.board.picture();
        let course = self.board.course(self.state.service());
        self.hear(News::Cluster(Box::new(picture), course));
        mark
    }

    fn hear(&mut self, news: News) {
        match &news {
            News::Store(_) => self.is_probing = false,
            News::Why(..) => self.is_asking = false,
            News::Cluster(..) | News::Done(_) | News::Printed(_) => {}
        }
        self.state.hear(news, self.host.clock.timestamp());
    }

    /// Does what a key asks for; false: to leave.
    fn act(&mut self, key: KeyEvent) -> bool {
        match self.state.key(key) {
            Some(Wish::Quit) => return false,
            Some(Wish::Follow(node, instance)) => {
                let (agents, host) = (self.agents.clone(), self.host.clone());
                self.log = Some(hands::follow(agents, host, node, instance));
            }
            Some(Wish::Unfollow) => self.log = None,
            Some(wish) => self.carry_out(wish),
            None => {}
        }
        // Another service may be looked at by now.
        self.state.course = self.board.course(self.state.service());
        true
    }

    fn carry_out(&mut self, wish: Wish) {
        self.is_asking |= matches!(wish, Wish::Why(_));
        let now = self.host.clock.timestamp();
        self.doing
            .extend(hands::carry_out(&self.operator, wish, now));
    }

    /// Asks the store whether it answers, and again why what is looked at is as it is.
    fn probe(&mut self) {
        if !self.is_probing {
            self.is_probing = true;
            self.doing.push(hands::probe(&self.operator));
        }
        if let (false, Some(Pane::Why { object, .. })) = (self.is_asking, &self.state.pane) {
            let object = object.clone();
            self.carry_out(Wish::Why(object));
        }
    }
}

/// What the followed log brings; waits for good where none is.
async fn logged(log: &mut Option<BoxStream<'static, News>>) -> Option<News> {
    match log {
        Some(log) => log.next().await,
        None => std::future::pending().await,
    }
}
