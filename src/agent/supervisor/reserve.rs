//! Giving out units of capacity: the agent is the only one who decides about those of its instances.

use crate::model::{Instance, Moment};

use super::{
    super::reservations::{Asked, Denied, Standing, Wish},
    Supervisor,
};

impl Supervisor {
    /// Answers a request for a ticket.
    pub(super) fn reserve(&mut self, asked: Asked) {
        let now = self.host.clock.now();
        let name = &asked.instance;
        let outcome = self.attend(name, &asked.serial, asked.wish, now);
        tracing::debug!(
            node = %self.config.node, instance = %name, ticket = asked.serial,
            wish = ?asked.wish, ?outcome, "asked"
        );
        // A drain may have waited for it; its end has to be looked at.
        self.wakes.by(name, now);
        if let Err(unheard) = asked.answer.send(outcome)
            && let (Wish::Grant, Ok(_)) = (asked.wish, unheard)
        {
            // Nobody waits for it any more, so nobody will ever use it.
            let _ = self.attend(name, &asked.serial, Wish::Release, now);
        }
    }

    fn attend(
        &mut self,
        name: &Instance,
        serial: &str,
        wish: Wish,
        now: Moment,
    ) -> Result<Standing, Denied> {
        let agent_ends = self.ends_by.is_some();
        let unknown = || Denied::Unknown(name.clone());
        let managed = self.instances.get_mut(name).ok_or_else(unknown)?;
        let spec = managed.assignment.tickets;
        let until = match wish {
            Wish::Grant => {
                let units = managed.units(agent_ends);
                let units = units.ok_or_else(|| Denied::NotExclusive(name.clone()))?;
                if !units.open {
                    return Err(Denied::Closed(name.clone()));
                }
                let spec = spec.unwrap_or_default();
                managed.tickets.grant(serial, units.capacity, &spec, now)?
            }
            Wish::Renew => (managed.tickets).renew(serial, &spec.unwrap_or_default(), now)?,
            Wish::Release => {
                managed.tickets.release(serial, now);
                now
            }
        };
        // The next agent has to know of it before anybody else does.
        if let Err(error) = self.remember(name) {
            tracing::error!(instance = %name, %error, "a ticket cannot be written down");
            if wish == Wish::Grant
                && let Some(managed) = self.instances.get_mut(name)
            {
                managed.tickets.undo(serial);
            }
            if wish != Wish::Release {
                return Err(Denied::NotWritten(error.to_string()));
            }
        }
        let managed = self.instances.get(name);
        let units = managed.and_then(|managed| managed.units(agent_ends));
        Ok(Standing {
            lasts: until.since(now),
            endpoint: managed.and_then(|managed| managed.endpoint(&self.config)),
            units: units.unwrap_or_default(),
            sequence: self.counter.show(name, units),
        })
    }

    /// Frees what can be, and sees to it that the rest is looked at in time.
    pub(super) fn reclaim(&mut self, name: &Instance, now: Moment) {
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        let spec = managed.assignment.tickets.unwrap_or_default();
        let idle_at = managed.life.checks().and_then(|checks| checks.idle_at());
        for ticket in managed.tickets.reclaim(idle_at, &spec, now) {
            tracing::info!(
                node = %self.config.node, instance = %name, ticket,
                "a ticket was neither renewed nor released in time; its unit is free again"
            );
        }
        if let Some(next) = managed.tickets.next(&spec, now) {
            self.wakes.by(name, next);
        }
    }
}
