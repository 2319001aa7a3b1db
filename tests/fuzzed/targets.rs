//! What may be done with bytes that anybody wrote. Each takes all bytes there are, and panics where what holds of the program's
//! readers does not: none of them panics itself, and what was read and is written is read as the same.
#![allow(unreachable_pub, reason = "a library of its own for the fuzzer")]

use std::{collections::HashMap, fmt::Debug, str};

use cel::{Context, Value, objects::Key as CelKey};
use quaestor::{
    http::query,
    keys::Keys,
    model::{
        Assignment, ClusterSpec, ClusterStatus, InstanceState, LoadReport, NodeLoad, NodeSpec,
        NodeStatus, Presence, Route, ServiceObject, ServiceStatus, Session, StoreIdentity,
        Tombstone,
        applied::Authorship,
        event::Event,
        legacy::{self, Wanted},
        manifest::{self, Source},
        quantity::{Cores, Period, Share, Size},
        score::Score,
        time::Moment,
    },
    plan::xds::{Kind, Request, Stream, Versions},
    process::shim::wire::{
        errand::Errand,
        fields::Fields,
        log::Line,
        message::{Command, Message},
        program::Program,
        record::{self, Exit, Running},
    },
    proto::standard::envoy::service::discovery::v3::DiscoveryRequest,
};
use serde::{Serialize, de::DeserializeOwned};

/// A target by its name, which is that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("manifests", manifests),
    ("keys", keys),
    ("records", records),
    ("shim", shim),
    ("xds", xds),
    ("http", http),
    ("cel", score),
    ("legacy", legacy),
];

fn source(text: &str) -> [Source; 1] {
    [Source {
        name: "fuzzed".to_owned(),
        text: text.to_owned(),
    }]
}

/// YAML of strangers; a manifest that is taken is written as one that means the same.
pub fn manifests(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let read = match manifest::read(&source(text)) {
        Ok(read) => read,
        Err(wrong) => return drop(wrong.to_string()),
    };
    for manifest in read {
        let written = manifest::to_yaml(&manifest.metadata, &manifest.spec).unwrap();
        let again = manifest::read(&source(&written));
        let again = again.unwrap_or_else(|wrong| panic!("{wrong}\n{written}"));
        let [again] = again.as_slice() else {
            panic!("{} manifests in {written}", again.len());
        };
        assert_eq!(again.metadata, manifest.metadata);
        assert_eq!(again.spec, manifest.spec, "{written}");
    }
}

/// Keys below a cluster's, and the quantities that people write.
pub fn keys(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let keys = Keys::new(&"default".parse().unwrap());
    for text in [text.to_owned(), format!("{}{text}", keys.root())] {
        if let Some(key) = keys.parse(&text) {
            assert_eq!(keys.of(&key), text);
            assert_eq!(keys.parse(&text), Some(key));
        }
    }
    reads_itself::<Period>(text);
    reads_itself::<Size>(text);
    reads_itself::<Share>(text);
    reads_itself::<Cores>(text);
}

/// A value that is read from text and written is read as the same.
fn reads_itself<T: str::FromStr + ToString + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        let again = written.parse::<T>().ok();
        assert_eq!(again.as_ref(), Some(&value), "{text:?}, {written:?}");
    }
}

/// JSON that somebody has put into the store.
pub fn records(data: &[u8]) {
    stored::<Assignment>(data);
    stored::<InstanceState>(data);
    stored::<NodeLoad>(data);
    stored::<LoadReport>(data);
    stored::<Session>(data);
    stored::<NodeSpec>(data);
    stored::<NodeStatus>(data);
    stored::<Presence>(data);
    stored::<Route>(data);
    stored::<ServiceObject>(data);
    stored::<ServiceStatus>(data);
    stored::<Tombstone>(data);
    stored::<Authorship>(data);
    stored::<Event>(data);
    stored::<ClusterSpec>(data);
    stored::<ClusterStatus>(data);
    stored::<StoreIdentity>(data);
}

fn stored<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let written = serde_json::to_vec(&value).unwrap();
    let again = serde_json::from_slice::<T>(&written);
    let again = again.unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&written));
    });
    // Not every record can be compared, but what is written of it can.
    assert_eq!(
        serde_json::to_value(&again).unwrap(),
        serde_json::to_value(&value).unwrap()
    );
}

/// Lines between agent and shim, the shim's records, and lines of its logs.
pub fn shim(data: &[u8]) {
    let _ = Line::read(data);
    let _ = (Program::open(data), Running::open(data), Exit::open(data));
    let _ = Errand::open(data);
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(command) = Command::read(text) {
        assert_eq!(Command::read(&command.to_string()), Ok(command));
    }
    if let Ok(Some(message)) = Message::read(text) {
        let written = message.to_string();
        assert_eq!(Message::read(&written), Ok(Some(message)), "{written}");
    }
    // As if the checksum were right, which chance does not find.
    let Ok(fields) = Fields::read(text.lines()) else {
        return;
    };
    if let Ok(program) = Program::open(record::seal("program", &fields).as_bytes()) {
        assert_eq!(Program::open(program.seal().as_bytes()), Ok(program));
    }
    if let Ok(running) = Running::open(record::seal("running", &fields).as_bytes()) {
        assert_eq!(Running::open(running.seal().as_bytes()), Ok(running));
    }
    if let Ok(exit) = Exit::open(record::seal("exit", &fields).as_bytes()) {
        assert_eq!(Exit::open(exit.seal().as_bytes()), Ok(exit));
    }
    if let Ok(errand) = Errand::open(record::seal("errand", &fields).as_bytes()) {
        assert_eq!(Errand::open(errand.seal().as_bytes()), Ok(errand));
    }
}

/// Every name of up to three bytes is known, in a version that its length tells.
struct Known;

impl Versions for Known {
    fn version(&self, _: Kind, name: &str) -> Option<u64> {
        let length = name.len() as u64;
        (length < 4).then_some(length)
    }
}

/// What an xDS client says, one request a line: `E3!ab,c` subscribes to the endpoints of `ab` and `c` and refuses push 3.
pub fn xds(data: &[u8]) {
    let _ = <DiscoveryRequest as prost::Message>::decode(data);
    let mut stream = Stream::default();
    let mut now = Moment::default();
    for line in data.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let mut letters = text.chars();
        let kind = match letters.next() {
            Some('C') => Kind::Cluster,
            Some('E') => Kind::Endpoints,
            Some('L') => Kind::Listener,
            _ => {
                now = now + std::time::Duration::from_secs(1);
                continue;
            }
        };
        let rest = letters.as_str();
        let (nonce, names) = rest.split_once(['!', ':']).unwrap_or(("", rest));
        let refusal = rest.contains('!').then(|| names.to_owned());
        let names = names.split(',').filter(|name| !name.is_empty());
        let request = Request {
            kind,
            nonce: nonce.to_owned(),
            names: names.map(Into::into).collect(),
            refusal,
        };
        if stream.hear(request).is_err() {
            return;
        }
        // It tells everything in a few pushes, and then waits to be answered.
        let pushes = std::iter::from_fn(|| stream.next(&Known, now)).take(9);
        assert!(pushes.count() < 9, "it is told without end");
        let _ = (stream.wake_at(), stream.names(), stream.subscriptions());
    }
}

/// A question in a URL.
pub fn http(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let _ = query::question("Worker".to_owned(), text);
    }
}

/// The owner's expression: what is let in ends, whatever is known.
pub fn score(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let score = match Score::new(text) {
        Ok(score) => score,
        Err(wrong) => return assert!(text.is_char_boundary(wrong.at)),
    };
    let map = |entries: [(&str, Value); 2]| -> Value {
        let entries = entries.map(|(key, value)| (CelKey::from(key), value));
        HashMap::from(entries).into()
    };
    let mut context = Context::default();
    let texts = || map([("a", "b".into()), ("dataset", "d1".into())]);
    context.add_variable_from_value("labels", texts());
    context.add_variable_from_value("request", texts());
    context.add_variable_from_value("node", map([("name", "n1".into()), ("labels", texts())]));
    context.add_variable_from_value("endpoint", map([("host", "h".into()), ("port", 1.into())]));
    context.add_variable_from_value("load", map([("rate", 0.5.into()), ("current", 1.into())]));
    let _ = score.program().execute(&context);
}

/// A file of quaestor-mini-cluster: what can be imported is valid.
pub fn legacy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    for wanted in [Wanted::Services, Wanted::Store] {
        match legacy::import(&source(text), wanted) {
            Ok(imported) => {
                let read = manifest::read(&source(&imported.manifests));
                assert!(
                    read.is_ok(),
                    "{}\n{}",
                    read.unwrap_err(),
                    imported.manifests
                );
            }
            Err(refused) => drop(refused.to_string()),
        }
    }
}
