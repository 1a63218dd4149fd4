//! What types cannot say about the collector's values.
//!
//! In: typed values. Out: lines for keys that are wrong. Refuses names that are none, exporters without an endpoint,
//! traces that would be sampled twice or torn apart, and a way in from outside that anyone could use.

use super::{is_label, must};
use crate::values::{CollectorMode, ExporterType, Mtls, SamplingMode, Signal, Values};

/// Longest name of a collector: its objects add `-cluster-metrics` to it, and pods eleven characters of their own.
const MAX_NAME: usize = 36;
/// Own telemetry, the queue and the lease were settled by this version.
const OLDEST: u32 = 110;
/// With the leader elector, on which the cluster's metrics rest.
const OLDEST_WITH_LEASES: u32 = 130;

pub(super) fn check(values: &Values, wrong: &mut Vec<String>) {
    let collector = &values.collector;
    let installed = collector.mode != CollectorMode::None;
    let exporter = values.filter.config.0.get("exporter");
    let cluster = exporter.and_then(|e| e.get("cluster")).and_then(|c| c.as_str()).unwrap_or_default();
    if installed || cluster.is_empty() {
        let name = &collector.name;
        must(
            wrong,
            is_label(name) && name.len() <= MAX_NAME,
            format_args!("collector.name: {name:?} is no name of a Service, or is longer than {MAX_NAME} characters"),
        );
        let namespace = &collector.namespace;
        must(wrong, is_label(namespace), format_args!("collector.namespace: {namespace:?} is no namespace"));
        let domain = &collector.cluster_domain;
        let is_domain = !domain.is_empty() && domain.split('.').all(is_label);
        must(wrong, is_domain, format_args!("collector.clusterDomain: {domain:?} is no DNS domain"));
    }
    if !installed {
        return;
    }
    version(values, wrong);
    for origin in &collector.cors_allowed_origins {
        must(wrong, origin != "*", "collector.corsAllowedOrigins: * lets every page on the web post; name the pages");
    }
    must(
        wrong,
        !collector.kubelet_metrics || has_agents(collector.mode),
        "collector.kubeletMetrics: needs agents, one on each node; set collector.mode to agent or agent-gateway",
    );
    let scaling = &collector.gateway.autoscaling;
    must(
        wrong,
        scaling.min_replicas <= scaling.max_replicas,
        format_args!("collector.gateway.autoscaling.minReplicas: is more than maxReplicas ({})", scaling.max_replicas),
    );
    sampling(values, wrong);
    exporters(values, wrong);
    let open = values.security.jwt.issuer.is_empty() || values.security.mtls == Mtls::Disable;
    must(
        wrong,
        !(collector.external.enabled && open),
        "collector.external.enabled: would be open to all; set security.jwt.issuer, and security.mtls to PERMISSIVE or \
         STRICT for the sidecar that checks tokens",
    );
}

fn has_agents(mode: CollectorMode) -> bool {
    matches!(mode, CollectorMode::Agent | CollectorMode::AgentGateway)
}

fn version(values: &Values, wrong: &mut Vec<String>) {
    let version = &values.collector.version;
    let minor: Option<u32> = version.strip_prefix("0.").and_then(|rest| rest.split('.').next()?.parse().ok());
    let oldest = if values.collector.cluster_metrics { OLDEST_WITH_LEASES } else { OLDEST };
    must(
        wrong,
        minor.is_some_and(|minor| minor >= oldest),
        format_args!("collector.version: {version:?} must be 0.{oldest}.0 or later, and written like that"),
    );
}

fn sampling(values: &Values, wrong: &mut Vec<String>) {
    let (mode, collector) = (values.collector.sampling.mode, &values.collector);
    if mode == SamplingMode::None {
        return;
    }
    let head = values.filter.config.0.get("sampling").and_then(|s| s.get("ratio")).and_then(serde_json::Value::as_f64);
    must(
        wrong,
        head.is_none_or(|ratio| ratio >= 1.0),
        format_args!(
            "collector.sampling.mode: the filter samples already, and what is left of both is their product; set \
             filter.config.sampling.ratio to 1, which is {} now",
            head.unwrap_or_default()
        ),
    );
    if mode == SamplingMode::Tail {
        let scales = collector.gateway.replicas > 1 || collector.gateway.autoscaling.enabled;
        must(
            wrong,
            collector.mode == CollectorMode::AgentGateway || (collector.mode == CollectorMode::Gateway && !scales),
            "collector.sampling.mode: tail needs all spans of a trace in one place; set collector.mode to \
             agent-gateway, or to gateway with collector.gateway.replicas 1",
        );
    }
}

fn exporters(values: &Values, wrong: &mut Vec<String>) {
    for (name, exporter) in &values.collector.exporters {
        let key = format!("collector.exporters.{name}");
        must(wrong, is_label(name), format_args!("{key}: {name:?} must be of lower-case letters, digits and dashes"));
        let debug = exporter.r#type == ExporterType::Debug;
        must(wrong, debug || !exporter.endpoint.is_empty(), format_args!("{key}.endpoint: is missing"));
        must(
            wrong,
            exporter.r#type != ExporterType::OtlpHttp
                || exporter.endpoint.is_empty()
                || exporter.endpoint.starts_with("http://")
                || exporter.endpoint.starts_with("https://"),
            format_args!("{key}.endpoint: {:?} must begin with http:// or https://", exporter.endpoint),
        );
        must(
            wrong,
            exporter.r#type != ExporterType::PrometheusRemoteWrite
                || exporter.signals.iter().all(|signal| *signal == Signal::Metrics),
            format_args!("{key}.signals: remote write takes metrics only"),
        );
    }
}
