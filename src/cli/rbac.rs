//! `quaestor rbac`: the commands by which etcd gives each part of the cluster the rights it needs, and no others.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    args::{Global, RbacArgs},
    output::say,
};
use crate::{
    keys::{Access, Keys, Right},
    model::{Identity, Name, Role},
};

pub(super) fn run(global: &Global, args: &RbacArgs) -> anyhow::Result<ExitCode> {
    let users = args.users.iter().map(|user| read(user));
    let users = users.collect::<anyhow::Result<Vec<_>>>()?;
    for line in commands(&global.cluster, &users, args.passwords) {
        say(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Somebody who is to have rights.
struct User {
    role: Role,
    name: Name,
}

fn read(text: &str) -> anyhow::Result<User> {
    let identity = Identity::of(text);
    if identity.to_string().split_once('.').is_none() || identity.role() == Role::Client {
        bail!(
            "`{text}` needs no rights in etcd: write controller.NAME, agent.NODE, balancer.NAME or operator.NAME"
        );
    }
    Ok(User {
        role: identity.role(),
        name: identity.name().parse()?,
    })
}

/// The role in etcd. Each agent has one of its own: it may write what is its node's, and nothing else.
fn role(cluster: &Name, role: Role, name: &Name) -> String {
    match role {
        Role::Agent => format!("quaestor.{cluster}.{role}.{name}"),
        _ => format!("quaestor.{cluster}.{role}"),
    }
}

fn commands(cluster: &Name, users: &[User], passwords: bool) -> Vec<String> {
    let keys = Keys::new(cluster);
    let mut lines = vec![
        format!(
            "# The rights of cluster `{cluster}`. Running this again is harmless: what is there is reported, and stays."
        ),
        "export ETCDCTL_API=3".to_owned(),
    ];
    let mut told = Vec::new();
    for User { role: kind, name } in users {
        let role = role(cluster, *kind, name);
        if !told.contains(&role) {
            lines.push(format!("\netcdctl role add {role}"));
            lines.extend(
                keys.rights(*kind, name)
                    .iter()
                    .map(|right| grant(&role, right)),
            );
            told.push(role.clone());
        }
        let user = format!("{kind}.{name}");
        lines.push(match passwords {
            true => format!("etcdctl user add {user}"),
            false => format!("etcdctl user add {user} --no-password"),
        });
        lines.push(format!("etcdctl user grant-role {user} {role}"));
    }
    lines.push(
        "\n# Who may do everything, and change this. Rights are in force once authentication is enabled."
            .to_owned(),
    );
    lines.push("etcdctl role add root".to_owned());
    lines.push(match passwords {
        true => "etcdctl user add root".to_owned(),
        false => "etcdctl user add root --no-password    # by `quaestor pki issue root`".to_owned(),
    });
    lines.push("etcdctl user grant-role root root".to_owned());
    lines.push("etcdctl auth enable".to_owned());
    lines
}

fn grant(role: &str, Right { key, access }: &Right) -> String {
    let access = match access {
        Access::Read => "read",
        Access::Write => "readwrite",
    };
    let prefix = match key.ends_with('/') {
        true => " --prefix",
        false => "",
    };
    format!("etcdctl role grant-permission{prefix} {role} {access} {key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(users: &[&str], passwords: bool) -> Vec<String> {
        let users: Vec<User> = users.iter().map(|user| read(user).unwrap()).collect();
        commands(&"c".parse().unwrap(), &users, passwords)
    }

    #[test]
    fn each_agent_has_a_role_of_its_own_and_others_share_theirs() {
        let lines = lines(&["agent.h1", "agent.h2", "balancer.a", "balancer.b"], false);
        let roles: Vec<&str> = (lines.iter())
            .filter_map(|line| line.trim_start().strip_prefix("etcdctl role add "))
            .collect();
        assert_eq!(
            roles,
            [
                "quaestor.c.agent.h1",
                "quaestor.c.agent.h2",
                "quaestor.c.balancer",
                "root"
            ]
        );
        let has = |line: &str| assert!(lines.iter().any(|it| it == line), "{line}: {lines:#?}");
        has(
            "etcdctl role grant-permission --prefix quaestor.c.agent.h1 read /quaestor/c/assign/h1/",
        );
        has("etcdctl role grant-permission quaestor.c.agent.h1 readwrite /quaestor/c/load/h1");
        has("etcdctl user add agent.h1 --no-password");
        has("etcdctl user grant-role balancer.b quaestor.c.balancer");
    }

    #[test]
    fn clients_and_strangers_need_no_rights() {
        for user in ["client.a", "billing", "agent", "agent.UPPER", "root"] {
            assert!(read(user).is_err(), "{user}");
        }
    }
}
