//! What the words of a process mean for its health.

use super::health::Failure;
use crate::model::{
    notice::{Notice, Stage},
    quantity::Period,
};

/// What a notice means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is ready.
    Well,
    /// It is not to be handed out, and nothing is wrong with that. Says why.
    Away(&'static str),
    /// As a failed check.
    Ill(Failure),
}

/// What `notice` means, from a process that is to send pings every `watchdog`.
pub fn meaning(notice: &Notice, watchdog: Option<Period>) -> Meaning {
    let ill = |why: String, silent| Meaning::Ill(Failure { why, silent });
    if notice.failed {
        return ill("it said WATCHDOG=trigger".to_owned(), false);
    }
    if notice.overdue {
        let time = watchdog.map_or("in time".to_owned(), |time| format!("for {time}"));
        return ill(format!("it has sent no WATCHDOG=1 {time}"), true);
    }
    match notice.stage {
        Stage::Starting => ill("it has not said READY=1 yet".to_owned(), false),
        Stage::Ready => Meaning::Well,
        Stage::Reloading => Meaning::Away("it said RELOADING=1, and not READY=1 since then"),
        Stage::Stopping => Meaning::Away("it said STOPPING=1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stage: Stage) -> Notice {
        Notice {
            stage,
            ..Notice::default()
        }
    }

    #[test]
    fn only_ready_is_well_and_what_it_announces_is_no_failure() {
        let meaning = |stage| meaning(&at(stage), None);
        assert_eq!(meaning(Stage::Ready), Meaning::Well);
        assert!(matches!(meaning(Stage::Starting), Meaning::Ill(_)));
        assert!(matches!(meaning(Stage::Reloading), Meaning::Away(_)));
        assert!(matches!(meaning(Stage::Stopping), Meaning::Away(_)));
    }

    #[test]
    fn a_missed_ping_is_silence_and_a_trigger_is_not() {
        let late = Notice {
            overdue: true,
            ..at(Stage::Ready)
        };
        let Meaning::Ill(failure) = meaning(&late, Some(Period::from_secs(30))) else {
            panic!("it is ill")
        };
        assert!(failure.silent);
        assert_eq!(failure.why, "it has sent no WATCHDOG=1 for 30s");
        let failed = Notice {
            failed: true,
            ..late
        };
        let Meaning::Ill(failure) = meaning(&failed, None) else {
            panic!("it is ill")
        };
        assert!(!failure.silent);
    }
}
