//! Where an instance's load comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Nothing, PortCheck};
use crate::model::{name::Name, quantity::Period};

/// Where an instance's load comes from: one source, and its timing. A report that is not renewed for three
/// intervals is taken for unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct LoadSpec {
    /// Ask `Quaestor.LoadReporting/ReportLoad`, for every name in `serviceNames`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_load: Option<PortCheck>,
    /// Ask `xds.service.orca.v3.OpenRcaService/StreamCoreMetrics`, the standard. The load is its
    /// `application_utilization`, or else its `cpu_utilization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orca: Option<PortCheck>,
    /// The processor time that the process and all that descends from it take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessLoad>,
    /// `GET` a JSON document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpLoad>,
    /// Always this rate; smaller is less busy. Not negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub constant: Option<f64>,
    /// No load is known. The default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<Nothing>,
    /// Time from one report to the next. Default 1s; `process` takes no less than 5s.
    #[serde(default = "LoadSpec::interval_default")]
    pub interval: Period,
}

impl LoadSpec {
    const fn interval_default() -> Period {
        Period::from_secs(1)
    }

    /// Whether it asks the process for anything, so that reports come and may stay away.
    pub fn is_asked(&self) -> bool {
        self.report_load.is_some() || self.orca.is_some() || self.http.is_some()
    }
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self {
            report_load: None,
            orca: None,
            process: None,
            http: None,
            constant: None,
            none: None,
            interval: Self::interval_default(),
        }
    }
}

/// Load by processor time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ProcessLoad {
    /// So many processors in use are a rate of 1. Default: all of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cores: Option<f64>,
}

/// Load in a JSON document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HttpLoad {
    /// The name of the port. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
    /// What is asked for. Default `/`.
    #[serde(default = "HttpLoad::path_default")]
    #[schemars(extend("pattern" = "^/"))]
    pub path: String,
    /// A JSON pointer (RFC 6901) to a number, or to an object with `rate`, or with `current` and perhaps
    /// `capacity`. Default: the whole document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// How much the instance can take: with it the number counts requests, without it is a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub capacity: Option<u32>,
}

impl HttpLoad {
    fn path_default() -> String {
        "/".to_owned()
    }
}
