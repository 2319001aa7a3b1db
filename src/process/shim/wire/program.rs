//! The record that says what to start, and with what.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use super::{
    fields::{self, Fields, Malformed},
    message::Signal,
    record::{self, Broken},
};

/// What a shim starts. The agent has resolved everything: no name, no placeholder, no default is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Whether the record is removed once it was read: it holds what is not to lie about.
    pub is_secret: bool,
    /// The uuid of the instance; copied into [`Running`](super::record::Running).
    pub instance: String,
    /// The program and its arguments. One without a slash is looked up in `PATH` of `environment`.
    pub arguments: Vec<OsString>,
    /// What prepares the start: it comes first, and nothing is started unless it exits with 0.
    pub pre_start: Option<PreStart>,
    /// How it says how it is; none: nobody listens.
    pub notify: Option<Notify>,
    /// The whole environment, but for what tells it where to say how it is.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub directory: PathBuf,
    /// Which permissions the files that it makes shall not have.
    pub umask: u32,
    /// Whom it runs as; none: as the shim does. Needs a shim that runs as root.
    pub identity: Option<Identity>,
    /// Whose account it runs as, on Windows; none: the shim's.
    pub logon: Option<Logon>,
    /// What it may use up.
    pub limits: Vec<Limit>,
    /// From -20 (favoured) to 19; none: as the shim.
    pub nice: Option<i32>,
    /// From -1000 (never killed for memory) to 1000; none: as the shim.
    pub oom_score_adj: Option<i32>,
    /// Whether it and its children can never gain privileges by starting a set-uid program.
    pub no_new_privileges: bool,
    /// The directory of the cgroup that it enters. It must be this instance's alone: at the end all
    /// that is in it is killed.
    pub cgroup: Option<PathBuf>,
    /// How the shim stops it when a deadline passes.
    pub stop: Stop,
    /// How much of its output is kept.
    pub logs: LogLimits,
}

/// What prepares the start of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreStart {
    /// Another program and its arguments.
    pub arguments: Vec<OsString>,
    /// How long it may take.
    pub timeout: Duration,
}

/// How a program says how it is: in the words of `sd_notify(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// How long it may send no ping; none: it need not send any.
    pub watchdog: Option<Duration>,
}

/// Whom a program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub user: u32,
    /// The primary group's number.
    pub group: u32,
    /// The numbers of all further groups.
    pub groups: Vec<u32>,
}

/// Whose account a program runs as, on Windows.
#[derive(Clone, PartialEq, Eq)]
pub struct Logon {
    /// The account, with its domain if it has one: `CORP\qa`.
    pub user: String,
    /// By what it logs on; none: the system knows without.
    pub password: Option<String>,
}

impl fmt::Debug for Logon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logon({})", self.user)
    }
}

/// A limit on one resource, as `setrlimit` knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name of the constant without `RLIMIT_`, in lower case: `nofile`.
    pub resource: String,
    /// The limit in force; none: unlimited.
    pub soft: Option<u64>,
    /// How far the program may raise it; none: unlimited.
    pub hard: Option<u64>,
}

/// How a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What asks it to end.
    pub signal: Signal,
    /// How long it has, before its tree is killed.
    pub grace: Duration,
}

/// How much output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// How large a file may grow, in bytes.
    pub max_bytes: u64,
    /// How many files are kept, the current one included; at least 1.
    pub files: u32,
}

impl Program {
    const KIND: &str = "program";

    /// The record.
    pub fn seal(&self) -> String {
        let mut fields = Fields::default();
        fields.add("instance", &self.instance);
        if self.is_secret {
            fields.show("secret", true);
        }
        for argument in &self.arguments {
            fields.add("argument", argument);
        }
        if let Some(pre_start) = &self.pre_start {
            for argument in &pre_start.arguments {
                fields.add("pre-start-argument", argument);
            }
            fields.show("pre-start-timeout", pre_start.timeout.as_millis());
        }
        if let Some(notify) = &self.notify {
            fields.show("notify", true);
            if let Some(watchdog) = notify.watchdog {
                fields.show("notify-watchdog", watchdog.as_millis());
            }
        }
        for (name, value) in &self.environment {
            // Two fields, so that neither needs a mark that the other could contain.
            fields.add("env-name", name);
            fields.add("env-value", value);
        }
        fields.add("directory", &self.directory);
        fields.add("umask", format!("{:03o}", self.umask));
        if let Some(identity) = &self.identity {
            fields.show("user", identity.user);
            fields.show("group", identity.group);
            for group in &identity.groups {
                fields.show("further-group", group);
            }
        }
        if let Some(logon) = &self.logon {
            fields.add("logon-user", &logon.user);
            if let Some(password) = &logon.password {
                fields.add("logon-password", password);
            }
        }
        for limit in &self.limits {
            let show = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |l| l.to_string());
            let (soft, hard) = (show(limit.soft), show(limit.hard));
            fields.add("limit", format!("{}:{soft}:{hard}", limit.resource));
        }
        if let Some(nice) = self.nice {
            fields.show("nice", nice);
        }
        if let Some(score) = self.oom_score_adj {
            fields.show("oom-score-adj", score);
        }
        fields.show("no-new-privileges", self.no_new_privileges);
        if let Some(cgroup) = &self.cgroup {
            fields.add("cgroup", cgroup);
        }
        fields.add("stop-signal", self.stop.signal.name());
        fields.show("stop-grace", self.stop.grace.as_millis());
        fields.show("log-max-bytes", self.logs.max_bytes);
        fields.show("log-files", self.logs.files);
        record::seal(Self::KIND, &fields)
    }

    /// The content of a record.
    ///
    /// # Errors
    /// As [`record::open`].
    pub fn open(content: &[u8]) -> Result<Self, Broken> {
        let fields = record::open(Self::KIND, content)?;
        let names = fields.all("env-name").map(OsString::from);
        let values = fields.all("env-value").map(OsString::from);
        let umask: String = fields.parse("umask")?;
        Ok(Self {
            instance: fields.parse("instance")?,
            is_secret: fields.parse_if_there("secret")?.unwrap_or(false),
            arguments: fields.all("argument").map(OsString::from).collect(),
            pre_start: fields
                .parse_if_there("pre-start-timeout")?
                .map(|timeout| PreStart {
                    arguments: fields
                        .all("pre-start-argument")
                        .map(OsString::from)
                        .collect(),
                    timeout: Duration::from_millis(timeout),
                }),
            notify: notify(&fields)?,
            environment: names.zip(values).collect(),
            directory: PathBuf::from(fields.get("directory")?),
            umask: u32::from_str_radix(&umask, 8)
                .map_err(|_| Malformed(format!("`umask` has a wrong value: {umask}")))?,
            identity: identity(&fields)?,
            logon: fields
                .parse_if_there("logon-user")?
                .map(|user| {
                    let password = fields.parse_if_there("logon-password")?;
                    Ok::<_, Malformed>(Logon { user, password })
                })
                .transpose()?,
            limits: limits(&fields)?,
            nice: fields.parse_if_there("nice")?,
            oom_score_adj: fields.parse_if_there("oom-score-adj")?,
            no_new_privileges: fields.parse("no-new-privileges")?,
            cgroup: fields.find("cgroup").map(PathBuf::from),
            stop: Stop {
                signal: fields.parse("stop-signal")?,
                grace: Duration::from_millis(fields.parse("stop-grace")?),
            },
            logs: LogLimits {
                max_bytes: fields.parse("log-max-bytes")?,
                files: fields.parse("log-files")?,
            },
        })
    }
}

fn notify(fields: &Fields) -> Result<Option<Notify>, Malformed> {
    let watchdog = fields.parse_if_there("notify-watchdog")?;
    let watchdog = watchdog.map(Duration::from_millis);
    let is_asked = fields.parse_if_there("notify")?.unwrap_or(false);
    Ok(is_asked.then_some(Notify { watchdog }))
}

fn identity(fields: &Fields) -> Result<Option<Identity>, Malformed> {
    let Some(user) = fields.parse_if_there("user")? else {
        return Ok(None);
    };
    let groups = fields.all("further-group");
    Ok(Some(Identity {
        user,
        group: fields.parse("group")?,
        groups: groups
            .map(|group| fields::parse("further-group", group))
            .collect::<Result<_, _>>()?,
    }))
}

fn limits(fields: &Fields) -> Result<Vec<Limit>, Malformed> {
    let number = |text: &str| match text {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    let limit = |value: &std::ffi::OsStr| {
        let parse = || {
            let mut parts = value.to_str()?.splitn(3, ':');
            Some(Limit {
                resource: parts.next()?.to_owned(),
                soft: number(parts.next()?)?,
                hard: number(parts.next()?)?,
            })
        };
        parse().ok_or_else(|| Malformed(format!("`limit` has a wrong value: {value:?}")))
    };
    fields.all("limit").map(limit).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn bytes() -> impl Strategy<Value = OsString> {
        #[cfg(unix)]
        return any::<Vec<u8>>().prop_map(std::os::unix::ffi::OsStringExt::from_vec);
        #[cfg(windows)]
        return any::<String>().prop_map(OsString::from);
    }

    fn limit() -> impl Strategy<Value = Limit> {
        ("[a-z]{1,9}", any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
            |(resource, soft, hard)| Limit {
                resource,
                soft,
                hard,
            },
        )
    }

    fn identity() -> impl Strategy<Value = Identity> {
        any::<(u32, u32, Vec<u32>)>().prop_map(|(user, group, groups)| Identity {
            user,
            group,
            groups,
        })
    }

    fn logons() -> impl Strategy<Value = Logon> {
        any::<(String, Option<String>)>().prop_map(|(user, password)| Logon { user, password })
    }

    fn pre_starts() -> impl Strategy<Value = PreStart> {
        (vec(bytes(), 0..3), any::<u64>()).prop_map(|(arguments, timeout)| PreStart {
            arguments,
            timeout: Duration::from_millis(timeout),
        })
    }

    fn notices() -> impl Strategy<Value = Notify> {
        any::<Option<u64>>().prop_map(|watchdog| Notify {
            watchdog: watchdog.map(Duration::from_millis),
        })
    }

    fn stops() -> impl Strategy<Value = Stop> {
        (0..Signal::ALL.len(), any::<u64>()).prop_map(|(signal, grace)| Stop {
            signal: Signal::ALL[signal].0,
            grace: Duration::from_millis(grace),
        })
    }

    fn log_limits() -> impl Strategy<Value = LogLimits> {
        any::<(u64, u32)>().prop_map(|(max_bytes, files)| LogLimits { max_bytes, files })
    }

    prop_compose! {
        fn programs()(
            (instance, is_secret, no_new_privileges) in any::<(String, bool, bool)>(),
            arguments in vec(bytes(), 0..4),
            environment in vec((bytes(), bytes()), 0..4),
            directory in bytes(),
            cgroup in option::of(bytes()),
            umask in 0..0o1000_u32,
            (identity, logon) in (option::of(identity()), option::of(logons())),
            limits in vec(limit(), 0..3),
            (nice, oom_score_adj) in any::<(Option<i32>, Option<i32>)>(),
            (stop, pre_start, notify) in (stops(), option::of(pre_starts()), option::of(notices())),
            logs in log_limits(),
        ) -> Program {
            let (directory, cgroup) = (directory.into(), cgroup.map(PathBuf::from));
            Program {
                instance, is_secret, pre_start, notify, arguments, environment, directory, umask, identity, logon, limits, nice,
                oom_score_adj, no_new_privileges, cgroup, stop, logs,
            }
        }
    }

    proptest! {
        #[test]
        fn programs_come_back(program in programs()) {
            prop_assert_eq!(Program::open(program.seal().as_bytes()), Ok(program));
        }
    }
}
