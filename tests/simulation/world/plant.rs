//! Bugs that come from outside the roles, put into a world.

use std::time::Duration;

use quaestor::store::{Store, Txn, Write};

use super::World;
use crate::{
    cast::{AGENTS, OPERATOR, Role, STORE},
    chance::Dice,
    machine::{Disk, machine},
    planted::Planted,
    schedule::Fault,
};

impl World {
    /// Keeps every agent from the store for longer than its session lasts.
    fn cut_off_all(&self) {
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            let operators = world.operators();
            for host in AGENTS {
                let span = Duration::from_secs(40);
                let cut = Fault::Cut {
                    a: host,
                    b: STORE,
                    span,
                };
                world.strike(cut, &operators).await;
            }
        });
    }

    /// Whoever leads after `time` deletes all below `prefix`, or writes over it.
    fn misled(&self, time: Duration, prefix: &'static str) {
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let Some(store) = world.as_leader() else {
                return;
            };
            let found = store.list(&format!("/quaestor/default/{prefix}")).await;
            for entry in found.into_iter().flat_map(|listing| listing.entries) {
                let write = match world.planted {
                    Planted::Prophecy => Write::put(entry.key, r#"{"observedGeneration": 99}"#),
                    _ => Write::delete(entry.key),
                };
                let _ = store.commit(Txn::new().then(write)).await;
            }
        });
    }

    /// Whoever leads once the store was restored writes assignments, without waiting for anybody's word.
    fn forgets(&self) {
        let world = self.clone();
        tokio::spawn(async move {
            while world.gate.restores() == 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let Some(store) = world.as_leader() else {
                    continue;
                };
                let found = store.list("/quaestor/default/assign/").await;
                for entry in found.into_iter().flat_map(|listing| listing.entries) {
                    let write = Write::put(entry.key, entry.value);
                    let _ = store.commit(Txn::new().then(write)).await;
                }
            }
        });
    }

    /// The store, as whoever leads reaches it.
    fn as_leader(&self) -> Option<Store> {
        let leader = self.cast.leader()?;
        let dice = Dice::of(self.seed, "misled");
        let disk = Disk::default();
        let host = machine(&self.clock, &self.network, leader, dice, &disk);
        Some(self.store(&host))
    }

    /// Puts in the bugs that come from outside the roles.
    pub(super) fn plant(&self) {
        let (role, key, value) = match self.planted {
            Planted::Usurper => (Role::Controller, "assign/n1/web-0", "{}"),
            Planted::Meddler => (Role::Balancer, "state/n1/web-0", "{}"),
            Planted::Storm => (Role::Operator, "spec/cluster", "{}"),
            Planted::Immortal => return self.cut_off_all(),
            Planted::Eviction => {
                self.cut_off_all();
                // Their sessions are over by then, for longer than it takes to hear of it.
                return self.misled(Duration::from_secs(56), "state/");
            }
            Planted::Prophecy => {
                return self.misled(Duration::from_secs(20), "status/service/");
            }
            Planted::Amnesia => return self.forgets(),
            _ => return,
        };
        let forever = self.planted == Planted::Storm;
        let (host, _) = self.guest(OPERATOR, role);
        let store = self.store(&host);
        let write = Write::put(format!("/quaestor/default/{key}"), value);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            while store.commit(Txn::new().then(write.clone())).await.is_err() || forever {}
        });
    }
}
