//! What an agent asks for, done by shims.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, PipeReader, PipeWriter},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use futures::future::{BoxFuture, Either, select};

use super::{
    Confinement, PATIENCE, TURN, TURNS, VARIABLE,
    launch::{self, Failure, ShimMissing},
    link::{self, Link},
    watch::{self, Look},
    wire::{
        message::{Command, Message, Refusal},
        names,
        program::{self, LogLimits},
        record::Running,
    },
};
use crate::{
    host::{Clock, Disk, Host},
    model::{Resources, quantity::Period},
    process::{Found, Logon, Place, Processes, Program, StartError, Started, Used, holder},
};

/// Where Linux tells of processes.
#[cfg(unix)]
const PROC: &str = "/proc";

/// Processes of this machine, each behind a shim of its own that outlives this.
pub struct ShimProcesses {
    /// The shim's program.
    shim: PathBuf,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    tether: Option<Tether>,
    /// Found when they are first needed: whoever only asks for the shim needs none.
    confinement: OnceLock<Arc<Confinement>>,
}

/// A pipe whose writing end this program holds for as long as it lives.
struct Tether {
    reader: PipeReader,
    _writer: PipeWriter,
}

impl ShimProcesses {
    /// Processes that live on, whatever becomes of this program.
    ///
    /// # Errors
    /// Where the shim was looked for, when it is missing.
    pub fn new(host: &Host) -> Result<Self, ShimMissing> {
        Ok(Self::by(launch::find()?, host))
    }

    /// The same, with the shim at `program`.
    pub fn by(program: PathBuf, host: &Host) -> Self {
        Self {
            shim: program,
            clock: Arc::clone(&host.clock),
            disk: Arc::clone(&host.disk),
            tether: None,
            confinement: OnceLock::new(),
        }
    }

    /// Lets everything that is started from here on end with this value, and with this program, however it ends.
    ///
    /// # Errors
    /// The system's, when there is no pipe to be had.
    pub fn tethered(mut self) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        self.tether = Some(Tether {
            reader,
            _writer: writer,
        });
        Ok(self)
    }

    fn confinement(&self) -> &Arc<Confinement> {
        self.confinement.get_or_init(|| {
            #[cfg(unix)]
            let confinement = Confinement::new(Arc::clone(&self.disk), Path::new(PROC));
            #[cfg(windows)]
            let confinement = Confinement::default();
            Arc::new(confinement)
        })
    }

    /// A connection to the shim of `place`, which is started if there is none. Whether it understands what needs `least`
    /// is only asked if that is something.
    async fn shim(&self, place: &Place, least: u32) -> Result<Link, StartError> {
        let directory = &place.directory;
        let failed = |cause: String| StartError::Shim {
            directory: directory.clone(),
            cause,
        };
        let reach = async || {
            let mut link = Link::connect(directory, &self.clock).await?;
            if least > 0 {
                link.greet().await?;
            }
            Ok(link)
        };
        for _ in 0..TURNS {
            match reach().await {
                Ok(link) => return Ok(link),
                Err(error) if link::is_absence(&error) => {}
                Err(error) if link::is_departure(&error) => {}
                Err(error) => return Err(failed(error.to_string())),
            }
            watch::bury(place, self.confinement(), &self.clock).await;
            let tether = self.tether.as_ref().map(|tether| &tether.reader);
            match launch::launch(&self.shim, directory, tether, &self.clock).await {
                Ok(()) => {}
                Err(Failure::Held) => self.clock.sleep(TURN).await,
                Err(Failure::Broken(why)) => return Err(failed(why)),
            }
        }
        Err(failed("another one does not leave".to_owned()))
    }

    async fn start(
        &self,
        place: &Place,
        incarnation: u64,
        program: &Program,
    ) -> Result<Started, StartError> {
        let directory = &place.directory;
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |cause| StartError::Place { path, cause }
        };
        let made = self.disk.create_directory(directory);
        made.map_err(unusable(directory))?;
        link_logs(directory, &program.logs).map_err(unusable(&program.logs))?;
        #[cfg(unix)]
        self.confinement().settle();
        let mut link = self.shim_for(place, program).await?;
        let record = directory.join(names::PROGRAM);
        let write = |cgroup: Option<PathBuf>| {
            let sealed = seal(place, program, cgroup);
            let written = self.disk.write(&record, sealed.as_bytes(), false);
            written.map_err(unusable(&record))
        };
        let cgroup = self.cgroup(place, program);
        let is_confined = cgroup.is_some();
        write(cgroup)?;
        let mut running = self.begin(&mut link, place, incarnation, program).await;
        if is_confined && let Err(StartError::Refused(why)) = &running {
            // It may be the cgroup that cannot be entered: no limit is worth a process.
            tracing::debug!(directory = %directory.display(), why, "tried again without its limits");
            write(None)?;
            running = self.begin(&mut link, place, incarnation, program).await;
        }
        if is_secret(program) {
            // The shim has removed it, unless it is an older one or could not be asked.
            self.disk.remove(&record).map_err(unusable(&record))?;
        }
        let running = running?;
        let notice = program.notify.is_some().then(Default::default);
        Ok(watch::started(
            place,
            &running,
            notice,
            link,
            &self.disk,
            self.confinement(),
        ))
    }

    /// A connection to a shim of `place` that understands all of `program`.
    async fn shim_for(&self, place: &Place, program: &Program) -> Result<Link, StartError> {
        let needs = [
            (program.logon.is_some(), 3),
            (program.notify.is_some(), 2),
            (program.pre_start.is_some(), 1),
        ];
        let least = needs.iter().find(|(is_needed, _)| *is_needed);
        let least = least.map_or(0, |(_, level)| *level);
        let mut link = self.shim(place, least).await?;
        if link.level() < least && link.ask(Command::Release).await.is_ok() {
            // An older one would not understand all of the record. It leaves if nothing lives.
            link = self.shim(place, least).await?;
        }
        if link.level() < least {
            return Err(StartError::Shim {
                directory: place.directory.clone(),
                cause: "it is of an older version, and does not leave".to_owned(),
            });
        }
        Ok(link)
    }

    /// The cgroup that `program` enters, if it has limits and this host can have any.
    fn cgroup(&self, place: &Place, program: &Program) -> Option<PathBuf> {
        #[cfg(unix)]
        {
            let limited = program.resources.is_limited();
            let confine = || self.confinement().confine(place, &program.resources);
            limited.then(confine)?.cgroup
        }
        // Every instance has its job there, which the shim makes.
        #[cfg(windows)]
        {
            let _ = (place, program);
            None
        }
    }

    /// Lets the shim start `program`, which the record says already.
    async fn begin(
        &self,
        link: &mut Link,
        place: &Place,
        incarnation: u64,
        program: &Program,
    ) -> Result<Running, StartError> {
        let directory = &place.directory;
        let failed = |cause: String| StartError::Shim {
            directory: directory.clone(),
            cause,
        };
        // The deadline first: a shim whose deadline has passed starts nothing.
        let deadline = || Command::Deadline(program.stop_within);
        let start = || Command::Start { incarnation };
        let mut answer = link.ask_after(deadline(), start()).await;
        if answer.as_ref().is_err_and(link::is_departure) {
            // It was leaving, or dying, when it was connected to.
            *link = self.shim(place, 0).await?;
            self.cgroup(place, program);
            answer = link.ask_after(deadline(), start()).await;
        }
        if let Ok(Message::Error {
            refusal: Refusal::Busy,
            text,
        }) = &answer
        {
            tracing::error!(directory = %directory.display(), text, "killed to make room for the next");
            let cleared = self.clear(link).await;
            cleared.map_err(|error| failed(error.to_string()))?;
            // It went with who lived in it.
            self.cgroup(place, program);
            answer = link.ask(start()).await;
        }
        match answer.map_err(|error| failed(error.to_string()))? {
            Message::Ok => {}
            Message::Error {
                refusal: Refusal::StartFailed,
                text,
            } => {
                return Err(StartError::Refused(text));
            }
            other => return Err(failed(other.to_string())),
        }
        loop {
            // It was told before the answer.
            match link
                .event()
                .await
                .map_err(|error| failed(error.to_string()))?
            {
                Message::Started(running) if running.incarnation == incarnation => {
                    return Ok(running);
                }
                _ => {}
            }
        }
    }

    /// Kills what lives behind `link`; returns once nothing does.
    async fn clear(&self, link: &mut Link) -> io::Result<()> {
        link.ask(Command::Kill).await?;
        let cleared = async {
            while link.status().await?.running.is_some() {
                self.clock.sleep(TURN).await;
            }
            Ok(())
        };
        match select(std::pin::pin!(cleared), self.clock.sleep(PATIENCE)).await {
            Either::Left((cleared, _)) => cleared,
            Either::Right(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "something lives that cannot be killed",
            )),
        }
    }

    async fn find(&self, place: &Place) -> io::Result<Found> {
        match watch::look(&place.directory, &self.clock).await? {
            Look::Shim(link, status) => match status.running {
                Some(running) => {
                    check(place, &running)?;
                    let notice = status.notice;
                    Ok(Found::Running {
                        incarnation: running.incarnation,
                        started: watch::started(
                            place,
                            &running,
                            notice,
                            link,
                            &self.disk,
                            self.confinement(),
                        ),
                    })
                }
                None => Ok(Found::Idle {
                    last: (status.last).map(|exit| (exit.incarnation, watch::end(&exit))),
                }),
            },
            Look::Nobody => Ok(Found::Idle {
                last: watch::bury(place, self.confinement(), &self.clock).await,
            }),
        }
    }

    async fn forget(&self, place: &Place) -> io::Result<()> {
        match watch::look(&place.directory, &self.clock).await? {
            Look::Shim(mut link, ..) => {
                self.clear(&mut link).await?;
                link.ask(Command::Release).await?;
                // It ends the connection when it is gone.
                let left = async { while link.event().await.is_ok() {} };
                select(std::pin::pin!(left), self.clock.sleep(PATIENCE)).await;
            }
            Look::Nobody => {
                watch::bury(place, self.confinement(), &self.clock).await;
            }
        }
        self.confinement().clear(place, &self.clock).await;
        let mut looks = 0;
        loop {
            match fs::remove_dir_all(&place.directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // Where a shim that is just ending holds files open, they cannot be removed.
                Err(_) if cfg!(windows) && looks < TURNS => looks += 1,
                removed => return removed,
            }
            self.clock.sleep(TURN).await;
        }
    }
}

impl Processes for ShimProcesses {
    fn holder(&self, port: u16) -> Option<String> {
        holder::holder(port)
    }

    fn start<'a>(
        &'a self,
        place: &'a Place,
        incarnation: u64,
        program: &'a Program,
    ) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(self.start(place, incarnation, program))
    }

    fn find<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, io::Result<Found>> {
        Box::pin(self.find(place))
    }

    fn forget<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.forget(place))
    }

    fn usage(&self, pids: &BTreeSet<u32>) -> BTreeMap<u32, Used> {
        #[cfg(unix)]
        {
            let units = crate::process::usage::Units {
                ticks: rustix::param::clock_ticks_per_second(),
                page: rustix::param::page_size() as u64,
            };
            crate::process::usage::of(Path::new(PROC), pids, units)
        }
        #[cfg(windows)]
        self.confinement().usage(pids)
    }

    fn confine(&self, place: &Place, resources: &Resources) -> Option<String> {
        self.confinement().hold(place, resources)
    }

    fn processors(&self) -> f64 {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        f64::from(u32::try_from(count).unwrap_or(1))
    }
}

/// Refuses a process that was not started for `place`, whatever the shim there says.
fn check(place: &Place, running: &Running) -> io::Result<()> {
    if running.instance == place.uuid {
        return Ok(());
    }
    let text = format!(
        "process {} belongs to instance {}, not to {}",
        running.pid, running.instance, place.uuid
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Lets the log directory of a shim be `logs`.
#[cfg(windows)]
fn link_logs(directory: &Path, logs: &Path) -> io::Result<()> {
    let text = logs
        .to_str()
        .ok_or_else(|| io::Error::other("its name is no Unicode"))?;
    fs::write(directory.join(names::LOG), text)
}

/// Lets the log directory of a shim be `logs`.
#[cfg(unix)]
fn link_logs(directory: &Path, logs: &Path) -> io::Result<()> {
    let link = directory.join(names::LOG);
    match fs::read_link(&link) {
        Ok(found) if found == logs => return Ok(()),
        Ok(_) => fs::remove_file(&link)?,
        Err(_) => {}
    }
    std::os::unix::fs::symlink(logs, link)
}

/// Whether what is to be started is told what is not to lie about.
fn is_secret(program: &Program) -> bool {
    let has_password = |logon: &Logon| logon.password.is_some();
    !program.secrets.is_empty() || program.logon.as_ref().is_some_and(has_password)
}

/// The record that says what to start.
fn seal(place: &Place, program: &Program, cgroup: Option<PathBuf>) -> String {
    let secrets = (program.secrets.iter()).map(|(name, value)| (name, &value.0));
    let mut environment: Vec<_> = (program.environment.iter())
        .chain(secrets)
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    environment.push((VARIABLE.into(), place.uuid.clone().into()));
    let record = program::Program {
        is_secret: is_secret(program),
        pre_start: program.pre_start.as_ref().map(|first| program::PreStart {
            arguments: first.arguments.iter().map(Into::into).collect(),
            timeout: first.timeout,
        }),
        notify: program.notify.as_ref().map(|notify| program::Notify {
            watchdog: notify.watchdog.map(Period::get),
        }),
        instance: place.uuid.clone(),
        arguments: program.arguments.iter().map(Into::into).collect(),
        environment,
        directory: program.working_directory.clone(),
        umask: program.umask.0,
        identity: program.identity.as_ref().map(|identity| program::Identity {
            user: identity.user,
            group: identity.group,
            groups: identity.groups.clone(),
        }),
        logon: program.logon.as_ref().map(|logon| program::Logon {
            user: logon.user.clone(),
            password: logon.password.as_ref().map(|password| password.0.clone()),
        }),
        limits: program
            .limits
            .given()
            .map(|(resource, limit)| program::Limit {
                resource: resource.to_owned(),
                soft: limit.0,
                hard: limit.0,
            })
            .collect(),
        nice: program.nice,
        oom_score_adj: program.oom_score_adjust,
        // Always: what needs more rights than its user has is started as another one.
        no_new_privileges: true,
        cgroup,
        stop: program::Stop {
            signal: watch::wire_signal(program.stop.signal),
            grace: program.stop.grace.get(),
        },
        logs: LogLimits {
            max_bytes: program.log_limits.max_size.bytes(),
            files: program.log_limits.max_files,
        },
    };
    record.seal()
}
