//! The text of a unit: how systemd runs a role.

use std::path::Path;

use super::super::args::ServiceRole;
use crate::process::INSTANCES_UNIT;

/// How every unit of ours begins: others are never overwritten or removed.
pub(super) const HEAD: &str = "# Written by `quaestor install";

/// The unit's name.
pub(super) fn name(role: ServiceRole) -> String {
    format!("quaestor-{}.service", role.name())
}

/// The unit in whose cgroup instances live that have limits on memory and processors.
pub(super) fn instances() -> String {
    format!(
        "{HEAD} agent`; `quaestor uninstall agent` removes it.\n\
         [Unit]\nDescription=Quaestor instances with limits on memory and processors\n\n\
         [Service]\nType=simple\n{INSTANCES}"
    )
}

/// The unit of `role`: `program` is started with `flags`. `user`: as a service of a user's own manager.
pub(super) fn text(role: ServiceRole, program: &Path, flags: &[String], user: bool) -> String {
    let role_name = role.name();
    let mut command = word(&program.display().to_string());
    for flag in std::iter::once(role_name).chain(flags.iter().map(String::as_str)) {
        command.push(' ');
        command.push_str(&word(flag).replace('$', "$$"));
    }
    let mut text = format!(
        "{HEAD} {role_name}`; `quaestor uninstall {role_name}` removes it. Changes of\n\
         # your own go into a drop-in, which stays: systemctl edit quaestor-{role_name}\n\
         [Unit]\nDescription=Quaestor {role_name}\n"
    );
    if !user {
        text.push_str("Wants=network-online.target\nAfter=network-online.target\n");
    }
    if role == ServiceRole::Agent {
        text.push_str(&format!("Wants={INSTANCES_UNIT}\nAfter={INSTANCES_UNIT}\n"));
    }
    text.push_str(&format!(
        "# However often it fails, it is tried again.\n\
         StartLimitIntervalSec=0\n\n\
         [Service]\nType=notify\nNotifyAccess=main\nExecStart={command}\n\
         Restart=always\nRestartSec=2s\nWatchdogSec=60s\n"
    ));
    text.push_str(match role {
        ServiceRole::Agent => AGENT,
        ServiceRole::Controller | ServiceRole::Balancer => OTHERS,
    });
    match (role, user) {
        (ServiceRole::Agent, false) => text.push_str(DIRECTORIES),
        (ServiceRole::Agent, true) => {}
        (ServiceRole::Controller, false) => {
            text.push_str(HARDENING);
            text.push_str(PAST);
        }
        (ServiceRole::Balancer, false) => text.push_str(HARDENING),
        // What needs other users or mounts is not for a user's manager.
        (ServiceRole::Controller | ServiceRole::Balancer, true) => {
            text.push_str("NoNewPrivileges=yes\n");
        }
    }
    let target = if user { "default" } else { "multi-user" };
    text.push_str(&format!("\n[Install]\nWantedBy={target}.target\n"));
    text
}

const AGENT: &str = "\
# It looks for what runs, which takes longer the more there is.
TimeoutStartSec=5min
# Instances that end with it get 80 s in all.
TimeoutStopSec=100s
# Workloads live on without their agent, in this unit's cgroup: the next agent goes on with them. What would
# restrict the agent (other mounts, system calls, capabilities) would restrict them all, so nothing does.
KillMode=process
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
";

const INSTANCES: &str = "\
# Instances with limits live in this unit's cgroup, each in one of its own below it. In that of the agent's unit
# they would be in the way of the next agent: systemd cannot start a process in a cgroup that is divided. For the
# same reason this one, which only keeps the unit there, is never restarted.
ExecStart=/bin/sleep infinity
Restart=no
KillMode=process
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
";

const DIRECTORIES: &str = "\
StateDirectory=quaestor
StateDirectoryMode=0711
RuntimeDirectory=quaestor
RuntimeDirectoryMode=0700
# What the next agent needs to find its workloads again.
RuntimeDirectoryPreserve=yes
";

const PAST: &str = "\
# How far the store had come: it is noticed when a backup was restored.
StateDirectory=quaestor-controller
Environment=QUAESTOR_STATE_DIR=%S/quaestor-controller
";

const OTHERS: &str = "\
# Ready once the store has been read: that may be away for long.
TimeoutStartSec=infinity
TimeoutStopSec=30s
";

const HARDENING: &str = "\
# It needs nothing but the network.
DynamicUser=yes
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
";

/// A word of a command line as systemd reads it (systemd.service(5), COMMAND LINES).
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@+[]".contains(c);
    let escaped = text.replace('%', "%%");
    if !text.is_empty() && escaped.chars().all(|c| is_plain(c) || c == '%' || c == '$') {
        return escaped;
    }
    let escaped = escaped.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n").replace('\t', "\\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_systemd_as_they_are() {
        assert_eq!(word("--label"), "--label");
        assert_eq!(word("pool=qa"), "pool=qa");
        assert_eq!(word(""), "\"\"");
        assert_eq!(word("a b"), "\"a b\"");
        assert_eq!(word("50%"), "50%%");
        assert_eq!(word(r#"say "hi" \o/"#), r#""say \"hi\" \\o/""#);
        assert_eq!(word("a;b"), "\"a;b\"");
        let flags = ["--label".to_owned(), "price=$5".to_owned()];
        let unit = text(ServiceRole::Agent, Path::new("/opt/q"), &flags, false);
        let line = "ExecStart=/opt/q agent --label price=$$5\n";
        assert!(unit.contains(line), "{unit}");
    }
}
