//! An Envoy that exports by itself, by its OpenTelemetry tracer and its OTLP access log.

use otelmesh::envoy::bootstrap::{Protocol, Traffic, bootstrap, cluster, http_listener, route};
use otelmesh::envoy::{Envoy, Options};
use serde_json::{Value, json};

use super::Wire;
use crate::proxy::COLLECTOR;
use crate::scripted::Scripted;
use crate::upstream::Upstream;

/// A listener whose Envoy exports by itself.
pub(super) fn listener(wire: Wire) -> Value {
    let mut listener = http_listener("inbound", Traffic::Inbound, vec![], vec![route(&["*"], "inbound")]);
    let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config").expect("a listener of ours");
    let service = |path: &str| match wire {
        Wire::Http => {
            let uri = json!({"uri": format!("http://collector{path}"), "cluster": COLLECTOR, "timeout": "0.5s"});
            ("http_service", json!({"http_uri": uri}))
        }
        Wire::Grpc => ("grpc_service", json!({"envoy_grpc": {"cluster_name": COLLECTOR}, "timeout": "0.5s"})),
    };
    let (key, value) = service("/v1/traces");
    let tracer = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig";
    let mut tracing = json!({"@type": tracer, "service_name": "native"});
    tracing[key] = value;
    manager["tracing"] = json!({"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": tracing}});
    let (key, value) = service("/v1/logs");
    let mut log = json!({
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "common_config": {
            "log_name": "native", "transport_api_version": "V3", "buffer_flush_interval": "0.2s",
            "grpc_service": {"envoy_grpc": {"cluster_name": COLLECTOR}},
        },
        "body": {"string_value": "%REQ(:PATH)%"},
    });
    if wire == Wire::Http {
        log.as_object_mut().expect("an object").remove("common_config");
        log["log_name"] = json!("native");
        log["buffer_flush_interval"] = json!("0.2s");
        log[key] = value;
    } else {
        log["common_config"][key] = value;
    }
    manager["access_log"] = json!([{"name": "envoy.access_loggers.open_telemetry", "typed_config": log}]);
    listener
}

/// An Envoy that exports by itself.
pub(super) async fn start(wire: Wire, upstream: &Upstream, receiver: &Scripted) -> Envoy {
    let node = json!({"id": "native", "cluster": "native"});
    let clusters = vec![
        cluster("inbound", upstream.address(), Protocol::Http1),
        cluster(COLLECTOR, receiver.address(), wire.speaks()),
    ];
    let mut bootstrap = bootstrap(node, vec![listener(wire)], clusters);
    flush_often(&mut bootstrap);
    let (binary, options) = (crate::envoy(), Options::default());
    let envoy = Envoy::start(&binary, "native", &bootstrap, &options).await;
    envoy.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Has Envoy's tracer flush as often as the filter does here, and not before.
pub(super) fn flush_often(bootstrap: &mut Value) {
    let values = json!({"tracing.opentelemetry.flush_interval_ms": 200, "tracing.opentelemetry.min_flush_spans": 100});
    bootstrap["layered_runtime"] = json!({"layers": [{"name": "static", "static_layer": values}]});
}
