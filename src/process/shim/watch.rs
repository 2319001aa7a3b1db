//! A living process, and waiting for its end.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{
    Confinement, TURN, TURNS, errand,
    link::{self, Link},
    socket::Stream,
    wire::{
        message::{Command, Message, Signal, Status},
        names, notice,
        record::{self, Cause, Exit, Running},
    },
};
use crate::{
    host::{Clock, Disk},
    model::{
        ExitCause, Moment, Timestamp,
        notice::{Notice, Stage},
        service::StopSignal,
    },
    process::{End, Ended, Errand, Outcome, Place, Process, Started},
};

/// Pause before a connection to a shim that may live is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The process behind `link`, and what it has said so far, if it is to say anything.
pub(super) fn started(
    place: &Place,
    running: &Running,
    notice: Option<notice::Notice>,
    link: Link,
    disk: &Arc<dyn Disk>,
    confinement: &Arc<Confinement>,
) -> Started {
    #[cfg(windows)]
    confinement.know(running.pid, place);
    let (standing, shown) = watch::channel(Standing::of(running, notice));
    let process = Shimmed {
        directory: place.directory.clone(),
        clock: Arc::clone(link.clock()),
        disk: Arc::clone(disk),
        standing: Mutex::new(shown),
        shim: Arc::new(Mutex::new(link.sender())),
    };
    let watch = Watch {
        standing,
        place: place.clone(),
        incarnation: running.incarnation,
        shim: Arc::clone(&process.shim),
        confinement: Arc::clone(confinement),
    };
    Started {
        process: Box::new(process),
        ended: Box::pin(watch.until_ended(link)),
    }
}

/// What may change while a process lives.
#[derive(Clone, PartialEq, Eq)]
struct Standing {
    pid: u32,
    preparing: bool,
    notice: Option<Notice>,
}

impl Standing {
    fn of(running: &Running, notice: Option<notice::Notice>) -> Self {
        Self {
            pid: running.pid,
            preparing: running.preparing,
            notice: notice.map(told),
        }
    }
}

/// What a process says of itself.
fn told(notice: notice::Notice) -> Notice {
    Notice {
        stage: match notice.stage {
            notice::Stage::Starting => Stage::Starting,
            notice::Stage::Ready => Stage::Ready,
            notice::Stage::Reloading => Stage::Reloading,
            notice::Stage::Stopping => Stage::Stopping,
        },
        overdue: notice.overdue,
        failed: notice.failed,
        text: notice.text,
    }
}

struct Shimmed {
    directory: PathBuf,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    standing: Mutex<watch::Receiver<Standing>>,
    /// The connection; another one after the first was lost.
    shim: Arc<Mutex<Arc<Stream>>>,
}

impl Shimmed {
    fn standing(&self) -> MutexGuard<'_, watch::Receiver<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process for Shimmed {
    fn pid(&self) -> u32 {
        self.standing().borrow().pid
    }

    fn is_preparing(&self) -> bool {
        self.standing().borrow().preparing
    }

    fn notice(&self) -> Option<Notice> {
        self.standing().borrow().notice.clone()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut standing = self.standing();
        let mut waiting = standing.clone();
        standing.mark_unchanged();
        Box::pin(async move {
            if waiting.changed().await.is_err() {
                // It has ended, which is told elsewhere.
                std::future::pending().await
            }
        })
    }

    fn run(&self, errand: Errand) -> BoxFuture<'static, Result<Outcome, String>> {
        let (directory, clock) = (self.directory.clone(), Arc::clone(&self.clock));
        let disk = Arc::clone(&self.disk);
        Box::pin(async move { errand::run(&directory, errand, &clock, &*disk).await })
    }

    fn signal(&self, signal: StopSignal) -> io::Result<()> {
        let command = match signal {
            StopSignal::SigKill => Command::Kill,
            other => Command::Signal(wire_signal(other)),
        };
        self.send(command)
    }

    fn stop_within(&self, time: Option<Duration>) -> io::Result<()> {
        self.send(Command::Deadline(time))
    }
}

impl Shimmed {
    fn send(&self, command: Command) -> io::Result<()> {
        let shim = self.shim.lock().unwrap_or_else(PoisonError::into_inner);
        link::send(&shim, command)
    }
}

/// A signal as shims know it.
pub(super) fn wire_signal(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::SigTerm => Signal::Term,
        StopSignal::SigInt => Signal::Int,
        StopSignal::SigQuit => Signal::Quit,
        StopSignal::SigHup => Signal::Hup,
        StopSignal::SigUsr1 => Signal::Usr1,
        StopSignal::SigUsr2 => Signal::Usr2,
        StopSignal::SigKill => Signal::Kill,
    }
}

struct Watch {
    standing: watch::Sender<Standing>,
    place: Place,
    incarnation: u64,
    shim: Arc<Mutex<Arc<Stream>>>,
    confinement: Arc<Confinement>,
}

impl Watch {
    async fn until_ended(self, link: Link) -> End {
        let end = self.watch(link).await;
        #[cfg(windows)]
        self.confinement.lose(&self.place);
        end
    }

    async fn watch(&self, mut link: Link) -> End {
        loop {
            match link.event().await {
                Ok(Message::Exited(exit)) if exit.incarnation == self.incarnation => {
                    return end(&exit);
                }
                Ok(Message::Started(running)) => self.show(&running),
                Ok(Message::Noticed {
                    incarnation,
                    notice,
                }) if incarnation == self.incarnation => self.hear(notice),
                Ok(_) => {}
                Err(lost) => match self.find_again(link.clock(), &lost).await {
                    Ok(found) => link = found,
                    Err(end) => return end,
                },
            }
        }
    }

    /// Shows what lives now, if it is of the same start.
    fn show(&self, running: &Running) {
        if running.incarnation == self.incarnation {
            #[cfg(windows)]
            self.confinement.know(running.pid, &self.place);
            self.change(|standing| {
                standing.pid = running.pid;
                standing.preparing = running.preparing;
            });
        }
    }

    /// Shows what the process says of itself.
    fn hear(&self, notice: notice::Notice) {
        self.change(|standing| standing.notice = Some(told(notice)));
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_if_modified(|standing| {
            let before = standing.clone();
            change(standing);
            *standing != before
        });
    }

    /// Another connection to the same process; or its end, if it has ended meanwhile or with its shim.
    async fn find_again(&self, clock: &Arc<dyn Clock>, lost: &io::Error) -> Result<Link, End> {
        let directory = &self.place.directory;
        loop {
            match look(directory, clock).await {
                Ok(Look::Shim(link, status)) => {
                    let running = status.running;
                    let own = running.filter(|running| running.incarnation == self.incarnation);
                    if let Some(running) = own {
                        self.show(&running);
                        if let Some(notice) = status.notice {
                            self.hear(notice);
                        }
                        let mut shim = self.shim.lock().unwrap_or_else(PoisonError::into_inner);
                        *shim = link.sender();
                        return Ok(link);
                    }
                    let own = status
                        .last
                        .filter(|last| last.incarnation == self.incarnation);
                    return Err(own.map_or(End::UNKNOWN, |exit| end(&exit)));
                }
                Ok(Look::Nobody) => {
                    let recorded = bury(&self.place, &self.confinement, clock).await;
                    let own = recorded.filter(|(incarnation, _)| *incarnation == self.incarnation);
                    let end = own.map_or(End::UNKNOWN, |(_, end)| end);
                    if end == End::UNKNOWN {
                        tracing::error!(
                            directory = %directory.display(), %lost,
                            "a shim was killed, and its process with it"
                        );
                    }
                    return Err(end);
                }
                Err(error) => {
                    tracing::warn!(directory = %directory.display(), %error, "a shim is not reached");
                    clock.sleep(RETRY).await;
                }
            }
        }
    }
}

/// Who serves a directory.
pub(super) enum Look {
    /// A shim, and what it knows.
    Shim(Link, Box<Status>),
    /// Nobody.
    Nobody,
}

/// Looks who serves `directory`. One that is leaving is waited for: it is nobody then.
pub(super) async fn look(directory: &Path, clock: &Arc<dyn Clock>) -> io::Result<Look> {
    let mut looks = 0;
    loop {
        match ask(directory, clock).await {
            Err(error) if link::is_absence(&error) => return Ok(Look::Nobody),
            Err(error) if link::is_departure(&error) && looks < TURNS => {
                looks += 1;
                clock.sleep(TURN).await;
            }
            answer => return answer,
        }
    }
}

async fn ask(directory: &Path, clock: &Arc<dyn Clock>) -> io::Result<Look> {
    let mut link = Link::connect(directory, clock).await?;
    let status = link.status().await?;
    Ok(Look::Shim(link, Box::new(status)))
}

/// Puts an end to what a shim that is gone has left at `place`. Returns the last start and its end, as
/// far as they were recorded.
pub(super) async fn bury(
    place: &Place,
    confinement: &Confinement,
    clock: &Arc<dyn Clock>,
) -> Option<(u64, End)> {
    let read = |name| fs::read(place.directory.join(name)).ok();
    let running = read(names::RUNNING).and_then(|record| known(Running::open(&record)));
    let exit = read(names::EXIT).and_then(|record| known(Exit::open(&record)));
    if place.directory.join(names::RUNNING).exists() {
        let uuid = running.as_ref().map_or(&place.uuid, |it| &it.instance);
        #[cfg(unix)]
        super::leftovers::kill(uuid, clock).await;
        // Whoever hides from that, by another environment, is in the cgroup still, if there is one. On Windows all
        // are in the job.
        let place = Place {
            uuid: uuid.clone(),
            ..place.clone()
        };
        confinement.clear(&place, clock).await;
    }
    let ended = exit.map(|exit| (exit.incarnation, end(&exit)));
    let lost = running.map(|running| (running.incarnation, End::UNKNOWN));
    ended
        .into_iter()
        .chain(lost)
        .max_by_key(|(start, end)| (*start, end != &End::UNKNOWN))
}

fn known<T>(record: Result<T, record::Broken>) -> Option<T> {
    record
        .inspect_err(|error| tracing::error!(%error, "a shim's record cannot be used"))
        .ok()
}

/// How a process ended.
pub(super) fn end(exit: &Exit) -> End {
    let (code, signal) = match exit.end {
        record::End::Code(code) => (Some(code), None),
        record::End::Signal(signal) => (None, Some(signal)),
    };
    End {
        of: match exit.cause {
            Cause::PreStart => Ended::PreStart,
            Cause::PreStartTimeout => Ended::PreStartTimeout,
            Cause::NotStarted => Ended::NotStarted,
            Cause::Own | Cause::Kill | Cause::Deadline | Cause::Memory => Ended::Program,
        },
        code,
        signal,
        at: Some(Timestamp::from_millis(
            i64::try_from(exit.at).unwrap_or(i64::MAX),
        )),
        moment: (exit.since_boot).map(|millis| Moment::new(Duration::from_millis(millis))),
        cause: match exit.cause {
            Cause::Memory => Some(ExitCause::OutOfMemory),
            Cause::Deadline => Some(ExitCause::Partition),
            Cause::Own
            | Cause::Kill
            | Cause::PreStart
            | Cause::PreStartTimeout
            | Cause::NotStarted => None,
        },
    }
}
