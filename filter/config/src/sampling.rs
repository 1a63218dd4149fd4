//! Which exchanges are recorded.

use serde::{Deserialize, Serialize};

use crate::limits::{DEFAULT_EXCLUDED_PATHS, DEFAULT_EXCLUDED_USER_AGENTS, DEFAULT_RATIO};
use crate::read::{object, words};
use crate::{Direction, Millis, Pairs, of_object};

/// Which new traces are recorded; a trace that comes in keeps its caller's decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sampling {
    /// Part of the new traces that is recorded, 0 to 1, where no rule says otherwise.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub ratio: f64,
    /// The first rule that a request matches decides instead of `ratio`; at most 64.
    pub rules: Vec<Rule>,
    /// Spans that are exported although their trace is not recorded.
    #[serde(deserialize_with = "of_object")]
    pub keep: Keep,
}

/// A sampling rule: what a request has to be, and `action` or `ratio`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// Methods, such as `GET`.
    pub methods: Vec<String>,
    /// Hosts: `shop.example`, or `*.example` for all below it.
    pub hosts: Vec<String>,
    /// Path templates, such as `/orders/{id}` or `/api/**`.
    pub paths: Vec<String>,
    /// Ports, as the host names them.
    pub ports: Vec<u16>,
    /// Headers with their value, or with null for any value.
    pub headers: Pairs<Option<String>>,
    /// Only inbound or only outbound requests.
    pub direction: Direction,
    /// Record all of them, or none.
    pub action: Option<Action>,
    /// Record this part of them, 0 to 1.
    pub ratio: Option<f64>,
    /// Record so many a second at most, of each worker.
    pub max_per_second: Option<f64>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Record.
    Keep,
    /// Do not record.
    Drop,
}

/// Spans that are exported although their trace is not recorded. They are marked with `otelmesh.kept`, and their flags
/// say that the trace is not whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Keep {
    /// Spans whose status is an error.
    pub errors: bool,
    /// Spans that took longer.
    pub slower_than: Option<Millis>,
    /// Spans with one of these response flags, such as `UF`.
    pub response_flags: Vec<String>,
}

/// Requests that leave no record at all; their trace headers go on untouched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Exclude {
    /// Path templates.
    pub paths: Vec<String>,
    /// Beginnings of user agents.
    pub user_agents: Vec<String>,
}

object!(Sampling { ratio = "ratio", rules = "rules", keep = "keep" });
object!(Rule {
    methods = "methods",
    hosts = "hosts",
    paths = "paths",
    ports = "ports",
    headers = "headers",
    direction = "direction",
    action = "action",
    ratio = "ratio",
    max_per_second = "maxPerSecond",
});
words!(Action { Keep = "keep", Drop = "drop" });
object!(Keep { errors = "errors", slower_than = "slowerThan", response_flags = "responseFlags" });
object!(Exclude { paths = "paths", user_agents = "userAgents" });

// === impl Sampling ===

impl Default for Sampling {
    fn default() -> Self {
        Self { ratio: DEFAULT_RATIO, rules: Vec::new(), keep: Keep::default() }
    }
}

// === impl Exclude ===

impl Default for Exclude {
    fn default() -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self { paths: owned(&DEFAULT_EXCLUDED_PATHS), user_agents: owned(&DEFAULT_EXCLUDED_USER_AGENTS) }
    }
}
