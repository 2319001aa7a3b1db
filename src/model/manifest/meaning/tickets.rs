//! What is wrong with a service that is given out by tickets.

use super::{super::tree::Path, Problem};
use crate::model::{quantity::Period, service::ServiceSpec};

/// A client renews three times in this time, over a network and an agent that may be restarting.
const SHORTEST_TTL: Period = Period::from_secs(3);

pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    let balance = &spec.balance;
    let root = Path::of("spec.balance");
    let periods = [
        ("ticketTTL", balance.ticket_ttl),
        ("reclaimAfter", balance.reclaim_after),
    ];
    if !balance.exclusive {
        let idle = periods.iter().filter(|(_, period)| period.is_some());
        return idle
            .map(|(field, _)| {
                Problem::new(
                    root.clone().key(field),
                    format!("`{field}` is for tickets, and this service is shared"),
                )
                .help(format!("add `exclusive: true`, or remove `{field}`"))
            })
            .collect();
    }
    let mut problems = Vec::new();
    if balance.policy.is_some() {
        problems.push(
            Problem::new(
                root.clone().key("policy"),
                "an exclusive service is given out by tickets: there is nothing to choose",
            )
            .help("remove `policy` or `exclusive`"),
        );
    }
    if balance.ticket_ttl.is_some_and(|ttl| ttl < SHORTEST_TTL) {
        problems.push(
            Problem::new(
                root.key("ticketTTL"),
                "clients cannot renew a ticket as often as that",
            )
            .help(format!("at least {SHORTEST_TTL}")),
        );
    }
    if !spec.published {
        problems.push(
            Problem::new(
                Path::of("spec.published"),
                "nobody gets a ticket for a service that balancers do not answer with",
            )
            .considering("balance")
            .help("remove `published` or `balance.exclusive`"),
        );
    }
    if spec.external.is_empty() && spec.ports.is_empty() {
        problems.push(
            Problem::new(
                Path::of("spec.balance.exclusive"),
                "a ticket says where to send a request, but there are no `ports`",
            )
            .help("add the port that clients use, as in `ports: [{name: grpc}]`"),
        );
    }
    problems
}
