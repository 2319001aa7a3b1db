//! What the compiler cannot check: calls of the system.

#![allow(
    unsafe_code,
    reason = "std has no safe way to any of it; each block says why it is right"
)]

use std::{
    io, mem,
    os::windows::io::{
        AsHandle, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle,
    },
    process::Child,
    ptr,
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{
        CloseHandle, ERROR_MORE_DATA, FILETIME, HANDLE, HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE,
        SetHandleInformation,
    },
    Security::Cryptography::{BCRYPT_USE_SYSTEM_PREFERRED_RNG, BCryptGenRandom},
    System::{
        Console::{
            CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent, GetStdHandle, STD_ERROR_HANDLE,
            STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle,
        },
        Diagnostics::ToolHelp::{
            CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
        },
        JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
            JOBOBJECT_BASIC_PROCESS_ID_LIST, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
            JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation,
            QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
        },
        SystemInformation::GetTickCount64,
        Threading::{
            CreateEventW, GetProcessTimes, INFINITE, OpenThread, ResetEvent, ResumeThread,
            SetEvent, THREAD_SUSPEND_RESUME, WaitForSingleObject,
        },
    },
};

/// The code with which what is killed ends.
pub(crate) const KILLED: u32 = 137;

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
    pub(crate) fn adopt(&self, child: &Child) -> io::Result<()> {
        // SAFETY: both handles are open.
        done(unsafe { AssignProcessToJobObject(self.handle(), child.as_raw_handle()) })
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
        // SAFETY: the name ends with a zero, and what is null may be.
        let event = unsafe { own(CreateEventW(ptr::null(), 1, 0, wide(name).as_ptr())) }?;
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
pub(crate) fn resume(child: &Child) -> io::Result<()> {
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
    while found.is_ok() && entry.th32OwnerProcessID != child.id() {
        // SAFETY: as above.
        found = done(unsafe { Thread32Next(snapshot.as_raw_handle(), &mut entry) });
    }
    found?;
    // SAFETY: the child is ours and has not run, so that the thread is there still.
    let thread = unsafe { own(OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID)) }?;
    // SAFETY: the handle is open.
    match unsafe { ResumeThread(thread.as_raw_handle()) } {
        u32::MAX => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Presses Ctrl-Break for the group of processes that a child leads, in the console that it has of us.
pub(crate) fn press_break(child: &Child) -> io::Result<()> {
    // SAFETY: it takes numbers. The child's is its own for as long as its handle is open.
    done(unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, child.id()) })
}

/// When a process started, in the system's unit: 100 ns since 1601.
pub(crate) fn start_time(child: &Child) -> u64 {
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open, and the places are valid.
    let asked = unsafe {
        GetProcessTimes(
            child.as_raw_handle(),
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
pub(crate) fn watch(child: &Child) -> io::Result<OwnedHandle> {
    let handle: BorrowedHandle<'_> = child.as_handle();
    handle.try_clone_to_owned()
}

/// Waits until a process has ended.
pub(crate) fn wait(process: &OwnedHandle) {
    // SAFETY: the handle is open.
    unsafe { WaitForSingleObject(process.as_raw_handle(), INFINITE) };
}
