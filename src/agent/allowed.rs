//! What the owner of a host lets an agent start there, whatever the store says.

use std::path::{Component, Path, PathBuf};

use super::account::{Account, Accounts};

/// The users and programs that may be started, and the secrets that may be given to them; of what none are
/// named, all are allowed.
///
/// What arguments and variables make of an allowed program is not looked at: a shell or an interpreter on the
/// list stands for every program.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Names or numbers of users. Groups of others are refused then.
    pub users: Vec<String>,
    /// Programs, or directories of programs, by their full paths.
    pub programs: Vec<PathBuf>,
    /// On Windows, accounts and the files in which their passwords lie.
    pub credentials: Vec<(String, PathBuf)>,
    /// Files that processes may be given, or directories of such, by their true paths.
    pub secrets: Vec<PathBuf>,
}

impl Allowed {
    /// Whether processes may run as `account`, or as user `own`, the agent's, where there is none.
    pub(super) fn check_user(
        &self,
        account: Option<&Account>,
        own: u32,
        accounts: &Accounts,
    ) -> Result<(), String> {
        let user = account.map_or(own, |account| account.identity.user);
        let mut users = self.users.iter().filter_map(|name| accounts.user(name));
        if !self.users.is_empty() && !users.any(|allowed| allowed == user) {
            return Err(format!(
                "user {user} may run nothing here: --allow-user of the agent does not name it"
            ));
        }
        let group = account.map(|account| account.identity.group);
        match group {
            Some(group) if !self.users.is_empty() && !accounts.is_member(user, group) => Err(
                format!("user {user} is not in group {group}, which no --allow-user can give it"),
            ),
            _ => Ok(()),
        }
    }

    /// Whether `program` may be started.
    pub(super) fn check_program(&self, program: &str) -> Result<(), String> {
        let path = Path::new(program);
        let climbs = path.components().any(|part| part == Component::ParentDir);
        let named = || {
            self.programs
                .iter()
                .any(|allowed| path.starts_with(allowed))
        };
        if self.programs.is_empty() || (path.is_absolute() && !climbs && named()) {
            return Ok(());
        }
        Err(format!(
            "`{program}` may not be started here: --allow-program of the agent does not name it by \
             this full path"
        ))
    }

    /// Whether processes may be given the file whose true path is `path`.
    pub(super) fn check_secret(&self, path: &Path) -> Result<(), String> {
        let mut allowed = self.secrets.iter();
        if self.secrets.is_empty() || allowed.any(|allowed| path.starts_with(allowed)) {
            return Ok(());
        }
        Err(format!(
            "`{}` may be given to nobody here: no --allow-secret of the agent leads to it",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Identity;

    fn check(users: &[&str], identity: Option<(u32, u32)>) -> Result<(), String> {
        let accounts = Accounts::parse(
            "root:x:0:0::/root:\nqa:x:1001:1002::/home/qa:\n",
            "root:x:0:\nqa:x:1002:\nlab:x:55:qa\ndocker:x:998:\n",
        );
        let account = identity.map(|(user, group)| Account {
            identity: Identity {
                user,
                group,
                groups: Vec::new(),
            },
            person: None,
        });
        let allowed = Allowed {
            users: users.iter().map(|name| (*name).to_owned()).collect(),
            ..Allowed::default()
        };
        allowed.check_user(account.as_ref(), 0, &accounts)
    }

    #[test]
    fn only_named_users_run_and_only_in_their_own_groups() {
        assert_eq!(check(&[], None), Ok(()));
        assert_eq!(check(&[], Some((1001, 998))), Ok(()));
        for allowed in ["qa", "1001"] {
            assert_eq!(check(&[allowed], Some((1001, 1002))), Ok(()));
            assert_eq!(check(&[allowed], Some((1001, 55))), Ok(()));
            assert!(check(&[allowed], Some((1001, 998))).is_err());
            assert!(check(&[allowed], Some((0, 0))).is_err());
            assert!(check(&[allowed], None).is_err(), "the agent is root");
        }
        assert_eq!(check(&["qa", "root"], None), Ok(()));
        assert!(check(&["nobody-of-this-host"], None).is_err());
    }

    #[test]
    fn only_named_programs_start_and_no_path_leads_out() {
        let allowed = Allowed {
            programs: vec!["/opt/qa".into(), "/usr/bin/env".into()],
            ..Allowed::default()
        };
        for program in ["/opt/qa/worker", "/opt/qa/bin/x", "/usr/bin/env"] {
            assert_eq!(allowed.check_program(program), Ok(()), "{program}");
        }
        for program in [
            "env",
            "/opt/qat",
            "/opt/qa/../bin/sh",
            "opt/qa/worker",
            "./env",
            "",
        ] {
            assert!(allowed.check_program(program).is_err(), "{program}");
        }
        assert_eq!(Allowed::default().check_program("env"), Ok(()));
    }

    #[test]
    fn only_files_below_a_named_directory_are_given_away() {
        let allowed = Allowed {
            secrets: vec!["/etc/qa".into()],
            ..Allowed::default()
        };
        for (path, is_allowed) in [
            ("/etc/qa/license", true),
            ("/etc/qa", true),
            ("/etc/qatar", false),
            ("/etc/shadow", false),
        ] {
            let checked = allowed.check_secret(Path::new(path));
            assert_eq!(checked.is_ok(), is_allowed, "{path}");
            assert_eq!(Allowed::default().check_secret(Path::new(path)), Ok(()));
        }
    }
}
