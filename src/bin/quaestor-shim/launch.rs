//! Starting a program: what is prepared before the fork, and what the child does between fork and exec.

use std::{
    ffi::{CString, OsStr, OsString},
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{
        Gid, Pid, Resource, Rlimit, Signal, Uid, chdir, getegid, geteuid, getgid, getpid, getppid,
        getuid, set_parent_process_death_signal, setpriority_process, setrlimit, setsid, umask,
    },
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::{
    raw,
    wire::program::{Limit, Program},
};

/// Starts `arguments`, with all that `program` says and some variables more, with its output going to the two pipes, as the leader of a session and group of its own.
/// Returns once it is executing.
///
/// # Errors
/// What failed, on what, and why.
pub(crate) fn launch(
    program: &Program,
    arguments: &[OsString],
    variables: &[(&str, String)],
    [out, err]: [OwnedFd; 2],
) -> Result<Pid, String> {
    let [name, arguments @ ..] = arguments else {
        return Err("the program has no name".to_owned());
    };
    let pipe = |error| format!("cannot open a pipe: {error}");
    let (report, told) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(pipe)?;
    let launch = Launch::prepare(program, told)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this program that starts one"
    )]
    let mut command = Command::new(name);
    command
        .args(arguments)
        .env_clear()
        .envs(
            program
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
    raw::before_exec(&mut command, launch);
    let child = command.spawn().map_err(|error| {
        let mut step = [0];
        let failed = match std::fs::File::from(report).read(&mut step) {
            Ok(1) => Step::from(step[0]).describe(program),
            _ => format!("start `{}`", Path::new(name).display()),
        };
        format!("cannot {failed}: {error}")
    })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| "the system gave no pid".to_owned())
}

/// What the child does before it becomes the program. Everything is prepared, since a child may not allocate.
pub(crate) struct Launch {
    shim: Pid,
    cgroup: Option<CString>,
    oom_score_adj: Option<String>,
    limits: Vec<(Resource, Rlimit)>,
    nice: Option<i32>,
    identity: Option<(Uid, Gid, Vec<Gid>)>,
    umask: Mode,
    directory: CString,
    no_new_privileges: bool,
    /// Told the step that failed.
    told: OwnedFd,
}

/// What may fail in the child.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Session,
    Cgroup,
    OomScore,
    Limits,
    Nice,
    Groups,
    Group,
    User,
    Identity,
    Parent,
    Directory,
    Privileges,
}

impl Launch {
    fn prepare(program: &Program, told: OwnedFd) -> Result<Self, String> {
        let cgroup = program
            .cgroup
            .as_ref()
            .map(|path| path.join("cgroup.procs"));
        let identity = program.identity.as_ref().map(|identity| {
            let groups = identity.groups.iter().map(|group| Gid::from_raw(*group));
            let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
            (user, group, groups.collect())
        });
        Ok(Self {
            shim: getpid(),
            cgroup: cgroup.map(|path| c_string(path.as_os_str())).transpose()?,
            oom_score_adj: program.oom_score_adj.map(|score| score.to_string()),
            limits: program.limits.iter().map(limit).collect::<Result<_, _>>()?,
            nice: program.nice,
            identity,
            umask: Mode::from_raw_mode(program.umask),
            directory: c_string(program.directory.as_os_str())?,
            no_new_privileges: program.no_new_privileges,
            told,
        })
    }

    /// Runs between fork and exec: system calls only.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.steps().map_err(|(step, error)| {
            // If this fails the error is told without its step.
            let _ = rustix::io::write(&self.told, &[step as u8]);
            error.into()
        })
    }

    /// The order matters: what needs the rights of the shim comes before they are given up, what a
    /// change of user undoes comes after it.
    fn steps(&self) -> Result<(), (Step, Errno)> {
        let at = |step| move |error| (step, error);
        setsid().map_err(at(Step::Session))?;
        if let Some(cgroup) = &self.cgroup {
            write_to(cgroup, b"0").map_err(at(Step::Cgroup))?;
        }
        if let Some(score) = &self.oom_score_adj {
            write_to(c"/proc/self/oom_score_adj", score.as_bytes()).map_err(at(Step::OomScore))?;
        }
        for (resource, limit) in &self.limits {
            setrlimit(*resource, *limit).map_err(at(Step::Limits))?;
        }
        if let Some(nice) = self.nice {
            setpriority_process(None, nice).map_err(at(Step::Nice))?;
        }
        if let Some((user, group, groups)) = &self.identity {
            set_thread_groups(groups).map_err(at(Step::Groups))?;
            set_thread_res_gid(*group, *group, *group).map_err(at(Step::Group))?;
            set_thread_res_uid(*user, *user, *user).map_err(at(Step::User))?;
            let as_asked = (getuid(), geteuid()) == (*user, *user)
                && (getgid(), getegid()) == (*group, *group);
            if !as_asked {
                return Err((Step::Identity, Errno::PERM));
            }
        }
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Parent))?;
        // The shim may have died before the line above; then no signal will ever come.
        if getppid() != Some(self.shim) {
            return Err((Step::Parent, Errno::SRCH));
        }
        umask(self.umask);
        // As the user, who may have less access than the shim.
        chdir(self.directory.as_c_str()).map_err(at(Step::Directory))?;
        if self.no_new_privileges {
            set_no_new_privs(true).map_err(at(Step::Privileges))?;
        }
        Ok(())
    }
}

fn write_to(path: &std::ffi::CStr, text: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text).map(drop)
}

fn c_string(path: &OsStr) -> Result<CString, String> {
    CString::new(path.as_bytes()).map_err(|_| format!("{path:?} has a zero byte in it"))
}

const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

fn limit(limit: &Limit) -> Result<(Resource, Rlimit), String> {
    let known = RESOURCES.iter().find(|(name, _)| *name == limit.resource);
    let (_, resource) = known.ok_or_else(|| format!("no limit is named `{}`", limit.resource))?;
    let (current, maximum) = (limit.soft, limit.hard);
    Ok((*resource, Rlimit { current, maximum }))
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Session,
        Self::Cgroup,
        Self::OomScore,
        Self::Limits,
        Self::Nice,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Identity,
        Self::Parent,
        Self::Directory,
        Self::Privileges,
    ];

    fn from(number: u8) -> Self {
        let found = Self::ALL.iter().find(|step| **step as u8 == number);
        found.copied().unwrap_or(Self::Session)
    }

    /// What it does, to stand behind "cannot".
    fn describe(self, program: &Program) -> String {
        let identity = program.identity.as_ref();
        let cgroup = program.cgroup.as_deref().unwrap_or(Path::new(""));
        match self {
            Self::Session => "open a session".to_owned(),
            Self::Cgroup => format!("enter the cgroup `{}`", cgroup.display()),
            Self::OomScore => format!(
                "set the oom score to {}",
                program.oom_score_adj.unwrap_or(0)
            ),
            Self::Limits => {
                let limits = program.limits.iter().map(|limit| limit.resource.as_str());
                format!("set the limits {}", limits.collect::<Vec<_>>().join(", "))
            }
            Self::Nice => format!("set nice to {}", program.nice.unwrap_or(0)),
            Self::Groups => format!(
                "set groups to {:?}",
                identity.map_or(&[][..], |i| &i.groups)
            ),
            Self::Group => format!("become group {}", identity.map_or(0, |i| i.group)),
            Self::User => format!("become user {}", identity.map_or(0, |i| i.user)),
            Self::Identity => "verify the user and group".to_owned(),
            Self::Parent => "tie it to the shim".to_owned(),
            Self::Directory => format!("start in `{}`", program.directory.display()),
            Self::Privileges => "rule out new privileges".to_owned(),
        }
    }
}
