//! Puts the facts of all nodes together and keeps a [`Directory`] up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use super::{
    Directory, Endpoint, Leaver, Leaving, Node,
    directory::TICK,
    ejection::Ward,
    endpoint::Host,
    members::{Candidate, Change, Members, Terms},
    policy::Rules,
    roster::Roster,
};
use crate::model::{
    Instance, InstanceState, LoadReport, Moment, Name, NodeLoad, Route, Session, quantity::Period,
    service::EjectionSpec, state::Phase,
};

/// What one key of the store says now; none: the key is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// How a service is found.
    Route(Name, Option<Route>),
    /// What a node says of one of its instances.
    State(Name, Instance, Option<Box<InstanceState>>),
    /// What a node's instances say of their load.
    Load(Name, Option<NodeLoad>),
    /// What one instance of a node says of its load, where no record of the node has it.
    Report(Name, Instance, Option<LoadReport>),
    /// Whether a node's agent is there.
    Session(Name, Option<Session>),
}

/// The one writer of a [`Directory`].
///
/// A change costs what it touches: a load record stores into atomics; a state edits the names concerned; a session or
/// route puts them together anew.
pub struct Index {
    directory: Arc<Directory>,
    /// Whether everything was said once.
    synced: bool,
    /// The published services.
    routes: BTreeMap<Name, Published>,
    /// The names that are served.
    names: BTreeMap<String, Served>,
    /// The endpoints of each service.
    rosters: BTreeMap<Name, Roster>,
    /// Those of instances that drain, and whether that has changed.
    leaving: BTreeMap<(Name, Instance), Arc<Endpoint>>,
    leaving_changed: bool,
    /// The last load record of each node.
    loads: BTreeMap<Name, BTreeMap<Instance, LoadReport>>,
    /// Nodes that have or had endpoints or an agent.
    nodes: BTreeMap<Name, Arc<Node>>,
    /// Hosts of endpoints, so that those on the same one share it.
    hosts: BTreeSet<Arc<Host>>,
    /// What clients' calls tell of the instances of each service, by node and slot.
    wards: BTreeMap<Name, Ward<(Name, u32)>>,
    /// Endpoints that are new, and since when.
    warming: Vec<(Arc<Endpoint>, Moment)>,
    settled: Moment,
}

/// How a service is found.
struct Published {
    names: BTreeSet<String>,
    rules: Arc<Rules>,
}

/// A name and who has it.
#[derive(Default)]
struct Served {
    services: BTreeSet<Name>,
    /// See [`Members`].
    round: Arc<AtomicUsize>,
}

impl Index {
    /// A writer of `directory` that knows nothing yet.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            synced: false,
            routes: BTreeMap::new(),
            names: BTreeMap::new(),
            rosters: BTreeMap::new(),
            leaving: BTreeMap::new(),
            leaving_changed: false,
            loads: BTreeMap::new(),
            nodes: BTreeMap::new(),
            hosts: BTreeSet::new(),
            wards: BTreeMap::new(),
            warming: Vec::new(),
            settled: Moment::default(),
        }
    }

    /// Takes in `facts` and publishes what follows. The first call is to hold everything that the
    /// store says, and makes the directory answer; later ones only what changed.
    pub fn apply(&mut self, facts: impl IntoIterator<Item = Fact>, now: Moment) {
        let mut names = BTreeSet::new();
        let mut touched = BTreeSet::new();
        let mut moved: BTreeMap<Name, Vec<Arc<Endpoint>>> = BTreeMap::new();
        let mut has_session = false;
        for fact in facts {
            match fact {
                Fact::Route(service, route) => names.extend(self.set_route(service, route)),
                Fact::State(node, instance, state) => {
                    let service = instance.service.clone();
                    let endpoints = self.set_state(node, instance, state, now);
                    if !endpoints.is_empty() {
                        moved.entry(service).or_default().extend(endpoints);
                    }
                }
                Fact::Load(node, record) => self.set_load(node, record),
                Fact::Report(node, instance, report) => self.set_report(node, instance, report),
                Fact::Session(node, session) => {
                    has_session = true;
                    touched.extend(self.set_session(node, session));
                }
            }
        }
        if has_session {
            // What else is different of those who left cannot be told any more.
            touched.extend(mem::take(&mut moved).into_keys());
        }
        let routed = touched
            .iter()
            .filter_map(|service| self.routes.get(service));
        names.extend(routed.flat_map(|route| &route.names).cloned());
        // Their names may have changed.
        if mem::take(&mut self.leaving_changed) || !self.leaving.is_empty() {
            self.directory.set_leaving(self.leavers());
        }
        self.publish(names, &moved, now);
        if now.since(self.settled) >= TICK {
            self.settle(now);
        }
    }

    /// Lets time go by; to be called every [`TICK`] or so while there is nothing to apply.
    pub fn settle(&mut self, now: Moment) {
        self.settled = now;
        self.warm(now);
        self.judge(now);
        self.directory.settle(now);
    }

    /// Publishes `names`, and those of services of which endpoints came or left.
    fn publish(
        &mut self,
        names: BTreeSet<String>,
        moved: &BTreeMap<Name, Vec<Arc<Endpoint>>>,
        now: Moment,
    ) {
        if mem::replace(&mut self.synced, true) {
            let members = |name: String| {
                let members = self.members(&name);
                (name, members)
            };
            let mut changes: BTreeMap<_, _> = names.into_iter().map(members).collect();
            for (service, endpoints) in moved {
                let route = self.routes.get(service);
                for name in route.into_iter().flat_map(|route| &route.names) {
                    if !changes.contains_key(name) {
                        let members = self.members_after(name, service, endpoints);
                        let members = members.or_else(|| self.members(name));
                        changes.insert(name.clone(), members);
                    }
                }
            }
            self.directory.update(changes, now);
        } else {
            let members = |name: &String| Some((name.clone(), self.members(name)?));
            self.directory
                .replace(self.names.keys().filter_map(members).collect());
        }
    }

    /// The members of `name` after those endpoints of `service` came or left. None where it takes all that is known
    /// to tell.
    fn members_after(
        &self,
        name: &str,
        service: &Name,
        endpoints: &[Arc<Endpoint>],
    ) -> Option<Members> {
        if self.names.get(name)?.services.len() > 1 {
            return None;
        }
        let roster = self.rosters.get(service);
        let changes = endpoints.iter().map(|endpoint| Change {
            is_member: roster
                .is_some_and(|roster| roster.is_ready(endpoint.node().name(), endpoint)),
            candidate: candidate(endpoint),
        });
        self.directory.members(name)?.after(changes.collect())
    }

    fn leavers(&self) -> Leaving {
        let leaver = |(whose, endpoint): (&(Name, Instance), &Arc<Endpoint>)| {
            let route = self.routes.get(&whose.1.service);
            let leaver = Leaver {
                endpoint: Arc::clone(endpoint),
                names: route.map(|route| route.names.clone()).unwrap_or_default(),
            };
            (whose.clone(), leaver)
        };
        self.leaving.iter().map(leaver).collect()
    }

    /// The members of `name`; none when no published service has it. Of several services the first one's rules
    /// hold for all, save that all are exclusive when one is, and that a caller must be allowed by each.
    fn members(&self, name: &str) -> Option<Members> {
        let served = self.names.get(name)?;
        let routes = (served.services.iter()).filter_map(|service| self.routes.get(service));
        let first = routes.clone().next()?;
        let mut exclusive = routes.clone().filter(|route| route.rules.spec.exclusive);
        let rules = &exclusive.next().unwrap_or(first).rules;
        let rules = Rules::guarded(rules, routes.map(|route| &*route.rules));
        let rosters = (served.services.iter()).filter_map(|service| self.rosters.get(service));
        let candidates = rosters.flat_map(Roster::ready).map(candidate);
        let (dial, round) = (Arc::clone(self.directory.dial()), Arc::clone(&served.round));
        let terms = Terms::new(dial, rules, round);
        Some(Members::new(candidates.collect(), terms))
    }

    /// Returns the names whose members or rules change.
    fn set_route(&mut self, service: Name, route: Option<Route>) -> BTreeSet<String> {
        let published = route
            .filter(|route| route.published && !route.names.is_empty())
            .map(|route| Published {
                names: route.names.into_iter().collect(),
                rules: Arc::new(Rules::new(route.balance)),
            });
        let names = (published.as_ref()).map_or_else(BTreeSet::new, |route| route.names.clone());
        let rules = published.as_ref().map(|route| Arc::clone(&route.rules));
        let former = match published {
            Some(published) => self.routes.insert(service.clone(), published),
            None => self.routes.remove(&service),
        };
        let same_rules = former.as_ref().map(|former| &former.rules.spec)
            == rules.as_ref().map(|rules| &rules.spec);
        let former = former.map(|former| former.names).unwrap_or_default();
        for name in former.difference(&names) {
            if let Some(served) = self.names.get_mut(name) {
                served.services.remove(&service);
                if served.services.is_empty() {
                    self.names.remove(name);
                }
            }
        }
        for name in names.difference(&former) {
            let served = self.names.entry(name.clone()).or_default();
            served.services.insert(service.clone());
        }
        if same_rules {
            former.symmetric_difference(&names).cloned().collect()
        } else {
            former.union(&names).cloned().collect()
        }
    }

    /// Returns endpoints that are members of the instance's service since, or are not any more.
    fn set_state(
        &mut self,
        node: Name,
        instance: Instance,
        state: Option<Box<InstanceState>>,
        now: Moment,
    ) -> Vec<Arc<Endpoint>> {
        let service = instance.service.clone();
        let slot = instance.slot;
        let drains = |state: &InstanceState| !state.ready && state.phase == Phase::Draining;
        let drains = state.as_deref().is_some_and(drains);
        let whose = (node.clone(), instance.clone());
        let place = state.and_then(|state| Some((state.endpoint?, state.ready)));
        let Some((place, ready)) = place else {
            self.leaving_changed |= self.leaving.remove(&whose).is_some();
            let Some(roster) = self.rosters.get_mut(&service) else {
                return Vec::new();
            };
            let gone = roster.remove(&node, slot);
            if roster.is_empty() {
                self.rosters.remove(&service);
            }
            return gone.into_iter().collect();
        };
        let known = self.rosters.get(&service);
        let known = known.and_then(|roster| roster.get(&node, slot)).cloned();
        let same = |known: &Arc<Endpoint>| {
            (known.host(), known.port()) == (place.host.as_str(), place.port)
        };
        let endpoint = match known {
            Some(known) if same(&known) => known,
            _ => {
                let load = self.loads.get(&node).and_then(|loads| loads.get(&instance));
                let load = load.copied();
                let host = self.host(place.host);
                let endpoint = Endpoint::new(host, place.port, instance, self.node(&node));
                endpoint.set_load(load.as_ref(), self.directory.dial());
                Arc::new(endpoint)
            }
        };
        let was_ready = |roster: &Roster| roster.is_ready(&node, &endpoint);
        let is_new = ready
            && self.synced
            && !self.slow_start(&service).is_zero()
            && !self.rosters.get(&service).is_some_and(was_ready);
        if is_new {
            endpoint.set_handicap(HANDICAP);
            self.warming.push((Arc::clone(&endpoint), now));
        }
        let former = match drains {
            true => self.leaving.insert(whose, Arc::clone(&endpoint)),
            false => self.leaving.remove(&whose),
        };
        self.leaving_changed |= drains || former.is_some();
        let roster = self.rosters.entry(service).or_default();
        roster.set(&node, endpoint, ready)
    }

    /// Members stay as they are: only what lies in atomics changes.
    fn set_load(&mut self, node: Name, record: Option<NodeLoad>) {
        let now = record.map(|record| record.instances).unwrap_or_default();
        let former = self.loads.remove(&node).unwrap_or_default();
        let ended = former.keys().filter(|instance| !now.contains_key(instance));
        let current = now
            .iter()
            .map(|(instance, report)| (instance, Some(report)));
        for (instance, report) in ended.map(|instance| (instance, None)).chain(current) {
            let roster = self.rosters.get(&instance.service);
            if let Some(endpoint) = roster.and_then(|roster| roster.get(&node, instance.slot)) {
                endpoint.set_load(report, self.directory.dial());
                self.refresh(endpoint);
            }
        }
        if !now.is_empty() {
            self.loads.insert(node, now);
        }
    }

    fn set_report(&mut self, node: Name, instance: Instance, report: Option<LoadReport>) {
        let roster = self.rosters.get(&instance.service);
        if let Some(endpoint) = roster.and_then(|roster| roster.get(&node, instance.slot)) {
            endpoint.set_load(report.as_ref(), self.directory.dial());
            self.refresh(endpoint);
        }
        let loads = self.loads.entry(node).or_default();
        match report {
            Some(report) => loads.insert(instance, report),
            None => loads.remove(&instance),
        };
    }

    /// Returns the services with endpoints on the node, if it became suspect or ceased to be, or its labels
    /// changed.
    fn set_session(&mut self, name: Name, session: Option<Session>) -> Vec<Name> {
        let node = self.node(&name);
        let trusted = session.as_ref().is_some_and(|session| session.reconciled);
        // While an agent is away its host keeps the labels that it had.
        if !node.set(trusted, session.map(|session| session.labels)) {
            return Vec::new();
        }
        let rosters = self.rosters.iter();
        let on_node = rosters.filter(|(_, roster)| roster.is_on(&name));
        on_node.map(|(service, _)| service.clone()).collect()
    }

    /// Brings what was derived from the load of `endpoint` up to date.
    fn refresh(&self, endpoint: &Endpoint) {
        let route = self.routes.get(&endpoint.instance().service);
        for name in route.into_iter().flat_map(|route| &route.names) {
            self.directory.refresh(name, endpoint);
        }
    }

    /// How long a new endpoint of `service` is spared.
    fn slow_start(&self, service: &Name) -> Duration {
        let route = self.routes.get(service);
        let period = route.and_then(|route| route.rules.spec.slow_start);
        period.map(Period::get).unwrap_or_default()
    }

    /// Takes from those that are new what time has taken from their newness.
    fn warm(&mut self, now: Moment) {
        let mut warming = mem::take(&mut self.warming);
        warming.retain(|(endpoint, since)| {
            let slow_start = self.slow_start(&endpoint.instance().service);
            let rest = slow_start.saturating_sub(now.since(*since));
            let part = match rest.is_zero() {
                true => 0.0,
                false => rest.as_secs_f32() / slow_start.as_secs_f32(),
            };
            endpoint.set_handicap(HANDICAP * part);
            self.refresh(endpoint);
            !rest.is_zero()
        });
        self.warming = warming;
    }

    /// Ejects endpoints to which calls fail, and takes others back.
    fn judge(&mut self, now: Moment) {
        for (endpoint, report) in self.directory.take_reported() {
            let service = endpoint.instance().service.clone();
            let ward = self.wards.entry(service).or_default();
            ward.hear(seat(&endpoint), report);
        }
        let mut names = BTreeSet::new();
        for (service, ward) in &mut self.wards {
            let ready = self.rosters.get(service).map_or(&[][..], Roster::ready);
            let route = self.routes.get(service);
            let spec = route.map(|route| &route.rules.spec.ejection);
            let seats: BTreeSet<_> = ready.iter().map(|endpoint| seat(endpoint)).collect();
            let ejected = ward.judge(
                seats.len(),
                |seat| seats.contains(seat),
                spec.unwrap_or(&EjectionSpec::default()),
                now,
            );
            for endpoint in ready {
                let is_ejected = ejected.contains(&seat(endpoint));
                if endpoint.set_ejected(is_ejected) {
                    names.extend(route.into_iter().flat_map(|route| route.names.clone()));
                }
            }
        }
        self.wards.retain(|_, ward| !ward.is_empty());
        if !names.is_empty() {
            self.publish(names, &BTreeMap::new(), now);
        }
    }

    /// The host that is written like this.
    fn host(&mut self, written: String) -> Arc<Host> {
        let host = Arc::new(Host::new(written));
        if let Some(known) = self.hosts.get(&host) {
            return Arc::clone(known);
        }
        // Those that nobody uses any more go when new ones come.
        if self.hosts.len().is_power_of_two() {
            self.hosts.retain(|host| Arc::strong_count(host) > 1);
        }
        self.hosts.insert(Arc::clone(&host));
        host
    }

    /// The node of this name.
    fn node(&mut self, name: &Name) -> Arc<Node> {
        if let Some(node) = self.nodes.get(name) {
            return Arc::clone(node);
        }
        let node = Arc::new(Node::new(name.clone()));
        self.nodes.insert(name.clone(), Arc::clone(&node));
        node
    }
}

/// The endpoint as a member of a name.
fn candidate(endpoint: &Arc<Endpoint>) -> Candidate {
    Candidate {
        endpoint: Arc::clone(endpoint),
        suspect: !endpoint.node().is_trusted(),
    }
}

/// What names an instance of a service among all that there may be.
fn seat(endpoint: &Endpoint) -> (Name, u32) {
    (endpoint.node().name().clone(), endpoint.instance().slot)
}

/// What a new endpoint counts as busier: less than a busy one, so that it gets requests before those are
/// loaded further.
const HANDICAP: f32 = 0.99;

#[cfg(test)]
mod tests;
