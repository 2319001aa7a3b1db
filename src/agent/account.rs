//! Whom a manifest means by `user` and `group`, by this host's `/etc/passwd` and `/etc/group`.
//!
//! Other directories of users (LDAP and the like) are not asked: that takes the C library and may take for
//! ever. Their users are named by number, with a `group`.

use std::path::Path;

use crate::{
    host::Host,
    model::RunAs,
    process::{Identity, identity},
};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// A user of this host, and the groups that a process of theirs is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// What the system knows them by.
    pub(super) identity: Identity,
    /// Name and home, if the host knows them.
    pub(super) person: Option<Person>,
}

/// Who a user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// The name.
    pub(super) name: String,
    /// The home directory.
    pub(super) home: String,
}

/// The account that `run_as` asks for; none: the agent's own.
pub(super) fn find(run_as: &RunAs, accounts: &Accounts) -> Result<Option<Account>, String> {
    if run_as.user.is_none() && run_as.group.is_none() {
        return Ok(None);
    }
    let own = identity::own();
    let account = accounts.find(run_as, own.0)?;
    if own.0 == 0 {
        return Ok(Some(account));
    }
    // Others than root can be only who they are.
    match (account.identity.user, account.identity.group) == own {
        true => Ok(None),
        false => Err(format!(
            "the agent runs as user {}: only one that runs as root can start processes as others",
            own.0
        )),
    }
}

/// The users and groups of a host.
pub(super) struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    /// Those of this host.
    pub(super) fn read(host: &Host) -> Result<Self, String> {
        let read = |path: &str| match host.disk.read(Path::new(path)) {
            Ok(content) => Ok(String::from_utf8_lossy(&content.unwrap_or_default()).into_owned()),
            Err(error) => Err(format!("cannot read `{path}`: {error}")),
        };
        Ok(Self {
            users: read(USERS)?,
            groups: read(GROUPS)?,
        })
    }

    /// Those in the texts of the two files.
    #[cfg(test)]
    pub(super) fn parse(users: &str, groups: &str) -> Self {
        Self {
            users: users.to_owned(),
            groups: groups.to_owned(),
        }
    }

    /// Whether a group is the primary one of a user, or lists it.
    pub(super) fn is_member(&self, user: u32, group: u32) -> bool {
        self.entry(&user.to_string())
            .is_some_and(|(_, primary, person)| {
                primary == group || self.groups_of(&person.name).contains(&group)
            })
    }

    /// The number of a user.
    pub(super) fn user(&self, wanted: &str) -> Option<u32> {
        wanted.parse().ok().or_else(|| Some(self.entry(wanted)?.0))
    }

    /// The account that `run_as` asks for, where the agent itself is user `own`.
    fn find(&self, run_as: &RunAs, own: u32) -> Result<Account, String> {
        let wanted = run_as.user.clone().unwrap_or_else(|| own.to_string());
        let number = self
            .user(&wanted)
            .ok_or_else(|| format!("there is no user `{wanted}` in {USERS}"))?;
        let entry = self.entry(&wanted);
        let group = match (&run_as.group, &entry) {
            (Some(group), _) => self
                .group(group)
                .ok_or_else(|| format!("there is no group `{group}` in {GROUPS}"))?,
            (None, Some((_, group, _))) => *group,
            (None, None) => {
                return Err(format!(
                    "user {number} is not in {USERS}: say in which `group` it is"
                ));
            }
        };
        let person = entry.map(|(_, _, person)| person);
        let mut groups = person
            .as_ref()
            .map_or_else(Vec::new, |person| self.groups_of(&person.name));
        groups.retain(|further| *further != group);
        Ok(Account {
            identity: Identity {
                user: number,
                group,
                groups,
            },
            person,
        })
    }

    /// Number, group, name and home of a user, by name or number: `name:password:uid:gid:comment:home:shell`.
    fn entry(&self, wanted: &str) -> Option<(u32, u32, Person)> {
        let entry = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, user, group, _, home, ..] = fields[..] else {
                return None;
            };
            let person = Person {
                name: name.to_owned(),
                home: home.to_owned(),
            };
            let is_wanted = name == wanted || user == wanted;
            is_wanted.then_some((user.parse().ok()?, group.parse().ok()?, person))
        };
        self.users.lines().find_map(entry)
    }

    /// The number of a group, by name or number.
    fn group(&self, wanted: &str) -> Option<u32> {
        let number = |(name, number, _): (&str, u32, &str)| (name == wanted).then_some(number);
        wanted
            .parse()
            .ok()
            .or_else(|| self.group_entries().find_map(number))
    }

    /// The numbers of all groups that list a user.
    fn groups_of(&self, user: &str) -> Vec<u32> {
        self.group_entries()
            .filter(|(_, _, members)| members.split(',').any(|member| member == user))
            .map(|(_, number, _)| number)
            .collect()
    }

    /// Name, number and members of the groups: `name:password:gid:members`.
    fn group_entries(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.groups.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, number, members] = fields[..] else {
                return None;
            };
            Some((name, number.parse().ok()?, members))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(user: Option<&str>, group: Option<&str>) -> Result<Account, String> {
        let accounts = Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\nbroken\nqa:x:1001:1002:,,,:/home/qa:/bin/sh\n",
            "root:x:0:\nqa:x:1002:\nvideo:x:44:eve,qa\ndocker:x:998:qat\nlab:x:55:qa\n",
        );
        let run_as = RunAs {
            user: user.map(str::to_owned),
            group: group.map(str::to_owned),
            ..RunAs::default()
        };
        accounts.find(&run_as, 0)
    }

    fn identity(user: u32, group: u32, groups: &[u32]) -> Identity {
        Identity {
            user,
            group,
            groups: groups.to_vec(),
        }
    }

    #[test]
    fn a_user_is_found_by_name_or_number_with_all_groups() {
        let found = find(Some("qa"), None).unwrap();
        assert_eq!(found.identity, identity(1001, 1002, &[44, 55]));
        let person = found.person.clone().unwrap();
        assert_eq!(
            (person.name.as_str(), person.home.as_str()),
            ("qa", "/home/qa")
        );
        assert_eq!(find(Some("1001"), None), Ok(found));
        let in_lab = find(Some("qa"), Some("lab")).unwrap();
        assert_eq!(in_lab.identity, identity(1001, 55, &[44]));
        let own = find(None, Some("video")).unwrap();
        assert_eq!(own.identity, identity(0, 44, &[]));
    }

    #[test]
    fn a_number_without_a_name_needs_a_group() {
        let found = find(Some("5000"), Some("44")).unwrap();
        assert_eq!(found.identity, identity(5000, 44, &[]));
        assert_eq!(found.person, None);
        let refused = find(Some("5000"), None).unwrap_err();
        assert!(refused.contains("say in which `group`"), "{refused}");
    }

    #[test]
    fn who_is_unknown_is_named() {
        let refused = find(Some("nadia"), None).unwrap_err();
        assert_eq!(refused, "there is no user `nadia` in /etc/passwd");
        let refused = find(Some("qa"), Some("nogroup")).unwrap_err();
        assert_eq!(refused, "there is no group `nogroup` in /etc/group");
    }
}
