//! Where host names lead. What was found out stays in force until something else is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::model::Moment;

/// How long what was found out is good.
const GOOD: Duration = Duration::from_secs(30);

/// How soon is asked again after a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// The hosts that matter now, and their addresses.
#[derive(Debug, Default)]
pub struct Addresses(BTreeMap<String, Host>);

#[derive(Debug, Default)]
struct Host {
    address: Option<IpAddr>,
    is_asked: bool,
    is_failing: bool,
    due: Moment,
}

impl Addresses {
    /// The address of a host that is given by name or in digits; none: not known (yet).
    pub fn get(&self, host: &str) -> Option<IpAddr> {
        host.parse().ok().or_else(|| self.0.get(host)?.address)
    }

    /// Whether nothing has been found out of a host yet, neither where it leads nor that this cannot be told.
    pub fn is_pending(&self, host: &str) -> bool {
        let known = self.0.get(host);
        known.is_some_and(|known| known.address.is_none() && !known.is_failing)
    }

    /// From now on these matter; others are forgotten.
    pub fn keep(&mut self, hosts: &BTreeSet<String>) {
        self.0.retain(|host, _| hosts.contains(host));
        for host in hosts.iter().filter(|host| is_name(host)) {
            if !self.0.contains_key(host) {
                self.0.insert(host.clone(), Host::default());
            }
        }
    }

    /// The hosts to ask for at `now`; they count as asked for.
    pub fn ask(&mut self, now: Moment) -> Vec<String> {
        let due = |(name, host): (&String, &mut Host)| {
            let is_due = !host.is_asked && host.due <= now;
            host.is_asked |= is_due;
            is_due.then(|| name.clone())
        };
        self.0.iter_mut().filter_map(due).collect()
    }

    /// Takes in what was found out of a host; none: nothing. Returns whether its address is another one now, or is
    /// not known for the first time.
    pub fn found(&mut self, host: &str, answer: Option<&[IpAddr]>, now: Moment) -> Found {
        let Some(known) = self.0.get_mut(host) else {
            return Found::Same;
        };
        known.is_asked = false;
        let answer = answer.filter(|addresses| !addresses.is_empty());
        let Some(addresses) = answer else {
            known.due = now + AGAIN;
            let is_new = !known.is_failing;
            known.is_failing = true;
            return if is_new { Found::Failure } else { Found::Same };
        };
        known.due = now + GOOD;
        known.is_failing = false;
        // The answer's order changes from one to the next; an address that is still good stays.
        if known
            .address
            .is_some_and(|address| addresses.contains(&address))
        {
            return Found::Same;
        }
        let first = |address: &&IpAddr| (address.is_ipv6(), **address);
        known.address = addresses.iter().min_by_key(first).copied();
        Found::Changed
    }
}

/// Whether a host has to be looked up.
pub fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The host leads elsewhere now.
    Changed,
    /// It cannot be looked up any more; what was known stays in force.
    Failure,
    /// Nothing new.
    Same,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn known(hosts: &[&str]) -> Addresses {
        let mut addresses = Addresses::default();
        addresses.keep(&hosts.iter().map(|host| (*host).to_owned()).collect());
        addresses
    }

    #[test]
    fn digits_need_no_question() {
        let mut addresses = known(&["10.0.0.1", "::1"]);
        assert!(addresses.ask(at(0)).is_empty());
        assert_eq!(addresses.get("10.0.0.1"), Some(ip("10.0.0.1")));
        assert_eq!(addresses.get("::1"), Some(ip("::1")));
    }

    #[test]
    fn an_address_stays_while_it_is_among_the_answers() {
        let mut addresses = known(&["qa"]);
        assert!(addresses.is_pending("qa"));
        assert_eq!(addresses.ask(at(0)), ["qa"]);
        assert!(addresses.ask(at(0)).is_empty(), "one question at a time");
        let (one, two, six) = (ip("10.0.0.1"), ip("10.0.0.2"), ip("fe80::1"));
        assert_eq!(
            addresses.found("qa", Some(&[six, two]), at(1)),
            Found::Changed
        );
        assert_eq!(addresses.get("qa"), Some(two));
        assert!(!addresses.is_pending("qa"));
        assert!(addresses.ask(at(30)).is_empty());
        assert_eq!(addresses.ask(at(31)), ["qa"]);
        assert_eq!(
            addresses.found("qa", Some(&[one, two]), at(31)),
            Found::Same
        );
        assert_eq!(addresses.get("qa"), Some(two));
        assert_eq!(addresses.found("qa", Some(&[one]), at(61)), Found::Changed);
    }

    #[test]
    fn a_failure_leaves_the_last_address_in_force_and_is_told_once() {
        let mut addresses = known(&["qa"]);
        addresses.found("qa", Some(&[ip("10.0.0.1")]), at(0));
        assert_eq!(addresses.found("qa", None, at(31)), Found::Failure);
        assert_eq!(addresses.found("qa", Some(&[]), at(36)), Found::Same);
        assert_eq!(addresses.get("qa"), Some(ip("10.0.0.1")));
        assert_eq!(addresses.ask(at(41)), ["qa"]);
    }

    #[test]
    fn who_cannot_be_looked_up_is_not_waited_for() {
        let mut addresses = known(&["qa"]);
        addresses.found("qa", None, at(0));
        assert!(!addresses.is_pending("qa"));
        assert_eq!(addresses.get("qa"), None);
    }

    #[test]
    fn hosts_that_do_not_matter_any_more_are_forgotten() {
        let mut addresses = known(&["qa"]);
        addresses.found("qa", Some(&[ip("10.0.0.1")]), at(0));
        addresses.keep(&BTreeSet::new());
        assert_eq!(addresses.get("qa"), None);
        assert_eq!(
            addresses.found("qa", Some(&[ip("10.0.0.1")]), at(0)),
            Found::Same
        );
    }
}
