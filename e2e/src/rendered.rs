//! What the chart renders, for the programs that judge it.
//!
//! In: arguments of `otelmesh render`. Out: the objects. Refuses values that do not render.

use serde_json::Value;

use crate::tools::{otelmesh, run};

/// What every profile needs beside itself.
pub const NEEDED: &str = "filter.image.registry=r.example:5000,demo.image=r.example:5000/shop:1";

/// Installations that between them render every object and every branch worth judging, with a name for messages.
pub const INSTALLATIONS: &[(&str, &[&str])] = &[
    ("the defaults", &[]),
    ("demo", &["--profile", "demo"]),
    ("agent", &["--profile", "agent"]),
    ("gateway", &["--profile", "gateway"]),
    ("production", &["--profile", "production"]),
    (
        "production with backends, tokens and a way in",
        &[
            "--profile",
            "production",
            "--set",
            "collector.exporters.jaeger.type=otlp_grpc,collector.exporters.jaeger.endpoint=jaeger.jaeger:4317,\
             collector.exporters.jaeger.signals={traces},collector.exporters.jaeger.config.tls.insecure=true,\
             collector.exporters.loki.type=otlp_http,collector.exporters.loki.endpoint=http://loki.loki:3100/otlp,\
             collector.exporters.loki.signals={logs},\
             collector.exporters.prometheus.type=prometheus_remote_write,\
             collector.exporters.prometheus.endpoint=http://prometheus.monitoring:9090/api/v1/write",
            "--set",
            "collector.external.enabled=true,collector.external.sourceRanges={203.0.113.0/24},\
             security.jwt.issuer=https://issuer.example,security.jwt.jwksUri=https://issuer.example/keys,\
             security.jwt.audiences={otelmesh},security.allow.namespaces={shop},security.allow.serviceAccounts={web/front},\
             security.plaintextPorts={4318}",
            "--set",
            "security.networkPolicy.namespaces={shop},security.networkPolicy.apiServer={10.0.0.1/32},\
             security.networkPolicy.backends[0].namespace=loki,security.networkPolicy.backends[0].ports={3100},\
             security.networkPolicy.backends[1].cidr=203.0.113.7/32,security.networkPolicy.backends[1].ports={443}",
            "--set",
            "traffic.subsets.blue.version=v1,collector.gateway.autoscaling.acceptedSpansPerPod=5000,\
             trials.load.enabled=true,collector.secretEnv.TOKEN.name=backend,collector.secretEnv.TOKEN.key=token,mesh.revision=1-30",
        ],
    ),
    ("a TrafficExtension", &["--set", "mesh.istioVersion=1.30,filter.selector.matchLabels.app=shop"]),
    (
        "an EnvoyFilter that brings its cluster, towards a collector with a sidecar",
        &["--set", "filter.delivery=envoyfilter,filter.ownCluster=true,security.mtls=STRICT,filter.env.A=b"],
    ),
    (
        "a waypoint",
        &[
            "--set",
            "filter.namespace=shop,filter.targetRefs[0].kind=Gateway,filter.targetRefs[0].name=waypoint,\
             filter.targetRefs[0].group=gateway.networking.k8s.io,filter.image.pullPolicy=Always,filter.image.pullSecret=s",
        ],
    ),
    (
        "Envoy's own tracing and access logs",
        &["--set", "tracing.mode=native,tracing.native.environment=production,tracing.native.accessLogs=true"],
    ),
    (
        "one gateway that samples whole traces",
        &["--set", "collector.gateway.replicas=1,collector.sampling.mode=tail,filter.config.sampling.ratio=1"],
    ),
    (
        "gateways that sample",
        &[
            "--set",
            "collector.sampling.mode=probabilistic,filter.config.sampling.ratio=1,collector.corsAllowedOrigins={https://shop.example}",
        ],
    ),
    ("a collector elsewhere", &["--set", "collector.mode=none,monitoring.monitors=true,monitoring.rules=true"]),
];

/// The objects that an installation renders.
///
/// # Panics
/// If it does not render.
pub fn objects(args: &[&str]) -> Vec<Value> {
    let list = run(otelmesh().args(["render", "-o", "json", "--set", NEEDED]).args(args));
    let mut list: Value = serde_json::from_str(&list).expect("the list is JSON");
    serde_json::from_value(list["items"].take()).expect("a list has items")
}

/// The same as text that programs take as a file.
///
/// # Panics
/// If it does not render.
pub fn text(args: &[&str]) -> String {
    run(otelmesh().args(["render", "--set", NEEDED]).args(args))
}

/// The collector's configurations that an installation renders, by their ConfigMap's name.
///
/// # Panics
/// If it does not render.
pub fn collectors(args: &[&str]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let configured = |object: &Value| object["data"]["config.yaml"].is_string();
    let configs = objects(args).into_iter().filter(configured);
    configs.map(|object| (text(&object["metadata"]["name"]), text(&object["data"]["config.yaml"]))).collect()
}
