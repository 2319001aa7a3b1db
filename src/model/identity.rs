//! Who calls: what a certificate says of its owner.

use std::fmt;

/// What somebody is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Decides what runs where.
    Controller,
    /// Runs the instances of one node.
    Agent,
    /// Answers clients.
    Balancer,
    /// A person, or a program in their place, who says what should run.
    Operator,
    /// Uses what runs.
    Client,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Controller,
        Self::Agent,
        Self::Balancer,
        Self::Operator,
        Self::Client,
    ];

    /// The role in one word, as it stands in certificates.
    pub fn word(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Agent => "agent",
            Self::Balancer => "balancer",
            Self::Operator => "operator",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The owner of a certificate: its common name is `<role>.<name>`, which is also the user's name that etcd takes
/// from it. Whoever is called otherwise is a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    role: Role,
    common_name: String,
}

impl Identity {
    /// The owner of a certificate with this common name.
    pub fn of(common_name: impl Into<String>) -> Self {
        let common_name = common_name.into();
        let role = common_name.split_once('.').and_then(|(word, name)| {
            let mut roles = Role::ALL.into_iter();
            roles.find(|role| role.word() == word && !name.is_empty())
        });
        Self {
            role: role.unwrap_or(Role::Client),
            common_name,
        }
    }

    /// What it is to the cluster.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its name among those of its role.
    pub fn name(&self) -> &str {
        let rest = self.common_name.strip_prefix(self.role.word());
        rest.and_then(|rest| rest.strip_prefix('.'))
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.common_name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.common_name)
    }
}

/// The other end of a connection, as far as the connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody was asked: the listener has no TLS.
    Unasked,
    /// It has shown no certificate, to a listener that would have taken one.
    Anonymous,
    /// It has shown a certificate that holds.
    Known(Identity),
}

impl Caller {
    /// Whether it is one of `allowed`: clients by their name, others by the common name of their certificate.
    /// Operators and balancers are always among them: these look after what those ask for, and balancers have
    /// asked the client themselves.
    pub fn is_among(&self, allowed: &[String]) -> bool {
        let Self::Known(identity) = self else {
            return false;
        };
        matches!(identity.role, Role::Operator | Role::Balancer)
            || allowed.iter().any(|name| {
                *name == identity.common_name
                    || identity.role == Role::Client && name == identity.name()
            })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unasked => f.write_str("who asks is not known, as there is no TLS here"),
            Self::Anonymous => f.write_str("who asks has shown no certificate"),
            Self::Known(identity) => write!(f, "who asks is {identity}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_says_role_and_name() {
        for (text, role, name) in [
            ("agent.qa-1", Role::Agent, "qa-1"),
            ("operator.ann", Role::Operator, "ann"),
            ("client.billing", Role::Client, "billing"),
            ("billing.example.com", Role::Client, "billing.example.com"),
            ("agent", Role::Client, "agent"),
            ("agent.", Role::Client, "agent."),
            ("client.", Role::Client, "client."),
            ("", Role::Client, ""),
        ] {
            let identity = Identity::of(text);
            assert_eq!((identity.role(), identity.name()), (role, name), "{text}");
            assert_eq!(identity.to_string(), text);
        }
    }

    #[test]
    fn only_who_is_named_is_among_the_allowed() {
        let allowed = ["billing".to_owned(), "agent.qa-1".to_owned()];
        let known = |name: &str| Caller::Known(Identity::of(name));
        for (caller, expected) in [
            (known("client.billing"), true),
            (known("billing"), true),
            (known("agent.qa-1"), true),
            (known("operator.ann"), true),
            (known("balancer.b1"), true),
            (known("client.reports"), false),
            // An agent that is called like the client.
            (known("agent.billing"), false),
            (Caller::Anonymous, false),
            (Caller::Unasked, false),
        ] {
            assert_eq!(caller.is_among(&allowed), expected, "{caller}");
        }
    }
}
