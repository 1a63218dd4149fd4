//! Collectors that Istio would keep from proxies: hidden by a Sidecar resource, or behind a Service that it cannot route to.

use std::thread;
use std::time::Duration;

use otelmesh_e2e::mesh::{FRONTEND, Mesh};
use serde_json::json;

#[test]
fn a_cluster_of_its_own_reaches_a_collector_that_a_sidecar_resource_hides() {
    let mesh = Mesh::enter("hidden");
    mesh.lend(&json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"name": "narrow", "namespace": "shop"},
        "spec": {"egress": [{"hosts": ["./*", "istio-system/*"]}]},
    }));
    mesh.deploy(&json!({}));
    let exported = mesh.counter("client", "spans_exported");
    let answers = mesh.requests("client", &["-n", "10", FRONTEND]);
    assert_eq!(answers.bad(), 0, "{answers:?}");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(mesh.counter("client", "spans_exported"), exported, "Istio's own cluster is hidden");
    assert_eq!(mesh.snapshot().spans().len(), 0);

    mesh.install(&json!({"filter": {"ownCluster": true}}));
    let mut strict = super::strict();
    strict["filter"] = json!({"ownCluster": true});
    mesh.install(&strict);

    // A Service whose ports Istio takes for TCP, and which has no address but those of its pods.
    let service = mesh.get(&["service", "otel-collector", "-n", "otelmesh"]);
    mesh.kubectl(&["-n", "otelmesh", "delete", "service", "otel-collector"]);
    mesh.lend(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "otel-collector", "namespace": "otelmesh", "labels": service["metadata"]["labels"]},
        "spec": {
            "clusterIP": "None", "selector": service["spec"]["selector"],
            "ports": [{"name": "tcp-otlp", "port": 4318, "targetPort": 4318}],
        },
    }));
    mesh.wait_for_whole_trace(FRONTEND);
    let before = mesh.snapshot().spans().len();
    let answers = mesh.requests("client", &["-n", "20", FRONTEND]);
    assert_eq!(answers.bad(), 0, "{answers:?}");
    mesh.wait_until("20 traces", || mesh.snapshot().spans().len() >= before + 20 * 4);
    mesh.done("hidden: 0 spans received; with a cluster of its own whole traces, in plain text, under STRICT, and by a headless Service of TCP ports: 80 of 80 spans received");
}
