//! Faults, done to a world.

use std::time::Duration;

use super::World;
use crate::{
    cast::{CONTROLLERS, STORE, node},
    checker::Checker,
    network::HostId,
    operators::Operators,
    schedule::Fault,
};

/// Who has followed the store for so long has seen more than any backup holds that is put back.
const FAR: Duration = Duration::from_secs(15);

impl World {
    /// Does what a schedule says; what has a span is undone after it.
    pub(super) async fn strike(&self, fault: Fault, operators: &Operators) {
        let people = operators.clone();
        match fault {
            Fault::Crash { host, silent, span } => {
                self.crash(host, silent);
                self.start_after(host, span);
            }
            Fault::Restart { host, span } => self.end(host, span),
            Fault::CrashLeader { span } => {
                // Whoever holds the key; by chance it is nobody.
                let leader = CONTROLLERS.into_iter().find(|host| self.leads(*host));
                let host = leader.unwrap_or(CONTROLLERS[0]);
                self.crash(host, false);
                self.start_after(host, span);
            }
            Fault::Freeze { host, span } => {
                let program = self.running().get(&host).map(|running| running.program);
                if let Some(program) = program {
                    self.network.freeze(program, true);
                    self.disturb(vec![host], false, span, move |world| {
                        world.network.freeze(program, false)
                    });
                }
            }
            Fault::Cut { a, b, span } => {
                self.network.cut(a, b, true);
                self.disturb(vec![a], true, span, move |world| {
                    world.network.cut(a, b, false)
                });
            }
            Fault::Slow { a, b, by, span } => {
                self.network.slow(a, b, by);
                self.disturb(vec![a], false, span, move |world| {
                    world.network.slow(a, b, Duration::ZERO)
                });
            }
            Fault::Reset { a, b } => {
                self.network.reset_between(a, b);
                self.disturb(vec![a], false, Duration::ZERO, |_| {});
            }
            Fault::StoreDown { span } => {
                self.gate.down(true);
                self.disturb(self.hosts(), true, span, |world| world.gate.down(false));
            }
            Fault::StorePause { span } => {
                self.gate.pause(true);
                self.disturb(self.hosts(), true, span, |world| world.gate.pause(false));
            }
            Fault::StoreFull { span } => {
                self.gate.fill(true);
                self.disturb(vec![STORE], false, span, |world| world.gate.fill(false));
            }
            Fault::Compact => {
                if let Ok(mut client) = Checker::client(&self.gate).await
                    && let Ok(found) = client.get("/", None).await
                {
                    let revision = found.header().map_or(1, |header| header.revision());
                    let compacted = client.compact(revision, None).await;
                    self.trace
                        .note(format!("compacted at {revision}: {}", compacted.is_ok()));
                }
            }
            Fault::Flaky { span } => {
                self.gate.flaky(true);
                self.disturb(self.hosts(), false, span, |world| world.gate.flaky(false));
            }
            Fault::LoseAnswer => self.gate.lose_answer(),
            Fault::DiskFull { host, span } => {
                let Some(disk) = self.disks.get(&host).cloned() else {
                    return;
                };
                disk.fail(true);
                self.disturb(Vec::new(), false, span, move |_| disk.fail(false));
            }
            Fault::ProcessCrashes { nth } => self
                .process(nth)
                .into_iter()
                .for_each(|pid| self.table.crash(pid)),
            Fault::ProcessHangs { nth } => self
                .process(nth)
                .into_iter()
                .for_each(|pid| self.table.hang(pid)),
            Fault::ProcessIsDeaf { nth } => self
                .process(nth)
                .into_iter()
                .for_each(|pid| self.table.deafen(pid)),
            Fault::ProcessSickens { nth } => {
                if let Some(pid) = self.process(nth) {
                    self.table.sicken(pid).await;
                }
            }
            Fault::ChangeTemplate { service } => {
                tokio::spawn(async move { people.change_template(service, false).await });
            }
            Fault::BadTemplate { service } => {
                tokio::spawn(async move { people.change_template(service, true).await });
            }
            Fault::Renew { service } => {
                tokio::spawn(async move { people.renew(service).await });
            }
            Fault::Scale { service, replicas } => {
                tokio::spawn(async move { people.scale(service, replicas).await });
            }
            Fault::Close { host, drains, span } => {
                tokio::spawn(async move {
                    people.close(&node(host), true, drains).await;
                    tokio::time::sleep(span).await;
                    people.close(&node(host), false, drains).await;
                });
            }
            Fault::Delete { service, span } => {
                tokio::spawn(async move {
                    people.delete(service).await;
                    tokio::time::sleep(span).await;
                    people.apply(service).await;
                });
            }
            Fault::Garbage { service, span } => {
                tokio::spawn(async move {
                    people.spoil(service, Some("{\"spec\": 7")).await;
                    tokio::time::sleep(span).await;
                    people.apply(service).await;
                });
            }
            Fault::Restore { age, span, later } => {
                // Who has not heard of the store for a while may not have seen anything that is newer than the backup.
                let sees = |host: &HostId| {
                    self.cast.clear_for(*host) >= FAR && self.cast.runs_for(*host) >= FAR
                };
                let innocent = self.hosts().into_iter().filter(|host| !sees(host));
                let innocent = innocent.collect();
                self.gate.down(true);
                let (cast, gate) = (self.cast.clone(), self.gate.clone());
                let trace = self.trace.clone();
                self.disturb(self.hosts(), true, span, |world| world.gate.down(false));
                tokio::spawn(async move {
                    tokio::time::sleep(span / 2).await;
                    let restored = gate.restore(age);
                    trace.note(format!("the store is as it was at {restored:?}"));
                    if restored.is_some() {
                        cast.restored(innocent);
                        tokio::time::sleep(span / 2 + later).await;
                        people.confirm().await;
                    }
                });
            }
            Fault::Reboot { host, span } => {
                self.crash(host, true);
                self.table.end_all(&node(host));
                if let Some(disk) = self.disks.get(&host) {
                    disk.boot(&format!("{:?}", self.clock.elapsed()));
                }
                self.start_after(host, span);
            }
            Fault::RenewOne { service, slot } => {
                tokio::spawn(async move { people.renew_one(service, slot).await });
            }
            Fault::Tamper { prefix, nth } => {
                tokio::spawn(async move { people.tamper(prefix, nth).await });
            }
            Fault::Vanish { service, span } => {
                tokio::spawn(async move {
                    people.spoil(service, None).await;
                    tokio::time::sleep(span).await;
                    people.apply(service).await;
                });
            }
        }
    }
}
