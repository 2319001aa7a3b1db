//! How hosts reach each other, and what goes wrong in between.
//!
//! Each host is a network namespace, and a router stands between them that can lose packets ([`Wire::Spaces`]); or all
//! have addresses of this machine, and what their programs say to the store goes through proxies ([`Wire::Proxies`]).

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::proxy::{Mode, Proxy};

/// A host, by its number.
pub(crate) type Host = u8;

/// Hosts with a member of the store and an agent.
pub(crate) const HOSTS: [Host; 3] = [1, 2, 3];

/// The host of balancers and of people.
pub(crate) const OUTSIDE: Host = 4;

/// Hosts of controllers.
pub(crate) const CONTROLLERS: [Host; 2] = [5, 6];

/// A host with an agent and no member of the store.
pub(crate) const FURTHER: Host = 7;

const ALL: [Host; 7] = [1, 2, 3, OUTSIDE, 5, 6, FURTHER];

/// Set where a test that cannot run has to fail: in `.ci/run`.
const SKIP_NOTHING: &str = "QUAESTOR_TEST_SKIP_NOTHING";

/// What hosts are connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Network namespaces: packets are lost.
    Spaces,
    /// Proxies before the store: bytes are held up, lost, or come late.
    Proxies,
}

/// The network of one world.
pub(crate) enum Network {
    Spaces(Spaces),
    Proxies(Ways),
}

/// Namespaces, each held by a process that ends with this one.
pub(crate) struct Spaces {
    router: Child,
    hosts: BTreeMap<Host, Child>,
    /// Ports of the members.
    ports: BTreeMap<Host, u16>,
    /// What stands between hosts and members, where something does: see [`Network::relay`].
    relays: BTreeMap<Host, Relay>,
}

/// The proxies on a host of its own, through which it speaks to the members; they end with their thread.
pub(crate) struct Relay {
    proxies: Vec<(Host, Proxy)>,
    /// Ends the thread when it is dropped.
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Proxies, by who speaks and to which member.
pub(crate) struct Ways {
    runtime: tokio::runtime::Runtime,
    proxies: BTreeMap<(Host, Host), Proxy>,
    /// Directions that are cut.
    cuts: Vec<(Host, Host)>,
}

impl Network {
    /// The network that was asked for; where the machine does not allow namespaces, one of proxies.
    pub(crate) fn new(wire: Wire) -> Self {
        let proxies = || {
            Self::Proxies(Ways {
                runtime: tokio::runtime::Runtime::new().unwrap(),
                proxies: BTreeMap::new(),
                cuts: Vec::new(),
            })
        };
        match (wire, Spaces::are_allowed()) {
            (Wire::Spaces, Ok(())) => Self::Spaces(Spaces::new()),
            (Wire::Spaces, Err(why)) => {
                let strict = std::env::var_os(SKIP_NOTHING).is_some();
                assert!(!strict, "no network namespaces: {why}");
                eprintln!("no network namespaces ({why}): proxies take their place");
                proxies()
            }
            (Wire::Proxies, _) => proxies(),
        }
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: Host) -> String {
        match self {
            Self::Spaces(_) => format!("10.7.{host}.2"),
            Self::Proxies(_) => format!("127.0.{host}.1"),
        }
    }

    /// Makes the members known, by the ports that they listen to.
    pub(crate) fn attach(&mut self, members: &BTreeMap<Host, u16>) {
        let address = |host| match self {
            Self::Spaces(_) => String::new(),
            Self::Proxies(_) => format!("http://127.0.{host}.1:{}", members[&host]),
        };
        let targets: Vec<_> = members
            .keys()
            .map(|member| (*member, address(*member)))
            .collect();
        match self {
            Self::Spaces(spaces) => spaces.ports = members.clone(),
            Self::Proxies(ways) => {
                for host in ALL {
                    for (member, target) in &targets {
                        let proxy = ways.runtime.block_on(Proxy::to(target));
                        ways.proxies.insert((host, *member), proxy);
                    }
                }
            }
        }
    }

    /// How a host reaches the store: its own member first.
    pub(crate) fn endpoints(&self, host: Host) -> String {
        let mut members = HOSTS;
        members.sort_by_key(|member| *member != host);
        let endpoint = |member: Host| match self {
            Self::Spaces(spaces) => match spaces.relays.get(&host) {
                Some(relay) => relay.to(member).endpoint(),
                None => format!("http://{}:{}", self.address(member), spaces.ports[&member]),
            },
            Self::Proxies(ways) => ways.proxies[&(host, member)].endpoint(),
        };
        members.map(endpoint).join(",")
    }

    /// A command that runs on a host.
    pub(crate) fn command(&self, host: Host, program: &str) -> Command {
        match self {
            Self::Spaces(spaces) => spaces.command(&spaces.hosts[&host], program),
            Self::Proxies(_) => Command::new(program),
        }
    }

    /// The namespace of a host, for [`enter`]; none where there are none.
    pub(crate) fn space(&self, host: Host) -> Option<File> {
        match self {
            Self::Spaces(spaces) => Some(File::open(path(&spaces.hosts[&host])).unwrap()),
            Self::Proxies(_) => None,
        }
    }

    /// Runs something outside.
    pub(crate) fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let space = self.space(OUTSIDE);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                enter(space.as_ref());
                work()
            });
            match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Puts proxies between a host's own programs and the members: a network of namespaces gets what one of proxies
    /// has, beside what it can do itself.
    pub(crate) fn relay(&mut self, host: Host) {
        let space = self.space(host);
        let addresses = HOSTS.map(|member| (member, self.address(member)));
        let Self::Spaces(spaces) = self else {
            return;
        };
        let ports = spaces.ports.clone();
        let targets = addresses.map(|(member, at)| (member, format!("{at}:{}", ports[&member])));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (made, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            enter(space.as_ref());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut proxies = Vec::new();
                for (member, target) in targets {
                    proxies.push((member, Proxy::to(&target).await));
                }
                made.send(proxies).unwrap();
                let _ = stopped.await;
            });
        });
        let relay = Relay {
            proxies: wait.recv().unwrap(),
            _stop: stop,
        };
        spaces.relays.insert(host, relay);
    }

    /// Loses all that one host sends to another from now on.
    pub(crate) fn cut(&mut self, from: Host, to: Host) {
        match self {
            Self::Spaces(spaces) => spaces.rule("add", from, to),
            Self::Proxies(ways) => {
                ways.cuts.push((from, to));
                ways.update();
            }
        }
    }

    /// Ends that.
    pub(crate) fn mend(&mut self, from: Host, to: Host) {
        match self {
            Self::Spaces(spaces) => spaces.rule("del", from, to),
            Self::Proxies(ways) => {
                ways.cuts.retain(|cut| *cut != (from, to));
                ways.update();
            }
        }
    }

    /// Cuts a host off from all others.
    pub(crate) fn cut_off(&mut self, host: Host) {
        for other in ALL.into_iter().filter(|other| *other != host) {
            self.cut(host, other);
            self.cut(other, host);
        }
    }

    /// Ends that.
    pub(crate) fn take_back(&mut self, host: Host) {
        for other in ALL.into_iter().filter(|other| *other != host) {
            self.mend(host, other);
            self.mend(other, host);
        }
    }

    /// Ends all connections of a host with the store, and every new one.
    pub(crate) fn sever(&self, host: Host) {
        for proxy in self.proxies(host) {
            proxy.set(Mode::Refuse);
        }
    }

    /// Lets it connect again.
    pub(crate) fn join(&self, host: Host) {
        for proxy in self.proxies(host) {
            proxy.set(Mode::Carry);
        }
    }

    /// The proxies through which a host speaks to the store.
    pub(crate) fn proxies(&self, host: Host) -> Vec<&Proxy> {
        let ways = match self {
            Self::Proxies(ways) => ways,
            Self::Spaces(spaces) => {
                let proxies = spaces.relays[&host].proxies.iter();
                return proxies.map(|(_, proxy)| proxy).collect();
            }
        };
        let own = |(from, _): &(Host, Host)| *from == host;
        let proxies = ways.proxies.iter().filter(|(way, _)| own(way));
        proxies.map(|(_, proxy)| proxy).collect()
    }
}

/// Moves the calling thread, and what it starts, into a namespace.
pub(crate) fn enter(space: Option<&File>) {
    if let Some(space) = space {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

impl Relay {
    fn to(&self, member: Host) -> &Proxy {
        let mut proxies = self.proxies.iter();
        &proxies.find(|(to, _)| *to == member).unwrap().1
    }
}

impl Ways {
    /// A member is on its host, but the others of the store are reached as ever.
    fn update(&self) {
        for ((from, member), proxy) in &self.proxies {
            let is_cut = |from: Host, to: Host| self.cuts.contains(&(from, to));
            proxy.set(match (is_cut(*from, *member), is_cut(*member, *from)) {
                (true, true) => Mode::Hold,
                (true, false) => Mode::HoldRequests,
                (false, true) => Mode::HoldAnswers,
                // Cut off from the others, a member is no use to its own host either.
                (false, false) if from == member && self.is_alone(*from) => Mode::Hold,
                (false, false) => Mode::Carry,
            });
        }
    }

    fn is_alone(&self, host: Host) -> bool {
        let mut others = HOSTS.into_iter().filter(|other| *other != host);
        others.all(|other| self.cuts.contains(&(host, other)) || self.cuts.contains(&(other, host)))
    }
}

impl Spaces {
    /// Whether this machine lets us have them.
    fn are_allowed() -> Result<(), String> {
        let mut command = Command::new("unshare");
        command.args(["-n", iproute(), "link", "set", "lo", "up"]);
        match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn new() -> Self {
        let spaces = Self {
            router: hold(),
            hosts: ALL.map(|host| (host, hold())).into(),
            ports: BTreeMap::new(),
            relays: BTreeMap::new(),
        };
        for (host, holder) in &spaces.hosts {
            spaces.ip(
                &spaces.router,
                &format!(
                    "link add h{host} type veth peer name eth0 netns {}\n\
                     addr add 10.7.{host}.1/24 dev h{host}\nlink set h{host} up",
                    holder.id()
                ),
            );
            spaces.ip(
                holder,
                &format!(
                    "addr add 10.7.{host}.2/24 dev eth0\nlink set eth0 up\nlink set lo up\n\
                     route add default via 10.7.{host}.1"
                ),
            );
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let mut command = spaces.command(&spaces.router, "sh");
        assert!(command.args(["-c", forward]).status().unwrap().success());
        spaces
    }

    fn command(&self, holder: &Child, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", path(holder)));
        command.args(["--", program]);
        command
    }

    /// Runs commands of `ip`, one a line.
    fn ip(&self, holder: &Child, lines: &str) {
        let mut command = self.command(holder, iproute());
        let mut child = command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        input.unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{lines}");
    }

    fn rule(&self, change: &str, from: Host, to: Host) {
        let rule = format!("rule {change} blackhole from 10.7.{from}.2 to 10.7.{to}.2");
        self.ip(&self.router, &rule);
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for holder in self.hosts.values_mut().chain([&mut self.router]) {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// A process in a namespace of its own. It ends when nobody holds the other end of its input.
fn hold() -> Child {
    let mut holder = Command::new("unshare")
        .args(["-n", "sh", "-c", "echo; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let output = holder.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    assert_eq!(line, "\n", "it holds its namespace");
    holder
}

fn path(holder: &Child) -> String {
    format!("/proc/{}/ns/net", holder.id())
}

/// Debian's `ip`: `$IPROUTE`, else where it commonly is.
fn iproute() -> &'static str {
    static FOUND: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    FOUND.get_or_init(|| {
        let mut common = ["/usr/sbin/ip", "/sbin/ip"].into_iter();
        let common = common.find(|path| std::path::Path::new(path).exists());
        std::env::var("IPROUTE").unwrap_or_else(|_| common.unwrap_or("ip").to_owned())
    })
}
