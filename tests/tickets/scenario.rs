//! Many callers at once, and what happens to them.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::world::{Caller, World};

/// Many callers at once.
pub(crate) struct Scenario {
    pub(crate) agents: usize,
    pub(crate) workers: u16,
    pub(crate) callers: usize,
    /// In this time all of them come.
    pub(crate) spread: Duration,
    /// So long each of them works.
    pub(crate) work: Duration,
}

/// What came out.
pub(crate) struct Outcome {
    callers: usize,
    served: usize,
    killed: usize,
    refused: usize,
    /// Served callers whom more than ten have overtaken that came when they had been told their place.
    overtaken: usize,
    most_overtaken: usize,
    /// The same, if those count as later that began later by however little.
    overtaken_at_all: usize,
    /// The part of all pairs of whom one came after the other had been told its place.
    in_order: f64,
    leaked: u32,
    units: u32,
    took: Duration,
    until_clean: Duration,
}

/// What is noted of a caller.
#[derive(Clone, Default)]
struct Note {
    began: Option<Instant>,
    /// It heard its place, or got its ticket at once.
    told: Option<Instant>,
    served: Option<Instant>,
    refused: bool,
    killed: bool,
}

/// How a caller ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// It is killed when so many have been served, if it waits, else as the next one.
    DiesWaiting(usize),
    /// It is killed in the middle of its work.
    DiesAtWork,
}

impl Scenario {
    /// Lets all of it happen: a fifth of the clients is killed, half of them at work; the balancer that keeps the queue
    /// too, and an agent, which is started again.
    pub(crate) async fn run(self) -> Outcome {
        let mut world = World::start(self.workers, self.agents, 3, "stop: {grace: 1s}");
        let notes = Arc::new(Mutex::new(vec![Note::default(); self.callers]));
        let start = Instant::now();
        let gap = self.spread / u32::try_from(self.callers).unwrap();
        let mut tasks = Vec::new();
        for at in 0..self.callers {
            let fate = match at % 10 {
                2 => Fate::DiesAtWork,
                7 => Fate::DiesWaiting(at / 2),
                _ => Fate::Lives,
            };
            let caller = world.caller_at(at);
            let life = self.live(caller, at, fate, Arc::clone(&notes));
            tasks.push(tokio::spawn(life));
            tokio::time::sleep(gap).await;
        }
        let tenths_served = |part: usize| {
            let wanted = self.callers * part / 10;
            let notes = Arc::clone(&notes);
            async move {
                while served(&notes) < wanted && start.elapsed() < Duration::from_secs(200) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        tenths_served(2).await;
        world.kill(&world.keeper().await);
        tenths_served(4).await;
        world.kill_agent(0);
        tenths_served(5).await;
        world.start_agent(0);
        for task in tasks {
            task.await.unwrap();
        }
        let took = start.elapsed();
        let (mut taken, mut units) = world.units().await;
        while taken > 0 && start.elapsed() < took + Duration::from_secs(30) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            (taken, units) = world.units().await;
        }
        let notes = notes.lock().unwrap();
        let by_place = overtakings(&notes, |note| note.told);
        let at_all = overtakings(&notes, |note| note.began);
        let many = |overtakings: &[usize]| overtakings.iter().filter(|later| **later > 10).count();
        let pairs = self.callers * (self.callers - 1) / 2;
        let ordered = notes
            .iter()
            .map(|note| later_than(&notes, note.told).count());
        Outcome {
            callers: self.callers,
            served: by_place.len(),
            killed: notes.iter().filter(|note| note.killed).count(),
            refused: notes.iter().filter(|note| note.refused).count(),
            overtaken: many(&by_place),
            most_overtaken: by_place.iter().copied().max().unwrap_or_default(),
            overtaken_at_all: many(&at_all),
            in_order: ordered.sum::<usize>() as f64 / pairs as f64,
            leaked: taken,
            units,
            took,
            until_clean: start.elapsed().saturating_sub(took),
        }
    }

    /// The life of one client. That it is killed means here what it means to all others: its connections end.
    fn live(
        &self,
        caller: Caller,
        at: usize,
        fate: Fate,
        notes: Arc<Mutex<Vec<Note>>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        // From half of it to one and a half, so that units are not free all at once.
        let work = self
            .work
            .mul_f64(0.5 + (at * 7_919 % 1_000) as f64 / 1_000.0);
        async move {
            let note = |change: &dyn Fn(&mut Note)| change(&mut notes.lock().unwrap()[at]);
            caller.connect().await;
            note(&|note| note.began = Some(Instant::now()));
            let told = || note(&|note| note.told = note.told.or(Some(Instant::now())));
            let death = async {
                let Fate::DiesWaiting(turn) = fate else {
                    return std::future::pending().await;
                };
                while served(&notes) < turn {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let ticket = tokio::select! {
                ticket = caller.acquire_with(Duration::from_secs(240), told) => ticket.unwrap(),
                () = death => return note(&|note| note.killed = true),
            };
            note(&|note| {
                note.served = Some(Instant::now());
                note.told = note.told.or(note.served);
            });
            if fate != Fate::Lives {
                let working = caller.hold(&ticket, work);
                let _ = tokio::time::timeout(work / 2, working).await;
                return note(&|note| note.killed = true);
            }
            let taken = caller.hold(&ticket, work).await;
            note(&|note| note.refused = !taken);
            caller.release(&ticket).await;
        }
    }
}

/// How many have been served.
fn served(notes: &Mutex<Vec<Note>>) -> usize {
    let notes = notes.lock().unwrap();
    notes.iter().filter(|note| note.served.is_some()).count()
}

/// Those who began after `moment`.
fn later_than(notes: &[Note], moment: Option<Instant>) -> impl Iterator<Item = &Note> {
    notes
        .iter()
        .filter(move |note| moment.is_some() && note.began > moment)
}

/// For each of those who were served: how many were served before it that began after its `moment`.
fn overtakings(notes: &[Note], moment: impl Fn(&Note) -> Option<Instant>) -> Vec<usize> {
    let of = |note: &Note| {
        let later = later_than(notes, moment(note));
        later
            .filter(|other| other.served.is_some() && other.served < note.served)
            .count()
    };
    let served = notes.iter().filter(|note| note.served.is_some());
    served.map(of).collect()
}

impl Outcome {
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_eq!(self.refused, 0, "a worker was given twice: {self}");
        assert_eq!(self.leaked, 0, "tickets leaked: {self}");
        assert_eq!(self.killed, self.callers / 5, "{self}");
        assert!(self.served >= self.callers * 4 / 5, "{self}");
        assert!(
            self.overtaken * 20 <= self.served,
            "it was not fair: {self}"
        );
        assert!(self.in_order > 0.5, "too slow to say what is fair: {self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} callers served in {:.1?} on {} units, {} killed; refused by a worker: {}; overtaken by more \
             than 10 who came when they had their place: {} (most: {}), who began later: {}; pairs in order: \
             {:.0} %; tickets left after {:.1?}: {}",
            self.served,
            self.callers,
            self.took,
            self.units,
            self.killed,
            self.refused,
            self.overtaken,
            self.most_overtaken,
            self.overtaken_at_all,
            self.in_order * 100.0,
            self.until_clean,
            self.leaked
        )
    }
}
