//! What the screen knows and shows. Keys ([`super::keys`]) and [`News`] come in, [`Wish`]es come out; nothing here does
//! anything.

use std::collections::{BTreeMap, VecDeque};

use super::rows::{self, Id, Row, View};
use crate::{
    model::{Instance, Name, Timestamp, event::Object},
    operator::board::{Course, Picture},
    plan::why::Cause,
};

/// Lines of a log that are kept to scroll back to.
const LINES: usize = 2_000;

/// What the user wants done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wish {
    Quit,
    /// New processes for a service or an instance.
    Restart(String),
    /// All instances of a node are to go elsewhere.
    Drain(Name),
    /// A node is to take instances again.
    Uncordon(Name),
    /// To know why something is as it is.
    Why(Object),
    /// To read what an instance on a node prints, from now on instead of any other.
    Follow(Name, Instance),
    /// No log is read any more.
    Unfollow,
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// The cluster as it is now, and the course of what is looked at.
    Cluster(Box<Picture>, Course),
    /// Whether the store answers, or why it does not.
    Store(Result<(), String>),
    /// What became of a restart, a drain and the like.
    Done(Result<String, String>),
    /// Why something is as it is, or why that is not known.
    Why(Object, Result<Option<Cause>, String>),
    /// What the followed instance printed.
    Printed(Vec<Printed>),
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Printed {
    pub text: String,
    /// Whether it is ours, not the instance's.
    pub is_ours: bool,
}

/// What keys mean at the moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Mode {
    #[default]
    Browse,
    /// The filter is being typed.
    Filter,
    /// Something has to be agreed to first.
    Confirm(Wish),
    Help,
}

/// What lies over the table.
#[derive(Clone, Debug)]
pub(super) enum Pane {
    Why {
        object: Object,
        /// None until it is known.
        answer: Option<Result<Cause, String>>,
        /// Lines above the first that is seen.
        scroll: usize,
    },
    Log {
        instance: Instance,
        node: Name,
        lines: VecDeque<Printed>,
        /// Lines below the last that is seen; 0 follows.
        back: usize,
    },
}

/// Which instances are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Service(Name),
    Node(Name),
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct State {
    pub cluster: Name,
    pub has_colour: bool,
    pub now: Timestamp,
    pub picture: Picture,
    pub course: Course,
    /// Since when the store does not answer, and why.
    pub away: Option<(Timestamp, String)>,
    pub view: View,
    pub within: Option<Within>,
    pub filter: String,
    pub mode: Mode,
    pub pane: Option<Pane>,
    /// The last words about a deed, and whether it went wrong.
    pub message: Option<(String, bool)>,
    /// Column and direction, of those views that are sorted otherwise than at first.
    pub orders: BTreeMap<View, (usize, bool)>,
    /// What is listed, in its order.
    pub rows: Vec<Row>,
    /// How many there would be without the filter.
    pub all: usize,
    /// The selected one of them.
    pub index: usize,
    /// The first that is seen.
    pub first: usize,
    /// Rows, or lines of a pane, that there is room for, as drawn last.
    pub page: usize,
    /// The row that stays selected wherever it goes.
    selected: Option<Id>,
}

impl State {
    pub(super) fn new(cluster: Name, view: View, has_colour: bool, now: Timestamp) -> Self {
        Self {
            cluster,
            has_colour,
            now,
            picture: Picture::default(),
            course: Course::default(),
            away: None,
            view,
            within: None,
            filter: String::new(),
            mode: Mode::Browse,
            pane: None,
            message: None,
            orders: BTreeMap::new(),
            rows: Vec::new(),
            all: 0,
            index: 0,
            first: 0,
            page: 10,
            selected: None,
        }
    }

    /// Takes in what happened by `now`.
    pub(super) fn hear(&mut self, news: News, now: Timestamp) {
        self.now = now;
        match news {
            News::Cluster(picture, course) => {
                (self.picture, self.course) = (*picture, course);
                self.list();
            }
            News::Store(Ok(())) => self.away = None,
            News::Store(Err(why)) => {
                let since = self.away.take().map_or(now, |(since, _)| since);
                self.away = Some((since, why));
            }
            News::Done(Ok(told)) => self.message = Some((told, false)),
            News::Done(Err(why)) => self.message = Some((why, true)),
            News::Why(about, told) => {
                if let Some(Pane::Why { object, answer, .. }) = &mut self.pane
                    && *object == about
                {
                    let nothing = || Err(format!("nothing is known of {about} any more"));
                    *answer = Some(told.and_then(|cause| cause.map_or_else(nothing, Ok)));
                }
            }
            News::Printed(more) => {
                if let Some(Pane::Log { lines, back, .. }) = &mut self.pane {
                    if *back > 0 {
                        // What is read stays where it is.
                        *back = (*back + more.len()).min(LINES);
                    }
                    lines.extend(more);
                    let surplus = lines.len().saturating_sub(LINES);
                    lines.drain(..surplus);
                }
            }
        }
    }

    /// Time goes on: ages grow.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.now = now;
        self.list();
    }

    /// The order of the present view: a column, and whether it descends.
    pub(super) fn order(&self) -> (usize, bool) {
        self.orders.get(&self.view).copied().unwrap_or_default()
    }

    /// Lists anew what there is. Whatever was selected stays so while it is there.
    pub(super) fn list(&mut self) {
        let mut rows = rows::rows(self.view, &self.picture, self.now);
        if let (View::Instances, Some(within)) = (self.view, &self.within) {
            rows.retain(|row| match (within, &row.id.object) {
                (Within::Service(name), Object::Instance(it)) => it.service == *name,
                (Within::Node(name), _) => row.id.node.as_ref() == Some(name),
                _ => false,
            });
        }
        self.all = rows.len();
        let wanted = self.filter.to_lowercase();
        rows.retain(|row| {
            let mut cells = row.cells.iter();
            wanted.is_empty() || cells.any(|cell| cell.text.to_lowercase().contains(&wanted))
        });
        let (column, descends) = self.order();
        rows::sort(&mut rows, column, descends);
        let found = self.selected.as_ref();
        let found = found.and_then(|id| rows.iter().position(|row| row.id == *id));
        self.rows = rows;
        self.select(found.unwrap_or(self.index));
    }

    /// Selects the row with that number, or the last one.
    pub(super) fn select(&mut self, index: usize) {
        self.index = index.min(self.rows.len().saturating_sub(1));
        self.selected = self.rows.get(self.index).map(|row| row.id.clone());
    }

    /// What is selected.
    pub(super) fn chosen(&self) -> Option<&Id> {
        self.rows.get(self.index).map(|row| &row.id)
    }

    /// Goes to a view, with its first row selected.
    pub(super) fn go(&mut self, view: View, within: Option<Within>) {
        (self.view, self.within) = (view, within);
        self.filter.clear();
        (self.index, self.first, self.selected) = (0, 0, None);
        self.list();
    }

    /// The service whose course is shown; none: that of all.
    pub(super) fn service(&self) -> Option<&Name> {
        match &self.within {
            Some(Within::Service(name)) if self.view == View::Instances => Some(name),
            _ => None,
        }
    }

    /// There is room for `page` rows: the selected one is among those that are seen.
    pub(super) fn fit(&mut self, page: usize) {
        self.page = page.max(1);
        let last = self.rows.len().saturating_sub(self.page);
        self.first = self.first.min(last).min(self.index);
        if self.index >= self.first + self.page {
            self.first = self.index + 1 - self.page;
        }
    }
}
