//! A reader of metrics as strict as promtool: each family is described before its samples, once, and stands together;
//! names fit their types; no series comes twice.

use std::collections::BTreeSet;

/// What was read.
pub struct Metrics {
    families: BTreeSet<String>,
    /// Name, labels as they are written, value.
    samples: Vec<(String, String, f64)>,
}

/// The family whose samples come.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    helped: bool,
}

impl Metrics {
    /// Reads a text of the OpenMetrics kind.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let text = text.strip_suffix("# EOF\n").expect("no end");
        let mut metrics = Self {
            families: BTreeSet::new(),
            samples: Vec::new(),
        };
        let mut family = Family::default();
        let mut series = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(metrics.families.insert(name.to_owned()), "twice: {name}");
                assert!(help.len() > 5 && help.ends_with('.'), "no sentence: {line}");
                family = Family {
                    name: name.to_owned(),
                    helped: true,
                    ..Family::default()
                };
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(
                    family.helped && name == family.name,
                    "no help before: {line}"
                );
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(
                    !name.ends_with("_total"),
                    "the suffix is its samples': {line}"
                );
                family.kind = kind.to_owned();
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').expect(line);
                assert!(name == family.name && name.ends_with(unit), "{line}");
            } else {
                assert!(
                    series.insert(line.rsplit_once(' ').expect(line).0),
                    "twice: {line}"
                );
                metrics.samples.push(family.sample(line));
            }
        }
        metrics
    }

    /// The names of the families.
    pub fn families(&self) -> BTreeSet<String> {
        self.families.clone()
    }

    /// The names of the samples, which are what expressions name.
    pub fn samples(&self) -> BTreeSet<String> {
        let names = self.samples.iter().map(|(name, ..)| name.clone());
        names.chain(self.families.iter().cloned()).collect()
    }

    /// The sum of the samples of that name that have all those labels.
    pub fn sum(&self, sample: &str, labels: &[&str]) -> f64 {
        let has = |own: &str| labels.iter().all(|label| own.contains(label));
        let samples = self.samples.iter();
        let meant = samples.filter(|(name, own, _)| name == sample && has(own));
        meant.map(|(.., value)| value).sum()
    }
}

impl Family {
    #[track_caller]
    fn sample(&self, line: &str) -> (String, String, f64) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (series, ""),
        };
        let suffix = name.strip_prefix(&self.name).expect(line);
        let suffixes: &[&str] = match self.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => panic!("no type before: {line}"),
        };
        assert!(suffixes.contains(&suffix), "{}: {line}", self.kind);
        assert!(self.kind == "gauge" || value >= 0.0, "{line}");
        let is_name =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        assert!(name.chars().all(is_name), "{line}");
        let keys: Vec<&str> = labels
            .split("\",")
            .filter_map(|label| Some(label.split_once("=\"")?.0))
            .collect();
        let distinct: BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "a label twice: {line}");
        (name.to_owned(), labels.to_owned(), value)
    }
}
