//! Starting a program as another account than the shim's own: std only starts them as who it is.

use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io::PipeWriter,
    iter,
    os::windows::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::{
    raw::{self, Leader, Token},
    wire::program::Logon,
};

/// The domain of the system's own accounts.
const SYSTEM: &str = "NT AUTHORITY";

/// What the system takes for the password of an account that it manages by itself (`SERVICE_ACCOUNT_PASSWORD` of
/// `lmaccess.h`).
const MANAGED: &str = "_SA_{262E99C9-6160-4871-ACEC-4E61736B6F21}";

/// Variables by name. A name means the same in any case.
type Variables = Vec<(OsString, OsString)>;

/// What is started.
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [OsString],
    pub(crate) variables: Variables,
    pub(crate) directory: &'a Path,
    pub(crate) output: [PipeWriter; 2],
    /// Further flags of its creation.
    pub(crate) flags: u32,
}

/// Logs on.
///
/// # Errors
/// The system's, with the account.
pub(crate) fn log_on(logon: &Logon) -> Result<Token, String> {
    let (domain, name) = parts(&logon.user);
    let password = password(name, logon.password.as_deref());
    let domain = match (domain, password) {
        (None, None) => Some(SYSTEM),
        // Of this machine; `name@domain` says itself of which domain it is.
        (None, Some(_)) => (!name.contains('@')).then_some("."),
        (domain, _) => domain,
    };
    Token::log_on(name, domain, password).map_err(|error| {
        let user = &logon.user;
        format!("the account `{user}` cannot log on as a service: {error}")
    })
}

/// Domain and name of an account.
fn parts(user: &str) -> (Option<&str>, &str) {
    match user.split_once('\\') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, user),
    }
}

/// By what an account logs on; none: by nothing, as the system's own accounts do.
fn password<'a>(name: &str, given: Option<&'a str>) -> Option<&'a str> {
    match given {
        None if name.ends_with('$') => Some(MANAGED),
        given => given,
    }
}

/// Starts a program as who `token` is, suspended.
///
/// # Errors
/// What failed, and why.
pub(crate) fn spawn(token: &Token, start: Start<'_>) -> Result<Leader, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut variables = token.variables().map_err(said)?;
    for (name, value) in start.variables {
        set(&mut variables, name, value);
    }
    let program = found(start.program, &variables);
    let line = command_line(&program, start.arguments)?;
    let null = OpenOptions::new().read(true).open("NUL").map_err(said)?;
    raw::spawn_as(
        token,
        line,
        block(variables)?,
        start.directory,
        (&null, &start.output),
        start.flags,
    )
    .map_err(|error| match error.raw_os_error() {
        Some(raw::PRIVILEGE_NOT_HELD) => {
            format!("{error}: only an agent that runs as the system starts programs as others")
        }
        _ => error.to_string(),
    })
}

fn set(variables: &mut Variables, name: OsString, value: OsString) {
    variables.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
    variables.push((name, value));
}

/// Where a program is that is named without a directory: where its own `PATH` says.
fn found(program: &Path, variables: &Variables) -> PathBuf {
    if program.components().count() != 1 {
        return program.to_owned();
    }
    let path = (variables.iter()).find(|(name, _)| name.eq_ignore_ascii_case("PATH"));
    let path = path.map_or(OsStr::new(""), |(_, value)| value);
    let mut names = std::env::split_paths(path).flat_map(|directory| {
        let name = directory.join(program);
        let mut longer = name.clone().into_os_string();
        longer.push(".exe");
        [PathBuf::from(longer), name]
    });
    let found = names.find(|name| name.is_file());
    found.unwrap_or_else(|| program.to_owned())
}

/// A command line that the program reads these arguments out of, by the rules of Microsoft's C library.
///
/// # Errors
/// For batch files, whose arguments are read by other rules, and for what no line can hold.
fn command_line(program: &Path, arguments: &[OsString]) -> Result<Vec<u16>, String> {
    let kind = program.extension().unwrap_or_default();
    if kind.eq_ignore_ascii_case("bat") || kind.eq_ignore_ascii_case("cmd") {
        let text = "a batch file runs as its agent only: with `user`, name a program".to_owned();
        return Err(text);
    }
    let mut line = vec![QUOTE];
    line.extend(program.as_os_str().encode_wide());
    line.push(QUOTE);
    for argument in arguments {
        line.push(u16::from(b' '));
        quote(argument, &mut line);
    }
    without_zero(line)
}

const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;

/// Adds an argument. Backslashes mean themselves, but before a quote.
fn quote(argument: &OsStr, line: &mut Vec<u16>) {
    let parts = |unit: u16| [b' ', b'\t', b'"'].map(u16::from).contains(&unit);
    if !argument.is_empty() && !argument.encode_wide().any(parts) {
        line.extend(argument.encode_wide());
        return;
    }
    line.push(QUOTE);
    let mut backslashes = 0;
    for unit in argument.encode_wide() {
        if unit == QUOTE {
            line.extend(iter::repeat_n(BACKSLASH, backslashes + 1));
        }
        backslashes = if unit == BACKSLASH {
            backslashes + 1
        } else {
            0
        };
        line.push(unit);
    }
    line.extend(iter::repeat_n(BACKSLASH, backslashes));
    line.push(QUOTE);
}

/// Variables as the system takes them: sorted, each with a zero behind it, and one more at the end.
fn block(mut variables: Variables) -> Result<Vec<u16>, String> {
    variables.sort_by_key(|(name, _)| name.to_ascii_uppercase());
    let mut block = Vec::new();
    for (name, value) in variables {
        let mut line: Vec<u16> = name.encode_wide().collect();
        line.push(u16::from(b'='));
        line.extend(value.encode_wide());
        block.extend(without_zero(line)?);
        block.push(0);
    }
    block.push(0);
    Ok(block)
}

fn without_zero(text: Vec<u16>) -> Result<Vec<u16>, String> {
    match text.contains(&0) {
        true => Err("an argument or variable has a NUL character in it".to_owned()),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, io::Read as _};

    use super::*;

    #[test]
    fn an_account_has_a_domain_and_a_password_or_the_system_knows_it() {
        assert_eq!(parts(r"CORP\qa"), (Some("CORP"), "qa"));
        assert_eq!(parts("qa@corp.example"), (None, "qa@corp.example"));
        assert_eq!(password("qa", Some("x")), Some("x"));
        assert_eq!(password("farm$", None), Some(MANAGED));
        assert_eq!(password("LocalService", None), None);
    }

    #[test]
    fn arguments_come_out_of_the_line_as_they_are() {
        let line = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
            let line = command_line(Path::new(r"C:\a b\c.exe"), &arguments).unwrap();
            String::from_utf16(&line).unwrap()
        };
        let quoted = line(&["plain", "a b", "", "\"", r"x\", r#"a\"b\\"#, r"c d\"]);
        let wanted = r#""C:\a b\c.exe" plain "a b" "" "\"" x\ "a\\\"b\\\\" "c d\\""#;
        assert_eq!(quoted, wanted);
        assert!(command_line(Path::new("x.BAT"), &[]).is_err());
        assert!(command_line(Path::new("x.exe"), &["a\0b".into()]).is_err());
    }

    #[test]
    fn a_program_is_started_as_somebody_with_its_variables_and_output() {
        let (mut read, out) = io::pipe().unwrap();
        let error = out.try_clone().unwrap();
        let arguments = ["/c", "echo %GREETING% from %CD%& exit 6"].map(OsString::from);
        let start = Start {
            program: Path::new("cmd"),
            arguments: &arguments,
            variables: vec![
                ("PATH".into(), r"C:\windows\system32".into()),
                ("Greeting".into(), "hello".into()),
            ],
            directory: Path::new(r"C:\windows"),
            output: [out, error],
            flags: 0,
        };
        let leader = spawn(&Token::own().unwrap(), start).unwrap();
        raw::resume(&leader).unwrap();
        let mut said = String::new();
        read.read_to_string(&mut said).unwrap();
        assert_eq!(said.trim_end(), r"hello from C:\windows");
        raw::wait(&raw::watch(&leader).unwrap());
        assert_eq!(leader.ended(), Some(6));
    }
}
