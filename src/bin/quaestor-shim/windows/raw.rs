//! What the compiler cannot check: calls of the system.

#![allow(
    unsafe_code,
    reason = "std has no safe way to any of it; each block says why it is right"
)]

use std::{
    ffi::OsString,
    fs::File,
    io::{self, PipeWriter},
    mem,
    os::windows::{
        ffi::{OsStrExt as _, OsStringExt as _},
        io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle},
    },
    path::Path,
    process::Child,
    ptr,
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{
        CloseHandle, ERROR_MORE_DATA, ERROR_PRIVILEGE_NOT_HELD, FILETIME, HANDLE,
        HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE, LocalFree, SetHandleInformation, WAIT_OBJECT_0,
    },
    Security::{
        Authorization::{ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1},
        Cryptography::{BCRYPT_USE_SYSTEM_PREFERRED_RNG, BCryptGenRandom},
        LOGON32_LOGON_SERVICE, LOGON32_PROVIDER_DEFAULT, LogonUserW, SECURITY_ATTRIBUTES,
    },
    System::{
        Console::{
            CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent, GetStdHandle, STD_ERROR_HANDLE,
            STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle,
        },
        Diagnostics::ToolHelp::{
            CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
        },
        Environment::{CreateEnvironmentBlock, DestroyEnvironmentBlock},
        JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
            JOBOBJECT_BASIC_PROCESS_ID_LIST, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
            JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation,
            QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
        },
        SystemInformation::GetTickCount64,
        Threading::{
            CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, CreateEventW, CreateProcessAsUserW,
            GetExitCodeProcess, GetProcessTimes, INFINITE, OpenThread, PROCESS_INFORMATION,
            ResetEvent, ResumeThread, STARTF_USESTDHANDLES, STARTUPINFOW, SetEvent,
            THREAD_SUSPEND_RESUME, TerminateProcess, WaitForSingleObject,
        },
    },
};

/// The code with which what is killed ends.
pub(crate) const KILLED: u32 = 137;

/// What the system says to who may not do something.
pub(crate) const PRIVILEGE_NOT_HELD: i32 = ERROR_PRIVILEGE_NOT_HELD.cast_signed();

/// Who may do what with an event: its owner, the system and administrators all, everybody wait for it.
const WAITABLE: &str = "D:(A;;GA;;;OW)(A;;GA;;;SY)(A;;GA;;;BA)(A;;0x100000;;;WD)";

/// Text with a zero behind it.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// What a call says by zero or something else.
fn done(result: i32) -> io::Result<()> {
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Takes over a new handle that is null after a failure.
///
/// # Safety
/// It is open and belongs to nobody else, or it is null.
unsafe fn own(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller says so.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// The time since boot, suspended or not.
pub(crate) fn since_boot() -> Duration {
    // SAFETY: it takes nothing and cannot fail.
    Duration::from_millis(unsafe { GetTickCount64() })
}

/// What nobody can guess.
pub(crate) fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    // SAFETY: the place is as long as is said, and with this flag no algorithm is named.
    let status = unsafe {
        BCryptGenRandom(
            ptr::null_mut(),
            bytes.as_mut_ptr(),
            bytes.len() as u32,
            BCRYPT_USE_SYSTEM_PREFERRED_RNG,
        )
    };
    match status {
        0 => Ok(u128::from_le_bytes(bytes)),
        status => Err(io::Error::other(format!(
            "no random numbers: status {status:#x}"
        ))),
    }
}

/// Gives up the standard streams of who started this, save a tether, which no child of ours is to hold.
pub(crate) fn let_go(is_tethered: bool) {
    let given_up = [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].into_iter();
    for which in given_up.chain((!is_tethered).then_some(STD_INPUT_HANDLE)) {
        // SAFETY: std asks for the handle anew at each use, and takes none for a stream that leads nowhere; nothing else
        // in this program has kept it.
        unsafe {
            let handle = GetStdHandle(which);
            SetStdHandle(which, ptr::null_mut());
            if !handle.is_null() && handle != INVALID_HANDLE_VALUE {
                CloseHandle(handle);
            }
        }
    }
    // SAFETY: whatever the handle is, at worst this fails; then there is nothing to be inherited.
    unsafe { SetHandleInformation(GetStdHandle(STD_INPUT_HANDLE), HANDLE_FLAG_INHERIT, 0) };
}

/// The first process of a program.
pub(crate) struct Leader {
    process: OwnedHandle,
    pid: u32,
}

impl From<Child> for Leader {
    fn from(child: Child) -> Self {
        let pid = child.id();
        let process = child.into();
        Self { process, pid }
    }
}

impl Leader {
    /// Its number, which is its own for as long as this exists.
    pub(crate) fn id(&self) -> u32 {
        self.pid
    }

    fn handle(&self) -> HANDLE {
        self.process.as_raw_handle()
    }

    /// Its exit code, once it has ended.
    pub(crate) fn ended(&self) -> Option<i32> {
        let mut code = 0;
        // SAFETY: the handle is open, and the place valid.
        let asked = unsafe {
            if WaitForSingleObject(self.handle(), 0) != WAIT_OBJECT_0 {
                return None;
            }
            GetExitCodeProcess(self.handle(), &mut code)
        };
        Some(done(asked).map_or(-1, |()| code.cast_signed()))
    }

    /// Kills it alone.
    pub(crate) fn kill(&self) {
        // SAFETY: the handle is open. That it has ended is no failure.
        unsafe { TerminateProcess(self.handle(), KILLED) };
    }
}

/// Who somebody is to the system.
pub(crate) struct Token(OwnedHandle);

impl Token {
    /// That of an account, which logs on as services do.
    pub(crate) fn log_on(
        name: &str,
        domain: Option<&str>,
        password: Option<&str>,
    ) -> io::Result<Self> {
        let (domain, password) = (domain.map(wide), password.map(wide));
        let text = |text: &Option<Vec<u16>>| text.as_ref().map_or(ptr::null(), |it| it.as_ptr());
        let mut token = ptr::null_mut();
        // SAFETY: the texts end with a zero, and the place for the token is valid.
        done(unsafe {
            LogonUserW(
                wide(name).as_ptr(),
                text(&domain),
                text(&password),
                LOGON32_LOGON_SERVICE,
                LOGON32_PROVIDER_DEFAULT,
                &mut token,
            )
        })?;
        // SAFETY: it was just made, for us.
        unsafe { own(token) }.map(Self)
    }

    /// That of this program.
    #[cfg(test)]
    pub(crate) fn own() -> io::Result<Self> {
        use windows_sys::Win32::{
            Security::TOKEN_ALL_ACCESS,
            System::Threading::{GetCurrentProcess, OpenProcessToken},
        };
        let mut token = ptr::null_mut();
        // SAFETY: the pseudo handle needs no closing, and the place for the token is valid.
        done(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &mut token) })?;
        // SAFETY: it was just opened, for us.
        unsafe { own(token) }.map(Self)
    }

    /// The variables that the system has for whoever it is.
    pub(crate) fn variables(&self) -> io::Result<Vec<(OsString, OsString)>> {
        let mut block = ptr::null_mut();
        // SAFETY: the place for the block is valid, and the token open.
        done(unsafe { CreateEnvironmentBlock(&mut block, self.0.as_raw_handle(), 0) })?;
        let mut at: *const u16 = block.cast();
        let mut variables = Vec::new();
        loop {
            let mut length = 0;
            // SAFETY: each variable ends with a zero, and behind the last is one more.
            let line = unsafe {
                while *at.add(length) != 0 {
                    length += 1;
                }
                std::slice::from_raw_parts(at, length)
            };
            if line.is_empty() {
                break;
            }
            // The names of some of the system's own begin with the mark.
            let mark = line
                .iter()
                .skip(1)
                .position(|unit| *unit == u16::from(b'='));
            if let Some(mark) = mark.map(|mark| mark + 1) {
                let (name, value) = (&line[..mark], &line[mark + 1..]);
                variables.push((OsString::from_wide(name), OsString::from_wide(value)));
            }
            // SAFETY: the zero is part of the block, and so is what follows.
            at = unsafe { at.add(length + 1) };
        }
        // SAFETY: it was made for us by the call above, and is not used any more.
        unsafe { DestroyEnvironmentBlock(block) };
        Ok(variables)
    }
}

/// Starts a program as somebody, suspended: with a command line, a block of variables, a directory, what it reads, and what
/// it writes to.
pub(crate) fn spawn_as(
    token: &Token,
    mut line: Vec<u16>,
    block: Vec<u16>,
    directory: &Path,
    (input, output): (&File, &[PipeWriter; 2]),
    flags: u32,
) -> io::Result<Leader> {
    line.push(0);
    let directory: Vec<u16> = directory.as_os_str().encode_wide().chain([0]).collect();
    let [out, err] = output.each_ref().map(|pipe| pipe.as_raw_handle());
    let input = input.as_raw_handle();
    for handle in [input, out, err] {
        // SAFETY: the handle is open.
        done(unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) })?;
    }
    // Without a name the system gives an account a desktop that it may use.
    let mut desktop = wide("");
    let startup = STARTUPINFOW {
        cb: mem::size_of::<STARTUPINFOW>() as u32,
        lpDesktop: desktop.as_mut_ptr(),
        dwFlags: STARTF_USESTDHANDLES,
        hStdInput: input,
        hStdOutput: out,
        hStdError: err,
        ..Default::default()
    };
    let mut told = PROCESS_INFORMATION::default();
    // SAFETY: line and directory end with a zero, the block with two, and what is null may be. Nothing else of this program
    // can be inherited, and nobody else starts programs meanwhile: one thread does.
    done(unsafe {
        CreateProcessAsUserW(
            token.0.as_raw_handle(),
            ptr::null(),
            line.as_mut_ptr(),
            ptr::null(),
            ptr::null(),
            1,
            flags | CREATE_SUSPENDED | CREATE_UNICODE_ENVIRONMENT,
            block.as_ptr().cast(),
            directory.as_ptr(),
            &startup,
            &mut told,
        )
    })?;
    // SAFETY: both were just opened, for us.
    let (process, _thread) = unsafe { (own(told.hProcess)?, own(told.hThread)?) };
    let pid = told.dwProcessId;
    Ok(Leader { process, pid })
}

/// All that a program starts. What lives in it ends with this value, and with this program, however that ends.
pub(crate) struct Job(OwnedHandle);

impl Job {
    /// A new one. One of that name may be there for a moment longer than its shim, while an agent looks at it; strangers
    /// cannot guess a name with a uuid in it.
    pub(crate) fn new(name: Option<&str>) -> io::Result<Self> {
        let name = name.map(wide);
        let text = name.as_ref().map_or(ptr::null(), |name| name.as_ptr());
        // SAFETY: the name ends with a zero, or there is none.
        let job = Self(unsafe { own(CreateJobObjectW(ptr::null(), text)) }?);
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: the structure belongs to the question, and its length is said.
        done(unsafe {
            SetInformationJobObject(
                job.handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                mem::size_of_val(&limits) as u32,
            )
        })?;
        Ok(job)
    }

    fn handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    /// Takes a process in, and with it all that it will start.
    pub(crate) fn adopt(&self, leader: &Leader) -> io::Result<()> {
        // SAFETY: both handles are open.
        done(unsafe { AssignProcessToJobObject(self.handle(), leader.handle()) })
    }

    /// Kills what lives in it.
    pub(crate) fn kill(&self) {
        // SAFETY: the handle is open. That nothing lives is no failure.
        unsafe { TerminateJobObject(self.handle(), KILLED) };
    }

    /// Whether nothing lives in it.
    pub(crate) fn is_empty(&self) -> bool {
        let mut list = JOBOBJECT_BASIC_PROCESS_ID_LIST::default();
        // SAFETY: the structure belongs to the question, and its length is said.
        let asked = done(unsafe {
            QueryInformationJobObject(
                self.handle(),
                JobObjectBasicProcessIdList,
                (&raw mut list).cast(),
                mem::size_of_val(&list) as u32,
                ptr::null_mut(),
            )
        });
        match asked {
            Ok(()) => list.NumberOfAssignedProcesses == 0,
            // More live than there is room for.
            Err(error) => error.raw_os_error() != Some(ERROR_MORE_DATA as i32),
        }
    }
}

/// What a program without a console is asked to end by.
pub(crate) struct StopEvent(OwnedHandle);

impl StopEvent {
    /// One of that name, which is not set.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with a zero, and the place for the descriptor is valid.
        done(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide(WAITABLE).as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                ptr::null_mut(),
            )
        })?;
        let attributes = SECURITY_ATTRIBUTES {
            nLength: mem::size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: descriptor,
            bInheritHandle: 0,
        };
        // SAFETY: the name ends with a zero, and the descriptor is the one that was just made.
        let event = unsafe { own(CreateEventW(&attributes, 1, 0, wide(name).as_ptr())) };
        // SAFETY: it was allocated for us, and is not used any more.
        unsafe { LocalFree(descriptor) };
        let event = event?;
        // SAFETY: the handle is open. A process before may have left it set.
        done(unsafe { ResetEvent(event.as_raw_handle()) })?;
        Ok(Self(event))
    }

    /// Sets it, for good.
    pub(crate) fn set(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        done(unsafe { SetEvent(self.0.as_raw_handle()) })
    }
}

/// Lets a process run that was started suspended, as it has one thread, which waits for that.
pub(crate) fn resume(leader: &Leader) -> io::Result<()> {
    // SAFETY: it takes numbers; what it returns is ours.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and ours.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = THREADENTRY32 {
        dwSize: mem::size_of::<THREADENTRY32>() as u32,
        ..Default::default()
    };
    // SAFETY: the handle is open, and the structure says how long it is.
    let mut found = done(unsafe { Thread32First(snapshot.as_raw_handle(), &mut entry) });
    while found.is_ok() && entry.th32OwnerProcessID != leader.id() {
        // SAFETY: as above.
        found = done(unsafe { Thread32Next(snapshot.as_raw_handle(), &mut entry) });
    }
    found?;
    // SAFETY: the process is ours and has not run, so that the thread is there still.
    let thread = unsafe { own(OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID)) }?;
    // SAFETY: the handle is open.
    match unsafe { ResumeThread(thread.as_raw_handle()) } {
        u32::MAX => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Presses Ctrl-Break for the group of processes that one leads, in the console that it has of us.
pub(crate) fn press_break(leader: &Leader) -> io::Result<()> {
    // SAFETY: it takes numbers. The leader's is its own for as long as its handle is open.
    done(unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, leader.id()) })
}

/// When a process started, in the system's unit: 100 ns since 1601.
pub(crate) fn start_time(leader: &Leader) -> u64 {
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open, and the places are valid.
    let asked = unsafe {
        GetProcessTimes(
            leader.handle(),
            &mut created,
            &mut ended,
            &mut kernel,
            &mut user,
        )
    };
    done(asked).map_or(0, |()| {
        u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime)
    })
}

/// A further handle of a process, to wait by.
pub(crate) fn watch(leader: &Leader) -> io::Result<OwnedHandle> {
    leader.process.try_clone()
}

/// Waits until a process has ended.
pub(crate) fn wait(process: &OwnedHandle) {
    // SAFETY: the handle is open.
    unsafe { WaitForSingleObject(process.as_raw_handle(), INFINITE) };
}
