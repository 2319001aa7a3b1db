//! Starting a program within a job.

use std::{
    ffi::OsString,
    io::{self, PipeWriter},
    os::windows::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use windows_sys::Win32::System::Threading::{
    ABOVE_NORMAL_PRIORITY_CLASS, BELOW_NORMAL_PRIORITY_CLASS, CREATE_NEW_PROCESS_GROUP,
    CREATE_SUSPENDED, IDLE_PRIORITY_CLASS, NORMAL_PRIORITY_CLASS,
};

use crate::{
    connection::thread,
    log::Sink,
    raw::{self, Job},
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
    [out, err]: [PipeWriter; 2],
    sink: &Sink,
) -> Result<Child, String> {
    let [name, arguments @ ..] = arguments else {
        return Err("the program has no name".to_owned());
    };
    let path = Path::new(name);
    // Below its own directory, as everywhere else; a bare name is looked up.
    let path = match path.components().count() {
        0 | 1 => path.to_owned(),
        _ => program.directory.join(path),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this program that starts one"
    )]
    let mut command = Command::new(&path);
    command
        .args(arguments)
        .env_clear()
        .envs(
            program
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&program.directory)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // Suspended, so that nothing of it runs, and starts more, before it is in the job.
        .creation_flags(CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP | priority(program.nice));
    let mut child = command.spawn().map_err(|error| {
        let directory = program.directory.display();
        format!(
            "cannot start `{}` in `{directory}`: {error}",
            path.display()
        )
    })?;
    let begun = job.adopt(&child).and_then(|()| {
        let process = raw::watch(&child)?;
        let events = sink.events.clone();
        let waiting = move || {
            raw::wait(&process);
            let _ = events.send(Event::Ended);
        };
        thread("end").spawn(waiting)?;
        raw::resume(&child)
    });
    begun.map_err(|error: io::Error| {
        let _ = child.kill();
        format!("cannot let `{}` run in its job: {error}", path.display())
    })?;
    Ok(child)
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
