//! A terminal of a chosen size, in which `quaestor` runs, and what it shows.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use vt100::Parser;

use crate::support::{cluster::QUAESTOR, eventually};

/// A program in a terminal; killed when dropped.
pub struct Terminal {
    child: Child,
    /// The end of whoever sits before it.
    keyboard: File,
    /// The end of the program, kept open so that its settings can be looked at.
    line: OwnedFd,
    shown: Arc<Mutex<Parser>>,
}

impl Terminal {
    /// Runs `quaestor` with those arguments and variables in a terminal of so many columns and lines.
    pub fn start(
        arguments: &[&str],
        variables: &[(&str, &str)],
        (columns, lines): (u16, u16),
    ) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        let line = ioctl_tiocgptpeer(&own, flags).unwrap();
        tcsetwinsize(&own, size(columns, lines)).unwrap();
        let mut command = Command::new("setsid");
        // It is to be the program's terminal, whatever the test itself runs in.
        command.args(["--ctty", QUAESTOR]).args(arguments);
        command
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied());
        command
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap())
            .stderr(line.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let shown = Arc::new(Mutex::new(Parser::new(lines, columns, 0)));
        let keyboard = File::from(own);
        let (mut screen, seen) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.process(&bytes[..count]);
            }
        });
        Self {
            child,
            keyboard,
            line,
            shown,
        }
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.look(|screen| screen.contents())
    }

    /// Whether it shows a screen of its own, which goes away with it.
    pub fn has_own_screen(&self) -> bool {
        self.look(vt100::Screen::alternate_screen)
    }

    /// Whether anything on the screen has a colour.
    pub fn is_coloured(&self) -> bool {
        self.look(|screen| {
            let (lines, columns) = screen.size();
            let cells = (0..lines).flat_map(|line| (0..columns).map(move |column| (line, column)));
            let mut cells = cells.filter_map(|(line, column)| screen.cell(line, column));
            cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    }

    /// Whether the terminal is as programs find it: what is typed comes line by line, and is seen.
    pub fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        let hidden = self.look(vt100::Screen::hide_cursor);
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG) && !hidden
    }

    fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        look(shown.screen())
    }

    /// Types keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub fn await_text(&self, text: &str) {
        self.until(&format!("it shows `{text}`"), |screen| {
            screen.contains(text)
        });
    }

    /// Waits until that holds of what is on the screen.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let guard = Told(self);
        eventually(what, || holds(&self.text()));
        std::mem::forget(guard);
    }

    /// Makes it another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.screen_mut().set_size(lines, columns);
        tcsetwinsize(&self.keyboard, size(columns, lines)).unwrap();
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints the screen when it is dropped by a panic.
struct Told<'a>(&'a Terminal);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        eprintln!("--- the screen ---\n{}", self.0.text());
    }
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
