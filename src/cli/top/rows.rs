//! The tables: what stands in each row, and what of it there is room for.
//!
//! - `cell`: what stands in a column, and how rows are sorted by it

mod cell;

use std::collections::BTreeMap;

pub(super) use self::cell::{bytes, percent, sort};

use self::cell::Cell;
use super::super::{
    get::{phase, summary},
    output::or_dash,
};
use crate::{
    model::{
        ConditionStatus, Name, Timestamp,
        event::{Event, Object},
    },
    operator::{
        board::Picture,
        inventory::{InstanceInfo, Node, Service},
    },
};

/// What is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum View {
    #[default]
    Services,
    Instances,
    Nodes,
    Events,
}

/// How something is, for its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing is to be said of it.
    #[default]
    Plain,
    Good,
    Waiting,
    Bad,
}

/// What a row is about. An instance that moves is on two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub object: Object,
    pub node: Option<Name>,
    /// Tells the events of one object apart.
    pub what: String,
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub id: Id,
    pub tone: Tone,
    pub cells: Vec<Cell>,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub title: &'static str,
    /// Characters, at least.
    pub width: u16,
    /// Its part of what room is left.
    pub grows: u16,
    pub is_number: bool,
    /// Shown where the screen is at least so wide.
    pub from: u16,
}

const fn column(title: &'static str, width: u16, grows: u16) -> Column {
    Column {
        title,
        width,
        grows,
        is_number: false,
        from: 0,
    }
}

const fn number(title: &'static str, width: u16) -> Column {
    Column {
        is_number: true,
        ..column(title, width, 0)
    }
}

impl Column {
    const fn from(self, from: u16) -> Self {
        Self { from, ..self }
    }
}

const SERVICES: [Column; 8] = [
    column("NAME", 14, 2),
    number("READY", 7),
    number("UPDATED", 7).from(90),
    number("LOAD", 6),
    number("CPU", 6),
    number("MEMORY", 8),
    number("RESTARTS", 8),
    column("STATUS", 16, 3),
];

const INSTANCES: [Column; 10] = [
    column("NAME", 14, 2),
    column("NODE", 10, 1),
    column("PHASE", 11, 0),
    number("LOAD", 5),
    number("CPU", 5),
    number("MEMORY", 8),
    number("RESTARTS", 8),
    number("AGE", 6),
    column("ENDPOINT", 20, 1).from(120),
    column("REASON", 14, 3).from(100),
];

const NODES: [Column; 9] = [
    column("NAME", 12, 1),
    column("STATUS", 15, 1),
    number("INSTANCES", 9),
    number("CPU", 11),
    number("MEMORY", 17),
    number("SINCE", 6),
    column("ADDRESS", 14, 1).from(100),
    column("VERSION", 8, 0).from(110),
    column("LABELS", 16, 3).from(120),
];

const EVENTS: [Column; 5] = [
    number("LAST", 6),
    number("TIMES", 5),
    column("OBJECT", 20, 1),
    column("REASON", 18, 0),
    column("MESSAGE", 20, 4),
];

impl View {
    pub(super) const ALL: [Self; 4] = [Self::Services, Self::Instances, Self::Nodes, Self::Events];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Instances => "Instances",
            Self::Nodes => "Nodes",
            Self::Events => "Events",
        }
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Services => &SERVICES,
            Self::Instances => &INSTANCES,
            Self::Nodes => &NODES,
            Self::Events => &EVENTS,
        }
    }

    /// What stands where there is nothing to list.
    pub(super) fn empty(self) -> &'static str {
        match self {
            Self::Services => "There are no services. `quaestor apply -f FILE` makes some.",
            Self::Instances => "There are no instances.",
            Self::Nodes => "There are no nodes. `quaestor agent --node NAME` adds a host.",
            Self::Events => "Nothing happened within the last hour.",
        }
    }
}

/// Everything that there is to list in a view.
pub(super) fn rows(view: View, picture: &Picture, now: Timestamp) -> Vec<Row> {
    let inventory = &picture.inventory;
    match view {
        View::Services => {
            let used = totals(&inventory.instances, |it| &it.service);
            let of = |it: &Service| service(it, used.get(&it.name));
            inventory.services.iter().map(of).collect()
        }
        View::Instances => {
            let of = |it: &InstanceInfo| instance(it, now);
            inventory.instances.iter().map(of).collect()
        }
        View::Nodes => {
            let used = totals(&inventory.instances, |it| &it.node);
            let of = |it: &Node| node(it, used.get(&it.name), now);
            inventory.nodes.iter().map(of).collect()
        }
        View::Events => picture.events.iter().map(|it| event(it, now)).collect(),
    }
}

/// What the instances of a service, or on a node, come to.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    /// The sum of their loads, and how many tell one.
    load: (f64, u32),
    cpu: f64,
    memory: u64,
    restarts: u32,
    is_measured: bool,
    is_failing: bool,
}

fn totals<'a>(
    instances: &'a [InstanceInfo],
    by: impl Fn(&'a InstanceInfo) -> &'a Name,
) -> BTreeMap<&'a Name, Total> {
    let mut totals: BTreeMap<&Name, Total> = BTreeMap::new();
    for instance in instances {
        let total = totals.entry(by(instance)).or_default();
        if let Some(rate) = load(instance) {
            total.load = (total.load.0 + rate, total.load.1 + 1);
        }
        if let Some(usage) = instance.usage {
            total.is_measured = true;
            total.cpu += usage.cpu;
            total.memory += usage.memory;
        }
        total.restarts += instance.restarts;
        total.is_failing |= tone(instance) == Tone::Bad;
    }
    totals
}

/// How busy it says that it is, as a part of its capacity.
fn load(instance: &InstanceInfo) -> Option<f64> {
    instance.load.as_ref()?.rate()
}

fn tone(instance: &InstanceInfo) -> Tone {
    let phase = phase(instance);
    match phase.as_str() {
        "CrashLoop" | "StartFailed" | "Failed" | "Unhealthy" => Tone::Bad,
        _ if instance.ready || phase == "Completed" => Tone::Good,
        _ => Tone::Waiting,
    }
}

fn service(item: &Service, used: Option<&Total>) -> Row {
    let used = used.copied().unwrap_or_default();
    let wanted = item.replicas.map_or("?".to_owned(), |it| it.to_string());
    let is_whole = item.replicas.is_some_and(|wanted| item.ready >= wanted);
    let status = summary(item);
    let tone = match status.as_str() {
        "Ready" | "Completed" if is_whole => Tone::Good,
        _ if used.is_failing => Tone::Bad,
        _ => Tone::Waiting,
    };
    let (sum, told) = used.load;
    let mean = (told > 0).then(|| sum / f64::from(told));
    Row {
        id: Id::of(Object::Service(item.name.clone())),
        tone,
        cells: vec![
            Cell::text(item.name.as_str()),
            Cell::number(
                format!("{}/{wanted}", item.ready),
                Some(f64::from(item.ready)),
            ),
            Cell::count(item.updated),
            Cell::share(mean),
            Cell::cores(used.is_measured.then_some(used.cpu)),
            Cell::bytes(used.is_measured.then_some(used.memory)),
            Cell::count(used.restarts),
            Cell::text(status),
        ],
    }
}

fn instance(item: &InstanceInfo, now: Timestamp) -> Row {
    let endpoint = item.endpoint.as_ref();
    let endpoint = endpoint.map(|it| format!("{}:{}", it.host, it.port));
    let reason = match item.message.as_str() {
        "" => item.reason.clone(),
        message => format!("{}: {message}", item.reason),
    };
    Row {
        id: Id {
            node: Some(item.node.clone()),
            ..Id::of(Object::Instance(item.name.clone()))
        },
        tone: tone(item),
        cells: vec![
            // By number, not by letter: worker-10 comes after worker-9.
            Cell::sorted_as(
                item.name.to_string(),
                format!("{} {:010}", item.service, item.name.slot),
            ),
            Cell::text(item.node.as_str()),
            Cell::text(phase(item)),
            Cell::share(load(item)),
            Cell::cores(item.usage.map(|usage| usage.cpu)),
            Cell::bytes(item.usage.map(|usage| usage.memory)),
            Cell::count(item.restarts),
            Cell::age(item.started_at, now),
            Cell::text(or_dash(endpoint.unwrap_or_default())),
            Cell::text(or_dash(reason)),
        ],
    }
}

fn node(item: &Node, used: Option<&Total>, now: Timestamp) -> Row {
    let used = used.copied().unwrap_or_default();
    let status = match &item.closed {
        Some(closed) => format!("{},{closed}", item.status),
        None => item.status.clone(),
    };
    let tone = match (item.status.as_str(), &item.closed) {
        ("Ready", None) => Tone::Good,
        ("Ready", Some(_)) | ("Unknown", _) => Tone::Waiting,
        _ => Tone::Bad,
    };
    let labels: Vec<String> = item
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let of = |all: Option<String>| all.map_or(String::new(), |all| format!(" of {all}"));
    let cpu = format!(
        "{:.2}{}",
        used.cpu,
        of(item.capacity.cpu.map(|it| it.to_string()))
    );
    let capacity = item.capacity.memory.map(|it| bytes(it.bytes()));
    let memory = format!("{}{}", bytes(used.memory), of(capacity));
    Row {
        id: Id::of(Object::Node(item.name.clone())),
        tone,
        cells: vec![
            Cell::text(item.name.as_str()),
            Cell::text(status),
            Cell::number(item.instances.to_string(), Some(item.instances as f64)),
            Cell::number(cpu, Some(used.cpu)),
            Cell::number(memory, Some(used.memory as f64)),
            Cell::age(item.started_at, now),
            Cell::text(or_dash(item.address.clone())),
            Cell::text(or_dash(item.version.clone())),
            Cell::text(or_dash(labels.join(","))),
        ],
    }
}

fn event(item: &Event, now: Timestamp) -> Row {
    let note = &item.note;
    Row {
        id: Id {
            node: note.node.clone(),
            what: format!("{} {}", note.reason, note.message),
            ..Id::of(note.object.clone())
        },
        tone: if note.warning { Tone::Bad } else { Tone::Plain },
        cells: vec![
            Cell::age(Some(item.last_at), now),
            Cell::number(item.count.to_string(), Some(item.count as f64)),
            Cell::text(note.object.to_string()),
            Cell::text(note.reason.as_str()),
            Cell::text(note.message.as_str()),
        ],
    }
}

impl Id {
    fn of(object: Object) -> Self {
        Self {
            object,
            node: None,
            what: String::new(),
        }
    }

    /// Its name without its kind.
    pub(super) fn name(&self) -> String {
        let text = self.object.to_string();
        match text.split_once('/') {
            Some((_, name)) => name.to_owned(),
            None => text,
        }
    }
}

/// How many services have all that they are to have, of how many; the same of nodes.
pub(super) fn whole(picture: &Picture) -> [(usize, usize); 2] {
    let holds = |it: &&Service| {
        let mut conditions = it.conditions.iter();
        conditions.all(|condition| condition.status == ConditionStatus::True)
            && !it.conditions.is_empty()
    };
    let inventory = &picture.inventory;
    let (services, nodes) = (&inventory.services, &inventory.nodes);
    let ready = nodes.iter().filter(|node| node.status == "Ready").count();
    [
        (services.iter().filter(holds).count(), services.len()),
        (ready, nodes.len()),
    ]
}
