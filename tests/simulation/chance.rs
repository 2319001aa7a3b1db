//! Chance that repeats: all randomness of a simulated world comes from its seed.
//!
//! Two kinds are not asked for through a seam: the seeds of the standard library's hash maps and of the
//! runtime's `select!`. Both come from `getrandom`, which the standard library lets a program replace
//! ("a weak symbol allows interposition"); this test program does.
#![allow(unsafe_code, reason = "a C function is replaced by one in Rust")]

use std::sync::{Mutex, PoisonError};

use quaestor::host::Entropy;

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
