//! Ports for one test: free, and left alone by the rest of the machine.
//!
//! They lie below those that the system gives to outgoing connections (from 32768 on): one of those may be
//! taken between the moment a test found it free and the moment its server listens there.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u16 = 10_000;
const END: u16 = 32_000;

/// A port that nobody listens to, and that no other test of this process is given.
pub fn free_port() -> u16 {
    free_range(1).0
}

/// The first and the last of `count` neighbouring ones.
pub fn free_range(count: u16) -> (u16, u16) {
    loop {
        let first = claim(count);
        let all = first..first + count;
        if all.end <= END && all.clone().all(is_free) {
            return (first, all.end - 1);
        }
    }
}

/// The next `count` ports in turn. Test programs that run at once begin at different places.
fn claim(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(1_009);
    let turn = begin.wrapping_add(NEXT.fetch_add(u32::from(count), Ordering::Relaxed));
    FIRST + u16::try_from(turn % u32::from(END - FIRST)).unwrap()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
