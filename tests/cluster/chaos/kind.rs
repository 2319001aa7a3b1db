//! The faults there are.

use std::{fmt, time::Duration};

use crate::{
    dice::Dice,
    network::{CONTROLLERS, FURTHER, HOSTS, Host, OUTSIDE},
};

/// Hosts with an agent.
pub(super) const AGENTS: [Host; 4] = [HOSTS[0], HOSTS[1], HOSTS[2], FURTHER];

/// What goes wrong. None of it touches a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// kill -9 of a controller; it is started again.
    ControllerKilled,
    /// SIGSTOP; also for longer than its lease.
    ControllerPaused,
    AgentKilled,
    AgentPaused,
    BalancerKilled,
    BalancerPaused,
    MemberKilled,
    /// The member that leads the others.
    MemberLeaderKilled,
    MemberPaused,
    /// Two members of three are killed.
    QuorumLost,
    WorkerKilled,
    WorkerPaused,
    ShimKilled,
    ShimPaused,
    /// All packets from and to a host are lost.
    HostCutOff,
    /// Those to a host.
    HostDeaf,
    /// Those from a host.
    HostMute,
    /// All that a host says to the store comes late, and so do the answers.
    WaySlow,
    /// It is lost, on the connections there are for good.
    WayStalled,
    /// Requests reach the store, and their answers are lost.
    AnswersLost,
    /// Nothing can be written to an agent's directory.
    DiskFull,
    /// The store forgets its history.
    Compacted,
    /// The store is put back to a backup.
    Restored,
    /// Every role is ended and started, one after the other.
    RolesRestarted,
    /// The same, and each comes back from a new file of the program.
    Upgraded,
    /// An operator restarts all workers.
    WorkersRestarted,
    /// An operator drains a host, and lets it serve again.
    NodeDrained,
}

/// What two faults cannot have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Controller(usize),
    Agent(Host),
    /// The way from a host to the store.
    Way(Host),
    /// One of two has to answer.
    Balancers,
    /// One member may be away.
    Members,
    /// The copies of one host may be away.
    Copies,
    Everything,
}

/// A fault that is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// A host with an agent; of a way any host.
    pub(super) host: Host,
    /// Which of two controllers or balancers, members or copies.
    pub(super) number: usize,
    /// How long until it is ended, where somebody has to.
    pub(super) lasts: Duration,
}

impl Kind {
    const ALL: [Self; 27] = [
        Self::ControllerKilled,
        Self::ControllerPaused,
        Self::AgentKilled,
        Self::AgentPaused,
        Self::BalancerKilled,
        Self::BalancerPaused,
        Self::MemberKilled,
        Self::MemberLeaderKilled,
        Self::MemberPaused,
        Self::QuorumLost,
        Self::WorkerKilled,
        Self::WorkerPaused,
        Self::ShimKilled,
        Self::ShimPaused,
        Self::HostCutOff,
        Self::HostDeaf,
        Self::HostMute,
        Self::WaySlow,
        Self::WayStalled,
        Self::AnswersLost,
        Self::DiskFull,
        Self::Compacted,
        Self::Restored,
        Self::RolesRestarted,
        Self::Upgraded,
        Self::WorkersRestarted,
        Self::NodeDrained,
    ];

    /// All kinds, the cheap ones twice: each is drawn as often as it is in here before any comes again.
    pub(super) fn deck(has_small_disks: bool) -> Vec<Self> {
        let all = Self::ALL.into_iter();
        let mut deck: Vec<_> = all.flat_map(|kind| vec![kind; kind.weight()]).collect();
        deck.retain(|kind| has_small_disks || *kind != Self::DiskFull);
        deck
    }

    fn weight(self) -> usize {
        match self {
            Self::Restored | Self::RolesRestarted | Self::Upgraded | Self::NodeDrained => 1,
            Self::AgentKilled | Self::WorkerKilled | Self::ShimKilled | Self::BalancerKilled => 3,
            _ => 2,
        }
    }
}

impl Fault {
    pub(super) fn draw(kind: Kind, longest: Duration, dice: &mut Dice) -> Self {
        let host = match kind {
            Kind::WaySlow | Kind::WayStalled | Kind::AnswersLost => {
                let [first, second] = CONTROLLERS;
                dice.pick(&[1, 2, 3, FURTHER, first, second, OUTSIDE])
            }
            _ => dice.pick(&AGENTS),
        };
        // Most are short: they hit what others have not recovered from yet.
        let most = match dice.chance(25) {
            true => longest,
            false => longest.min(Duration::from_secs(4)),
        };
        let most = match kind {
            // The others of its kind are away as well.
            Kind::QuorumLost => most.min(Duration::from_secs(8)),
            // Nobody has to end these.
            Kind::WorkerKilled | Kind::ShimKilled | Kind::Compacted | Kind::WorkersRestarted => {
                Duration::from_millis(1)
            }
            _ => most,
        };
        Self {
            kind,
            host,
            number: dice.below(12) as usize,
            lasts: Duration::from_millis(300 + dice.below(most.as_millis() as u64)),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let host = self.host;
        match self.kind {
            Kind::ControllerKilled | Kind::ControllerPaused => {
                vec![Claim::Controller(self.number % 2)]
            }
            Kind::AgentKilled | Kind::AgentPaused | Kind::DiskFull => vec![Claim::Agent(host)],
            Kind::BalancerKilled | Kind::BalancerPaused => vec![Claim::Balancers],
            Kind::MemberKilled
            | Kind::MemberLeaderKilled
            | Kind::MemberPaused
            | Kind::QuorumLost
            | Kind::Compacted => vec![Claim::Members],
            Kind::WorkerKilled | Kind::WorkerPaused | Kind::ShimKilled | Kind::ShimPaused => {
                vec![Claim::Copies]
            }
            // Who asks for it needs the store.
            Kind::WorkersRestarted => vec![Claim::Copies, Claim::Members],
            Kind::HostCutOff | Kind::HostDeaf | Kind::HostMute => {
                let mut claims = vec![Claim::Copies, Claim::Agent(host), Claim::Way(host)];
                claims.extend(HOSTS.contains(&host).then_some(Claim::Members));
                claims
            }
            Kind::WaySlow | Kind::WayStalled | Kind::AnswersLost => vec![Claim::Way(host)],
            Kind::NodeDrained => vec![
                Claim::Copies,
                Claim::Agent(host),
                Claim::Way(host),
                Claim::Members,
                Claim::Controller(0),
                Claim::Controller(1),
            ],
            Kind::Restored | Kind::RolesRestarted | Kind::Upgraded => vec![Claim::Everything],
        }
    }

    /// Whether the two cannot be at once.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let (own, others) = (self.claims(), other.claims());
        let all = own.iter().chain(&others);
        let mut all = all.filter(|claim| **claim == Claim::Everything);
        all.next().is_some() || own.iter().any(|claim| others.contains(claim))
    }

    /// Whether it takes copies of the service away, of which there have to be all again before the next one does.
    pub(super) fn takes_copies(&self) -> bool {
        let claims = self.claims();
        claims.contains(&Claim::Copies) || claims.contains(&Claim::Everything)
    }

    /// Whether it takes a balancer away.
    pub(super) fn takes_balancers(&self) -> bool {
        self.claims().contains(&Claim::Balancers)
    }

    /// Whether it takes members of the store away.
    pub(super) fn takes_members(&self) -> bool {
        let claims = self.claims();
        claims.contains(&Claim::Members) || claims.contains(&Claim::Everything)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            host,
            number,
            lasts,
        } = self;
        write!(f, "{kind:?} of host {host}, number {number}, for {lasts:?}")
    }
}
