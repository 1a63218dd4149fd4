//! A request from outside, through an ingress gateway.

use otelmesh_e2e::mesh::{Mesh, trace_id};
use serde_json::json;

const GATEWAY: &str = "http://istio-ingressgateway.istio-system/orders/7";

#[test]
fn a_gateway_serves_the_outside_and_calls_the_mesh_in_the_same_trace() {
    let mesh = Mesh::enter("gateway");
    mesh.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "front", "namespace": "shop"},
            "spec": {
                "selector": {"istio": "ingressgateway"},
                "servers": [{"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
            },
        },
        {
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "front", "namespace": "shop"},
            "spec": {
                "hosts": ["*"], "gateways": ["front"],
                "http": [{"route": [{"destination": {"host": "frontend.shop.svc.cluster.local", "port": {"number": 8080}}}]}],
            },
        },
    ]}));
    for delivery in ["wasmplugin", "envoyfilter"] {
        mesh.install(&json!({"filter": {"delivery": delivery}}));
        mesh.wait_until("the gateway serves and records", || {
            mesh.requests("outside/stranger", &[GATEWAY]).bad() == 0
                && mesh.snapshot().spans().iter().any(|span| span.service == "istio-ingressgateway")
        });
        let trace = trace_id();
        let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
        let answers =
            mesh.requests("outside/stranger", &["-H", &parent, "-H", "x-forwarded-for: 203.0.113.7", GATEWAY]);
        assert_eq!(answers.bad(), 0, "{answers:?}");
        let spans = mesh.spans_of(&trace, 4);
        let mut parent = "00f067aa0ba902b7".to_owned();
        for (service, kind) in
            [("istio-ingressgateway", "SERVER"), ("frontend", "SERVER"), ("frontend", "CLIENT"), ("backend", "SERVER")]
        {
            let span = spans.iter().find(|span| span.parent_span_id == parent);
            let span = span.unwrap_or_else(|| panic!("{service} {kind} has no parent {parent}: {spans:#?}"));
            assert_eq!((span.service.as_str(), span.kind.as_str()), (service, kind));
            parent.clone_from(&span.span_id);
        }
    }
    mesh.kubectl(&[
        "-n",
        "shop",
        "delete",
        "gateways.networking.istio.io/front",
        "virtualservices.networking.istio.io/front",
    ]);
    mesh.done("2 requests from outside, 2 deliveries; 8 of 8 spans received in 2 whole traces");
}
