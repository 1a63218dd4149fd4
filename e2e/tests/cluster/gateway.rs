//! Requests from outside, through an ingress gateway that believes its callers, and through one that does not.

use otelmesh::telemetry::{Link, Span};
use otelmesh_e2e::mesh::{INGRESS, Mesh, trace_id};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

/// The shop, from outside.
pub(crate) const URL: &str = "http://istio-ingressgateway.istio-system/orders/7";
/// Who has no sidecar.
pub(crate) const OUTSIDE: &str = "outside/stranger";
const PARENT: &str = "00f067aa0ba902b7";
/// A host that is not of the mesh, for which some backend of it stands in.
const PARTNER: &str = "partner.example";

#[test]
fn a_gateway_serves_the_outside_and_calls_the_mesh_in_the_same_trace() {
    let mesh = Mesh::enter("gateway");
    mesh.lend(&front());
    for delivery in ["wasmplugin", "envoyfilter"] {
        mesh.install(&json!({"filter": {"delivery": delivery}}));
        let trace = trace_id();
        mesh.wait_until("the gateway serves and records", || {
            mesh.requests(OUTSIDE, &[URL]).bad() == 0 && mesh.counter(INGRESS, "spans_recorded") > 0
        });
        let parent = format!("traceparent: 00-{trace}-{PARENT}-01");
        let answers = mesh.requests(OUTSIDE, &["-H", &parent, "-H", "x-forwarded-for: 203.0.113.7", URL]);
        assert_eq!(answers.bad(), 0, "{answers:?}");
        assert_chain(&mesh.spans_of(&trace, 4), PARENT);
    }
    distrust(&mesh);
    boundary(&mesh);
    mesh.done(
        "2 requests from outside, 2 deliveries; 8 of 8 spans received in 2 whole traces; a distrusted caller linked, not \
         continued; nothing of a trace beyond a boundary",
    );
}

/// The gateway serves everybody with the shop's frontend.
pub(crate) fn front() -> Value {
    let destination = json!({"host": "frontend.shop.svc.cluster.local", "port": {"number": 8080}});
    json!({"apiVersion": "v1", "kind": "List", "items": [
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
            "spec": {"hosts": ["*"], "gateways": ["front"], "http": [{"route": [{"destination": destination}]}]},
        },
    ]})
}

/// Each hop is the child of the one before, from the gateway on.
fn assert_chain(spans: &[Span], parent: &str) {
    let mut parent = parent.to_owned();
    for (service, kind) in
        [("istio-ingressgateway", "SERVER"), ("frontend", "SERVER"), ("frontend", "CLIENT"), ("backend", "SERVER")]
    {
        let span = spans.iter().find(|span| span.parent_span_id == parent);
        let span = span.unwrap_or_else(|| panic!("{service} {kind} has no parent {parent:?}: {spans:#?}"));
        assert_eq!((span.service.as_str(), span.kind.as_str()), (service, kind));
        parent.clone_from(&span.span_id);
    }
}

/// One release for the shop, and another for the gateway, which links what callers say of their trace and begins its own.
fn distrust(mesh: &Mesh) {
    mesh.install(&json!({"filter": {
        "namespace": "shop",
        "config": {"propagation": {"boundaries": [{"hosts": [PARTNER], "policy": "stripWithBaggage"}]}},
    }}));
    let edge = mesh.values(&json!({
        "filter": {
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
            "config": {"propagation": {"trust": "none"}},
        },
        "collector": {"mode": "none"},
    }));
    run(mesh.otelmesh(&["install", "--yes", "--release-name", "edge", "-f"]).arg(edge));
    let outside = trace_id();
    let parent = format!("traceparent: 00-{outside}-{PARENT}-01");
    let caller = [Link { trace_id: outside.clone(), span_id: PARENT.to_owned() }];
    let linked = || mesh.snapshot().spans().into_iter().find(|span| span.links == caller);
    mesh.wait_until("the gateway links its caller", || {
        assert_eq!(mesh.requests(OUTSIDE, &["-H", &parent, URL]).bad(), 0);
        linked().is_some()
    });
    let span = linked().expect("it was there");
    assert_eq!((span.service.as_str(), span.kind.as_str()), ("istio-ingressgateway", "SERVER"));
    assert_ne!(span.trace_id, outside);
    assert_chain(&mesh.spans_of(&span.trace_id, 4), "");
    assert!(mesh.counter(INGRESS, "traces_distrusted") > 0);
}

/// What the mesh sends to others tells them nothing of the trace, in which its own span stays.
fn boundary(mesh: &Mesh) {
    let trace = trace_id();
    let parent = format!("traceparent: 00-{trace}-{PARENT}-01");
    let host = format!("host: {PARTNER}:8080");
    let url = "http://backend.shop:8080/orders/7";
    for (host, beyond) in [("host: backend.shop:8080", false), (&host, true)] {
        let answers = mesh.requests("client", &["-H", &parent, "-H", "baggage: tenant=7", "-H", host, url]);
        assert_eq!(answers.bad(), 0, "{answers:?}");
        let seen: Value = serde_json::from_str(&answers.last).expect("JSON");
        let seen = seen["headers"].to_string();
        assert_eq!((seen.contains(&trace), seen.contains("tenant=7")), (!beyond, !beyond), "{host}: {seen}");
    }
    let spans = mesh.spans_of(&trace, 3);
    assert_eq!(spans.iter().filter(|span| span.service == "client" && span.parent_span_id == PARENT).count(), 2);
}
