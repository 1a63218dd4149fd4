//! The chart's values, typed: the one definition from which manifests/values.schema.json is generated.
//!
//! In: values merged from the chart's defaults, files and options ([`Sources`]). Out: a [`Values`] that was checked as a
//! whole. Refuses an unknown key, a wrong type and what Istio, Kubernetes or the filter would refuse later, and names
//! every key that is wrong. The templates render the merged values themselves, as Helm's do.

use std::collections::BTreeMap;
use std::fmt;

use otelmesh_filter::config::Config;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

mod check;
mod collector;
mod mesh;
mod operations;
mod pipelines;
mod profile;
mod set;
mod sources;

pub use collector::{
    Agent, AntiAffinity, Autoscaling, Collector, CollectorImage, CollectorMode, External, Gateway, Persistence, Preset,
    Toleration,
};
pub use mesh::{Delivery, Mesh, Native, Tracing, TracingMode, Traffic};
pub use operations::{
    Allow, Backend, Chaos, Demo, DemoSidecar, Jwt, Load, Monitoring, Mtls, NetworkPolicy, Security, Trials,
};
pub use pipelines::{CollectorConfig, Exporter, ExporterType, Sampling, SamplingMode, SecretKey, Signal};
pub use profile::Profile;
pub use sources::{Sources, SourcesError};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Values of the otelmesh chart")]
pub struct Values {
    /// Values that Helm hands down when the chart is a dependency; unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<Map<String, Value>>,
    /// The mesh.
    pub mesh: Mesh,
    /// Who traces: the filter or Envoy.
    pub tracing: Tracing,
    /// The filter in every proxy.
    pub filter: Filter,
    /// The collector that telemetry goes to.
    pub collector: Collector,
    /// Istio's routing to the collector.
    pub traffic: Traffic,
    /// Who may send telemetry, and how.
    pub security: Security,
    /// What Prometheus and Grafana need.
    pub monitoring: Monitoring,
    /// Two services to see traces with.
    pub demo: Demo,
    /// What puts an installation to the test.
    pub trials: Trials,
}

/// The filter, and the workloads that get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// By which of Istio's resources proxies get it.
    pub delivery: Delivery,
    /// Namespace of the filter's objects; empty means `mesh.rootNamespace`.
    pub namespace: String,
    /// The image that proxies pull.
    pub image: Image,
    /// Sidecars and gateways by their labels; empty means all.
    pub selector: Selector,
    /// Gateways and waypoints by reference.
    #[serde(deserialize_with = "references")]
    pub target_refs: Vec<TargetRef>,
    /// Place in Envoy's filter chain.
    pub phase: Phase,
    /// Place among the plugins of one phase, the highest first.
    pub priority: i32,
    /// What a proxy does after the filter crashed.
    pub fail_strategy: FailStrategy,
    /// Variables read from each proxy's own environment.
    pub host_env: Vec<String>,
    /// Variables with one value for all proxies.
    pub env: BTreeMap<String, String>,
    /// Whether every proxy gets a cluster of its own to export through.
    pub own_cluster: bool,
    /// The filter's pluginConfig.
    pub config: PluginConfig,
}

/// An image reference in parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Registry, with its port if it has one.
    pub registry: String,
    /// Repository in the registry.
    pub repository: String,
    /// Tag; empty means the chart's version.
    #[schemars(regex(pattern = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"))]
    pub tag: String,
    /// Digest of the manifest; wins over the tag.
    #[schemars(regex(pattern = r"^(sha256:[a-f0-9]{64})?$"))]
    pub digest: String,
    /// When proxies pull; empty leaves it to Istio.
    pub pull_policy: PullPolicy,
    /// Name of a pull secret in the WasmPlugin's namespace.
    pub pull_secret: String,
}

/// When a proxy pulls an image that it has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// As Istio decides.
    #[serde(rename = "")]
    Unset,
    /// Never.
    IfNotPresent,
    /// Whenever the WasmPlugin changes.
    Always,
}

/// Istio's workload selector.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// Labels that a pod must have, all of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// Istio's reference to a Gateway, GatewayClass, Service or ServiceEntry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// API group; empty for a Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name, in the WasmPlugin's namespace.
    pub name: String,
}

/// Where Istio puts the filter among its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Before authentication.
    Authn,
    /// Between authentication and authorization.
    Authz,
    /// After authorization.
    Stats,
    /// At the end.
    UnspecifiedPhase,
}

/// What a proxy does after the filter crashed. Istio's FAIL_CLOSE is left out: telemetry is no reason to deny traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStrategy {
    /// Goes on without the filter.
    FailOpen,
    /// Loads it again, but denies all traffic while the image cannot be pulled.
    FailReload,
}

/// The filter's configuration as it was written: what was left out stays out, so that the filter's defaults hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginConfig(pub Map<String, Value>);

/// Why values were refused: one line for each key that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wrong values:\n  {}", .0.join("\n  "))]
pub struct ValuesError(pub Vec<String>);

// === impl Values ===

impl Values {
    /// Reads and checks merged values.
    ///
    /// # Errors
    /// [`ValuesError`]: the first key with a wrong name or type, or all keys with wrong values.
    pub fn read(merged: &Value) -> Result<Self, ValuesError> {
        let values: Self = typed(merged).map_err(|(path, message)| ValuesError(vec![format!("{path}: {message}")]))?;
        let wrong = check::check(&values);
        if wrong.is_empty() { Ok(values) } else { Err(ValuesError(wrong)) }
    }
}

/// The JSON schema of the values, as Helm reads it.
pub fn schema() -> Value {
    // Draft 7 is what every supported Helm understands; inline, since few readers of a schema follow references.
    let settings = SchemaSettings::draft07().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Values>().to_value();
    drop_defaults(&mut schema);
    schema
}

/// Drops the filter's own defaults: next to the chart's they would only contradict.
fn drop_defaults(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("default");
            map.values_mut().for_each(drop_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        _ => {}
    }
}

/// Reads references from maps alone; by itself serde would take lists too, field by field.
fn references<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TargetRef>, D::Error> {
    struct Reference(TargetRef);
    impl<'de> Deserialize<'de> for Reference {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Visitor)
        }
    }
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Reference;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map with kind and name")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Reference, A::Error> {
            TargetRef::deserialize(de::value::MapAccessDeserializer::new(map)).map(Reference)
        }
    }
    Ok(Vec::<Reference>::deserialize(deserializer)?.into_iter().map(|reference| reference.0).collect())
}

fn typed<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = e.path().to_string();
        let message = e.into_inner().to_string();
        // Helm drops a key that is set to null, so a missing one was there in the chart's defaults.
        let hint = if message.starts_with("missing field") { "; null is no value for it" } else { "" };
        (if path == "." { "values".to_owned() } else { path }, format!("{message}{hint}"))
    })
}

// === impl PluginConfig ===

impl PluginConfig {
    /// Reads it as the filter will.
    fn read(&self) -> Result<Config, (String, String)> {
        typed(&Value::Object(self.0.clone()))
    }
}

impl JsonSchema for PluginConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Config::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> Schema {
        Config::json_schema(generator)
    }
}

#[cfg(test)]
mod tests;
