//! This program as a service: what the system's manager of services says to it, and what it says of itself.

use std::{
    fs, io,
    os::windows::io::{AsRawHandle as _, IntoRawHandle as _},
    path::Path,
    ptr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread::Builder,
    time::Duration,
};

use tokio::sync::Notify;
use windows_sys::Win32::{
    Foundation::{ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC_ERROR, NO_ERROR},
    System::{
        Console::{STD_ERROR_HANDLE, SetStdHandle},
        EventLog::{
            DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE,
            RegisterEventSourceW, ReportEventW,
        },
        Services::{
            RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_SHUTDOWN, SERVICE_ACCEPT_STOP,
            SERVICE_CONTROL_INTERROGATE, SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP,
            SERVICE_RUNNING, SERVICE_START_PENDING, SERVICE_STATUS, SERVICE_STATUS_HANDLE,
            SERVICE_STOP_PENDING, SERVICE_STOPPED, SERVICE_TABLE_ENTRYW, SERVICE_WIN32_OWN_PROCESS,
            SetServiceStatus, StartServiceCtrlDispatcherW,
        },
    },
};

use super::handle::wide;
use crate::host::Manager;

/// How long the manager waits for the next word while the service begins or ends: an agent may look for many processes,
/// and instances that end with it take their time.
const HINT: Duration = Duration::from_secs(100);

/// A log that has grown beyond this, in bytes, makes way for a new one when the service starts.
const FULL: u64 = 10 << 20;

/// Whether nobody reads what this program prints, as with a service.
static HAS_NO_STREAMS: AtomicBool = AtomicBool::new(false);

/// Where nobody reads what this program prints: lets its standard error be `file`; the one before it becomes `file.1`.
///
/// # Errors
/// When that cannot be written.
pub(in crate::process) fn keep_log(file: &Path) -> io::Result<()> {
    if !io::stderr().as_raw_handle().is_null() {
        return Ok(());
    }
    HAS_NO_STREAMS.store(true, Ordering::Relaxed);
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    if fs::metadata(file).is_ok_and(|known| known.len() > FULL) {
        let mut before = file.as_os_str().to_owned();
        before.push(".1");
        fs::rename(file, before)?;
    }
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?;
    // SAFETY: the handle is open, and stays so, as it is given away for good.
    unsafe { SetStdHandle(STD_ERROR_HANDLE, log.into_raw_handle()) };
    Ok(())
}

/// Writes a line to the system's log of events.
fn record(kind: u16, text: &str) {
    // SAFETY: the texts end with a zero, and the list has one of them, as is said.
    unsafe {
        let source = RegisterEventSourceW(ptr::null(), wide("Quaestor").as_ptr());
        if !source.is_null() {
            let text = wide(text);
            let texts = [text.as_ptr()];
            ReportEventW(
                source,
                kind,
                0,
                1,
                ptr::null_mut(),
                1,
                0,
                texts.as_ptr(),
                ptr::null(),
            );
            DeregisterEventSource(source);
        }
    }
}

/// What the manager is told.
struct Service {
    status: Mutex<Status>,
    /// Somebody asked it to end.
    asked: Notify,
}

struct Status {
    handle: SERVICE_STATUS_HANDLE,
    state: u32,
}

// SAFETY: the handle is a number by which any thread may speak of the service.
unsafe impl Send for Status {}

/// This program's, once the manager has called it.
static SERVICE: OnceLock<Service> = OnceLock::new();

/// Who waits for that call.
static WAITING: Mutex<Option<Sender<()>>> = Mutex::new(None);

/// The manager of services, if it has started this program. Such a program has no standard streams.
pub(in crate::process) fn manager() -> Option<Arc<dyn Manager>> {
    if !HAS_NO_STREAMS.load(Ordering::Relaxed) {
        return None;
    }
    let (told, called) = channel();
    *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    let listening = || {
        // In programs with one service its name does not matter.
        let mut name = wide("");
        let mut entry = SERVICE_TABLE_ENTRYW {
            lpServiceName: name.as_mut_ptr(),
            lpServiceProc: Some(begin),
        };
        let table = [std::mem::take(&mut entry), SERVICE_TABLE_ENTRYW::default()];
        // SAFETY: the table ends with an empty entry, and lives as long as the call, which lasts until the service
        // has stopped.
        if unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) } == 0 {
            // Nobody has started this as a service, and nobody will call.
            *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    };
    // The manager wants a thread of its own, which does nothing but listen.
    Builder::new()
        .name("service".to_owned())
        .spawn(listening)
        .ok()?;
    called.recv().ok()?;
    Some(Arc::new(Services))
}

/// Resolves when the manager asks this program to end; never where there is none.
pub(in crate::process) async fn asked_to_end() {
    match SERVICE.get() {
        Some(service) => service.asked.notified().await,
        None => std::future::pending().await,
    }
}

/// Says that this program ends, well or not; whoever does not say it is started anew.
pub(in crate::process) fn ended(well: bool) {
    say(SERVICE_STOPPED, if well { 0 } else { 1 });
}

/// The manager's call: the service begins.
extern "system" fn begin(_: u32, _: *mut *mut u16) {
    // SAFETY: the name ends with a zero, and the handler is a function of the right type that needs no context.
    let handle =
        unsafe { RegisterServiceCtrlHandlerExW(wide("").as_ptr(), Some(control), ptr::null()) };
    if handle.is_null() {
        return;
    }
    SERVICE.get_or_init(|| Service {
        status: Mutex::new(Status {
            handle,
            state: SERVICE_START_PENDING,
        }),
        asked: Notify::new(),
    });
    say(SERVICE_START_PENDING, 0);
    if let Some(waiting) = WAITING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    {
        let _ = waiting.send(());
    }
}

/// The manager's word to a service that runs.
extern "system" fn control(
    word: u32,
    _: u32,
    _: *mut core::ffi::c_void,
    _: *mut core::ffi::c_void,
) -> u32 {
    match word {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_SHUTDOWN => {
            say(SERVICE_STOP_PENDING, 0);
            if let Some(service) = SERVICE.get() {
                service.asked.notify_one();
            }
            NO_ERROR
        }
        SERVICE_CONTROL_INTERROGATE => NO_ERROR,
        _ => ERROR_CALL_NOT_IMPLEMENTED,
    }
}

/// Tells the manager in which state the service is.
fn say(state: u32, code: u32) {
    let Some(service) = SERVICE.get() else {
        return;
    };
    let mut status = service
        .status
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    // What has been asked to end does not begin any more.
    if status.state == SERVICE_STOPPED
        || status.state == SERVICE_STOP_PENDING && state != SERVICE_STOPPED
    {
        return;
    }
    if status.state != state {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let role = arguments.first().map_or("", String::as_str);
        match (state, code) {
            (SERVICE_RUNNING, _) => record(EVENTLOG_INFORMATION_TYPE, &format!("{role}: ready")),
            (SERVICE_STOPPED, 0) => record(EVENTLOG_INFORMATION_TYPE, &format!("{role}: stopped")),
            (SERVICE_STOPPED, _) => record(
                EVENTLOG_ERROR_TYPE,
                &format!("{role}: ended with an error, see its log"),
            ),
            _ => {}
        }
    }
    status.state = state;
    let is_under_way = [SERVICE_START_PENDING, SERVICE_STOP_PENDING].contains(&state);
    let told = SERVICE_STATUS {
        dwServiceType: SERVICE_WIN32_OWN_PROCESS,
        dwCurrentState: state,
        dwControlsAccepted: match state {
            SERVICE_STOPPED | SERVICE_STOP_PENDING => 0,
            _ => SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN,
        },
        dwWin32ExitCode: if code == 0 {
            NO_ERROR
        } else {
            ERROR_SERVICE_SPECIFIC_ERROR
        },
        dwServiceSpecificExitCode: code,
        dwCheckPoint: u32::from(is_under_way),
        dwWaitHint: if is_under_way {
            HINT.as_millis() as u32
        } else {
            0
        },
    };
    // SAFETY: the handle is the manager's, and the structure valid.
    unsafe { SetServiceStatus(status.handle, &told) };
}

/// The manager of services.
struct Services;

impl Manager for Services {
    fn tell(&self, words: &str) {
        // Of the words of `sd_notify(3)` it knows these.
        for word in words.lines() {
            match word {
                "READY=1" => say(SERVICE_RUNNING, 0),
                "STOPPING=1" => say(SERVICE_STOP_PENDING, 0),
                _ => {}
            }
        }
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}
