//! Who may ask for what. What clients may ask of single services says their manifest (`balance.allow`); writes to
//! the store are the store's affair ([`crate::keys::Right`]).

use crate::model::identity::{Caller, Role};

/// What is asked of a part of the cluster, and not for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// What instances printed, of their agent.
    ReadLogs,
    /// Tickets for instances, of their agent.
    HandOutUnits,
    /// A ticket for a caller of one's own, of another balancer.
    PassOn,
    /// Who the clients of a balancer are, of that one.
    SeeClients,
    /// How much a balancer has answered, of that one.
    SeeCounts,
    /// Whether clients know that an endpoint goes, of a balancer.
    AskForProof,
}

impl Deed {
    /// Who may do it; whom it is meant for first.
    fn roles(self) -> &'static [Role] {
        match self {
            Self::ReadLogs | Self::SeeClients => &[Role::Operator],
            // Controllers show them in their dashboards.
            Self::SeeCounts => &[Role::Operator, Role::Controller],
            Self::HandOutUnits | Self::PassOn => &[Role::Balancer],
            Self::AskForProof => &[Role::Agent],
        }
    }

    fn role(self) -> Role {
        self.roles()[0]
    }

    fn words(self) -> &'static str {
        match self {
            Self::ReadLogs => "read logs",
            Self::HandOutUnits => "ask an agent for tickets",
            Self::PassOn => "pass callers on",
            Self::SeeClients => "see the clients of a balancer",
            Self::SeeCounts => "see how much a balancer has answered",
            Self::AskForProof => "ask what clients know",
        }
    }
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "to {} takes a certificate of the role {}, and {caller}; `quaestor pki issue {} NAME` makes one",
    deed.words(), deed.role(), deed.role()
)]
pub struct Forbidden {
    deed: Deed,
    caller: Caller,
}

/// Whether `caller` may do `deed`. Where there is no TLS everybody may, as nobody can be told from others.
///
/// # Errors
/// It may not.
pub fn judge(caller: &Caller, deed: Deed) -> Result<(), Forbidden> {
    match caller {
        Caller::Unasked => Ok(()),
        Caller::Known(identity) if deed.roles().contains(&identity.role()) => Ok(()),
        Caller::Known(_) | Caller::Anonymous => Err(Forbidden {
            deed,
            caller: caller.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::Identity;

    #[test]
    fn each_deed_is_for_its_roles_and_for_nobody_unknown() {
        for deed in [
            Deed::ReadLogs,
            Deed::HandOutUnits,
            Deed::PassOn,
            Deed::SeeClients,
            Deed::SeeCounts,
            Deed::AskForProof,
        ] {
            assert_eq!(judge(&Caller::Unasked, deed), Ok(()));
            assert!(judge(&Caller::Anonymous, deed).is_err());
            for role in Role::ALL {
                let caller = Caller::Known(Identity::of(format!("{role}.x")));
                let is_meant = deed.roles().contains(&role);
                assert_eq!(judge(&caller, deed).is_ok(), is_meant, "{role}");
            }
        }
        let stranger = Caller::Known(Identity::of("client.x"));
        let text = judge(&stranger, Deed::ReadLogs).unwrap_err().to_string();
        assert_eq!(
            text,
            "to read logs takes a certificate of the role operator, and who asks is client.x; \
             `quaestor pki issue operator NAME` makes one"
        );
    }
}
