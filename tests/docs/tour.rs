//! The README's tour: its commands are run as they stand there, beside a cluster of `manifests/hello.yaml`, and
//! must print what it says.
//!
//! Pids, ports and times differ each time. A number of four digits or more stands for whatever is in its place, and
//! where a command names it, for what stood where it was first printed. A time stands for any other, and `...`
//! for any lines.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{
    cluster::{QUAESTOR, kill_shims},
    eventually,
    ports::{free_port, free_range},
    signal,
};

/// A command, and what it prints.
struct Step {
    command: String,
    prints: Vec<String>,
}

/// The steps of the tour, as the README has them.
fn steps() -> Vec<Step> {
    let readme = fs::read_to_string("README.md").unwrap();
    let tour = readme.split("\n## A tour\n").nth(1).unwrap();
    let tour = tour.split("\n## ").next().unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for line in tour.lines().filter_map(|line| line.strip_prefix("    ")) {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push(Step {
                command: command.to_owned(),
                prints: Vec::new(),
            }),
            None => steps.last_mut().unwrap().prints.push(line.to_owned()),
        }
    }
    steps
}

/// `quaestor dev` on a copy of the manifests, with ports that are free.
struct Dev {
    child: Child,
    directory: tempfile::TempDir,
    store: String,
    balancer: String,
}

impl Dev {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let manifests = directory.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        let (first, last) = free_range(4);
        for name in ["hello.yaml", "http-server.yaml"] {
            let text = fs::read_to_string(Path::new("manifests").join(name)).unwrap();
            let text = text.replace("5161-5164", &format!("{first}-{last}"));
            fs::write(manifests.join(name), text).unwrap();
        }
        let [store, balancer] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let child = Command::new(QUAESTOR)
            .current_dir(directory.path())
            .args(["dev", "-f", "manifests/hello.yaml", "--state-dir", "state"])
            .args(["--store-listen", &store, "--balancer-listen", &balancer])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            child: child.unwrap(),
            directory,
            store,
            balancer,
        }
    }

    /// Runs a line in a shell that finds the program; what it printed on either stream.
    fn run(&self, line: &str) -> String {
        let programs = Path::new(QUAESTOR).parent().unwrap().display();
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {line}")])
            .current_dir(self.directory.path())
            .env("PATH", format!("{programs}:{path}"))
            .env("QUAESTOR_ETCD", &self.store)
            .env("QUAESTOR_BALANCER", &self.balancer)
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let _ = self.child.wait();
        kill_shims(&self.directory.path().join("state"));
    }
}

/// What may stand in place of a word: its long numbers, such as ports and process ids, as `#`, times as `@`.
fn shape(word: &str) -> String {
    let units = ["ms", "s", "m", "h", "d"];
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if units
        .iter()
        .any(|unit| word.strip_suffix(unit).is_some_and(number))
    {
        return "@".to_owned();
    }
    let parts = word.split(':');
    let parts = parts.map(|part| match part.len() >= 3 && number(part) {
        true => "#",
        false => part,
    });
    parts.collect::<Vec<_>>().join(":")
}

/// Whether `printed` is what the README says, and the numbers that stand in place of its own.
fn compare(said: &[String], printed: &str) -> Option<BTreeMap<String, String>> {
    let mut numbers = BTreeMap::new();
    let mut printed = printed.lines().peekable();
    let mut anything = false;
    for line in said.iter().filter(|line| !line.trim().is_empty()) {
        if line.trim() == "..." {
            anything = true;
            continue;
        }
        let said: Vec<&str> = line.split_whitespace().collect();
        let fits = |other: &&str| {
            let other: Vec<&str> = other.split_whitespace().collect();
            other.len() == said.len()
                && (said.iter().zip(&other)).all(|(a, b)| shape(a) == shape(b))
        };
        let found = match std::mem::take(&mut anything) {
            true => printed.find(fits)?,
            false => printed.next().filter(fits)?,
        };
        let pairs = said.into_iter().zip(found.split_whitespace());
        for (a, b) in pairs.filter(|(a, _)| shape(a).contains('#')) {
            numbers.entry(a.to_owned()).or_insert_with(|| b.to_owned());
        }
    }
    (anything || printed.peek().is_none()).then_some(numbers)
}

#[test]
fn the_tour_of_the_readme_goes_as_it_says() {
    let dev = Dev::start();
    let mut numbers: BTreeMap<String, String> = BTreeMap::new();
    let steps = steps();
    assert!(steps.len() > 5, "the tour is found");
    for step in &steps {
        let words = step.command.split(' ');
        let words = words.map(|word| numbers.get(word).map_or(word, String::as_str));
        let command = words.collect::<Vec<_>>().join(" ");
        let says = step.prints.join("\n");
        let mut printed = String::new();
        // What only shows something is asked until it does: the cluster may not be there yet.
        let shows = ["get", "pick", "logs"].map(|verb| format!("quaestor {verb} "));
        if shows.iter().any(|verb| command.starts_with(verb)) {
            let mut found = None;
            eventually(&format!("`{command}` prints\n{says}\n"), || {
                printed = dev.run(&command);
                found = compare(&step.prints, &printed);
                found.is_some()
            });
            numbers.extend(found.unwrap().into_iter().filter(|(a, _)| !a.is_empty()));
        } else {
            printed = dev.run(&command);
            let fits = compare(&step.prints, &printed).is_some();
            assert!(
                fits,
                "`{command}` is to print\n{says}\nand printed\n{printed}"
            );
        }
    }
}
