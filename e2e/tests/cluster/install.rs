//! From a mesh without telemetry to linked spans and logs, in every format and by both deliveries.

use otelmesh::telemetry::Span;
use otelmesh_e2e::mesh::{FRONTEND, HOPS, Mesh, trace_id};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

const PARENT: &str = "00f067aa0ba902b7";

#[test]
fn a_bare_mesh_gets_linked_spans_and_logs_in_every_format_by_both_deliveries() {
    let mesh = Mesh::enter("install");
    let values = mesh.values(&json!({}));
    let before = run(mesh.otelmesh(&["check", "--pre", "-f"]).arg(&values));
    assert!(before.contains("√ no check failed"), "{before}");

    let node = mesh.node();
    let mut received = 0;
    for delivery in ["wasmplugin", "envoyfilter"] {
        mesh.install(&json!({"filter": {"delivery": delivery}}));
        for format in ["tracecontext", "b3", "b3multi"] {
            let trace = trace_id();
            let headers = headers(format, &trace);
            let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
            let answers = mesh.requests("client", &[headers.as_slice(), &[FRONTEND]].concat());
            assert_eq!(answers.bad(), 0, "{answers:?}");
            let spans = mesh.spans_of(&trace, HOPS);
            assert_linked(&spans, &node);
            let logs = mesh.logs_of(&trace, HOPS);
            for log in &logs {
                let of = spans.iter().find(|span| span.span_id == log.span_id);
                assert_eq!(of.map(|span| &span.resource), Some(&log.resource), "a log has its span's id and resource");
            }
            assert_carried(format, &answers.last);
            received += spans.len() + logs.len();
        }
        for workload in ["client", "frontend", "backend"] {
            assert_balanced(&mesh, workload);
        }
        assert_measured(&mesh);
    }
    let after = run(&mut mesh.otelmesh(&["check"]));
    assert!(after.contains("√ no check failed"), "{after}");
    let status = run(&mut mesh.otelmesh(&["status"]));
    assert!(status.contains("is installed"), "{status}");
    assert_verified(&mesh);
    mesh.done(&format!("6 requests, 2 deliveries, 3 formats; {received} of {} records received, 0 lost", 6 * 2 * HOPS));
}

/// `verify` by the records themselves, by the numbers, and from within the mesh; and `report` finds the books balanced.
fn assert_verified(mesh: &Mesh) {
    let by_numbers = run(&mut mesh.otelmesh(&["verify"]));
    assert!(by_numbers.contains("√ b3multi") && by_numbers.contains("to see the records themselves"), "{by_numbers}");
    mesh.install(&json!({"collector": {"verify": true}}));
    let found = run(&mut mesh.otelmesh(&["verify"]));
    assert!(found.matches("1 spans, 1 logs, at the collector").count() == 3 && !found.contains('×'), "{found}");

    let client = mesh.get(&["pods", "-n", "shop", "-l", "app=client"])["items"][0]["metadata"]["name"].clone();
    let client = format!("shop/{}/app", client.as_str().expect("a name"));
    let args = ["verify", "--from", &client, "--url", FRONTEND, "--format", "tracecontext", "-o", "json"];
    let found: Value = serde_json::from_str(&run(&mut mesh.otelmesh(&args))).expect("JSON");
    assert_eq!(found["probes"][0]["spans"].as_array().map(Vec::len), Some(HOPS), "{found}");
    assert_eq!(found["probes"][0]["logs"], HOPS);

    mesh.wait_until("nothing waits", || {
        let report = mesh.otelmesh(&["report", "-o", "json"]).output().expect("otelmesh runs");
        let report: Value = serde_json::from_slice(&report.stdout).unwrap_or_default();
        let spans = &report["proxies"]["signals"]["spans"];
        report["lost"] == json!([])
            && report["silent"] == json!([])
            && spans["recorded"].as_u64().is_some_and(|recorded| recorded > 0)
            && spans["recorded"] == spans["exported"]
            && report["collectors"][0]["signals"]["spans"]["accepted"].as_u64().is_some_and(|accepted| accepted > 0)
    });
}

fn headers(format: &str, trace: &str) -> Vec<String> {
    match format {
        "tracecontext" => vec![format!("traceparent: 00-{trace}-{PARENT}-01")],
        "b3" => vec![format!("b3: {trace}-{PARENT}-1")],
        _ => vec![format!("x-b3-traceid: {trace}"), format!("x-b3-spanid: {PARENT}"), "x-b3-sampled: 1".to_owned()],
    }
}

/// Each hop is the child of the one before, and says whose it is.
fn assert_linked(spans: &[Span], node: &str) {
    let mut parent = PARENT.to_owned();
    for (service, kind, peer) in [
        ("client", "CLIENT", "frontend"),
        ("frontend", "SERVER", "client"),
        ("frontend", "CLIENT", "backend"),
        ("backend", "SERVER", "frontend"),
    ] {
        let span = spans.iter().find(|span| span.parent_span_id == parent);
        let span = span.unwrap_or_else(|| panic!("{service} {kind} has no parent {parent}: {spans:#?}"));
        assert_eq!((span.service.as_str(), span.kind.as_str()), (service, kind), "{spans:#?}");
        assert_eq!(span.attributes["http.response.status_code"], 200);
        // From the certificates of mutual TLS, on both sides.
        let identity = format!("spiffe://cluster.local/ns/shop/sa/{peer}");
        assert_eq!(span.text("otelmesh.peer.principal"), identity, "{service} {kind}: {:#?}", span.attributes);
        let resource = |key: &str| span.resource.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert_eq!(resource("k8s.namespace.name"), "shop");
        assert!(resource("k8s.pod.name").starts_with(&format!("{service}-")), "{:#?}", span.resource);
        assert_eq!(resource("k8s.deployment.name"), service, "{:#?}", span.resource);
        // From the collector, which asked the API server about the pod's address.
        assert!(!resource("k8s.pod.uid").is_empty(), "{:#?}", span.resource);
        assert_eq!(resource("k8s.node.name"), node);
        parent.clone_from(&span.span_id);
    }
}

/// The applications got the caller's format, and W3C's beside it.
fn assert_carried(format: &str, last: &str) {
    let answer: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}"));
    for headers in [&answer["headers"], &answer["upstream"]["headers"]] {
        let expected = match format {
            "tracecontext" => &["Traceparent"][..],
            "b3" => &["Traceparent", "B3"],
            _ => &["Traceparent", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled"],
        };
        for name in expected {
            assert!(headers[name].is_array(), "{format}: no {name} in {headers}");
        }
    }
}

/// Every workload tells how long its exchanges took, and whose pod it is.
fn assert_measured(mesh: &Mesh) {
    for (service, metric) in [
        ("client", "http.client.request.duration"),
        ("frontend", "http.server.request.duration"),
        ("frontend", "http.client.request.duration"),
        ("backend", "http.server.request.duration"),
    ] {
        mesh.wait_until(&format!("{metric} of {service} arrives"), || {
            mesh.snapshot().points().iter().any(|point| {
                point.service == service
                    && point.name == metric
                    && point.count > 0
                    && point.attributes["http.response.status_code"] == 200
                    && point.resource["k8s.deployment.name"] == service
            })
        });
    }
}

fn assert_balanced(mesh: &Mesh, workload: &str) {
    mesh.wait_until("everything recorded is exported", || {
        ["spans", "logs"].iter().all(|signal| {
            let count = |what: &str| mesh.counter(workload, &format!("{signal}_{what}"));
            count("recorded") > 0 && count("recorded") == count("exported")
        })
    });
}
