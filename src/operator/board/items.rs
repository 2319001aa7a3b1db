//! What the board says of each thing, from what the store says: services, instances, nodes, loads, events.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    book::{Id, Json},
    picks::Told,
};
use crate::{
    keys::Key,
    model::{Instance, Name},
    operator::inventory::{Raw, Seat},
};

/// What of the store was touched, and is to be told anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touched {
    Service(Name),
    Seat(Seat),
    Node(Name),
    Load(Name),
}

/// What a key is about.
pub(super) fn touched(key: &Key) -> Vec<Touched> {
    match key {
        Key::ServiceSpec(name) | Key::Tombstone(name) | Key::ServiceStatus(name) => {
            vec![Touched::Service(name.clone())]
        }
        Key::Assignment(node, instance) => vec![
            Touched::Seat((instance.clone(), node.clone())),
            Touched::Node(node.clone()),
        ],
        Key::State(node, instance) => vec![Touched::Seat((instance.clone(), node.clone()))],
        Key::Session(node) | Key::NodeSpec(node) | Key::NodeStatus(node) => {
            vec![Touched::Node(node.clone())]
        }
        Key::Load(node) => vec![Touched::Load(node.clone())],
        _ => Vec::new(),
    }
}

/// The item that a key is by itself, whatever else there is.
pub(super) fn alone(key: &Key) -> Option<Id> {
    Some(Id::from(match key {
        Key::Route(name) => format!("r/{name}"),
        Key::ClusterStatus => "c/status".to_owned(),
        Key::Leader => "c/leader".to_owned(),
        Key::Balancer(id) => format!("b/{id}"),
        Key::Event(_, id) => format!("e/{id}"),
        _ => return None,
    }))
}

/// Its value: the stored one, where that is JSON.
pub(super) fn stored(key: &Key, value: &[u8]) -> Option<Json> {
    if *key == Key::Leader {
        // A random text, which says nothing but that somebody leads.
        return json(&true);
    }
    let value: Value = serde_json::from_slice(value).ok()?;
    json(&value)
}

/// Of each balancer that told something, before or now, whether clients of it refuse what they are sent.
pub(super) fn refusing<'a>(
    before: &'a BTreeSet<String>,
    told: &'a Told,
) -> impl Iterator<Item = (Id, Option<Json>)> + 'a {
    let addresses: BTreeSet<&String> = before.iter().chain(told.keys()).collect();
    addresses.into_iter().map(|address| {
        let refusing = told.get(address).map(|count| &count.refusing);
        let refusing = refusing.filter(|refusing| refusing.clients > 0);
        let id = Id::from(format!("x/{address}"));
        (id, refusing.and_then(json))
    })
}

/// The item of what was touched, as it is now.
pub(super) fn item(touched: &Touched, raw: &Raw) -> (Id, Option<Json>) {
    match touched {
        Touched::Service(name) => (Id::from(format!("s/{name}")), service(name, raw)),
        Touched::Seat(seat) => {
            let (instance, node) = seat;
            let found = raw.instance(seat);
            let id = Id::from(format!("i/{node}/{instance}"));
            (id, found.as_ref().and_then(json))
        }
        Touched::Node(name) => {
            let node = raw.node(name);
            (Id::from(format!("n/{name}")), node.as_ref().and_then(json))
        }
        Touched::Load(node) => (Id::from(format!("l/{node}")), load(node, raw)),
    }
}

/// The item of an instance that an agent runs by its own manifests: nobody has assigned it.
pub(super) fn own(seat: &Seat, raw: &Raw) -> (Id, Option<Json>) {
    let (instance, node) = seat;
    let told = raw.instance(seat).map(serde_json::to_value);
    let item = told.and_then(Result::ok).and_then(|mut told| {
        let fields = told.as_object_mut()?;
        fields.insert("own".to_owned(), json!(true));
        json(&told)
    });
    (Id::from(format!("i/{node}/{instance}")), item)
}

/// A service, and how far its rollout is.
fn service(name: &Name, raw: &Raw) -> Option<Json> {
    let mut told = serde_json::to_value(raw.service(name)?).ok()?;
    if let (Value::Object(fields), Some(status)) = (&mut told, raw.status(name)) {
        fields.insert("revision".to_owned(), json!(status.revision));
        fields.insert("stableRevision".to_owned(), json!(status.stable_revision));
        fields.insert("rolledBack".to_owned(), json!(status.rolled_back));
        fields.insert("available".to_owned(), json!(status.available));
        fields.insert("assigned".to_owned(), json!(status.assigned));
    }
    if let (Value::Object(fields), Some(object)) = (&mut told, raw.object(name)) {
        let policy = object.spec.balance.policy.unwrap_or_default();
        fields.insert("policy".to_owned(), json!(policy));
        fields.insert("exclusive".to_owned(), json!(object.spec.balance.exclusive));
    }
    json(&told)
}

/// What moves all the time, apart from the rest: of each instance its load, processors and memory.
fn load(node: &Name, raw: &Raw) -> Option<Json> {
    let load = raw.load(node)?;
    let mut instances: BTreeMap<&Instance, [Option<f64>; 5]> = BTreeMap::new();
    for (instance, report) in &load.instances {
        let stats = report.stats;
        let told = instances.entry(instance).or_default();
        told[0] = report.rate();
        told[1] = stats.map(|stats| f64::from(stats.current_requests));
        told[2] = stats.map(|stats| f64::from(stats.request_capacity));
    }
    for (instance, usage) in &load.usage {
        let told = instances.entry(instance).or_default();
        told[3] = Some(usage.cpu);
        told[4] = Some(usage.memory as f64);
    }
    let told: BTreeMap<String, _> = instances
        .into_iter()
        .map(|(instance, told)| (instance.to_string(), told))
        .collect();
    serde_json::to_string(&told).ok().map(Json::from)
}

/// A value without what says nothing, as there are many.
fn json(value: &impl Serialize) -> Option<Json> {
    let mut value = serde_json::to_value(value).ok()?;
    shorten(&mut value);
    serde_json::to_string(&value).ok().map(Json::from)
}

fn shorten(value: &mut Value) {
    let Value::Object(fields) = value else {
        if let Value::Array(values) = value {
            values.iter_mut().for_each(shorten);
        }
        return;
    };
    fields.values_mut().for_each(shorten);
    fields.retain(|_, value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    });
}

#[cfg(test)]
mod tests {
    use super::{
        super::picks::{Count, Refusing},
        *,
    };

    #[test]
    fn what_says_nothing_is_left_out_and_zero_is_not() {
        let mut value =
            json!({"a": null, "b": "", "c": [], "d": {"e": false}, "f": 0, "g": [{"h": null}]});
        shorten(&mut value);
        assert_eq!(value, json!({"f": 0, "g": [{}]}));
    }

    #[test]
    fn clients_that_refuse_are_told_of_until_their_balancer_says_otherwise_or_nothing() {
        let mut count = Count::default();
        let quiet = Told::from([("b:1".to_owned(), count.clone())]);
        count.refusing = Refusing {
            clients: 2,
            words: "no".to_owned(),
        };
        let refused = Told::from([("b:1".to_owned(), count)]);
        let told = |before: &Told, now: &Told| -> Vec<(String, Option<String>)> {
            let before = before.keys().cloned().collect();
            let items = refusing(&before, now);
            let text = |json: Option<Json>| json.map(|json| json.to_string());
            items
                .map(|(id, json)| (id.to_string(), text(json)))
                .collect()
        };
        let id = "x/b:1".to_owned();
        let words = r#"{"clients":2,"words":"no"}"#.to_owned();
        assert_eq!(told(&quiet, &refused), [(id.clone(), Some(words))]);
        assert_eq!(told(&refused, &quiet), [(id.clone(), None)]);
        assert_eq!(told(&refused, &Told::new()), [(id, None)]);
    }

    #[test]
    fn an_instance_is_told_until_nothing_is_said_of_it() {
        let mut raw = Raw::default();
        let key = Key::State("n".parse().unwrap(), "worker-1".parse().unwrap());
        let state = json!({
            "instance": "worker-1", "node": "n", "phase": "Running", "ready": true, "pid": 7,
            "observedGeneration": 1, "epoch": 1,
        });
        raw.take(key.clone(), Some(state.to_string().as_bytes()));
        let [touched] = &touched(&key)[..] else {
            panic!("one thing");
        };
        let (id, told) = item(touched, &raw);
        assert_eq!(&*id, "i/n/worker-1");
        let told: Value = serde_json::from_str(&told.unwrap()).unwrap();
        assert_eq!(
            (&told["phase"], &told["pid"]),
            (&json!("Running"), &json!(7))
        );
        raw.take(key, None);
        assert!(item(touched, &raw).1.is_none());
    }
}
