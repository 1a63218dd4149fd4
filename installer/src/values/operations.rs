//! Values of what surrounds the collector: access, monitoring, the demo and trials.
//!
//! In: the keys `security`, `monitoring`, `demo` and `trials`. Out: typed values. Refuses nothing but wrong types; what hangs
//! together is checked in [`super::check`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may send telemetry, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Security {
    /// Whether the collector has a sidecar, and whom it lets in.
    pub mtls: Mtls,
    /// Ports that clients without a sidecar may use under STRICT.
    pub plaintext_ports: Vec<u16>,
    /// Who may send telemetry within the mesh.
    pub allow: Allow,
    /// Tokens of clients outside the mesh.
    pub jwt: Jwt,
    /// Kubernetes' own firewall.
    pub network_policy: NetworkPolicy,
}

/// Istio's modes of mutual TLS, as far as they make sense here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mtls {
    /// The collector has no sidecar.
    Disable,
    /// It has one, and takes plain text too.
    Permissive,
    /// It has one, and refuses plain text.
    Strict,
}

/// Who may send telemetry within the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Service accounts, as NAMESPACE/NAME.
    pub service_accounts: Vec<String>,
}

/// Tokens of clients outside the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// Who issues them; empty means no tokens.
    pub issuer: String,
    /// Where the issuer publishes its keys.
    pub jwks_uri: String,
    /// Audiences, one of which a token must have.
    pub audiences: Vec<String>,
}

/// Kubernetes' own firewall around the collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Whether there is one.
    pub enabled: bool,
    /// Namespaces that may send telemetry; empty means all.
    pub namespaces: Vec<String>,
    /// Namespaces that may read metrics.
    pub monitoring_namespaces: Vec<String>,
    /// Addresses of the API server; empty means any.
    pub api_server: Vec<String>,
    /// Ports of the API server and of kubelets.
    pub api_server_ports: Vec<u16>,
    /// Where exporters may connect to.
    pub backends: Vec<Backend>,
}

/// A backend, by its namespace or its addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cidr: String,
    /// Its ports.
    pub ports: Vec<u16>,
}

/// What Prometheus and Grafana need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitoring {
    /// Whether there are a ServiceMonitor and a PodMonitor.
    pub monitors: bool,
    /// Whether there is a PrometheusRule.
    pub rules: bool,
    /// Whether there are dashboards.
    pub dashboards: bool,
    /// Namespace of these objects; empty means the collector's.
    pub namespace: String,
    /// Labels of these objects.
    pub labels: BTreeMap<String, String>,
    /// How often metrics are read.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m)$"))]
    pub interval: String,
    /// Page that alerts link to.
    pub runbook_url: String,
}

/// Two services to see traces with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Demo {
    /// Whether they are installed.
    pub enabled: bool,
    /// Their namespace.
    pub namespace: String,
    /// Whether it is created.
    pub create_namespace: bool,
    /// Their image.
    pub image: String,
    /// Their sidecars.
    pub sidecar: DemoSidecar,
}

/// Resources of the demo's sidecars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DemoSidecar {
    /// CPU requested.
    pub cpu: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory requested.
    pub memory: String,
    /// Memory limit.
    pub memory_limit: String,
    /// Worker threads of Envoy.
    pub concurrency: u32,
}

/// What puts an installation to the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trials {
    /// Load on the collector.
    pub load: Load,
    /// Loss of collectors.
    pub chaos: Chaos,
}

/// A job that sends spans at a rising rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Whether it runs.
    pub enabled: bool,
    /// Image with k6.
    pub image: String,
    /// Requests a second at the top.
    #[schemars(range(min = 1))]
    pub requests_per_second: u32,
    /// How long each of the four stages lasts.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m)$"))]
    pub stage: String,
}

/// A schedule that kills one pod at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Chaos {
    /// Whether it is there.
    pub enabled: bool,
    /// When, in cron's words.
    pub schedule: String,
}
