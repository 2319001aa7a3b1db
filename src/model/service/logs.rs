//! What is kept of the output of processes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity::Size;

/// How much of the output of an instance is kept, in files on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct LogSpec {
    /// How large a file may grow before the next is begun. Default 10MiB.
    #[serde(default = "LogSpec::max_size_default")]
    pub max_size: Size,
    /// How many files are kept, the current one included. Default 5.
    #[serde(default = "LogSpec::max_files_default")]
    #[schemars(range(min = 1))]
    pub max_files: u32,
}

impl LogSpec {
    const fn max_size_default() -> Size {
        Size::from_mebibytes(10)
    }

    const fn max_files_default() -> u32 {
        5
    }
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            max_size: Self::max_size_default(),
            max_files: Self::max_files_default(),
        }
    }
}
