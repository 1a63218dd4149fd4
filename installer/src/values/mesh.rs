//! Values of the mesh: Istio itself, who traces, and the routes to the collector.
//!
//! In: the keys `mesh`, `tracing` and `traffic`. Out: typed values. Refuses nothing but wrong types; what hangs together
//! is checked in [`super::check`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mesh {
    /// Namespace of the mesh-wide configuration, as in `meshConfig.rootNamespace`.
    pub root_namespace: String,
    /// Istio's version; empty asks the cluster.
    #[schemars(regex(pattern = r"^([0-9]+\.[0-9]+(\.[0-9]+)?(-.*)?)?$"))]
    pub istio_version: String,
    /// Revision whose sidecars the chart's namespaces get; empty means the default one.
    pub revision: String,
}

/// Who traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// The filter, or Envoy itself.
    pub mode: TracingMode,
    /// Whether the Telemetry resource that this takes is written.
    pub telemetry: bool,
    /// Envoy's own tracing.
    pub native: Native,
}

/// Who traces: never both, since each writes the trace headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TracingMode {
    /// The filter; Envoy's own tracer is off.
    Filter,
    /// Envoy; the filter is not installed.
    Native,
}

/// Envoy's own tracing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Native {
    /// Name of the tracing provider in `meshConfig.extensionProviders`.
    pub provider: String,
    /// Percentage of the new traces that is recorded, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub sampling_percentage: f64,
    /// Tag `deployment.environment.name` on every span; empty means none.
    pub environment: String,
    /// Request header with the application's version.
    pub version_header: String,
    /// What the version's tag says without that header.
    pub version_default: String,
    /// Whether access logs are sent over OTLP.
    pub access_logs: bool,
}

/// How proxies get the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// A WasmPlugin or a TrafficExtension, by Istio's version.
    Wasmplugin,
    /// An EnvoyFilter, under which a crash costs no request.
    Envoyfilter,
}

/// Istio's routing to the collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Whether it is written at all.
    pub enabled: bool,
    /// How long one export may take.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m)$"))]
    pub timeout: String,
    /// How often a proxy tries again what never reached the collector.
    pub retries: u32,
    /// Connections that a proxy may have to the collector.
    pub max_connections: u32,
    /// Exports that a proxy may have under way.
    pub max_requests: u32,
    /// Labels whose values a proxy and a collector should have in common, the most important first.
    pub failover_priority: Vec<String>,
    /// Errors in a row that take a pod out.
    pub consecutive_errors: u32,
    /// How long it is out at least.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m)$"))]
    pub ejection_time: String,
    /// Subsets of the collector's pods, by their labels.
    pub subsets: BTreeMap<String, BTreeMap<String, String>>,
}
