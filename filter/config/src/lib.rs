//! pluginConfig, the one typed definition that the filter and the CLI share.
//!
//! In: the JSON text that Envoy hands over (a WasmPlugin's `pluginConfig`), or none. Out: a [`Config`] in which every
//! value is within its bounds. Refuses, with a sentence for the operator, what is not JSON, an unknown key, or a value
//! out of bounds; the caller then switches the filter off rather than refusing traffic.

#![cfg_attr(
    not(test),
    deny(
        clippy::panic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unreachable,
        clippy::todo
    )
)]

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use crate::pattern::{HostPattern, PathTemplate};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub mod pattern;
pub mod response_flags;

/// Where a collector stands that the chart installs with its defaults.
pub const DEFAULT_CLUSTER: &str = "outbound|4318||otel-collector.otelmesh.svc.cluster.local";
/// OTLP/HTTP default paths (OTLP specification, "OTLP/HTTP Request").
pub const DEFAULT_TRACES_PATH: &str = "/v1/traces";
/// See [`DEFAULT_TRACES_PATH`].
pub const DEFAULT_LOGS_PATH: &str = "/v1/logs";
/// `OTEL_EXPORTER_OTLP_TIMEOUT` of the OpenTelemetry specification.
pub const DEFAULT_TIMEOUT: Millis = Millis(10_000);
/// Shorter than Istio's five seconds of drain, so that a stopping proxy still sends what it holds.
pub const DEFAULT_SCHEDULE_DELAY: Millis = Millis(1_000);
/// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` of the OpenTelemetry specification.
pub const DEFAULT_MAX_EXPORT_BATCH_SIZE: u32 = 512;
/// About 512 spans of the usual size; far below the 64 MiB that an OTLP receiver must take.
pub const DEFAULT_MAX_EXPORT_BATCH_BYTES: u32 = 256 * 1024;
/// Some seconds of a busy worker's telemetry, small next to a sidecar's 50 MiB.
pub const DEFAULT_MAX_QUEUE_BYTES: u32 = 2 * 1024 * 1024;
/// One call that waits must not stop the other signal; more would only pile up on a slow collector.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 2;
/// `parentbased_always_on`, the sampler that OpenTelemetry SDKs start with.
pub const DEFAULT_RATIO: f64 = 1.0;

/// Where Kubernetes applications answer probes and scrapes by convention.
pub const DEFAULT_EXCLUDED_PATHS: [&str; 6] =
    ["/healthz", "/livez", "/readyz", "/health", "/metrics", "/stats/prometheus"];
/// Who sends probes and scrapes.
pub const DEFAULT_EXCLUDED_USER_AGENTS: [&str; 3] = ["kube-probe/", "Prometheus/", "GoogleHC/"];

/// Headers that carry credentials, which no attribute may show.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-forwarded-client-cert"];

/// Most folded routes a worker remembers; as many names as a trace backend still lists.
pub const MAX_FOLDED_ROUTES: usize = 200;
/// Most route templates.
pub const MAX_TEMPLATES: usize = 256;
/// Most sampling rules, and most entries of a list within one.
pub const MAX_RULES: usize = 64;
/// Longest accepted name, path or attribute value in the configuration, in bytes.
pub const MAX_TEXT: usize = 1024;
/// Most resource attributes that may be set by hand.
pub const MAX_RESOURCE_ATTRIBUTES: usize = 64;
/// Longest captured header value or attribute, in bytes; the rest is cut at a character boundary.
pub const MAX_VALUE_BYTES: usize = 2048;
/// Most exchanges a worker remembers at once; those beyond it pass untouched and are counted.
pub const MAX_LIVE_EXCHANGES: usize = 65_536;
/// Longest wait between two export attempts.
pub const MAX_BACKOFF: Millis = Millis(30_000);
/// First wait after a failed export; doubles up to [`MAX_BACKOFF`].
pub const MIN_BACKOFF: Millis = Millis(1_000);

/// The whole pluginConfig. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where telemetry goes.
    #[serde(deserialize_with = "object")]
    pub exporter: Exporter,
    /// How records are gathered before they leave, for each worker thread of Envoy.
    #[serde(deserialize_with = "object")]
    pub batch: Batch,
    /// Which trace headers are read and written.
    #[serde(deserialize_with = "object")]
    pub propagation: Propagation,
    /// Which new traces are recorded.
    #[serde(deserialize_with = "object")]
    pub sampling: Sampling,
    /// Where `http.route` and span names come from.
    #[serde(deserialize_with = "object")]
    pub routes: Routes,
    /// Further attributes of spans and logs, at most 64.
    pub attributes: Vec<Attribute>,
    /// Which requests leave no record at all.
    #[serde(deserialize_with = "object")]
    pub exclude: Exclude,
    /// Whether spans are SERVER or CLIENT spans.
    pub direction: Direction,
    /// Who the telemetry is about.
    #[serde(deserialize_with = "object")]
    pub resource: Resource,
    /// Spans.
    #[serde(deserialize_with = "object")]
    pub traces: Signal,
    /// Access logs.
    #[serde(deserialize_with = "object")]
    pub logs: Logs,
}

/// An OTLP/HTTP protobuf receiver that Envoy knows as a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Exporter {
    /// Envoy's name of the collector's cluster, in Istio `outbound|4318||SERVICE.NAMESPACE.svc.CLUSTER-DOMAIN`.
    pub cluster: String,
    /// The `:authority` of export requests; empty means the host part of `cluster`.
    pub authority: String,
    /// Path of trace exports.
    pub traces_path: String,
    /// Path of log exports.
    pub logs_path: String,
    /// How long one export may take, 100ms to 60s.
    pub timeout: Millis,
}

/// Bounds of what waits in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Batch {
    /// How long a record waits at most before its batch leaves, 100ms to 60s.
    pub schedule_delay: Millis,
    /// Records in one export, 1 to 8192.
    pub max_export_batch_size: u32,
    /// Bytes in one export, 4096 to 4194304.
    pub max_export_batch_bytes: u32,
    /// Bytes that may wait or be under way, all signals together, up to 67108864; records beyond it are dropped and counted.
    pub max_queue_bytes: u32,
    /// Export calls under way at once, 1 to 16.
    pub max_in_flight: u32,
}

/// Which trace headers are read and written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Propagation {
    /// Formats to read, in order: the first that holds a valid context wins; one further down that names another trace
    /// is counted.
    pub extract: Vec<Format>,
    /// Formats to write. Unset: tracecontext, and those of `extract` that the request came with.
    pub inject: Option<Vec<Format>>,
    /// Formats whose headers are taken away before the request goes on, unless they are written.
    pub clear: Vec<Format>,
    /// Whether the caller's context is gone on with.
    pub trust: Trust,
    /// What goes on to certain hosts, of outbound requests; the first that matches counts, at most 64.
    pub boundaries: Vec<Boundary>,
    /// What is different for requests to the workload.
    #[serde(deserialize_with = "object")]
    pub inbound: Side,
    /// What is different for requests of the workload.
    #[serde(deserialize_with = "object")]
    pub outbound: Side,
}

/// Propagation in one direction; what is unset is as for both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Side {
    /// As `propagation.extract`.
    pub extract: Option<Vec<Format>>,
    /// As `propagation.inject`.
    pub inject: Option<Vec<Format>>,
    /// As `propagation.clear`.
    pub clear: Option<Vec<Format>>,
    /// As `propagation.trust`.
    pub trust: Option<Trust>,
}

/// Whether the caller's context is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Its trace goes on, and its decision stands.
    #[default]
    All,
    /// A new trace begins, linked to the caller's span; its decision and its tracestate count for nothing.
    None,
}

/// Hosts beyond which less is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Boundary {
    /// Hosts: `api.example`, or `*.example` for all below it, or `*`.
    pub hosts: Vec<String>,
    /// What goes on to them.
    pub policy: BoundaryPolicy,
}

/// What goes on beyond a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BoundaryPolicy {
    /// Everything.
    Propagate,
    /// No trace headers.
    Strip,
    /// Neither trace headers nor baggage.
    StripWithBaggage,
}

/// A propagator, by its name in `OTEL_PROPAGATORS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// W3C Trace Context: `traceparent` and `tracestate`.
    TraceContext,
    /// W3C Baggage: `baggage`, which goes on as it came unless it is to be cleared.
    Baggage,
    /// B3 in one header: `b3`.
    B3,
    /// B3 in several headers: `x-b3-traceid` and its kin.
    B3Multi,
    /// Jaeger: `uber-trace-id`.
    Jaeger,
    /// AWS X-Ray: `x-amzn-trace-id`.
    XRay,
    /// OpenTracing's basic tracer: `ot-tracer-traceid` and its kin.
    OtTrace,
}

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
    #[serde(deserialize_with = "object")]
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
    pub headers: BTreeMap<String, Option<String>>,
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

/// An attribute, and where its value comes from: one of `literal`, `env`, `requestHeader`, `responseHeader`, `baggage`.
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
}

/// Which side of a call the proxy stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// As Envoy's listener says (`xds.listener_direction`); inbound where it says nothing.
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
    pub attributes: BTreeMap<String, String>,
}

/// One kind of telemetry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Signal {
    /// Whether it is recorded at all.
    pub enabled: bool,
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

/// A length of time in milliseconds, written `250ms`, `10s` or `1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u32);

/// Why a pluginConfig was refused, as a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

// === impl Config ===

impl Config {
    /// Reads a pluginConfig; nothing at all, or `null`, means the defaults.
    ///
    /// # Errors
    /// A sentence that names the key and its bounds, or the line and column where the JSON is broken.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let text = json.trim_ascii();
        if text.is_empty() || text == b"null" {
            return Ok(Self::default());
        }
        let mut json = serde_json::Deserializer::from_slice(text);
        let config: Self = object(&mut json).map_err(|e| ConfigError(e.to_string()))?;
        json.end().map_err(|e| ConfigError(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks every bound that the types cannot express.
    ///
    /// # Errors
    /// A sentence that names the key and its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Exporter { cluster, authority, traces_path, logs_path, timeout } = &self.exporter;
        check(
            !cluster.is_empty() && is_text(cluster),
            "exporter.cluster must name an Envoy cluster in printable ASCII",
        )?;
        check(is_text(authority), "exporter.authority must be printable ASCII")?;
        for (key, path) in [("tracesPath", traces_path), ("logsPath", logs_path)] {
            check(
                path.starts_with('/') && is_text(path),
                format_args!("exporter.{key} must be a path that starts with /"),
            )?;
        }
        let delays = Millis(100)..=Millis(60_000);
        check(delays.contains(timeout), "exporter.timeout must be from 100ms to 60s")?;

        let b = &self.batch;
        check(delays.contains(&b.schedule_delay), "batch.scheduleDelay must be from 100ms to 60s")?;
        check((1..=8192).contains(&b.max_export_batch_size), "batch.maxExportBatchSize must be from 1 to 8192")?;
        check(
            (4096..=4 * 1024 * 1024).contains(&b.max_export_batch_bytes),
            "batch.maxExportBatchBytes must be from 4096 to 4194304",
        )?;
        check(
            (b.max_export_batch_bytes..=64 * 1024 * 1024).contains(&b.max_queue_bytes),
            "batch.maxQueueBytes must be from batch.maxExportBatchBytes to 67108864",
        )?;
        check((1..=16).contains(&b.max_in_flight), "batch.maxInFlight must be from 1 to 16")?;

        let p = &self.propagation;
        let lists = [
            ("extract", Some(&p.extract)),
            ("inject", p.inject.as_ref()),
            ("clear", Some(&p.clear)),
            ("inbound.extract", p.inbound.extract.as_ref()),
            ("inbound.inject", p.inbound.inject.as_ref()),
            ("inbound.clear", p.inbound.clear.as_ref()),
            ("outbound.extract", p.outbound.extract.as_ref()),
            ("outbound.inject", p.outbound.inject.as_ref()),
            ("outbound.clear", p.outbound.clear.as_ref()),
        ];
        for (key, list) in lists {
            check(list.is_none_or(|formats| is_set(formats)), format_args!("propagation.{key} names a format twice"))?;
        }
        check((0.0..=1.0).contains(&self.logs.ratio), "logs.ratio must be from 0 to 1")?;
        self.check_attributes()?;
        self.check_sampling()?;

        check(p.boundaries.len() <= MAX_RULES, "propagation.boundaries may hold 64 boundaries at most")?;
        for host in p.boundaries.iter().flat_map(|boundary| &boundary.hosts) {
            let is_host = HostPattern::parse(host).is_some();
            check(is_host, format_args!("propagation.boundaries: {host} is neither a name nor *.name"))?;
        }

        let attributes = &self.resource.attributes;
        check(attributes.len() <= MAX_RESOURCE_ATTRIBUTES, "resource.attributes may hold 64 attributes at most")?;
        for (key, value) in attributes {
            check(!key.is_empty() && key.len() <= MAX_TEXT, "resource.attributes has an empty or overlong key")?;
            check(value.len() <= MAX_TEXT, format_args!("resource.attributes.{key} is longer than 1024 bytes"))?;
        }
        Ok(())
    }
}

/// Reads a struct from an object alone; by itself serde would take an array too, field by field.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Visitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Visitor(PhantomData))
}

impl Config {
    fn check_attributes(&self) -> Result<(), ConfigError> {
        let Routes { templates, .. } = &self.routes;
        check(templates.len() <= MAX_TEMPLATES, "routes.templates may hold 256 templates at most")?;
        for template in templates {
            let is_template = PathTemplate::parse(template).is_some();
            check(
                is_template,
                format_args!("routes.templates: {template} is no template such as /orders/{{id}} or /api/**"),
            )?;
        }
        check(self.attributes.len() <= MAX_RULES, "attributes may hold 64 attributes at most")?;
        for attribute in &self.attributes {
            let name = &attribute.name;
            check(
                !name.is_empty() && name.len() <= MAX_TEXT,
                "attributes has an entry without a name, or an overlong one",
            )?;
            check(
                attribute.source().is_some(),
                format_args!(
                    "attributes: {name} needs exactly one of literal, env, requestHeader, responseHeader, baggage"
                ),
            )?;
            check(
                !attribute.is_secret(),
                format_args!("attributes: {name} would show a header that carries credentials"),
            )?;
        }
        Ok(())
    }

    fn check_sampling(&self) -> Result<(), ConfigError> {
        let sampling = &self.sampling;
        check((0.0..=1.0).contains(&sampling.ratio), "sampling.ratio must be from 0 to 1")?;
        check(sampling.rules.len() <= MAX_RULES, "sampling.rules may hold 64 rules at most")?;
        for (n, rule) in sampling.rules.iter().enumerate() {
            let of = |what: &'static str| move || format!("sampling.rules[{n}] {what}");
            let is_short =
                [rule.methods.len(), rule.hosts.len(), rule.paths.len(), rule.ports.len(), rule.headers.len()]
                    .iter()
                    .all(|len| *len <= MAX_RULES);
            check_that(is_short, of("lists more than 64 of a kind"))?;
            check_that(rule.action.is_some() != rule.ratio.is_some(), of("needs either action or ratio"))?;
            check_that(rule.ratio.is_none_or(|r| (0.0..=1.0).contains(&r)), of("has a ratio that is not from 0 to 1"))?;
            let limit = rule.max_per_second;
            check_that(
                limit.is_none_or(|l| (0.001..=1e6).contains(&l)),
                of("has a maxPerSecond that is not from 0.001 to 1000000"),
            )?;
            let paths = rule.paths.iter().all(|p| PathTemplate::parse(p).is_some());
            check_that(paths, of("has a path that is no template such as /orders/{id} or /api/**"))?;
            let hosts = rule.hosts.iter().all(|h| HostPattern::parse(h).is_some());
            check_that(hosts, of("has a host that is neither a name nor *.name"))?;
        }
        let Exclude { paths, user_agents } = &self.exclude;
        check(paths.len().max(user_agents.len()) <= MAX_RULES, "exclude lists more than 64 of a kind")?;
        for path in paths {
            let is_template = PathTemplate::parse(path).is_some();
            check(is_template, format_args!("exclude.paths: {path} is no template such as /orders/{{id}} or /api/**"))?;
        }
        check(user_agents.iter().all(|a| !a.is_empty()), "exclude.userAgents has an empty entry, which excludes all")?;
        for flag in &sampling.keep.response_flags {
            let is_known = response_flags::bit(flag).is_some();
            check(is_known, format_args!("sampling.keep.responseFlags: Envoy has no response flag {flag}"))?;
        }
        Ok(())
    }
}

fn check_that(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError(sentence())) }
}

fn check(holds: bool, sentence: impl fmt::Display) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError(sentence.to_string())) }
}

fn is_text(s: &str) -> bool {
    s.len() <= MAX_TEXT && s.bytes().all(|b| b.is_ascii_graphic())
}

fn is_set(formats: &[Format]) -> bool {
    formats.iter().enumerate().all(|(i, f)| !formats.iter().skip(i.saturating_add(1)).any(|g| g == f))
}

impl Default for Exporter {
    fn default() -> Self {
        Self {
            cluster: DEFAULT_CLUSTER.to_owned(),
            authority: String::new(),
            traces_path: DEFAULT_TRACES_PATH.to_owned(),
            logs_path: DEFAULT_LOGS_PATH.to_owned(),
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl Exporter {
    /// The `:authority` to send: as set, or the host in an Istio cluster name, or the cluster's name.
    pub fn host(&self) -> &str {
        if self.authority.is_empty() {
            self.cluster.rsplit('|').next().unwrap_or(&self.cluster)
        } else {
            &self.authority
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            schedule_delay: DEFAULT_SCHEDULE_DELAY,
            max_export_batch_size: DEFAULT_MAX_EXPORT_BATCH_SIZE,
            max_export_batch_bytes: DEFAULT_MAX_EXPORT_BATCH_BYTES,
            max_queue_bytes: DEFAULT_MAX_QUEUE_BYTES,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        }
    }
}

impl Default for Propagation {
    fn default() -> Self {
        Self {
            extract: vec![Format::TraceContext, Format::B3, Format::B3Multi],
            inject: None,
            clear: Vec::new(),
            trust: Trust::All,
            boundaries: Vec::new(),
            inbound: Side::default(),
            outbound: Side::default(),
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { ratio: DEFAULT_RATIO, rules: Vec::new(), keep: Keep::default() }
    }
}

impl Default for Exclude {
    fn default() -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self { paths: owned(&DEFAULT_EXCLUDED_PATHS), user_agents: owned(&DEFAULT_EXCLUDED_USER_AGENTS) }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self { enabled: true, policy: LogPolicy::All, ratio: 1.0, skip_with_span: false }
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self { enabled: true }
    }
}

// === impl Format ===

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] =
        [Self::TraceContext, Self::Baggage, Self::B3, Self::B3Multi, Self::Jaeger, Self::XRay, Self::OtTrace];
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
        ]
        .into_iter()
        .flatten();
        let source = sources.next()?;
        sources.next().is_none().then_some(source)
    }

    fn is_secret(&self) -> bool {
        match self.source() {
            Some(Source::RequestHeader(name) | Source::ResponseHeader(name)) => SECRET_HEADERS.contains(&name.as_str()),
            _ => false,
        }
    }
}

// === impl Millis ===

impl Millis {
    /// The same time in nanoseconds, the unit of Envoy's clock.
    pub fn as_nanos(self) -> u64 {
        u64::from(self.0).saturating_mul(1_000_000)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => return None,
        };
        number.parse::<u32>().ok()?.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Millis;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"250ms\", \"10s\" or \"1m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Millis, E> {
                Millis::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        d.deserialize_str(Visitor)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Millis {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Millis".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m)$"})
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
