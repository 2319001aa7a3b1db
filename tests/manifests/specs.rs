//! Valid services of every shape.

use proptest::{collection, option, prelude::*, sample::select};
use quaestor::model::{
    Name, Resources, ServiceSpec,
    quantity::{Percent, Period, Share, Size},
    run_as::{Ceiling, Limits, RunAs, Umask},
    service::{
        ArtifactSpec, BalanceSpec, Digest, ExecCheck, FileMode, FileSpec, FromFile, HealthSpec,
        Hook, HttpCheck, HttpLoad, Labels, LoadSpec, LogSpec, Metadata, Nothing, NotifySpec,
        OnAgentStop, OnPartition, Placement, Policy, PortCheck, PortRange, PortSpec, ProcessLoad,
        RecycleSpec, RecycleWhen, RestartPolicy, RestartSpec, RolloutSpec, StopSignal, StopSpec,
        Variable,
    },
};

/// Texts that YAML could take for something else, and others.
fn text() -> impl Strategy<Value = String> {
    let tricky = select(vec![
        "",
        "yes",
        "no",
        "null",
        "~",
        "true",
        "1",
        "010",
        "0x1F",
        "1e3",
        ".5",
        "-",
        "--",
        "5161-5164",
        "- a",
        "a: b",
        "a #b",
        "#",
        "&a",
        "*a",
        "!a",
        "@a",
        "`a",
        "%a",
        "|",
        ">",
        "'",
        "\"",
        "[",
        "]",
        ",",
        "?",
        ":",
        "=",
        "<<",
        "...",
        "---",
        " a ",
        "a\nb",
        "\ta\r\n",
        "\u{1b}[31m",
        "\u{feff}",
        "é",
        "日本語",
        "2024-01-01",
        "12:30",
        ".inf",
        ".nan",
        "\u{85}\u{2028}",
        "a\n\n",
        "\n",
    ]);
    prop_oneof![
        tricky.prop_map(str::to_owned),
        "[^{}\u{0}]{0,20}",
        select(vec![
            "{host}:{port}",
            "{{literal}}",
            "{instance}",
            "{port.web}"
        ])
        .prop_map(str::to_owned),
    ]
}

fn word() -> impl Strategy<Value = String> {
    "[A-Za-z_.0-9-]{1,12}"
}

fn labels() -> impl Strategy<Value = Labels> {
    collection::btree_map(word(), "[^\\p{C}]{0,8}", 0..3)
}

fn period() -> impl Strategy<Value = Period> {
    (1..100_000_000_u64).prop_map(Period::from_millis)
}

fn ports() -> impl Strategy<Value = Vec<PortSpec>> {
    let web = option::of(prop_oneof![
        (1..1000_u16).prop_map(|port| (Some(port), None)),
        (1..1000_u16, 16..1000_u16).prop_map(|(first, size)| (
            None,
            Some(PortRange {
                first,
                last: first + size
            })
        )),
    ]);
    (web, option::of(word()), any::<bool>()).prop_map(|(numbers, advertise, second)| {
        let (port, range) = numbers.unwrap_or_default();
        // `{port.web}` may stand in any text.
        let advertise = advertise.map(|word| format!("a{}a", word.replace('.', "-")));
        let web = PortSpec {
            name: name("web"),
            port,
            range,
            advertise,
        };
        let admin = PortSpec {
            name: name("admin"),
            port: Some(9000),
            range: None,
            advertise: None,
        };
        std::iter::once(web)
            .chain(second.then_some(admin))
            .collect()
    })
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn health() -> impl Strategy<Value = HealthSpec> {
    let check = || option::of(Just(name("web"))).prop_map(|port| PortCheck { port });
    let timing = (period(), period(), 1..9_u32, period());
    let kind = prop_oneof![
        check().prop_map(|grpc| HealthSpec {
            grpc: Some(grpc),
            ..HealthSpec::default()
        }),
        collection::vec(text(), 0..3).prop_map(|mut command| {
            command.insert(0, "check".to_owned());
            HealthSpec {
                exec: Some(ExecCheck { command }),
                ..HealthSpec::default()
            }
        }),
        option::of(period()).prop_map(|watchdog| HealthSpec {
            notify: Some(NotifySpec { watchdog }),
            ..HealthSpec::default()
        }),
        check().prop_map(|tcp| HealthSpec {
            tcp: Some(tcp),
            ..HealthSpec::default()
        }),
        "/[a-z/?=&%]{0,9}".prop_map(|path| HealthSpec {
            http: Some(HttpCheck { port: None, path }),
            ..HealthSpec::default()
        }),
    ];
    prop_oneof![
        Just(HealthSpec::default()),
        Just(HealthSpec {
            none: Some(Nothing {}),
            ..HealthSpec::default()
        }),
        (kind, timing).prop_map(
            |(kind, (interval, timeout, failure_threshold, startup_grace))| {
                HealthSpec {
                    interval,
                    timeout,
                    failure_threshold,
                    startup_grace,
                    ..kind
                }
            }
        ),
    ]
}

fn load() -> impl Strategy<Value = LoadSpec> {
    prop_oneof![
        Just(LoadSpec::default()),
        period().prop_map(|interval| LoadSpec {
            report_load: Some(PortCheck::default()),
            interval,
            ..LoadSpec::default()
        }),
        (period(), 0..9_u8).prop_map(|(interval, tenths)| LoadSpec {
            constant: Some(f64::from(tenths) / 10.0),
            interval,
            ..LoadSpec::default()
        }),
        (period(), option::of(1..9_u32)).prop_map(|(interval, capacity)| LoadSpec {
            http: Some(HttpLoad {
                port: None,
                path: "/load".to_owned(),
                pointer: "/queue/depth".to_owned(),
                capacity,
            }),
            interval,
            ..LoadSpec::default()
        }),
        option::of(1..9_u8).prop_map(|halves| LoadSpec {
            process: Some(ProcessLoad {
                cores: halves.map(|halves| f64::from(halves) / 2.0),
            }),
            ..LoadSpec::default()
        }),
    ]
}

fn restart() -> impl Strategy<Value = RestartSpec> {
    let policy = select(vec![
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ]);
    let most = option::of(1..99_u32);
    (policy, period(), period(), period(), most).prop_map(
        |(policy, a, b, reset_after, max_attempts)| RestartSpec {
            max_attempts,
            policy,
            delay: a.min(b),
            max_delay: a.max(b),
            reset_after,
        },
    )
}

fn run_as() -> impl Strategy<Value = RunAs> {
    let account = || option::of("[a-z_][a-z0-9_-]{0,9}|[0-9]{1,9}");
    let ceiling = || option::of(option::of(0..u64::from(u32::MAX)).prop_map(Ceiling));
    let numbers = (option::of(-20..20), option::of(-1000..1001));
    let limits = (ceiling(), ceiling());
    (account(), account(), 0..0o1000_u32, limits, numbers).prop_map(
        |(user, group, umask, (nofile, core), (nice, oom_score_adjust))| RunAs {
            user,
            group,
            umask: Umask(umask),
            limits: Limits {
                nofile,
                core,
                ..Limits::default()
            },
            nice,
            oom_score_adjust,
        },
    )
}

fn resources() -> impl Strategy<Value = Resources> {
    let memory = option::of((1..99_u64).prop_map(Size::from_mebibytes));
    let cpu = option::of((1..9_u8).prop_map(|halves| f64::from(halves) / 2.0));
    (memory, cpu).prop_map(|(memory, cpu)| Resources { memory, cpu })
}

fn balance() -> impl Strategy<Value = BalanceSpec> {
    let policy = select(vec![Policy::LeastLoad, Policy::RoundRobin, Policy::Hash]);
    option::of(policy).prop_map(|policy| BalanceSpec {
        policy,
        ..BalanceSpec::default()
    })
}

fn variable() -> impl Strategy<Value = Variable> {
    prop_oneof![
        4 => text().prop_map(Variable::Text),
        1 => "/[a-z/]{0,9}".prop_map(|from_file| Variable::File(FromFile { from_file })),
    ]
}

fn hook() -> impl Strategy<Value = Hook> {
    (collection::vec(text(), 0..3), period()).prop_map(|(mut command, timeout)| {
        command.insert(0, "hook".to_owned());
        Hook { command, timeout }
    })
}

fn files() -> impl Strategy<Value = Vec<FileSpec>> {
    let file = ("/[a-z/]{0,9}", 0..0o1000_u32);
    let files = collection::btree_map("[A-Za-z0-9][A-Za-z0-9._-]{0,9}", file, 0..3);
    files.prop_map(|files| {
        let file = |(name, (from_file, mode))| FileSpec {
            name,
            from_file,
            mode: FileMode(mode),
        };
        files.into_iter().map(file).collect()
    })
}

fn process() -> impl Strategy<Value = ServiceSpec> {
    let many = prop_oneof![
        Just((None, false)),
        (0..16_u32).prop_map(|replicas| (Some(replicas), false)),
        Just((None, true)),
    ];
    let signal = select(vec![
        StopSignal::SigTerm,
        StopSignal::SigInt,
        StopSignal::SigUsr2,
    ]);
    let start = (
        collection::vec(text(), 0..4),
        option::of(text().prop_map(|text| format!("/{text}"))),
        collection::btree_map("[A-Z_]{1,3}[A-Z0-9_a-z]{2,9}", variable(), 0..4),
        collection::btree_set("[A-Za-z.]{1,9}", 0..3),
        (
            (run_as(), resources(), option::of(artifact())),
            files(),
            option::of(hook()),
            option::of(hook()),
        ),
    );
    let stop = (period(), signal, period()).prop_map(|(drain, signal, grace)| StopSpec {
        drain,
        signal,
        grace,
    });
    let end = select(vec![OnAgentStop::Keep, OnAgentStop::Stop]);
    let cut_off = select(vec![OnPartition::Keep, OnPartition::Stop]);
    let logs = (1..99_u64, 1..9_u32).prop_map(|(mebibytes, max_files)| LogSpec {
        max_size: Size::from_mebibytes(mebibytes),
        max_files,
    });
    let stop = (stop, end, cut_off, (logs, rollout()));
    let care = (health(), load(), restart(), stop, any::<bool>());
    let recycle = (period(), 0..=100_u8).prop_map(|(every, jitter)| RecycleSpec {
        every,
        jitter: Percent::new(jitter),
        when: RecycleWhen::Always,
    });
    let busy = (option::of(period()), option::of(recycle), balance());
    (many, labels(), start, ports(), care, busy).prop_map(
        |(many, node_selector, start, ports, care, (busy, recycle, balance))| {
            let (mut command, working_directory, env, names, (run_as, files, pre_start, pre_stop)) =
                start;
            let (run_as, resources, artifact) = run_as;
            let (mut health, load, restart, stop, published) = care;
            let (stop, on_agent_stop, on_partition, (logs, rollout)) = stop;
            if health.none.is_none()
                && health != HealthSpec::default()
                && load.report_load.is_some()
            {
                health.busy_deadline = busy;
            }
            command.insert(0, "program".to_owned());
            ServiceSpec {
                replicas: many.0,
                one_per_node: many.1,
                placement: Placement {
                    node_selector,
                    spread_by: None,
                    max_per_node: None,
                    replace_after: None,
                },
                requests: Default::default(),
                singleton: false,
                command,
                artifact,
                working_directory,
                env,
                files,
                run_as,
                resources,
                ports,
                service_names: names.into_iter().collect(),
                published,
                balance,
                after: Vec::new(),
                health,
                load,
                restart,
                recycle,
                pre_start,
                pre_stop,
                stop,
                rollout,
                on_agent_stop,
                adopt: false,
                on_partition,
                logs,
                external: Vec::new(),
            }
        },
    )
}

fn artifact() -> impl Strategy<Value = ArtifactSpec> {
    let digest = "[0-9a-f]{64}".prop_map(|digits| Digest::try_from(digits).unwrap());
    (any::<bool>(), "[a-z]{1,9}", digest, 1..2_000_u64).prop_map(
        |(is_remote, name, sha256, mebibytes)| ArtifactSpec {
            url: is_remote.then(|| format!("https://a.example/{name}.tgz")),
            file: (!is_remote).then(|| format!("/srv/{name}")),
            sha256,
            max_size: Size::from_mebibytes(mebibytes),
        },
    )
}

/// Without stand-ins, which may need more ports than there are.
fn rollout() -> impl Strategy<Value = RolloutSpec> {
    let share = prop_oneof![
        (1..9_u32).prop_map(Share::Count),
        (1..=100_u8).prop_map(Share::Hundredths),
    ];
    (share, option::of(0..99_u64), any::<bool>(), 0..3_u32).prop_map(
        |(max_unavailable, min_ready, auto_rollback, partition)| RolloutSpec {
            max_unavailable,
            min_ready: min_ready.map(Period::from_secs),
            auto_rollback,
            partition,
            ..RolloutSpec::default()
        },
    )
}

/// Valid names, labels and specs.
pub(crate) fn services() -> impl Strategy<Value = (Metadata, ServiceSpec)> {
    let metadata = ("[a-z0-9][a-z0-9-]{0,62}", labels()).prop_map(|(text, labels)| Metadata {
        name: name(&text),
        labels,
    });
    (metadata, process())
}
