//! Whom a manifest means by `user` on Windows: an account of the host or of its domain, whose password lies on the host.

use std::path::PathBuf;

use super::Allowed;
use crate::{
    host::Host,
    model::RunAs,
    plan::agent::{NOT_ALLOWED, SECRET_UNREADABLE, START_FAILED},
    process::{Logon, Secret, identity},
};

/// The accounts of the system that log on by nothing.
const WITHOUT_PASSWORD: [&str; 2] = ["LocalService", "NetworkService"];

/// A larger file has no password in it, in bytes.
const LARGEST: usize = 4096;

/// Why somebody may not run: the reason as a word, and the words for people.
type Refused = (&'static str, String);

/// Whom `run_as` asks for; none: the agent's own account.
pub(super) fn find(
    run_as: &RunAs,
    allowed: &Allowed,
    host: &Host,
) -> Result<Option<Logon>, Refused> {
    let own = identity::own_account();
    let Some(user) = wanted(run_as, allowed, own, identity::account)? else {
        return Ok(None);
    };
    let password = match credential(user, allowed)? {
        Some(file) => Some(read(user, &file, host)?),
        None => None,
    };
    let user = user.to_owned();
    Ok(Some(Logon { user, password }))
}

/// The account that is to log on; none: the agent's own. `id` tells what the system knows an account by.
fn wanted<'a>(
    run_as: &'a RunAs,
    allowed: &Allowed,
    own: Option<String>,
    id: impl Fn(&str) -> Option<String>,
) -> Result<Option<&'a str>, Refused> {
    if run_as.group.is_some() {
        let text = "a process has no group of its own on Windows: leave out `group`";
        return Err((START_FAILED, text.to_owned()));
    }
    let user = run_as.user.as_deref();
    let who = match user {
        Some(user) => {
            let unknown = || (START_FAILED, format!("there is no account `{user}`"));
            Some(id(user).ok_or_else(unknown)?)
        }
        None => own.clone(),
    };
    let is_named = who.is_some() && allowed.users.iter().any(|name| id(name) == who);
    if !allowed.users.is_empty() && !is_named {
        let user = user.unwrap_or("of the agent itself");
        let text =
            format!("user {user} may run nothing here: --allow-user of the agent does not name it");
        return Err((NOT_ALLOWED, text));
    }
    Ok(user.filter(|_| who != own))
}

/// The file with the password of an account; none: it logs on without.
fn credential(user: &str, allowed: &Allowed) -> Result<Option<PathBuf>, Refused> {
    let mut credentials = allowed.credentials.iter();
    if let Some((_, file)) = credentials.find(|(known, _)| known.eq_ignore_ascii_case(user)) {
        return Ok(Some(file.clone()));
    }
    let is_known = |name: &&str| name.eq_ignore_ascii_case(user);
    // The names of accounts whose passwords the domain keeps by itself end so.
    if user.ends_with('$') || WITHOUT_PASSWORD.iter().any(is_known) {
        return Ok(None);
    }
    let text = format!(
        "nothing tells the password of `{user}`: give the agent --credential {user}=FILE, with a file of this host"
    );
    Err((SECRET_UNREADABLE, text))
}

/// The password in a file.
fn read(user: &str, file: &std::path::Path, host: &Host) -> Result<Secret, Refused> {
    let unreadable = |why: String| {
        let file = file.display();
        let text = format!("the password of `{user}` cannot be read from `{file}`: {why}");
        (SECRET_UNREADABLE, text)
    };
    let content = host.disk.read(file);
    let content = content.map_err(|error| unreadable(error.to_string()))?;
    let content = content.ok_or_else(|| unreadable("there is no such file".to_owned()))?;
    if content.len() > LARGEST {
        return Err(unreadable(format!("it is larger than {LARGEST} bytes")));
    }
    let text = String::from_utf8(content);
    let text = text.map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    // Editors put a mark before it and an end behind it, and nobody means them.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let line = text.trim_end_matches(['\r', '\n']);
    match line.is_empty() || line.contains(['\0', '\n']) {
        true => Err(unreadable("it is not one line of text".to_owned())),
        false => Ok(Secret(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with an account by two names, and the agent's own.
    fn id(name: &str) -> Option<String> {
        match name {
            "qa" | r"HERE\qa" => Some("S-1".to_owned()),
            "SYSTEM" => Some("S-2".to_owned()),
            _ => None,
        }
    }

    fn run_as(user: Option<&str>) -> RunAs {
        RunAs {
            user: user.map(str::to_owned),
            ..RunAs::default()
        }
    }

    fn allowing(users: &[&str]) -> Allowed {
        Allowed {
            users: users.iter().map(|name| (*name).to_owned()).collect(),
            ..Allowed::default()
        }
    }

    #[test]
    fn only_named_accounts_run_however_they_are_written() {
        let wanted = |users: &[&str], user| {
            let (run_as, allowed) = (run_as(user), allowing(users));
            let wanted = wanted(&run_as, &allowed, Some("S-2".to_owned()), id);
            wanted.map(|user| user.map(str::to_owned))
        };
        let qa = Ok(Some("qa".to_owned()));
        assert_eq!(wanted(&[], Some("qa")), qa);
        assert_eq!(wanted(&[r"HERE\qa"], Some("qa")), qa);
        assert_eq!(wanted(&[], None), Ok(None));
        assert_eq!(wanted(&["SYSTEM"], None), Ok(None));
        assert_eq!(wanted(&[], Some("SYSTEM")), Ok(None), "it is who it is");
        for (users, user) in [
            (&["qa"][..], None),
            (&["nobody"][..], None),
            (&["SYSTEM"][..], Some("qa")),
            (&["nobody"][..], Some("qa")),
        ] {
            assert_eq!(wanted(users, user).unwrap_err().0, NOT_ALLOWED, "{users:?}");
        }
        let refused = wanted(&[], Some("nobody")).unwrap_err();
        assert_eq!(refused.1, "there is no account `nobody`");
    }

    #[test]
    fn a_password_lies_in_a_file_and_is_told_to_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let allowed = Allowed {
            credentials: vec![(r"CORP\qa".to_owned(), file.clone())],
            ..Allowed::default()
        };
        let found = credential(r"corp\QA", &allowed).unwrap();
        assert_eq!(found.as_deref(), Some(file.as_path()));
        for user in [r"CORP\farm$", "localservice"] {
            assert_eq!(credential(user, &allowed), Ok(None));
        }
        let refused = credential("qa", &allowed).unwrap_err();
        assert!(refused.1.contains("--credential qa=FILE"), "{refused:?}");

        let host = Host::system();
        let missing = read("qa", &file, &host).unwrap_err();
        assert!(missing.1.contains("no such file"), "{missing:?}");
        std::fs::write(&file, "\u{feff}pass word\r\n").unwrap();
        let secret = read("qa", &file, &host).unwrap();
        assert_eq!(secret, Secret("pass word".to_owned()));
        assert!(!format!("{secret:?}").contains("word"));
        for content in [&b"\n"[..], b"a\nb", b"\xff\xfea\0"] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(read("qa", &file, &host).unwrap_err().0, SECRET_UNREADABLE);
        }
    }
}
