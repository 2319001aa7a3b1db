//! What the process says of itself: datagrams in the words of `sd_notify(3)`. The socket belongs to the shim, so that
//! nothing is missed while no agent is there; that also goes for pings which stay away.
//!
//! The socket has no file, and everybody on the host can send to it: the kernel says who did, and only what
//! descends from the shim is listened to.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg,
        sockopt::set_socket_passcred,
    },
    process::Pid,
};

use crate::{
    children, clock,
    wire::{
        notice::{LONGEST_TEXT, Notice, Stage},
        program::Program,
    },
};

/// The longest datagram that is understood, in bytes, as for systemd.
const LONGEST: usize = 4096;
/// How many datagrams are read in one turn of the loop.
const MOST_IN_A_TURN: usize = 16;
/// A text alone that has changed is told after at least this long.
const TEXT_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Notices {
    socket: OwnedFd,
    name: String,
    watchdog: Option<Duration>,
    heard: Heard,
    /// What clients were told last.
    told: Notice,
    /// From when on a mere change of the text may be told.
    tell_text_at: Duration,
}

/// What was said so far.
#[derive(Default)]
struct Heard {
    notice: Notice,
    /// When the next ping is overdue; none: none is awaited.
    ping_by: Option<Duration>,
}

impl Notices {
    /// Listens for the process of `program`, if it is to say anything.
    pub(crate) fn open(program: &Program) -> io::Result<Option<Self>> {
        let Some(notify) = &program.notify else {
            return Ok(None);
        };
        // The moment makes it a name that nobody else has taken before.
        let name = format!("quaestor/{}/{}", program.instance, clock::now().as_nanos());
        let address = SocketAddr::from_abstract_name(&name)?;
        let socket = UnixDatagram::bind_addr(&address)?;
        set_socket_passcred(&socket, true)?;
        Ok(Some(Self {
            socket: socket.into(),
            name,
            watchdog: notify.watchdog,
            heard: Heard::default(),
            told: Notice::default(),
            tell_text_at: Duration::ZERO,
        }))
    }

    /// What the process finds in its environment. There is no `WATCHDOG_PID`, which means that whoever sees the
    /// rest may send pings: a command is often a shell around the program.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("NOTIFY_SOCKET", format!("@{}", self.name))];
        if let Some(watchdog) = self.watchdog {
            variables.push(("WATCHDOG_USEC", watchdog.as_micros().to_string()));
        }
        variables
    }

    /// What to wait for.
    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Reads what there is.
    pub(crate) fn read(&mut self, now: Duration) {
        for _ in 0..MOST_IN_A_TURN {
            if self.receive(now).is_err() {
                return;
            }
        }
    }

    fn receive(&mut self, now: Duration) -> io::Result<()> {
        let mut datagram = [0; LONGEST];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut datagram)],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut sender = None;
        // `systemd-notify` sends a descriptor and lives until it is closed: not before we know who it is.
        let mut held: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials.pid),
                RecvAncillaryMessage::ScmRights(descriptors) => held.extend(descriptors),
                _ => {}
            }
        }
        let is_whole = !received.flags.contains(ReturnFlags::TRUNC);
        if is_whole && sender.is_some_and(|sender: Pid| children::is_descendant(sender)) {
            self.heard
                .take(&datagram[..received.bytes], self.watchdog, now);
        }
        Ok(())
    }

    /// When [`Notices::on_time`] or [`Notices::news`] has something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let text = (self.heard.notice != self.told).then_some(self.tell_text_at);
        self.heard.ping_by.into_iter().chain(text).min()
    }

    /// Takes note of a ping that stays away.
    pub(crate) fn on_time(&mut self, now: Duration) {
        if self.heard.ping_by.is_some_and(|moment| moment <= now) {
            self.heard.ping_by = None;
            self.heard.notice.overdue = true;
        }
    }

    /// What is known.
    pub(crate) fn notice(&self) -> &Notice {
        &self.heard.notice
    }

    /// What clients are to be told, if there is anything new.
    pub(crate) fn news(&mut self, now: Duration) -> Option<Notice> {
        let notice = &self.heard.notice;
        if *notice == self.told || notice.is_like(&self.told) && now < self.tell_text_at {
            return None;
        }
        self.tell_text_at = now + TEXT_PAUSE;
        self.told = notice.clone();
        Some(notice.clone())
    }
}

impl Heard {
    /// Takes a datagram in: lines of `NAME=value`. Those that are not known are for others.
    fn take(&mut self, datagram: &[u8], watchdog: Option<Duration>, now: Duration) {
        let ping_by = watchdog.map(|watchdog| now.saturating_add(watchdog));
        for line in datagram.split(|byte| *byte == b'\n') {
            let notice = &mut self.notice;
            match line {
                b"READY=1" if notice.stage != Stage::Stopping => {
                    notice.stage = Stage::Ready;
                    notice.overdue = false;
                    self.ping_by = ping_by;
                }
                b"RELOADING=1" if notice.stage == Stage::Ready => notice.stage = Stage::Reloading,
                b"STOPPING=1" => {
                    notice.stage = Stage::Stopping;
                    // It has other things to do than to ping.
                    notice.overdue = false;
                    self.ping_by = None;
                }
                b"WATCHDOG=1" if [Stage::Ready, Stage::Reloading].contains(&notice.stage) => {
                    notice.overdue = false;
                    self.ping_by = ping_by;
                }
                b"WATCHDOG=trigger" => notice.failed = true,
                _ => {
                    if let Some(text) = line.strip_prefix(b"STATUS=") {
                        notice.text = clean(text);
                    }
                }
            }
        }
    }
}

/// A text without control characters, and not too long.
fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut clean = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if clean.len() + character.len_utf8() > LONGEST_TEXT {
            break;
        }
        clean.push(character);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHDOG: Duration = Duration::from_secs(30);

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// What is known after each of these, a second apart.
    fn after(datagrams: &[&str]) -> Heard {
        let mut heard = Heard::default();
        for (second, datagram) in (0..).zip(datagrams) {
            heard.take(datagram.as_bytes(), Some(WATCHDOG), at(second));
        }
        heard
    }

    #[test]
    fn what_is_said_leads_from_stage_to_stage() {
        for (said, stage) in [
            (&["STATUS=soon\nMAINPID=7"][..], Stage::Starting),
            (&["STATUS=there\nREADY=1"], Stage::Ready),
            (&["READY=0"], Stage::Starting),
            (&["RELOADING=1"], Stage::Starting),
            (&["READY=1", "RELOADING=1"], Stage::Reloading),
            (&["READY=1", "RELOADING=1", "READY=1\n"], Stage::Ready),
            (&["READY=1", "STOPPING=1", "READY=1"], Stage::Stopping),
        ] {
            assert_eq!(after(said).notice.stage, stage, "{said:?}");
        }
    }

    #[test]
    fn pings_are_awaited_while_it_is_ready_and_each_gives_time_for_the_next() {
        for (said, ping_by) in [
            (&["WATCHDOG=1"][..], None),
            (&["READY=1"], Some(30)),
            (&["READY=1", "STATUS=x"], Some(30)),
            (&["READY=1", "WATCHDOG=1"], Some(31)),
            (&["READY=1", "RELOADING=1", "WATCHDOG=1"], Some(32)),
            (&["READY=1", "STOPPING=1", "WATCHDOG=1"], None),
        ] {
            assert_eq!(after(said).ping_by, ping_by.map(at), "{said:?}");
        }
        let mut unguarded = Heard::default();
        unguarded.take(b"READY=1", None, at(0));
        assert_eq!(unguarded.ping_by, None);
    }

    #[test]
    fn a_trigger_is_not_taken_back_by_a_ping() {
        assert!(
            after(&["READY=1", "WATCHDOG=trigger", "WATCHDOG=1"])
                .notice
                .failed
        );
    }

    #[test]
    fn a_text_is_shortened_and_has_no_control_characters() {
        assert_eq!(clean(b"a\tb\x1b[31mc\xff"), "ab[31mc\u{fffd}");
        let long = "ü".repeat(LONGEST_TEXT);
        assert_eq!(clean(long.as_bytes()).len(), LONGEST_TEXT);
    }
}
