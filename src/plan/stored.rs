//! A key of the store, and what is made of values that cannot be read.

use serde::de::DeserializeOwned;

/// A key of the store: the last value that could be read, and what is wrong with a later one.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// None when no value could be read since the key was seen first.
    pub value: Option<T>,
    /// The mod-revision of the key, whether its value could be read or not.
    pub revision: i64,
    /// Why the value at that revision could not be read.
    pub problem: Option<String>,
}

impl<T: PartialEq> Stored<T> {
    /// Whether the key holds `value`, and not something that cannot be read since.
    pub fn holds(&self, value: &T) -> bool {
        self.problem.is_none() && self.value.as_ref() == Some(value)
    }
}

/// Takes in what a key holds now. What cannot be read, or is refused, leaves the last value in force.
pub(super) fn set<T: DeserializeOwned>(
    slot: &mut Option<Stored<T>>,
    entry: Option<(&[u8], i64)>,
    accept: impl FnOnce(&T) -> Result<(), String>,
) {
    let Some((bytes, revision)) = entry else {
        *slot = None;
        return;
    };
    let read = serde_json::from_slice::<T>(bytes)
        .map_err(|error| error.to_string())
        .and_then(|value| accept(&value).map(|()| value));
    *slot = Some(match read {
        Ok(value) => Stored {
            value: Some(value),
            revision,
            problem: None,
        },
        Err(problem) => Stored {
            value: slot.take().and_then(|stored| stored.value),
            revision,
            problem: Some(problem),
        },
    });
}
