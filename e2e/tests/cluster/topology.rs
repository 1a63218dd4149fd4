//! Agents that hand whole traces to gateways that choose among them.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use otelmesh::telemetry::Span;
use otelmesh_e2e::mesh::{Books, HOPS, Mesh, trace_id};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

/// Answered with 200 by both services.
const GOOD: &str = "http://frontend.shop:8080/orders/good";
/// An error to clients only: two spans of the four.
const PARTLY: &str = "http://frontend.shop:8080/status/404";
/// An error to all four.
const FAILING: &str = "http://frontend.shop:8080/status/503";

fn values(gateways: u32) -> Value {
    json!({"collector": {
        "mode": "agent-gateway",
        "gateway": {"replicas": gateways},
        "sampling": {"mode": "tail", "percentage": 0, "decisionWait": "3s", "latencyMillis": 0, "errors": true},
    }})
}

#[test]
fn failing_traces_come_whole_through_agents_and_two_gateways_and_good_ones_do_not() {
    let mesh = Mesh::enter("topology");
    mesh.deploy(&values(2));
    mesh.wait_for_whole_trace("http://frontend.shop:8080/status/500");

    for (count, status, url) in [("40", "200", GOOD), ("30", "404", PARTLY), ("10", "503", FAILING)] {
        let answers = mesh.requests("client", &["-n", count, url]);
        assert_eq!(answers.statuses[status], answers.requests, "{answers:?}");
    }
    let failing = || traces(&mesh, |span| path(span).starts_with("/status/4") || path(span) == "/status/503");
    mesh.wait_until("40 failing traces are whole", || {
        failing().len() == 40 && failing().values().all(|spans| spans.len() == HOPS)
    });
    let errors = |path_of: &str| {
        let spans = failing().into_values().flatten().filter(|span| path(span) == path_of && span.status == "ERROR");
        spans.count()
    };
    assert_eq!((errors("/status/404"), errors("/status/503")), (30 * 2, 10 * HOPS), "errors within kept traces");
    mesh.wait_until("logs of all requests", || {
        let logs = mesh.snapshot().logs();
        let of = |body: &str| logs.iter().filter(|log| log.body == body).count();
        of("GET /orders/good 200") == 40 * HOPS
            && of("GET /status/404 404") == 30 * HOPS
            && of("GET /status/503 503") == 10 * HOPS
    });
    // Decided long ago, since the failing ones came after.
    assert_eq!(traces(&mesh, |span| path(span) == "/orders/good").len(), 0, "good traces are not kept");
    let gateways = mesh.collected("gateway", "otelcol_receiver_accepted_spans_total");
    assert!(gateways.len() == 2 && gateways.values().all(|spans| *spans > 0.0), "both take part: {gateways:?}");

    let parts = through_two_agents(&mesh);
    let (requests, books, received) = rolled_and_scaled(&mesh);
    mesh.done(&format!(
        "40 good traces, 0 kept; 40 failing, {} of {} spans received; {parts} traces in parts through 2 agents, all whole; \
         agents rolled, gateways 2 to 3: {requests} requests, 0 failed, {} spans recorded, {} exported, {} dropped by the \
         filter, {received} received",
        40 * HOPS, 40 * HOPS, books.recorded, books.exported, books.lost
    ));
}

/// Parts of traces, the failing one of each through the node's agent, the other through a second pod of the agent's own
/// specification: the cluster has one node, and so one agent. A part that came to another gateway than the failing one
/// would not be kept.
fn through_two_agents(mesh: &Mesh) -> usize {
    let agent = mesh.get(&["daemonset", "otel-collector-agent", "-n", "otelmesh"]);
    mesh.lend(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "second-agent", "namespace": "otelmesh",
            "labels": {"otelmesh.io/traced": "false", "sidecar.istio.io/inject": "false"},
        },
        "spec": agent["spec"]["template"]["spec"],
    }));
    mesh.kubectl(&["-n", "otelmesh", "wait", "--for=condition=Ready", "pod/second-agent", "--timeout=60s"]);
    let second = mesh.get(&["pod", "second-agent", "-n", "otelmesh"]);
    let second = second["status"]["podIP"].as_str().expect("an address").to_owned();

    let sent: BTreeSet<String> = (0..40).map(|_| trace_id()).collect();
    let part = |name: &str, id: &str, code: u32| {
        let span = |trace: &String| {
            json!({
                "traceId": trace, "spanId": id, "name": name, "kind": 2, "status": {"code": code},
                "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000001000000",
            })
        };
        json!({"resourceSpans": [{"scopeSpans": [{"spans": sent.iter().map(span).collect::<Vec<_>>()}]}]})
    };
    for (to, body) in [
        ("otel-collector.otelmesh", part("failing", "00000000000000a1", 2)),
        (second.as_str(), part("good", "00000000000000b1", 1)),
    ] {
        let answers = mesh.post("outside/stranger", &format!("http://{to}:4318/v1/traces"), &[], &body);
        assert_eq!(answers.bad(), 0, "{to}: {answers:?}");
    }
    let whole = || {
        let kept = traces(mesh, |span| sent.contains(&span.trace_id));
        kept.values().filter(|spans| spans.len() == 2).count()
    };
    mesh.wait_until("traces in parts are whole", || whole() == sent.len());
    sent.len()
}

/// Rolls the agents and adds a gateway under requests of which each span is an error, so that none is sampled away.
fn rolled_and_scaled(mesh: &Mesh) -> (u64, Books, u64) {
    let before = mesh.settled().spans;
    let received =
        || traces(mesh, |span| path(span) == "/status/503").values().map(|spans| spans.len() as u64).sum::<u64>();
    let begun = received();
    let load = mesh.load("client", FAILING);
    run(&mut mesh.otelmesh(&["collector", "restart", "--yes"]));
    let values = mesh.values(&values(3));
    run(mesh.otelmesh(&["upgrade", "--yes", "-f"]).arg(values));
    thread::sleep(Duration::from_secs(5));
    let answers = load.end();
    assert_eq!(answers.statuses["503"], answers.requests, "no request fails for it: {answers:?}");
    assert_eq!(mesh.collected("gateway", "otelcol_process_uptime_seconds_total").len(), 3);
    let books = mesh.settled().spans - before;
    assert_eq!(books.recorded, answers.requests * HOPS as u64, "each hop of each request is in the books: {books:?}");
    assert_eq!(books.lost, 0, "the filter tries again: {books:?}");
    mesh.wait_until("all that was exported arrives", || received() - begun >= books.exported);
    (answers.requests, books, received() - begun)
}

/// Servers say the path, clients the whole URL.
fn path(span: &Span) -> &str {
    let of = |key: &str| span.attributes.get(key).and_then(Value::as_str);
    of("url.path").or_else(|| of("url.full")?.split_once(":8080").map(|(_, path)| path)).unwrap_or_default()
}

/// What came, by trace.
fn traces(mesh: &Mesh, of: impl Fn(&Span) -> bool) -> BTreeMap<String, Vec<Span>> {
    let mut found: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in mesh.snapshot().spans().into_iter().filter(of) {
        found.entry(span.trace_id.clone()).or_default().push(span);
    }
    found
}
