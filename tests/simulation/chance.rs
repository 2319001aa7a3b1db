//! Chance that repeats: all randomness of a simulated world comes from its seed.
//!
//! Some is not asked for through a seam, so this test program replaces the C functions that it comes from, as the
//! standard library lets programs do:
//!
//! - The seeds of the standard library's hash maps and of the runtime's `select!` come from `getrandom`. They count
//!   up within a thread, so that a world has a thread of its own ([`alone`]): no log, for instance, shifts them.
//! - What h2 still knows of streams that were reset goes by the true time, which is that of a busy machine. On a
//!   world's thread that stands still.
#![allow(unsafe_code, reason = "C functions are replaced by ones in Rust")]

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

use quaestor::host::Entropy;
use rustix::time::ClockId;

thread_local! {
    /// Whether the true time stands still for this thread.
    static IS_TIMELESS: Cell<bool> = const { Cell::new(false) };
}

/// Runs a world in a thread of its own, out of the true time.
pub fn alone<T: Send>(world: impl FnOnce() -> T + Send) -> T {
    let ran = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            IS_TIMELESS.set(true);
            world()
        });
        thread.join()
    });
    ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A source of numbers that says the same for the same seed (SplitMix64).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A source of its own for `what`, which no other question to this one changes.
    pub fn of(seed: u64, what: &str) -> Self {
        let hash = what.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut dice = Self(seed ^ hash);
        dice.bits();
        dice
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low + 1)
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[(self.bits() % choices.len() as u64) as usize]
    }
}

/// The randomness of one simulated program.
pub struct SeededEntropy(Mutex<Dice>);

impl SeededEntropy {
    pub fn new(dice: Dice) -> Self {
        Self(Mutex::new(dice))
    }
}

impl Entropy for SeededEntropy {
    fn bits(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bits()
    }
}

/// Takes the place of the C library's function of this name in this test program: every call fills the
/// buffer with the same bytes.
///
/// # Safety
/// As of the function replaced: `buffer` points to `length` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let mut dice = Dice::new(length as u64);
    for offset in 0..length {
        // SAFETY: the caller gave `length` writable bytes from `buffer` on.
        unsafe { buffer.add(offset).write(dice.bits() as u8) };
    }
    length as isize
}

/// A `timespec` of C.
#[repr(C)]
pub struct Time {
    seconds: i64,
    nanoseconds: i64,
}

/// Takes the place of the C library's function of this name in this test program.
///
/// # Safety
/// As of the function replaced: `time` points to a `timespec` that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: i32, time: *mut Time) -> i32 {
    let now = match (IS_TIMELESS.get(), clock) {
        (true, _) => rustix::time::Timespec {
            tv_sec: 1_000_000,
            tv_nsec: 0,
        },
        (false, 0) => rustix::time::clock_gettime(ClockId::Realtime),
        (false, _) => rustix::time::clock_gettime(ClockId::Monotonic),
    };
    // SAFETY: the caller gave a place for a time.
    unsafe {
        time.write(Time {
            seconds: now.tv_sec,
            nanoseconds: now.tv_nsec,
        });
    }
    0
}
