//! What records say, and which there are.

use serde::{Deserialize, Serialize};

use crate::limits::{DEFAULT_BODY, SECRET_HEADERS};
use crate::read::{object, words};
use crate::{Pairs, PropertyPath};

/// Where `http.route` comes from, which also names the span: `GET /orders/{id}` instead of `GET`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Routes {
    /// Path templates; the first that matches counts, at most 256.
    pub templates: Vec<String>,
    /// Where no template matches: the path with `{id}` in place of what looks like an id, at most 200 of them a worker.
    pub fold: bool,
}

/// An attribute, and where its value comes from: one of `literal`, `env`, `requestHeader`, `responseHeader`,
/// `baggage`, `property`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Attribute {
    /// Its name, by OpenTelemetry's rules.
    pub name: String,
    /// The type of its value; one that is not of it is left out.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// The value itself.
    pub literal: Option<String>,
    /// A variable of the proxy's environment.
    pub env: Option<String>,
    /// A header of the request; those with credentials are refused.
    pub request_header: Option<String>,
    /// A header of the response; those with credentials are refused.
    pub response_header: Option<String>,
    /// A member of the request's baggage.
    pub baggage: Option<String>,
    /// An Envoy attribute by its path, such as `xds.cluster_name`, or a list where names have dots, such as
    /// `[xds, route_metadata, filter_metadata, com.example, team]`; those that hold credentials are refused.
    pub property: Option<PropertyPath>,
}

/// The type of an attribute's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Int,
    /// Any number.
    Double,
    /// `true` or `false`.
    Bool,
}

/// Where an attribute's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    Literal(String),
    /// The proxy's environment.
    Env(String),
    /// A header of the request, in lower case.
    RequestHeader(String),
    /// A header of the response, in lower case.
    ResponseHeader(String),
    /// A baggage member.
    Baggage(String),
    /// An Envoy attribute, by the names of its path.
    Property(Vec<String>),
}

/// Which side of a call the proxy stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// As Envoy's listener says (`xds.listener_direction`); inbound where it says nothing, and on gateways.
    #[default]
    Auto,
    /// SERVER spans.
    Inbound,
    /// CLIENT spans.
    Outbound,
}

/// Who the telemetry is about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resource {
    /// Attributes that are set by hand; they win over what the proxy knows of itself.
    pub attributes: Pairs<String>,
}

/// Which names HTTP attributes of spans and logs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Semconv {
    /// Those of the stable conventions.
    #[default]
    Stable,
    /// Those from before they were stable, such as `http.status_code`.
    Legacy,
    /// Both.
    Both,
}

/// Spans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traces {
    /// Whether they are recorded at all.
    pub enabled: bool,
    /// Whether spans say how long the upstream took, and how long the wait for a connection to it.
    pub timings: bool,
}

/// Access logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Logs {
    /// Whether they are recorded at all.
    pub enabled: bool,
    /// Of which exchanges.
    pub policy: LogPolicy,
    /// Part of the successful exchanges that is recorded, 0 to 1; whole traces at a time.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub ratio: f64,
    /// No log where a span is recorded, which says the same.
    pub skip_with_span: bool,
    /// The message: text with fields in braces, of `method`, `path`, `host`, `route`, `userAgent`, `status`, `protocol`,
    /// `flags`, `duration` (milliseconds), `requestSize`, `responseSize`, `traceId` and `spanId`; a field that is not
    /// known is `-`.
    pub body: String,
}

/// Which exchanges have an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogPolicy {
    /// All.
    #[default]
    All,
    /// Those whose trace is recorded.
    Sampled,
    /// Those that failed.
    Errors,
}

object!(Routes { templates = "templates", fold = "fold" });
object!(Attribute {
    name = "name",
    value_type = "type",
    literal = "literal",
    env = "env",
    request_header = "requestHeader",
    response_header = "responseHeader",
    baggage = "baggage",
    property = "property",
});
words!(ValueType { String = "string", Int = "int", Double = "double", Bool = "bool" });
words!(Direction { Auto = "auto", Inbound = "inbound", Outbound = "outbound" });
object!(Resource { attributes = "attributes" });
words!(Semconv { Stable = "stable", Legacy = "legacy", Both = "both" });
object!(Traces { enabled = "enabled", timings = "timings" });
object!(Logs { enabled = "enabled", policy = "policy", ratio = "ratio", skip_with_span = "skipWithSpan", body = "body" });
words!(LogPolicy { All = "all", Sampled = "sampled", Errors = "errors" });

// === impl Logs ===

impl Default for Logs {
    fn default() -> Self {
        Self { enabled: true, policy: LogPolicy::All, ratio: 1.0, skip_with_span: false, body: DEFAULT_BODY.to_owned() }
    }
}

// === impl Traces ===

impl Default for Traces {
    fn default() -> Self {
        Self { enabled: true, timings: false }
    }
}

// === impl Attribute ===

impl Attribute {
    /// Where its value comes from; `None` unless exactly one source is named.
    pub fn source(&self) -> Option<Source> {
        let lower = |name: &String| name.to_ascii_lowercase();
        let mut sources = [
            self.literal.clone().map(Source::Literal),
            self.env.clone().map(Source::Env),
            self.request_header.as_ref().map(lower).map(Source::RequestHeader),
            self.response_header.as_ref().map(lower).map(Source::ResponseHeader),
            self.baggage.clone().map(Source::Baggage),
            self.property.as_ref().and_then(PropertyPath::names).map(Source::Property),
        ]
        .into_iter()
        .flatten();
        let source = sources.next()?;
        sources.next().is_none().then_some(source)
    }

    pub(crate) fn is_secret(&self) -> bool {
        match self.source() {
            Some(Source::RequestHeader(name) | Source::ResponseHeader(name)) => SECRET_HEADERS.contains(&name.as_str()),
            // `request.headers.NAME`, or all of them at once.
            Some(Source::Property(path)) => {
                let path: Vec<String> = path.iter().map(|name| name.to_ascii_lowercase()).collect();
                let mut names = path.iter().skip_while(|name| *name != "headers");
                names.next().is_some() && names.next().is_none_or(|name| SECRET_HEADERS.contains(&name.as_str()))
            }
            _ => false,
        }
    }
}
