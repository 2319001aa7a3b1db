//! The service manager seam: whoever started this program as a service and wants to know how it is, as
//! systemd does.

use std::{sync::Arc, time::Duration};

use super::{Clock, Host};
use crate::model::Moment;

/// Hears how a service is. The words are those of `sd_notify(3)`.
pub trait Manager: Send + Sync {
    /// Tells it something. Nobody depends on its being heard.
    fn tell(&self, words: &str);

    /// How long it waits for a sign of life before it kills the service; none: for ever.
    fn patience(&self) -> Option<Duration>;
}

/// No service manager.
pub struct Nobody;

impl Manager for Nobody {
    fn tell(&self, _: &str) {}

    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// Signs of life come so many times within the manager's patience, so that one that is late kills nobody.
const SIGNS: u32 = 3;

/// What the loop of a role tells its manager. The loop itself gives every sign of life, once per turn at
/// most: one that hangs gives none, whatever else of the program still runs.
pub struct Pulse {
    manager: Arc<dyn Manager>,
    clock: Arc<dyn Clock>,
    ready: bool,
    status: String,
    /// When the next sign of life is due.
    due: Option<Moment>,
}

impl Pulse {
    /// The pulse of a role that begins.
    pub fn new(host: &Host) -> Self {
        let watched = host.manager.patience().is_some();
        Self {
            manager: Arc::clone(&host.manager),
            clock: Arc::clone(&host.clock),
            ready: false,
            status: String::new(),
            due: watched.then(|| host.clock.now()),
        }
    }

    /// A turn of the loop was made: gives a sign of life if one is due. Returns when to make the next turn
    /// at the latest, if that matters to anyone.
    pub fn beat(&mut self) -> Option<Moment> {
        let now = self.clock.now();
        if let (Some(due), Some(patience)) = (self.due, self.manager.patience())
            && now >= due
        {
            self.manager.tell("WATCHDOG=1");
            self.due = Some(now + patience / SIGNS);
        }
        self.due
    }

    /// Resolves when the next turn is to be made at the latest; never where nobody waits for one.
    pub async fn due(&self) {
        match self.due {
            Some(due) => self.clock.sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// The role does what it is for. Told once.
    pub fn ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.manager.tell("READY=1");
        }
    }

    /// What the role is doing, in one line. Told when it changes.
    pub fn status(&mut self, text: String) {
        if text != self.status {
            // One message is one set of lines.
            let line = text.replace('\n', " ");
            self.manager.tell(&format!("STATUS={line}"));
            self.status = text;
        }
    }

    /// The role was told to end. Told once, by whoever hears it first.
    pub fn ends(&mut self) {
        self.manager.tell("STOPPING=1");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Manager for Heard {
        fn tell(&self, words: &str) {
            self.0.lock().unwrap().push(words.to_owned());
        }

        fn patience(&self) -> Option<Duration> {
            Some(Duration::from_secs(3))
        }
    }

    impl Heard {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn heard() -> (Arc<Heard>, Pulse) {
        let manager = Arc::new(Heard::default());
        let host = Host {
            manager: Arc::<Heard>::clone(&manager),
            ..Host::system()
        };
        (manager, Pulse::new(&host))
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_is_told_once_and_a_status_when_it_changes() {
        let (manager, mut pulse) = heard();
        pulse.status("standby".to_owned());
        pulse.ready();
        pulse.ready();
        pulse.status("standby".to_owned());
        pulse.status("leads\n2 services".to_owned());
        pulse.ends();
        let told = [
            "STATUS=standby",
            "READY=1",
            "STATUS=leads 2 services",
            "STOPPING=1",
        ];
        assert_eq!(manager.take(), told);
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_while_turns_are_made_and_not_otherwise() {
        let (manager, mut pulse) = heard();
        // A loop that turns often does not tell more often than it has to.
        for _ in 0..20 {
            pulse.beat();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(manager.take(), ["WATCHDOG=1"; 2]);
        // It hangs: time passes, the runtime goes on, nothing is told.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(manager.take(), [""; 0]);
        // It goes on, and is woken in time from then on.
        for _ in 0..4 {
            pulse.beat();
            pulse.due().await;
        }
        assert_eq!(manager.take(), ["WATCHDOG=1"; 4]);
    }
}
