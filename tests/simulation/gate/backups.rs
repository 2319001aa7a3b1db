//! Backups of the store, and what is put back.

use std::time::Duration;

use super::{Gate, Inside};

/// Time between two backups.
const EVERY: Duration = Duration::from_secs(5);

/// So many are kept.
const KEPT: usize = 12;

impl Gate {
    /// Makes a backup again and again.
    pub fn back_up(&self) {
        let gate = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let mut book = gate.book();
                let copy = book.inside.store.restored(&gate.machine);
                book.backups.push_back((gate.clock.elapsed(), copy));
                if book.backups.len() > KEPT {
                    book.backups.pop_front();
                }
            }
        });
    }

    /// Puts the newest backup back that is older than `age`. Clients must have been shut out ([`Gate::down`]). Says
    /// of when it is; none: there is none so old.
    pub fn restore(&self, age: Duration) -> Option<Duration> {
        let now = self.clock.elapsed();
        let mut book = self.book();
        let found = book.backups.iter().rposition(|(at, _)| *at + age <= now)?;
        // What came after it never was.
        book.backups.truncate(found + 1);
        let (at, backup) = book.backups.back()?;
        let (at, store) = (*at, backup.restored(&self.machine));
        book.inside.stop.cancel();
        book.inside = Inside::serve(store);
        book.written.retain(|_, written| written.at <= at);
        book.restores += 1;
        Some(at)
    }

    /// How often the store was restored.
    pub fn restores(&self) -> usize {
        self.book().restores
    }
}
