//! Starting a program within a job.

use std::{
    ffi::OsString,
    io::{self, PipeWriter},
    os::windows::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use windows_sys::Win32::System::Threading::{
    ABOVE_NORMAL_PRIORITY_CLASS, BELOW_NORMAL_PRIORITY_CLASS, CREATE_NEW_PROCESS_GROUP,
    CREATE_SUSPENDED, IDLE_PRIORITY_CLASS, NORMAL_PRIORITY_CLASS,
};

use crate::{
    account::{self, Start},
    connection::thread,
    log::Sink,
    raw::{self, Job, Leader},
    shim::Event,
    wire::program::Program,
};

/// From this `nice` on a process gets only what nobody else wants.
const IDLE: i32 = 10;

/// Starts `arguments`, with all that `program` says and some variables more, with its output going to the two pipes, as
/// the leader of a group of its own and within `job`. Its end is told as an event.
///
/// How arguments become a command line, those of batch files too, is std's knowledge.
///
/// # Errors
/// What failed, on what, and why.
pub(crate) fn launch(
    program: &Program,
    arguments: &[OsString],
    variables: &[(&str, String)],
    job: &Job,
    output: [PipeWriter; 2],
    sink: &Sink,
) -> Result<Leader, String> {
    let [name, arguments @ ..] = arguments else {
        return Err("the program has no name".to_owned());
    };
    let path = Path::new(name);
    // Below its own directory, as everywhere else; a bare name is looked up.
    let path = match path.components().count() {
        0 | 1 => path.to_owned(),
        _ => program.directory.join(path),
    };
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let variables = program.environment.iter().cloned().chain(variables);
    let flags = CREATE_NEW_PROCESS_GROUP | priority(program.nice);
    let failed = |error: String| {
        let (path, directory) = (path.display(), program.directory.display());
        let logon = program.logon.as_ref();
        let who = logon.map_or(String::new(), |logon| format!(" as `{}`", logon.user));
        format!("cannot start `{path}` in `{directory}`{who}: {error}")
    };
    let leader = match &program.logon {
        Some(logon) => {
            let start = Start {
                program: &path,
                arguments,
                variables: variables.collect(),
                directory: &program.directory,
                output,
                flags,
            };
            account::spawn(&account::log_on(logon)?, start).map_err(failed)?
        }
        None => {
            let [out, err] = output;
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place of this program that starts one"
            )]
            let mut command = Command::new(&path);
            command
                .args(arguments)
                .env_clear()
                .envs(variables)
                .current_dir(&program.directory)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err)
                // Suspended, so that nothing of it runs, and starts more, before it is in the job.
                .creation_flags(CREATE_SUSPENDED | flags);
            let child = command.spawn().map_err(|error| failed(error.to_string()))?;
            Leader::from(child)
        }
    };
    let begun = job.adopt(&leader).and_then(|()| {
        let process = raw::watch(&leader)?;
        let events = sink.events.clone();
        let waiting = move || {
            raw::wait(&process);
            let _ = events.send(Event::Ended);
        };
        thread("end").spawn(waiting)?;
        raw::resume(&leader)
    });
    begun.map_err(|error: io::Error| {
        leader.kill();
        format!("cannot let `{}` run in its job: {error}", path.display())
    })?;
    Ok(leader)
}

/// What `nice` is here.
fn priority(nice: Option<i32>) -> u32 {
    match nice {
        Some(IDLE..) => IDLE_PRIORITY_CLASS,
        Some(1..) => BELOW_NORMAL_PRIORITY_CLASS,
        Some(..0) => ABOVE_NORMAL_PRIORITY_CLASS,
        Some(0) | None => NORMAL_PRIORITY_CLASS,
    }
}
