//! Job objects of instances. The shim of an instance makes its job, and nothing in it outlives the shim; whoever knows
//! the name may hold it to limits, ask what it uses up, and end it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    os::windows::io::{AsRawHandle as _, OwnedHandle},
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{ERROR_MORE_DATA, FILETIME, HANDLE},
    System::{
        JobObjects::{
            JOB_OBJECT_CPU_RATE_CONTROL_ENABLE, JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP,
            JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
            JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_BASIC_PROCESS_ID_LIST,
            JOBOBJECT_CPU_RATE_CONTROL_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
            JOBOBJECTINFOCLASS, JobObjectBasicAccountingInformation, JobObjectBasicProcessIdList,
            JobObjectCpuRateControlInformation, JobObjectExtendedLimitInformation, OpenJobObjectW,
            QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
        },
        ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS},
        Threading::{GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION},
    },
};

use super::handle::{done, own, wide};
use crate::{
    host::Clock,
    model::Resources,
    process::{Place, Used, shim::wire::names},
};

/// Who is killed is gone after a pause or two.
const PAUSE: Duration = Duration::from_millis(10);

/// What cannot be killed in this time waits for the system.
const ROUNDS: u32 = 100;

/// The code with which what is killed ends.
const KILLED: u32 = 137;

/// The share of all processors that a job may have is told in parts of this.
const WHOLE: f64 = 10_000.0;

/// To set attributes, to ask, and to end: what of a job an agent needs.
const ACCESS: u32 = 0x2 | 0x4 | 0x8;

/// How many processes of a job are asked what they use. What more there are counts as processes only.
const MOST: usize = 1024;

/// The jobs of instances on this machine.
#[derive(Default)]
pub(in crate::process) struct Jobs {
    /// Whose the living processes are that were started or found.
    uuids: Mutex<BTreeMap<u32, String>>,
}

impl Jobs {
    /// Takes note that `pid` is the first process at `place`.
    pub(in crate::process) fn know(&self, pid: u32, place: &Place) {
        self.uuids().insert(pid, place.uuid.clone());
    }

    /// Takes note that the process at `place` has ended.
    pub(in crate::process) fn lose(&self, place: &Place) {
        self.uuids().retain(|_, uuid| *uuid != place.uuid);
    }

    fn uuids(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.uuids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Limits what lives at `place`. What is not enforced, and why.
    pub(in crate::process) fn hold(&self, place: &Place, resources: &Resources) -> Option<String> {
        let failed = |field: &str, error: io::Error| {
            format!("resources.{field} is not enforced on this node: {error}")
        };
        let job = match Job::open(&place.uuid) {
            Ok(job) => job,
            Err(error) if resources.is_limited() => {
                return Some(failed("memory and resources.cpu", error));
            }
            Err(_) => return None,
        };
        let memory = job.limit_memory(resources.memory.map(|memory| memory.bytes()));
        let cpu = job.limit_cpu(resources.cpu.map(|cpu| cpu * 1.0));
        let memory = memory.err().map(|error| failed("memory", error));
        let cpu = cpu.err().map(|error| failed("cpu", error));
        // What is not asked for is lifted; where that fails, there is nothing to lift.
        let memory = memory.filter(|_| resources.memory.is_some());
        let cpu = cpu.filter(|_| resources.cpu.is_some());
        match (memory, cpu) {
            (Some(one), Some(other)) => Some(format!("{one}; {other}")),
            (one, other) => one.or(other),
        }
    }

    /// Kills what lives at `place`, and waits until nothing does.
    pub(in crate::process) async fn clear(&self, place: &Place, clock: &Arc<dyn Clock>) {
        for _ in 0..ROUNDS {
            // Without a shim there is no job any more: the last handle took all with it.
            let Ok(job) = Job::open(&place.uuid) else {
                return;
            };
            job.terminate();
            drop(job);
            clock.sleep(PAUSE).await;
        }
        tracing::error!(uuid = place.uuid, "what lives in its job cannot be killed");
    }

    /// What the jobs use whose first processes are `leaders`.
    pub(in crate::process) fn usage(&self, leaders: &BTreeSet<u32>) -> BTreeMap<u32, Used> {
        let uuids = self.uuids();
        let used = |pid: &u32| Some((*pid, Job::open(uuids.get(pid)?).ok()?.used()));
        leaders.iter().filter_map(used).collect()
    }
}

struct Job(OwnedHandle);

impl Job {
    fn open(uuid: &str) -> io::Result<Self> {
        let name = wide(names::job(uuid));
        // SAFETY: the name ends with a zero; the handle, if there is one, is ours.
        unsafe { own(OpenJobObjectW(ACCESS, 0, name.as_ptr())) }.map(Self)
    }

    fn handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    fn terminate(&self) {
        // SAFETY: the handle is open. What has ended already is no failure.
        unsafe { TerminateJobObject(self.handle(), KILLED) };
    }

    fn limit_memory(&self, bytes: Option<u64>) -> io::Result<()> {
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION =
            self.ask(JobObjectExtendedLimitInformation)?;
        let flags = &mut limits.BasicLimitInformation.LimitFlags;
        match bytes {
            Some(_) => *flags |= JOB_OBJECT_LIMIT_JOB_MEMORY,
            None => *flags &= !JOB_OBJECT_LIMIT_JOB_MEMORY,
        }
        // Whoever asks a job for its limits is not told the one that the shim lives by on every system.
        *flags |= JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        limits.JobMemoryLimit = usize::try_from(bytes.unwrap_or(0)).unwrap_or(usize::MAX);
        self.set(JobObjectExtendedLimitInformation, &limits)
    }

    fn limit_cpu(&self, cores: Option<f64>) -> io::Result<()> {
        let mut control = JOBOBJECT_CPU_RATE_CONTROL_INFORMATION::default();
        if let Some(cores) = cores {
            let all = std::thread::available_parallelism().map_or(1, usize::from) as f64;
            let rate = (cores / all * WHOLE).round().clamp(1.0, WHOLE);
            control.ControlFlags =
                JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
            control.Anonymous.CpuRate = rate as u32;
        }
        self.set(JobObjectCpuRateControlInformation, &control)
    }

    fn used(&self) -> Used {
        let accounting: io::Result<JOBOBJECT_BASIC_ACCOUNTING_INFORMATION> =
            self.ask(JobObjectBasicAccountingInformation);
        let accounting = accounting.unwrap_or_default();
        let pids = self.pids();
        let (mut living, mut memory) = (Duration::ZERO, 0);
        for pid in &pids {
            let (time, bytes) = process(*pid).unwrap_or_default();
            living += time;
            memory += bytes;
        }
        // It counts those that have ended as well; but not every system fills it in.
        let counted = ticks(accounting.TotalKernelTime.cast_unsigned())
            + ticks(accounting.TotalUserTime.cast_unsigned());
        Used {
            processor: counted.max(living),
            memory,
            processes: (accounting.ActiveProcesses).max(u32::try_from(pids.len()).unwrap_or(0)),
        }
    }

    fn pids(&self) -> Vec<u32> {
        const HEAD: usize = mem::offset_of!(JOBOBJECT_BASIC_PROCESS_ID_LIST, ProcessIdList);
        // Words, so that the structure in it lies where it may.
        let mut room = vec![0_usize; HEAD / mem::size_of::<usize>() + MOST];
        // SAFETY: the handle is open, and the room as long as is said.
        let asked = done(unsafe {
            QueryInformationJobObject(
                self.handle(),
                JobObjectBasicProcessIdList,
                room.as_mut_ptr().cast(),
                mem::size_of_val(room.as_slice()) as u32,
                ptr::null_mut(),
            )
        });
        let is_cut = |error: &io::Error| error.raw_os_error() == Some(ERROR_MORE_DATA as i32);
        if asked.is_err_and(|error| !is_cut(&error)) {
            return Vec::new();
        }
        // SAFETY: the system has filled in the head, and the room is larger than that and aligned.
        let head = unsafe { &*room.as_ptr().cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>() };
        let count = (head.NumberOfProcessIdsInList as usize).min(MOST);
        let list = &room[HEAD / mem::size_of::<usize>()..][..count];
        list.iter()
            .filter_map(|pid| u32::try_from(*pid).ok())
            .collect()
    }

    fn ask<T: Default>(&self, what: JOBOBJECTINFOCLASS) -> io::Result<T> {
        let mut answer = T::default();
        // SAFETY: callers pair each question with the plain structure that belongs to it, and its length is said.
        done(unsafe {
            QueryInformationJobObject(
                self.handle(),
                what,
                (&raw mut answer).cast(),
                mem::size_of::<T>() as u32,
                ptr::null_mut(),
            )
        })?;
        Ok(answer)
    }

    fn set<T>(&self, what: JOBOBJECTINFOCLASS, value: &T) -> io::Result<()> {
        // SAFETY: as for `ask`; what is set is read only.
        done(unsafe {
            SetInformationJobObject(
                self.handle(),
                what,
                (&raw const *value).cast(),
                mem::size_of::<T>() as u32,
            )
        })
    }
}

/// Processor time and resident memory of a process; none if it has ended meanwhile.
fn process(pid: u32) -> Option<(Duration, u64)> {
    // SAFETY: it takes numbers; the handle, if there is one, is ours.
    let process = unsafe { own(OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid)) }.ok()?;
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open, and the places are valid.
    let times = unsafe {
        GetProcessTimes(
            process.as_raw_handle(),
            &mut created,
            &mut ended,
            &mut kernel,
            &mut user,
        )
    };
    done(times).ok()?;
    let mut counters = PROCESS_MEMORY_COUNTERS::default();
    let length = mem::size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
    // SAFETY: the handle is open, and the structure as long as is said.
    let memory = unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), &mut counters, length) };
    let memory = done(memory).map_or(0, |()| counters.WorkingSetSize as u64);
    Some((ticks(count(kernel)) + ticks(count(user)), memory))
}

fn count(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// A time in the system's unit, 100 ns.
fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count.saturating_mul(100))
}
