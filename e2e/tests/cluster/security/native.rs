//! Envoy's own tracing and access logs, as `tracing.mode=native` sets them up.

use std::cell::Cell;
use std::collections::BTreeSet;

use otelmesh::telemetry::{Log, Span};
use otelmesh_e2e::mesh::{HOPS, Mesh};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

const MARKED: &str = "http://frontend.shop:8080/orders/marked";

#[test]
fn native_mode_traces_and_logs_with_attributes_and_the_traces_ids() {
    let mesh = Mesh::enter("native");
    mesh.lend(&mesh.native_backend());
    let values = mesh.values(&json!({"tracing": {"mode": "native", "native": {
        "provider": "native", "samplingPercentage": 100.0, "environment": "test", "accessLogs": true,
    }}}));
    run(mesh.otelmesh(&["install", "--yes", "-f"]).arg(values));
    let spans_of = |end: &str| -> Vec<Span> {
        let spans = mesh.snapshot().spans();
        let is = |value: &Value| value.as_str().is_some_and(|url| url.ends_with(end));
        spans.into_iter().filter(|span| span.attributes.values().any(is)).collect()
    };
    // Each proxy takes its tags from a second resource, later than its spans.
    let probes = Cell::new(0);
    mesh.wait_until("spans of one request have their tags on every hop, and logs arrive", || {
        let probe = |n: u32| format!("/orders/probe-{n}-");
        probes.set(probes.get() + 1);
        mesh.requests("client", &["-n", "1", &format!("http://frontend.shop:8080{}", probe(probes.get()))]);
        let is_tagged = |span: &Span| span.attributes.contains_key("deployment.environment.name");
        let is_whole = |spans: Vec<Span>| spans.len() >= HOPS && spans.iter().all(is_tagged);
        (1..=probes.get()).any(|n| is_whole(spans_of(&probe(n)))) && mesh.snapshot().logs().len() >= HOPS
    });
    // By a path of their own: what came before may have met the old configuration.
    let answers = mesh.requests("client", &["-n", "20", MARKED]);
    assert_eq!(answers.bad(), 0, "{answers:?}");
    let marked = || spans_of("/orders/marked");
    mesh.wait_until("20 traces", || marked().len() >= 20 * HOPS);
    let spans = marked();
    for span in &spans {
        assert_eq!(span.attributes["deployment.environment.name"], "test", "the environment's tag: {span:?}");
        assert_eq!(span.attributes["service.version"], "unknown", "the version's tag: {span:?}");
    }
    let ids: BTreeSet<_> = spans.iter().map(|span| (span.trace_id.clone(), span.span_id.clone())).collect();
    let of_them = || -> Vec<Log> {
        let logs = mesh.snapshot().logs();
        logs.into_iter().filter(|log| ids.contains(&(log.trace_id.clone(), log.span_id.clone()))).collect()
    };
    mesh.wait_until("a log for each span", || of_them().len() >= ids.len());
    let logs = of_them();
    for log in &logs {
        assert_eq!(log.attributes["http.request.method"], "GET", "{log:?}");
        assert_eq!(log.attributes["http.response.status_code"], "200", "{log:?}");
        assert_eq!(log.attributes["k8s.namespace.name"], "shop", "{log:?}");
    }
    assert_eq!((spans.len(), logs.len()), (20 * HOPS, 20 * HOPS));
    mesh.done(&format!(
        "20 requests, 0 failed; {} of {} spans and {} logs received",
        spans.len(),
        20 * HOPS,
        logs.len()
    ));
}
