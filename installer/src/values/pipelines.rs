//! Values of what the collector does with telemetry: which traces it keeps, and where it sends what it kept.
//!
//! In: the keys `sampling`, `exporters`, `config` and `secretEnv` under `collector`. Out: typed values. Refuses nothing but
//! wrong types; what hangs together is checked in [`super::check`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which traces are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sampling {
    /// How.
    pub mode: SamplingMode,
    /// Percentage of the traces that is kept.
    #[schemars(range(min = 0, max = 100))]
    pub percentage: f64,
    /// How long to wait for a trace's spans.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m)$"))]
    pub decision_wait: String,
    /// How many traces may wait.
    pub num_traces: u32,
    /// Keep every trace that lasted so many milliseconds; 0 keeps none for that reason.
    pub latency_millis: u32,
    /// Keep every trace with an error.
    pub errors: bool,
}

/// How traces are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SamplingMode {
    /// All of them.
    None,
    /// By their ids.
    Probabilistic,
    /// When they are complete.
    Tail,
}

/// Where telemetry is sent on to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exporter {
    /// What it speaks.
    pub r#type: ExporterType,
    /// Where it is; empty for debug.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// What it takes; unset means all that it can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Signal>,
    /// The exporter's own settings, which win.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

/// What a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExporterType {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP; Loki's endpoint ends in /otlp.
    OtlpHttp,
    /// Prometheus remote write, for metrics.
    PrometheusRemoteWrite,
    /// The collector's own log.
    Debug,
}

/// A kind of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Logs.
    Logs,
}

/// Laid over the generated configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorConfig {
    /// For agents.
    pub agent: Map<String, Value>,
    /// For gateways.
    pub gateway: Map<String, Value>,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret, in the collector's namespace.
    pub name: String,
    /// The key.
    pub key: String,
}
