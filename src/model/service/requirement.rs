//! What labels have to be like.

use std::str::FromStr;

use super::Labels;

/// One requirement of a selector: `pool=qa`, `pool!=qa`, `pool` (it is there), `!pool` (it is not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label has this value.
    Is(String, String),
    /// It has another one, or is not there.
    IsNot(String, String),
    /// It is there.
    Present(String),
    /// It is not there.
    Absent(String),
}

/// Why a text is no requirement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write key=value, key!=value, key or !key")]
pub struct InvalidRequirement;

impl Requirement {
    /// Whether `labels` are like that.
    pub fn admits(&self, labels: &Labels) -> bool {
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::IsNot(key, value) => labels.get(key) != Some(value),
            Self::Present(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }
}

impl FromStr for Requirement {
    type Err = InvalidRequirement;

    fn from_str(text: &str) -> Result<Self, InvalidRequirement> {
        let text = text.trim();
        let owned = |key: &str, value: &str| (key.trim().to_owned(), value.trim().to_owned());
        let requirement = if let Some((key, value)) = text.split_once("!=") {
            let (key, value) = owned(key, value);
            Self::IsNot(key, value)
        } else if let Some((key, value)) = text.split_once('=') {
            // `==` means the same.
            let (key, value) = owned(key, value.strip_prefix('=').unwrap_or(value));
            Self::Is(key, value)
        } else if let Some(key) = text.strip_prefix('!') {
            Self::Absent(key.trim().to_owned())
        } else {
            Self::Present(text.to_owned())
        };
        let (Self::Is(key, _) | Self::IsNot(key, _) | Self::Present(key) | Self::Absent(key)) =
            &requirement;
        match key.is_empty() || key.contains(['!', '=', ' ']) {
            true => Err(InvalidRequirement),
            false => Ok(requirement),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_as_kubernetes_writes_it() {
        let labels: Labels = [("pool", "qa"), ("gpu", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let admits = |text: &str| text.parse::<Requirement>().unwrap().admits(&labels);
        for text in [
            "pool=qa",
            "pool==qa",
            "pool!=prod",
            "rack!=r1",
            "gpu",
            "!rack",
            "gpu=",
        ] {
            assert!(admits(text), "{text}");
        }
        for text in ["pool=prod", "pool!=qa", "rack", "!gpu", "rack="] {
            assert!(!admits(text), "{text}");
        }
        for text in ["", "=x", "!=x", "!", "a b", "!a=b"] {
            assert_eq!(
                text.parse::<Requirement>(),
                Err(InvalidRequirement),
                "{text}"
            );
        }
    }
}
