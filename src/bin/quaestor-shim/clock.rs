//! Time. Decisions go by the boot clock, which nobody sets and which goes on while the machine is
//! suspended; the wall clock is for people.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    fs::Timespec,
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime,
        timerfd_create, timerfd_settime,
    },
};

/// The time since boot.
pub(crate) fn now() -> Duration {
    time(ClockId::Boottime)
}

/// Which boot of the machine this is: a start time means something within one only.
pub(crate) fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim_end().to_owned())
}

/// Milliseconds since 1970.
pub(crate) fn wall() -> u64 {
    u64::try_from(time(ClockId::Realtime).as_millis()).unwrap_or(0)
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Wakes the loop at a moment. A time-out of `poll` would not do: it stands still while the machine is
/// suspended.
pub(crate) struct Alarm {
    timer: OwnedFd,
    set_to: Option<Duration>,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            timer: timerfd_create(TimerfdClockId::Boottime, flags)?,
            set_to: None,
        })
    }

    /// Sets it to a moment since boot, or switches it off.
    pub(crate) fn set(&mut self, moment: Option<Duration>) -> io::Result<()> {
        if moment == self.set_to {
            return Ok(());
        }
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A zero would switch it off.
        let at = moment.map_or(zero, |moment| Timespec {
            tv_sec: i64::try_from(moment.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: moment.subsec_nanos().max(1).into(),
        });
        let setting = Itimerspec {
            it_interval: zero,
            it_value: at,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
        self.set_to = moment;
        Ok(())
    }

    /// Takes note that it rang.
    pub(crate) fn rang(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.set_to = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
