//! The screen as a whole, as it stands in `tests/*.txt`, after keys and news.
//!
//! `RENEW=1 cargo test --lib cli::top` writes the kept screens anew; read what changed.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend, style::Color};
use serde_json::json;

use super::{
    rows::View,
    screen,
    state::{Mode, News, Pane, Printed, State, Wish},
};
use crate::{
    model::{Name, Timestamp},
    operator::{
        board::{Course, Picture},
        inventory::{InstanceInfo, Inventory, Node, Service},
    },
};

/// The time at which all of it happens.
const NOW: i64 = 1_800_000_000_000;

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW - seconds * 1_000)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn service(text: &str, ready: u32, replicas: u32, broken: Option<&str>) -> Service {
    let status = if broken.is_some() { "False" } else { "True" };
    let conditions = json!([{"type": "Ready", "status": status, "reason": broken.unwrap_or("AllReady"),
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    Service {
        name: name(text),
        replicas: Some(replicas),
        ready,
        updated: replicas,
        generation: Some(1),
        deleted: false,
        paused: false,
        observed_generation: 1,
        conditions: serde_json::from_value(conditions).unwrap(),
        service_names: vec!["Worker".to_owned()],
        labels: Default::default(),
    }
}

fn instance(text: &str, node: &str, phase: &str, busy: f64) -> InstanceInfo {
    let parsed: crate::model::Instance = text.parse().unwrap();
    InstanceInfo {
        service: parsed.service.clone(),
        name: parsed,
        node: name(node),
        phase: serde_json::from_value(json!(phase)).unwrap(),
        ready: phase == "Running",
        pid: Some(4711),
        ports: Default::default(),
        restarts: if phase == "Running" { 0 } else { 7 },
        reason: if phase == "Running" { "" } else { "Exited" }.to_owned(),
        message: String::new(),
        status_text: String::new(),
        external: false,
        desired: None,
        endpoint: serde_json::from_value(json!({"host": "127.0.0.1", "port": 5161})).unwrap(),
        revision: "r1".to_owned(),
        started_at: Some(ago(75)),
        next_start_at: None,
        last_exit: None,
        pre_stop_failure: None,
        load: serde_json::from_value(json!({"knownRate": busy})).unwrap(),
        usage: serde_json::from_value(
            json!({"cpu": busy * 2.0, "memory": 64 << 20, "processes": 1}),
        )
        .unwrap(),
    }
}

fn node(text: &str, closed: Option<&str>) -> Node {
    Node {
        name: name(text),
        status: "Ready".to_owned(),
        closed: closed.map(str::to_owned),
        address: format!("{text}.example.com"),
        agent_address: None,
        labels: Default::default(),
        capacity: serde_json::from_value(json!({"memory": "8GiB", "cpu": 4})).unwrap(),
        instances: 2,
        version: "0.1.0".to_owned(),
        started_at: Some(ago(3 * 86_400)),
        conditions: Vec::new(),
    }
}

fn picture() -> Picture {
    let event = |object: &str, reason: &str, warning: bool, seconds: i64| {
        let text = json!({"object": object, "reason": reason, "message": "exited with code 1",
            "warning": warning, "count": 3, "firstAt": ago(seconds + 9), "lastAt": ago(seconds),
            "by": "agent qa-1", "node": "qa-1"});
        serde_json::from_value(text).unwrap()
    };
    Picture {
        inventory: Inventory {
            services: vec![
                service("importer", 0, 1, Some("InstancesNotReady")),
                service("worker", 3, 3, None),
            ],
            instances: vec![
                instance("importer-0", "qa-2", "CrashLoop", 0.0),
                instance("worker-0", "qa-1", "Running", 0.25),
                instance("worker-1", "qa-2", "Running", 0.5),
                instance("worker-10", "qa-1", "Running", 1.0),
            ],
            nodes: vec![node("qa-1", None), node("qa-2", Some("Cordoned"))],
            objects: Default::default(),
        },
        events: vec![
            event("instance/importer-0", "BackOff", true, 4),
            event("instance/worker-0", "Started", false, 75),
        ],
        balancers: Vec::new(),
        led: true,
        status: None,
        picks: Some(310.0),
        is_read: true,
    }
}

fn course() -> Course {
    let rising = |count: u16| (0..count).map(f32::from);
    Course {
        step: 1_000,
        last: Some(ago(0)),
        ready: vec![3; 30],
        all: vec![4; 30],
        load: rising(30)
            .map(|it| (it > 9.0).then_some(it / 40.0))
            .collect(),
        cpu: rising(30).map(|it| it / 10.0).collect(),
        memory: vec![256.0 * 1_048_576.0; 30],
        picks: rising(30).map(|it| Some(it * 10.0 + 20.0)).collect(),
    }
}

fn state(view: View) -> State {
    let mut state = State::new(name("default"), view, true, ago(0));
    let news = News::Cluster(Box::new(picture()), course());
    state.hear(news, ago(0));
    state
}

fn press(state: &mut State, keys: &str) -> Option<Wish> {
    let mut wish = None;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            '↓' => KeyCode::Down,
            '⇞' => KeyCode::PageUp,
            key => KeyCode::Char(key),
        };
        wish = state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    wish
}

fn drawn(state: &mut State, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, state)).unwrap();
    terminal
}

fn text(state: &mut State, width: u16, height: u16) -> String {
    let terminal = drawn(state, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    let lines: Vec<String> = (0..height).map(line).collect();
    format!("{}\n", lines.join("\n"))
}

/// The screen is what is kept as `name`.
#[track_caller]
fn shows(state: &mut State, (width, height): (u16, u16), name: &str) {
    let now = text(state, width, height);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/top/tests");
    let path = format!("{path}/{name}.txt");
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "{path} is not current; `RENEW=1 cargo test --lib cli::top` renews it. Now it is:\n{now}"
    );
}

#[test]
fn every_view_fits_80_columns_and_24_lines() {
    for (view, name) in [
        (View::Services, "services"),
        (View::Instances, "instances"),
        (View::Nodes, "nodes"),
        (View::Events, "events"),
    ] {
        shows(&mut state(view), (80, 24), name);
    }
    shows(&mut state(View::Instances), (140, 30), "wide");
}

#[test]
fn a_screen_of_any_size_is_drawn() {
    for view in View::ALL {
        let mut state = state(view);
        for keys in ["", "/work", "\n?", "\u{1b}w", "\u{1b}2l"] {
            press(&mut state, keys);
            for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 15), (80, 24), (300, 100)] {
                drawn(&mut state, width, height);
            }
        }
    }
}

#[test]
fn enter_goes_to_the_instances_of_what_is_selected_and_escape_comes_back() {
    let mut state = state(View::Services);
    press(&mut state, "j\n");
    assert_eq!(state.service(), Some(&name("worker")));
    let names: Vec<&str> = state
        .rows
        .iter()
        .map(|row| row.cells[0].text.as_str())
        .collect();
    assert_eq!(names, ["worker-0", "worker-1", "worker-10"]);
    press(&mut state, "\u{1b}");
    assert_eq!((state.view, state.rows.len()), (View::Services, 2));
    press(&mut state, "3\n");
    let names: Vec<&str> = state
        .rows
        .iter()
        .map(|row| row.cells[0].text.as_str())
        .collect();
    assert_eq!(names, ["worker-0", "worker-10"]);
}

#[test]
fn what_is_typed_after_a_slash_filters_by_any_column() {
    let mut state = state(View::Instances);
    press(&mut state, "/QA-2");
    shows(&mut state, (80, 24), "filter");
    // Letters are text there, not commands.
    press(&mut state, "q\n");
    assert_eq!((state.rows.len(), &state.mode), (0, &Mode::Browse));
    press(&mut state, "\u{1b}");
    assert_eq!(state.rows.len(), 4);
}

#[test]
fn sorting_goes_through_the_columns_and_numbers_begin_with_the_largest() {
    let mut state = state(View::Instances);
    let first = |state: &State| state.rows[0].cells[0].text.clone();
    assert_eq!(first(&state), "importer-0");
    press(&mut state, "S");
    assert_eq!(first(&state), "worker-10");
    press(&mut state, "sss");
    assert_eq!(
        (state.order(), first(&state)),
        ((3, true), "worker-10".to_owned())
    );
    press(&mut state, "S");
    assert_eq!(first(&state), "importer-0");
}

#[test]
fn what_is_selected_stays_so_wherever_it_goes() {
    let mut state = state(View::Instances);
    press(&mut state, "jj");
    let chosen = state.chosen().cloned();
    let mut later = picture();
    later.inventory.instances.remove(0);
    state.hear(News::Cluster(Box::new(later), course()), ago(0));
    assert_eq!((state.chosen().cloned(), state.index), (chosen, 1));
    // What is gone leaves its place to the next.
    state.hear(News::Cluster(Box::default(), course()), ago(0));
    assert_eq!(state.chosen(), None);
}

#[test]
fn deeds_are_asked_for_first_and_done_only_on_a_yes() {
    let mut state = state(View::Services);
    assert_eq!(press(&mut state, "jr"), None);
    shows(&mut state, (80, 24), "restart");
    assert_eq!(press(&mut state, "n"), None);
    assert_eq!(
        press(&mut state, "ry"),
        Some(Wish::Restart("worker".to_owned()))
    );
    state.hear(
        News::Done(Err("somebody else changed it".to_owned())),
        ago(0),
    );
    assert!(text(&mut state, 80, 24).contains("somebody else changed it"));
    assert_eq!(press(&mut state, "3dy"), Some(Wish::Drain(name("qa-1"))));
    assert_eq!(press(&mut state, "uY"), Some(Wish::Uncordon(name("qa-1"))));
    // Only nodes drain.
    assert_eq!(press(&mut state, "1dy"), None);
    assert!(matches!(state.mode, Mode::Browse));
}

#[test]
fn why_is_told_in_place_and_belongs_to_what_was_asked() {
    let mut state = state(View::Instances);
    let Some(Wish::Why(object)) = press(&mut state, "w") else {
        panic!("it is not asked why");
    };
    let cause = json!({"object": "instance/importer-0", "health": "broken", "reason": "CrashLoop",
        "sentence": "ends again and again", "because": [{"object": "instance/importer-0",
        "health": "broken", "reason": "Exited", "sentence": "exited with code 1",
        "remedy": "`quaestor logs importer-0 --previous` shows what it printed"}]});
    let cause = serde_json::from_value(cause).unwrap();
    let other = crate::model::event::Object::Cluster;
    state.hear(News::Why(other, Ok(None)), ago(0));
    state.hear(News::Why(object, Ok(Some(cause))), ago(0));
    shows(&mut state, (80, 24), "why");
    assert_eq!(press(&mut state, "\u{1b}"), None);
    assert!(state.pane.is_none());
}

#[test]
fn a_log_is_followed_until_one_scrolls_back() {
    let mut state = state(View::Instances);
    let wish = press(&mut state, "jl");
    let expected = Wish::Follow(name("qa-1"), "worker-0".parse().unwrap());
    assert_eq!(wish, Some(expected));
    let line = |number: usize| Printed {
        text: format!("line {number}"),
        is_ours: number == 0,
    };
    state.hear(News::Printed((0..50).map(line).collect()), ago(0));
    shows(&mut state, (80, 24), "log");
    press(&mut state, "⇞");
    let before = text(&mut state, 80, 24);
    assert!(!before.contains("line 49"), "{before}");
    state.hear(News::Printed((50..60).map(line).collect()), ago(0));
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("line"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(lines(&before), lines(&text(&mut state, 80, 24)));
    press(&mut state, "G");
    assert!(text(&mut state, 80, 24).contains("line 59"));
    assert_eq!(press(&mut state, "\u{1b}"), Some(Wish::Unfollow));
    assert!(!matches!(state.pane, Some(Pane::Log { .. })));
}

#[test]
fn a_store_that_is_away_is_told_with_what_that_means_until_it_answers() {
    let mut state = state(View::Services);
    let away = || News::Store(Err("cannot reach http://127.0.0.1:2379: refused".to_owned()));
    state.hear(away(), ago(9));
    state.hear(away(), ago(0));
    shows(&mut state, (80, 24), "away");
    state.hear(News::Store(Ok(())), ago(0));
    assert!(text(&mut state, 80, 24).contains("live"));
}

#[test]
fn help_tells_every_key_and_any_key_goes_back() {
    let mut state = state(View::Services);
    press(&mut state, "?");
    shows(&mut state, (80, 24), "help");
    assert_eq!(press(&mut state, "x"), None);
    assert_eq!(state.mode, Mode::Browse);
    assert_eq!(press(&mut state, "q"), Some(Wish::Quit));
    let leave = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut state, "/");
    assert_eq!(state.key(leave), Some(Wish::Quit));
}

#[test]
fn a_service_whose_rollout_is_paused_is_not_green_although_nothing_waits() {
    for (paused, expected) in [(false, true), (true, false)] {
        let mut state = state(View::Services);
        let mut picture = picture();
        picture.inventory.services.retain(|it| it.ready > 0);
        picture.inventory.services[0].paused = paused;
        state.hear(News::Cluster(Box::new(picture), course()), ago(0));
        let is_told = text(&mut state, 80, 24).contains("Ready,Paused");
        let terminal = drawn(&mut state, 80, 24);
        let lines = terminal.backend().buffer().content().chunks(80);
        let mut lines = lines.filter(|line| {
            let text: String = line.iter().map(|cell| cell.symbol()).collect();
            text.starts_with("worker ")
        });
        let own = lines.next().expect("the service has a line");
        let is_green = own.iter().any(|cell| cell.fg == Color::Green);
        assert_eq!((is_green, is_told), (expected, paused));
    }
}

#[test]
fn without_colour_nothing_is_coloured_and_with_it_trouble_is_red() {
    for (has_colour, expected) in [(true, true), (false, false)] {
        let mut state = state(View::Services);
        state.has_colour = has_colour;
        let terminal = drawn(&mut state, 80, 24);
        let cells = terminal.backend().buffer().content().iter();
        let is_red = cells.clone().any(|cell| cell.fg == Color::Red);
        let is_coloured = cells.clone().any(|cell| cell.fg != Color::Reset);
        assert_eq!((is_red, is_coloured), (expected, expected));
    }
}

#[test]
fn what_others_wrote_does_not_steer_the_terminal() {
    let mut state = state(View::Events);
    let mut hostile = picture();
    hostile.events[0].note.message = "\u{1b}[2Jgone\r\n".to_owned();
    state.hear(News::Cluster(Box::new(hostile), course()), ago(0));
    assert!(!text(&mut state, 80, 24).contains('\u{1b}'));
}
