//! A waypoint of the real istiod, and the filter in it by reference. ztunnel is not here: the ingress gateway itself opens
//! the tunnel to the waypoint, which asks a pod without a sidecar.

use otelmesh_e2e::mesh::{Mesh, trace_id};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

const URL: &str = "http://istio-ingressgateway.istio-system/orders/7";
const HOST: &str = "host: harbour.example";
const PARENT: &str = "00f067aa0ba902b7";
const WAYPOINT: &str = "harbour/waypoint";

#[test]
fn a_waypoint_has_the_filter_by_reference_and_its_spans_stand_between_the_gateways_and_the_pod() {
    let mesh = Mesh::enter("waypoint");
    mesh.lend_file("waypoint.yaml");
    for deployment in ["depot", "waypoint"] {
        mesh.wait_until("the waypoint's namespace runs", || {
            !mesh.get(&["-n", "harbour", "deployment", deployment]).is_null()
        });
        mesh.kubectl(&["-n", "harbour", "rollout", "status", &format!("deployment/{deployment}"), "--timeout=120s"]);
    }
    // A sidecar of the collector's sets up its own redirection.
    mesh.deploy(&json!({"security": {"mtls": "STRICT"}, "collector": {"podSecurity": "privileged"}}));
    let mut received = 0;
    for (kind, values) in [
        ("TrafficExtension", json!({"filter": {"delivery": "wasmplugin"}})),
        ("WasmPlugin", json!({"filter": {"delivery": "wasmplugin"}, "mesh": {"istioVersion": "1.29"}})),
        ("EnvoyFilter", json!({"filter": {"delivery": "envoyfilter"}})),
    ] {
        install(&mesh, kind, values);
        let trace = trace_id();
        let parent = format!("traceparent: 00-{trace}-{PARENT}-01");
        let answers = mesh.requests("outside/stranger", &["-H", HOST, "-H", &parent, URL]);
        assert_eq!(answers.bad(), 0, "{answers:?}");
        let spans = mesh.spans_of(&trace, 2);
        let mut parent = PARENT;
        for service in ["istio-ingressgateway", "waypoint"] {
            let span = spans.iter().find(|span| span.parent_span_id == parent);
            let span = span.unwrap_or_else(|| panic!("{kind}: {service} has no parent {parent}: {spans:#?}"));
            assert_eq!((span.service.as_str(), span.kind.as_str()), (service, "SERVER"), "{kind}");
            parent = &span.span_id;
        }
        let seen: Value = serde_json::from_str(&answers.last).expect("JSON");
        assert_eq!(
            seen["headers"]["Traceparent"],
            json!([format!("00-{trace}-{parent}-01")]),
            "{kind}: the pod's caller"
        );
        assert_eq!(mesh.logs_of(&trace, 2).len(), 2, "{kind}: one log a hop");
        received += spans.len();
    }
    let of_both = [&[][..], &["--release-name", "waypoint"]];
    for release in of_both {
        // Not by its verdict: it also tells what these proxies dropped in other subjects.
        let output = mesh.otelmesh(&[&["check"], release].concat()).output().expect("otelmesh runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("√ every proxy runs the filter"), "{said}");
    }
    mesh.done(&format!(
        "3 requests through the gateway, a tunnel and the waypoint to a pod without a sidecar, by TrafficExtension, \
         WasmPlugin and EnvoyFilter with targetRefs, to a STRICT collector; {received} of 6 spans and 6 logs received, linked"
    ));
}

/// A release for the waypoint alone, beside the mesh's, and waits until the waypoint runs the filter as `kind` has it.
fn install(mesh: &Mesh, kind: &str, mut values: Value) {
    values["filter"]["namespace"] = json!("harbour");
    values["filter"]["targetRefs"] =
        json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "waypoint"}]);
    values["collector"] = json!({"mode": "none"});
    values["security"] = json!({"mtls": "STRICT"});
    run(mesh.otelmesh(&["install", "--yes", "--release-name", "waypoint", "-f"]).arg(mesh.values(&values)));
    mesh.wait_until(&format!("the waypoint records by {kind}"), || {
        let dump = mesh.envoy(WAYPOINT, "config_dump?resource=ecds_filters");
        let name = match kind {
            "TrafficExtension" => "extensions.istio.io/trafficextension/harbour.waypoint\"",
            "WasmPlugin" => "extensions.istio.io/trafficextension/harbour.waypoint~istio-translated-wasmplugin\"",
            _ => "\"harbour.waypoint\"",
        };
        let before = mesh.counter(WAYPOINT, "spans_recorded");
        mesh.requests("outside/stranger", &["-H", HOST, URL]);
        dump.matches(name).count() > 0 && mesh.counter(WAYPOINT, "spans_recorded") == before + 1
    });
}
