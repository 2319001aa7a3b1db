//! How well requests are spread: `scripts/bench quality [--quick]`.
//!
//! Workers that take one request at a time, at 80 % of what they can do, in virtual time, by the program's own view
//! and queue: the figures are the same on every machine. Each way of choosing gets the same requests. The oracle sends each one
//! to the shortest queue, which it sees as it is; balancers see reports that are made every second, and their own
//! picks. Messages take no time. What is told: the mean time from a request to its end as a multiple of the
//! oracle's, and for `Acquire` the mean wait as a multiple of the oracle's. A run that is not quick writes it into
//! `docs/quality.md` and draws `docs/quality.svg`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "../tests/support/figures.rs"]
#[allow(dead_code, unreachable_pub, reason = "each bench uses a part")]
mod figures;
#[path = "support/plot.rs"]
mod plot;
mod support;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    path::Path,
    time::Duration,
};

use figures::Bar;
use plot::Panel;
use quaestor::{
    model::{
        Moment, Units,
        service::{BalanceSpec, Policy},
        ticket::Age,
    },
    plan::queue::{Place, Queue},
    view::Question,
};
use support::{PER_NODE, World};

const BALANCERS: usize = 3;
const UTILISATION: f64 = 0.8;
/// Between two reports of a worker, in seconds.
const REPORTS: f64 = 1.0;
/// Between two looks of a balancer at the time, in seconds.
const TICK: f64 = 0.25;

/// What is to be done.
#[derive(Clone, Copy)]
struct Setting {
    workers: usize,
    /// Of the times that requests take, in seconds; they are exponential.
    mean: f64,
    /// Requests come in crowds of a quarter of the workers on average, and not one by one.
    bursty: bool,
}

/// How it is done.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Oracle,
    Acquire,
    Pick(Policy),
}

/// The first one is what the others are compared with.
const WAYS: [(&str, Way); 7] = [
    ("oracle", Way::Oracle),
    ("Acquire", Way::Acquire),
    ("leastLoad", Way::Pick(Policy::LeastLoad)),
    ("p2c", Way::Pick(Policy::P2c)),
    ("ordered", Way::Pick(Policy::Ordered)),
    ("roundRobin", Way::Pick(Policy::RoundRobin)),
    ("random", Way::Pick(Policy::Random)),
];

fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let requests = if quick { 10_000 } else { 30_000 };
    let columns: Vec<Column> = settings()
        .map(|setting| Column::measure(setting, requests))
        .collect();
    let table = table(&columns);
    print!("{table}");
    if !quick {
        write_down(&table, &columns, requests);
    }
    println!("\n{requests} requests each; bars: Acquire 1.1, leastLoad 1.5 at 30 s");
    for column in &columns {
        let title = column.title();
        let name = format!("wait for Acquire, {title}");
        figures::bar(&name, column.wait(1), "of the oracle's", Bar::AtMost(1.1));
        if column.setting.mean > 1.0 {
            let name = format!("leastLoad, {title}");
            figures::bar(
                &name,
                column.sojourn(2),
                "of the oracle's",
                Bar::AtMost(1.5),
            );
        }
    }
    let falls_short: Vec<String> = columns.iter().filter_map(Column::falls_short).collect();
    for line in &falls_short {
        println!("FALLS SHORT: {line}");
    }
    std::process::exit(i32::from(!falls_short.is_empty()));
}

fn settings() -> impl Iterator<Item = Setting> {
    let each = [20, 100].into_iter();
    let each = each.flat_map(|workers| [1.0, 30.0].map(|mean| (workers, mean)));
    each.flat_map(|(workers, mean)| {
        [false, true].map(|bursty| Setting {
            workers,
            mean,
            bursty,
        })
    })
}

/// What came of one setting, by the ways.
struct Column {
    setting: Setting,
    outcomes: Vec<Outcome>,
}

impl Column {
    fn measure(setting: Setting, requests: usize) -> Self {
        let work = requests_of(setting, requests);
        Self {
            outcomes: WAYS.map(|(_, way)| run(setting, way, &work)).into(),
            setting,
        }
    }

    fn title(&self) -> String {
        let Setting {
            workers,
            mean,
            bursty,
        } = self.setting;
        let arrivals = if bursty { "bursts" } else { "Poisson" };
        format!("{workers} x {mean} s, {arrivals}")
    }

    /// The mean time from a request to its end, as a multiple of the oracle's.
    fn sojourn(&self, at: usize) -> f64 {
        self.outcomes[at].sojourn / self.outcomes[0].sojourn
    }

    fn wait(&self, at: usize) -> f64 {
        self.outcomes[at].wait / self.outcomes[0].wait
    }

    fn falls_short(&self) -> Option<String> {
        let (acquire, least_load) = (self.wait(1), self.sojourn(2));
        let short = acquire > 1.1 || self.setting.mean > 1.0 && least_load > 1.5;
        short.then(|| format!("{}: {acquire:.2}, {least_load:.2}", self.title()))
    }
}

fn table(columns: &[Column]) -> String {
    let head: String = columns
        .iter()
        .map(|column| format!(" {} |", column.title()))
        .collect();
    let mut table = format!("| |{head}\n|---|{}\n", "---|".repeat(columns.len()));
    for (at, (name, way)) in WAYS.iter().enumerate() {
        let cell = |column: &Column| match way {
            Way::Oracle => {
                let Outcome { wait, sojourn } = column.outcomes[at];
                format!(" {sojourn:.2} s ({wait:.2} s wait) |")
            }
            Way::Acquire => format!(
                " {:.2} ({:.2} of the wait) |",
                column.sojourn(at),
                column.wait(at)
            ),
            Way::Pick(_) => format!(" {:.2} |", column.sojourn(at)),
        };
        let cells: String = columns.iter().map(cell).collect();
        table += &format!("| {name} |{cells}\n");
    }
    table
}

/// Puts the table and the plot into the documentation.
fn write_down(table: &str, columns: &[Column], requests: usize) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let panel = |column: &Column| Panel {
        title: column.title(),
        bars: (1..WAYS.len())
            .map(|at| (WAYS[at].0.to_owned(), column.sojourn(at)))
            .collect(),
    };
    let panels: Vec<Panel> = columns.iter().map(panel).collect();
    let title = "Mean time from a request to its end, as a multiple of the oracle's (workers x mean request)";
    std::fs::write(docs.join("quality.svg"), plot::bars(title, &panels)).unwrap();
    let page = format!(
        "# How well requests are spread\n\n\
         Written by `scripts/bench quality`; [measured.md](measured.md) says what it means.\n\n\
         ![{title}](quality.svg)\n\n\
         {requests} requests for each setting: workers x mean length of a request, and how requests come.\n\n{table}"
    );
    std::fs::write(docs.join("quality.md"), page).unwrap();
}

/// A request: when it comes, how long it takes.
type Request = (f64, f64);

fn requests_of(setting: Setting, count: usize) -> Vec<Request> {
    let mut dice = Dice(7);
    let rate = UTILISATION * setting.workers as f64 / setting.mean;
    let crowd = match setting.bursty {
        true => setting.workers as f64 / 4.0,
        false => 1.0,
    };
    let mut now = 1_000.0;
    let mut requests = Vec::with_capacity(count);
    while requests.len() < count {
        now += dice.exponential(crowd / rate);
        // Geometric, of that mean.
        loop {
            requests.push((now, dice.exponential(setting.mean)));
            if dice.fraction() < 1.0 / crowd {
                break;
            }
        }
    }
    requests.truncate(count);
    requests
}

/// Means, in seconds.
struct Outcome {
    wait: f64,
    sojourn: f64,
}

fn run(setting: Setting, way: Way, requests: &[Request]) -> Outcome {
    let mut hall = Hall::new(setting.workers);
    let mut chooser = Chooser::new(setting.workers, way);
    for (at, request) in requests.iter().enumerate() {
        hall.pass_to(request.0, requests, &mut chooser);
        match chooser.choose(at, request.0, &hall) {
            Some(worker) => hall.send(worker, at, request.0, requests),
            None => chooser.serve(&mut hall, request.0, requests),
        }
    }
    hall.pass_to(f64::INFINITY, requests, &mut chooser);
    let count = requests.len() as f64;
    let service: f64 = requests.iter().map(|request| request.1).sum();
    Outcome {
        wait: hall.waited / count,
        sojourn: (hall.waited + service) / count,
    }
}

/// The workers.
struct Hall {
    /// Who is at each of them, the one who is served first.
    queues: Vec<VecDeque<usize>>,
    /// When the next ones end, in nanoseconds.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    waited: f64,
}

impl Hall {
    fn new(workers: usize) -> Self {
        Self {
            queues: vec![VecDeque::new(); workers],
            ends: BinaryHeap::new(),
            waited: 0.0,
        }
    }

    fn send(&mut self, worker: usize, request: usize, now: f64, requests: &[Request]) {
        self.queues[worker].push_back(request);
        if self.queues[worker].len() == 1 {
            self.begin(worker, now, requests);
        }
    }

    fn begin(&mut self, worker: usize, now: f64, requests: &[Request]) {
        let (came, takes) = requests[self.queues[worker][0]];
        self.waited += now - came;
        self.ends.push(Reverse((nanos(now + takes), worker)));
    }

    /// Lets all happen that happens before `until`.
    fn pass_to(&mut self, until: f64, requests: &[Request], chooser: &mut Chooser) {
        loop {
            let end = self.ends.peek().map(|Reverse((at, _))| *at as f64 / 1e9);
            let look = chooser.next_look();
            let next = end.unwrap_or(f64::INFINITY).min(look);
            if next > until || end.is_none() && until.is_infinite() {
                return;
            }
            if end.is_none_or(|end| look < end) {
                chooser.look(self);
                continue;
            }
            let Some(Reverse((_, worker))) = self.ends.pop() else {
                return;
            };
            self.queues[worker].pop_front();
            if !self.queues[worker].is_empty() {
                self.begin(worker, next, requests);
            }
            chooser.freed(worker);
            chooser.serve(self, next, requests);
        }
    }
}

/// Who says where a request goes.
struct Chooser {
    way: Way,
    dice: Dice,
    worlds: Vec<World>,
    /// What each node has reported last.
    told: Vec<Vec<i32>>,
    /// How many looks there were.
    looks: u64,
    queue: Queue,
    sequence: u64,
}

impl Chooser {
    fn new(workers: usize, way: Way) -> Self {
        let balance = BalanceSpec {
            policy: match way {
                Way::Pick(policy) => Some(policy),
                _ => None,
            },
            ..BalanceSpec::default()
        };
        let worlds = match way {
            Way::Pick(_) => BALANCERS,
            _ => 0,
        };
        let mut queue = Queue::new(0);
        if way == Way::Acquire {
            for worker in 0..workers {
                let place = place(worker);
                queue.learn(&place.node, 0, &[(place.instance, units(0))].into());
            }
        }
        Self {
            way,
            dice: Dice(11),
            worlds: (0..worlds)
                .map(|_| World::with(workers, 1, balance.clone()))
                .collect(),
            told: (0..workers)
                .collect::<Vec<_>>()
                .chunks(PER_NODE)
                .map(|node| vec![0; node.len()])
                .collect(),
            looks: 0,
            queue,
            sequence: 0,
        }
    }

    /// None: it waits.
    fn choose(&mut self, request: usize, now: f64, hall: &Hall) -> Option<usize> {
        match self.way {
            Way::Oracle => {
                let least = hall.queues.iter().map(VecDeque::len).min()?;
                let equals: Vec<usize> = (0..hall.queues.len())
                    .filter(|worker| hall.queues[*worker].len() == least)
                    .collect();
                Some(equals[self.dice.below(equals.len())])
            }
            Way::Acquire => {
                let entered = (self.queue).enter(request as u64, Age::default(), moment(now));
                entered.unwrap();
                None
            }
            Way::Pick(_) => {
                let balancer = self.dice.below(BALANCERS);
                let seed = self.dice.bits();
                let question = Question::new("Worker", seed, moment(now));
                let picked = self.worlds[balancer].directory.pick(&question).unwrap();
                Some(picked[0].instance().slot as usize)
            }
        }
    }

    /// Gives tickets to those who wait.
    fn serve(&mut self, hall: &mut Hall, now: f64, requests: &[Request]) {
        while self.way == Way::Acquire
            && let Some(place) = self.queue.next(moment(now))
        {
            self.sequence += 1;
            let worker = place.instance.slot as usize;
            let caller = self.queue.granted(&place, self.sequence, units(1)).unwrap();
            hall.send(worker, usize::try_from(caller).unwrap(), now, requests);
        }
    }

    /// A worker has done its request.
    fn freed(&mut self, worker: usize) {
        if self.way == Way::Acquire {
            self.sequence += 1;
            let Place { node, instance } = place(worker);
            let free = [(instance, units(0))].into();
            self.queue.learn(&node, self.sequence, &free);
        }
    }

    /// When reports are due, or the time is to be looked at.
    fn next_look(&self) -> f64 {
        match self.worlds.is_empty() {
            true => f64::INFINITY,
            false => 1_000.0 + self.looks as f64 * TICK,
        }
    }

    fn look(&mut self, hall: &Hall) {
        let now = moment(self.next_look());
        for world in &mut self.worlds {
            world.pass_to(now);
        }
        let rounds = (REPORTS / TICK) as u64;
        for (node, told) in self.told.iter_mut().enumerate() {
            // Nodes report at different times.
            if self.looks % rounds != node as u64 % rounds {
                continue;
            }
            let workers = node * PER_NODE..;
            let current: Vec<i32> = (workers.clone().take(told.len()))
                .map(|worker| i32::try_from(hall.queues[worker].len()).unwrap())
                .collect();
            if *told == current {
                continue;
            }
            for world in &mut self.worlds {
                world.report(node, workers.clone().zip(current.iter().copied()));
            }
            *told = current;
        }
        self.looks += 1;
    }
}

fn place(worker: usize) -> Place {
    Place {
        node: format!("n{worker}").parse().unwrap(),
        instance: format!("worker-{worker}").parse().unwrap(),
    }
}

fn units(taken: u32) -> Units {
    Units {
        capacity: 1,
        taken,
        open: true,
    }
}

fn moment(seconds: f64) -> Moment {
    Moment::new(Duration::from_secs_f64(seconds))
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Numbers by chance, the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.fraction() * bound as f64) as usize
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.fraction()).ln()
    }
}
