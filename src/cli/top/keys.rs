//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    rows::View,
    state::{Mode, Pane, State, Wish, Within},
};
use crate::model::event::Object;

/// All of them, as `?` tells.
pub(super) const HELP: [(&str, &str); 16] = [
    ("1 2 3 4, Tab", "services, instances, nodes, events"),
    ("Up Down, k j", "select; PgUp PgDn Home End go further"),
    (
        "Enter",
        "the instances of a service or on a node; why of others",
    ),
    ("Esc", "back; takes the filter away"),
    ("/", "filter: rows with this text in any column"),
    ("s S", "sort by the next column; the other way round"),
    ("w", "why it is as it is"),
    ("l", "follow what an instance prints"),
    ("r", "restart a service or an instance"),
    ("d u", "drain a node; let it take instances again"),
    ("?", "this"),
    ("q, Ctrl-C", "leave"),
    ("", ""),
    (
        "Charts",
        "the last minutes, now at the right; of one service within it",
    ),
    ("PICKS/S", "answers of all balancers in a second"),
    (
        "Load",
        "requests at work, as a part of what instances can take",
    ),
];

impl State {
    /// Takes a key in; what is to be done, if anything is.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        // Some terminals tell when keys are let go as well.
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Wish::Quit);
        }
        match std::mem::take(&mut self.mode) {
            Mode::Browse if self.pane.is_some() => self.in_pane(key.code),
            Mode::Browse => self.in_table(key.code),
            Mode::Filter => {
                self.in_filter(key.code);
                None
            }
            Mode::Confirm(wish) => {
                let agreed = matches!(key.code, KeyCode::Char('y' | 'Y'));
                self.message = (!agreed).then(|| ("nothing was done".to_owned(), false));
                agreed.then_some(wish)
            }
            // Any key takes it away.
            Mode::Help => (key.code == KeyCode::Char('q')).then_some(Wish::Quit),
        }
    }

    fn in_table(&mut self, code: KeyCode) -> Option<Wish> {
        self.message = None;
        let last = self.rows.len().saturating_sub(1);
        match code {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char(digit @ '1'..='4') => {
                let view = View::ALL[digit as usize - '1' as usize];
                self.go(view, None);
            }
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Up | KeyCode::Char('k') => self.select(self.index.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.index + 1),
            KeyCode::PageUp => self.select(self.index.saturating_sub(self.page)),
            KeyCode::PageDown => self.select(self.index + self.page),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(last),
            KeyCode::Char('s') => {
                let (column, _) = self.order();
                let next = (column + 1) % self.view.columns().len();
                // Of numbers the large ones are looked for.
                let descends = self.view.columns()[next].is_number;
                self.orders.insert(self.view, (next, descends));
                self.list();
            }
            KeyCode::Char('S') => {
                let (column, descends) = self.order();
                self.orders.insert(self.view, (column, !descends));
                self.list();
            }
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.list();
            }
            KeyCode::Esc => match self.within.take() {
                Some(Within::Service(_)) => self.go(View::Services, None),
                Some(Within::Node(_)) => self.go(View::Nodes, None),
                None => {}
            },
            KeyCode::Enter => return self.enter(),
            KeyCode::Char('w') => return self.ask_why(),
            KeyCode::Char('l') => return self.follow(),
            KeyCode::Char('r') => self.restart(),
            KeyCode::Char('d') => self.on_node(Wish::Drain),
            KeyCode::Char('u') => self.on_node(Wish::Uncordon),
            _ => {}
        }
        None
    }

    fn turn(&mut self, by: usize) {
        let here = View::ALL.iter().position(|view| *view == self.view);
        let next = (here.unwrap_or_default() + by) % View::ALL.len();
        self.go(View::ALL[next], None);
    }

    fn in_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                self.filter.clear();
                return self.list();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(typed) => self.filter.push(typed),
            KeyCode::Up | KeyCode::Down => {
                let _ = self.in_table(code);
                return;
            }
            _ => {}
        }
        self.mode = Mode::Filter;
        self.list();
    }

    fn in_pane(&mut self, code: KeyCode) -> Option<Wish> {
        let page = self.page;
        let closed = match self.pane {
            Some(Pane::Log { .. }) => Some(Wish::Unfollow),
            _ => None,
        };
        match code {
            KeyCode::Char('q' | 'w' | 'l') | KeyCode::Esc | KeyCode::Enter => {
                self.pane = None;
                return closed;
            }
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::PageUp => self.scroll(-signed(page)),
            KeyCode::PageDown => self.scroll(signed(page)),
            KeyCode::Home | KeyCode::Char('g') => self.scroll(isize::MIN / 2),
            KeyCode::End | KeyCode::Char('G') => self.scroll(isize::MAX / 2),
            _ => {}
        }
        None
    }

    /// Moves what is seen of a pane by so many lines.
    fn scroll(&mut self, by: isize) {
        match &mut self.pane {
            // Drawing knows where it ends.
            Some(Pane::Why { scroll, .. }) => *scroll = scroll.saturating_add_signed(by),
            Some(Pane::Log { back, lines, .. }) => {
                *back = back.saturating_add_signed(-by).min(lines.len());
            }
            None => {}
        }
    }

    fn enter(&mut self) -> Option<Wish> {
        match &self.chosen()?.object {
            Object::Service(name) if self.view == View::Services => {
                let within = Within::Service(name.clone());
                self.go(View::Instances, Some(within));
                None
            }
            Object::Node(name) if self.view == View::Nodes => {
                let within = Within::Node(name.clone());
                self.go(View::Instances, Some(within));
                None
            }
            _ => self.ask_why(),
        }
    }

    fn ask_why(&mut self) -> Option<Wish> {
        let object = self.chosen()?.object.clone();
        self.pane = Some(Pane::Why {
            object: object.clone(),
            answer: None,
            scroll: 0,
        });
        Some(Wish::Why(object))
    }

    fn follow(&mut self) -> Option<Wish> {
        let id = self.chosen()?;
        let (Object::Instance(instance), Some(node)) = (&id.object, &id.node) else {
            let hint = "select an instance to follow: Enter shows those of a service or a node";
            self.message = Some((hint.to_owned(), true));
            return None;
        };
        let (instance, node) = (instance.clone(), node.clone());
        self.pane = Some(Pane::Log {
            instance: instance.clone(),
            node: node.clone(),
            lines: Default::default(),
            back: 0,
        });
        Some(Wish::Follow(node, instance))
    }

    fn restart(&mut self) {
        let Some(id) = self.chosen() else { return };
        match &id.object {
            Object::Service(_) | Object::Instance(_) => {
                self.mode = Mode::Confirm(Wish::Restart(id.name()));
            }
            Object::Node(_) | Object::Cluster => {
                let hint = "only services and instances can be restarted";
                self.message = Some((hint.to_owned(), true));
            }
        }
    }

    fn on_node(&mut self, wish: fn(crate::model::Name) -> Wish) {
        let Some(id) = self.chosen() else { return };
        match &id.object {
            Object::Node(name) => self.mode = Mode::Confirm(wish(name.clone())),
            _ => self.message = Some(("select a node first: 3 lists them".to_owned(), true)),
        }
    }
}

fn signed(page: usize) -> isize {
    isize::try_from(page).unwrap_or(isize::MAX)
}
