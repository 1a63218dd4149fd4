//! Where records go, and the bounds on the way.

use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::limits::*;
use crate::read::{object, words};

/// How exports are carried, `OTEL_EXPORTER_OTLP_PROTOCOL` of the OpenTelemetry specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Protocol {
    /// OTLP/HTTP with protobuf, port 4318 by default.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// OTLP/gRPC, port 4317 by default; the cluster has to speak HTTP/2.
    #[serde(rename = "grpc")]
    Grpc,
}

/// How exports are made smaller, `OTEL_EXPORTER_OTLP_COMPRESSION` of the OpenTelemetry specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By Envoy's zlib, where this Envoy offers it and as long as the receiver takes it.
    Gzip,
}

/// What goes when there is no room for another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DropPolicy {
    /// The record that comes: what happened at the beginning of an outage is kept.
    #[default]
    Newest,
    /// The batch that has waited longest: what happened last is kept.
    Oldest,
}

/// An OTLP receiver that Envoy knows as a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Exporter {
    /// Envoy's name of the collector's cluster, in Istio `outbound|4318||SERVICE.NAMESPACE.svc.CLUSTER-DOMAIN`.
    pub cluster: String,
    /// The `:authority` of export requests; empty means the host part of `cluster`.
    pub authority: String,
    /// How exports are carried.
    pub protocol: Protocol,
    /// How exports are made smaller.
    pub compression: Compression,
    /// Path of trace exports over HTTP.
    pub traces_path: String,
    /// Path of log exports over HTTP.
    pub logs_path: String,
    /// Path of metric exports over HTTP.
    pub metrics_path: String,
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
    /// What goes when there is no room for another record.
    pub drop_policy: DropPolicy,
    /// Export calls under way at once, 1 to 16.
    pub max_in_flight: u32,
}

object!(Exporter {
    cluster = "cluster",
    authority = "authority",
    protocol = "protocol",
    compression = "compression",
    traces_path = "tracesPath",
    logs_path = "logsPath",
    metrics_path = "metricsPath",
    timeout = "timeout",
});
object!(Batch {
    schedule_delay = "scheduleDelay",
    max_export_batch_size = "maxExportBatchSize",
    max_export_batch_bytes = "maxExportBatchBytes",
    max_queue_bytes = "maxQueueBytes",
    drop_policy = "dropPolicy",
    max_in_flight = "maxInFlight",
});
words!(Protocol { HttpProtobuf = "http/protobuf", Grpc = "grpc" });
words!(Compression { None = "none", Gzip = "gzip" });
words!(DropPolicy { Newest = "newest", Oldest = "oldest" });

// === impl Exporter ===

impl Default for Exporter {
    fn default() -> Self {
        Self {
            cluster: DEFAULT_CLUSTER.to_owned(),
            authority: String::new(),
            protocol: Protocol::HttpProtobuf,
            compression: Compression::None,
            traces_path: DEFAULT_TRACES_PATH.to_owned(),
            logs_path: DEFAULT_LOGS_PATH.to_owned(),
            metrics_path: DEFAULT_METRICS_PATH.to_owned(),
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

// === impl Batch ===

impl Default for Batch {
    fn default() -> Self {
        Self {
            schedule_delay: DEFAULT_SCHEDULE_DELAY,
            max_export_batch_size: DEFAULT_MAX_EXPORT_BATCH_SIZE,
            max_export_batch_bytes: DEFAULT_MAX_EXPORT_BATCH_BYTES,
            max_queue_bytes: DEFAULT_MAX_QUEUE_BYTES,
            drop_policy: DropPolicy::Newest,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        }
    }
}
