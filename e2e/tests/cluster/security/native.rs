//! Envoy's own tracing and access logs, as `tracing.mode=native` sets them up.

use std::collections::BTreeSet;

use otelmesh_e2e::mesh::{FRONTEND, GATEWAY, HOPS, Mesh};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

#[test]
fn native_mode_traces_and_logs_with_attributes_and_the_traces_ids() {
    let mesh = Mesh::enter("native");
    mesh.lend(&provider(mesh.receiver.grpc().port()));
    let values = mesh.values(&json!({"tracing": {"mode": "native", "native": {
        "provider": "native", "samplingPercentage": 100.0, "environment": "test", "accessLogs": true,
    }}}));
    run(mesh.otelmesh(&["install", "--yes", "-f"]).arg(values));
    mesh.wait_until("Envoy's own spans and logs arrive", || {
        mesh.requests("client", &["-n", "3", FRONTEND]);
        let now = mesh.snapshot();
        now.spans().len() >= HOPS && now.logs().len() >= HOPS
    });
    let answers = mesh.requests("client", &["-n", "20", FRONTEND]);
    assert_eq!(answers.bad(), 0, "{answers:?}");
    let ids = || -> BTreeSet<(String, String)> {
        mesh.snapshot().spans().into_iter().map(|span| (span.trace_id, span.span_id)).collect()
    };
    mesh.wait_until("20 traces with a log for each span", || {
        let of = |log: &otelmesh::telemetry::Log| ids().contains(&(log.trace_id.clone(), log.span_id.clone()));
        mesh.snapshot().logs().iter().filter(|log| of(log)).count() >= 20 * HOPS
    });
    let spans = mesh.snapshot().spans();
    let tagged = spans.iter().filter(|span| span.attributes.get("deployment.environment.name") == Some(&json!("test")));
    assert_eq!(tagged.count(), spans.len(), "each span has the environment's tag");
    for log in mesh.snapshot().logs() {
        assert_eq!(log.attributes["http.request.method"], "GET", "{log:?}");
        assert_eq!(log.attributes["k8s.namespace.name"], "shop", "{log:?}");
    }
    mesh.done(&format!(
        "20 requests, 0 failed; {} spans and {} logs received, {} of each expected at least",
        spans.len(),
        mesh.snapshot().logs().len(),
        20 * HOPS
    ));
}

/// Where Istio's mesh configuration has its provider `native`, which leads to the test's receiver.
fn provider(port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tracing"}},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend", "namespace": "tracing"},
            "spec": {"ports": [{"name": "grpc", "port": 4317, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "backend", "namespace": "tracing", "labels": {"kubernetes.io/service-name": "backend"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "grpc", "port": port}],
            "endpoints": [{"addresses": [GATEWAY.to_string()], "conditions": {"ready": true}}],
        },
    ]})
}
