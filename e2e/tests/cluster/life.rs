//! An installation's whole life under load: upgrades, rollback, and an end that leaves Istio as it was.

use std::fs;

use otelmesh::chart::Chart;
use otelmesh_e2e::mesh::{Books, FRONTEND, HOPS, Mesh};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

#[test]
fn upgrades_and_the_end_cost_no_request_and_leave_istios_own_tracing_at_work() {
    let mesh = Mesh::enter("life");
    mesh.install(&json!({}));
    let mut requests = 0;

    // The filter, to another image.
    let other = push_another(&mesh);
    assert_ne!(other, mesh.digest());
    let (answers, _) = mesh.under_load(FRONTEND, || mesh.install(&json!({"filter": {"image": {"digest": other}}})));
    assert_eq!(answers.bad(), 0, "a new filter: {answers:?}");
    requests += answers.requests;

    // The collector, to another version and back.
    let (answers, ()) = mesh.under_load(FRONTEND, || {
        run(&mut mesh.otelmesh(&["collector", "upgrade", "0.160.0", "--yes"]));
        assert_eq!(image(&mesh), "docker.io/otelmesh/otelcol:0.160.0");
        run(&mut mesh.otelmesh(&["rollback", "--yes"]));
        assert_eq!(image(&mesh), "docker.io/otelmesh/otelcol:0.161.0");
    });
    assert_eq!(answers.bad(), 0, "a new collector: {answers:?}");
    requests += answers.requests;
    // A worker that takes another image lets go of the last fraction of a second, and says so.
    let Books { recorded, lost, .. } = mesh.settled().both();
    assert!(lost * 50 < recorded, "{lost} of {recorded} records were dropped");

    // Nothing is left.
    let (answers, _) = mesh.under_load(FRONTEND, || run(&mut mesh.otelmesh(&["uninstall", "--yes"])));
    assert_eq!(answers.bad(), 0, "the end: {answers:?}");
    requests += answers.requests;
    assert_eq!(left(&mesh), [""; 0]);
    mesh.wait_until("no proxy has the filter", || {
        !mesh.envoy("client", "config_dump?resource=ecds_filters").contains("otelmesh")
    });
    native(&mesh);
    mesh.done(&format!(
        "{requests} requests through 2 upgrades, a rollback and the end, 0 failed; \
                        {lost} of {recorded} records dropped, and counted"
    ));
}

/// The same filter with a custom section more, which is another image.
fn push_another(mesh: &Mesh) -> String {
    let mut module = fs::read(otelmesh_e2e::wasm()).expect("a module");
    module.extend(b"\0\x05\x04next");
    let file = mesh.file("next.wasm", &Value::Null);
    fs::write(&file, module).expect("a writable directory");
    mesh.push_module(&file, "next")
}

fn image(mesh: &Mesh) -> String {
    let deployment = mesh.get(&["deployment", "otel-collector-gateway", "-n", "otelmesh"]);
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

/// Objects with the chart's label, of every kind that it has.
fn left(mesh: &Mesh) -> Vec<String> {
    let chart = Chart::embedded().expect("a chart").metadata().name.clone();
    let kinds = "namespaces,configmaps,secrets,services,serviceaccounts,deployments,daemonsets,statefulsets,clusterroles,\
                 clusterrolebindings,poddisruptionbudgets,wasmplugins,trafficextensions,envoyfilters,telemetries";
    let label = format!("app.kubernetes.io/name={chart}");
    let names = mesh.kubectl(&["get", kinds, "-A", "-l", &label, "-o", "name"]);
    let revisions = mesh.kubectl(&["get", "secrets,configmaps", "-A", "-l", "otelmesh.io/release", "-o", "name"]);
    names.lines().chain(revisions.lines()).map(str::to_owned).collect()
}

/// Istio's own tracer, which the filter's Telemetry had switched off, reports again.
fn native(mesh: &Mesh) {
    mesh.apply(&mesh.native_backend());
    mesh.apply(&json!({
        "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": "native", "namespace": "istio-system"},
        "spec": {"tracing": [{"providers": [{"name": "native"}], "randomSamplingPercentage": 100.0}]},
    }));
    let before = mesh.snapshot().spans().len();
    mesh.wait_until("Istio's own tracer reports", || {
        mesh.requests("client", &["-n", "3", FRONTEND]);
        mesh.snapshot().spans().len() >= before + HOPS
    });
    mesh.kubectl(&["-n", "istio-system", "delete", "telemetry", "native"]);
    mesh.kubectl(&["delete", "namespace", "tracing"]);
}
