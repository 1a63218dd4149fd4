//! Values of the collector.
//!
//! In: the key `collector`. Out: typed values. Refuses nothing but wrong types; what hangs together is checked in
//! [`super::check`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CollectorConfig, Exporter, PullPolicy, Sampling, SecretKey};

/// The collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Collector {
    /// Which collectors are installed.
    pub mode: CollectorMode,
    /// Name of the Service that takes OTLP, and of the collector's objects.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether the namespace is created.
    pub create_namespace: bool,
    /// Level of the Pod Security Standards that it enforces; empty sets none.
    #[schemars(regex(pattern = "^(restricted|baseline|privileged)?$"))]
    pub pod_security: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Version of the collector, which its configuration follows.
    #[schemars(regex(pattern = r"^0\.[0-9]+\.[0-9]+$"))]
    pub version: String,
    /// Its image.
    pub image: CollectorImage,
    /// Sizes of batches, queues, CPU and memory.
    pub preset: Preset,
    /// The pods on each node.
    pub agent: Agent,
    /// The pods that scale.
    pub gateway: Gateway,
    /// Origins of web pages that may post OTLP/HTTP.
    pub cors_allowed_origins: Vec<String>,
    /// Whether metrics of the cluster's objects are collected.
    pub cluster_metrics: bool,
    /// Whether metrics of nodes, pods and containers are collected.
    pub kubelet_metrics: bool,
    /// Whether the kubelet's certificate is taken unverified.
    pub kubelet_insecure_skip_verify: bool,
    /// Which traces are kept.
    pub sampling: Sampling,
    /// Where telemetry is sent on to, by name.
    pub exporters: BTreeMap<String, Exporter>,
    /// Whether the collector logs what `otelmesh verify` sends.
    pub verify: bool,
    /// Laid over the generated configuration.
    pub config: CollectorConfig,
    /// Environment from Secrets.
    pub secret_env: BTreeMap<String, SecretKey>,
    /// The way in from outside the cluster.
    pub external: External,
}

/// Which collectors are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CollectorMode {
    /// None: the Service is someone else's.
    None,
    /// One pod on each node.
    Agent,
    /// Pods that scale.
    Gateway,
    /// Agents that send to gateways.
    AgentGateway,
}

/// The collector's image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorImage {
    /// Registry, with its port if it has one.
    pub registry: String,
    /// Repository in the registry.
    pub repository: String,
    /// Tag; empty means `collector.version`.
    #[schemars(regex(pattern = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"))]
    pub tag: String,
    /// Digest; wins over the tag.
    #[schemars(regex(pattern = r"^(sha256:[a-f0-9]{64})?$"))]
    pub digest: String,
    /// When nodes pull; empty leaves it to Kubernetes.
    pub pull_policy: PullPolicy,
    /// Name of a pull secret in the collector's namespace.
    pub pull_secret: String,
}

/// Sizes that fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// For a few hundred spans a second.
    Small,
    /// For a few thousand.
    Medium,
    /// For tens of thousands.
    Large,
}

/// The agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agent {
    /// Millicores requested; 0 means the preset's.
    pub cpu: u32,
    /// MiB requested, and the limit; 0 means the preset's.
    pub memory: u32,
    /// Labels of the nodes that it may run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it bears.
    pub tolerations: Vec<Toleration>,
    /// Its priority class; empty means none.
    pub priority_class_name: String,
}

/// The gateways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// How many, unless they scale by themselves.
    #[schemars(range(min = 1))]
    pub replicas: u32,
    /// Millicores requested; 0 means the preset's.
    pub cpu: u32,
    /// MiB requested, and the limit; 0 means the preset's.
    pub memory: u32,
    /// Labels of the nodes that it may run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it bears.
    pub tolerations: Vec<Toleration>,
    /// Its priority class; empty means none.
    pub priority_class_name: String,
    /// Pods that may be away at once; 0 writes no PodDisruptionBudget.
    pub max_unavailable: u32,
    /// Whether two may share a node.
    pub anti_affinity: AntiAffinity,
    /// How they scale.
    pub autoscaling: Autoscaling,
    /// Whether what waits is kept on a volume.
    pub persistence: Persistence,
}

/// Kubernetes' own toleration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Toleration(pub Map<String, Value>);

/// Whether two gateways may share a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AntiAffinity {
    /// Where it cannot be helped.
    Soft,
    /// Never.
    Hard,
}

/// How gateways scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Whether they do.
    pub enabled: bool,
    /// Fewest.
    #[schemars(range(min = 1))]
    pub min_replicas: u32,
    /// Most.
    #[schemars(range(min = 1))]
    pub max_replicas: u32,
    /// Percentage of the requested CPU that is aimed at.
    #[schemars(range(min = 1, max = 100))]
    pub cpu: u32,
    /// Percentage of the requested memory that is aimed at.
    #[schemars(range(min = 1, max = 100))]
    pub memory: u32,
    /// Spans that one pod should take in each second; 0 does without.
    pub accepted_spans_per_pod: u32,
}

/// A volume for what waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Persistence {
    /// Whether there is one.
    pub enabled: bool,
    /// Its size.
    #[schemars(regex(pattern = "^[0-9]+(Mi|Gi|Ti)$"))]
    pub size: String,
    /// Its class; empty means the cluster's default.
    pub storage_class: String,
}

/// The way in from outside the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    /// Whether there is one.
    pub enabled: bool,
    /// Annotations of its Service.
    pub annotations: BTreeMap<String, String>,
    /// Addresses that may connect; empty means all.
    pub source_ranges: Vec<String>,
}
