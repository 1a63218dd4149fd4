//! What goes wrong in a cluster: no request fails for it, and what is lost is in the books.

use std::process::Command;
use std::thread;
use std::time::Duration;

use otelmesh::telemetry::Attributes;
use otelmesh_e2e::mesh::{FRONTEND, Mesh};
use otelmesh_e2e::tools::{root, run};
use serde_json::{Value, json};

/// Spans and logs that came out of the collectors, of requests for a path.
fn received(mesh: &Mesh, path: &str) -> u64 {
    let text = |of: &Attributes, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_of = |of: &&Attributes| ["url.path", "url.full"].iter().any(|key| text(of, key).ends_with(path));
    let now = mesh.snapshot();
    let (spans, logs) = (now.spans(), now.logs());
    let all = spans.iter().map(|span| &span.attributes).chain(logs.iter().map(|log| &log.attributes));
    all.filter(is_of).count() as u64
}

/// Does something under load, and holds the books to what the receiver got.
fn fault(mesh: &Mesh, name: &str, may_lose_in_collector: bool, act: impl FnOnce()) {
    // By a path of its own, so that nothing that is late counts as this fault's.
    let path = format!("/{}", name.replace(' ', "-"));
    let before = mesh.settled().both();
    let (answers, ()) = mesh.under_load(&format!("http://frontend.shop:8080{path}"), act);
    assert_eq!(answers.bad(), 0, "{name}: {answers:?}\n{}", mesh.diagnosis());
    let books = mesh.settled().both() - before;
    if !may_lose_in_collector {
        mesh.wait_until(&format!("{name}: all {} exported records arrive", books.exported), || {
            received(mesh, &path) >= books.exported
        });
    }
    println!(
        "    {name:<34} {:>4} requests, 0 failed; {:>5} records exported, {:>5} received, {} dropped by the filter",
        answers.requests,
        books.exported,
        received(mesh, &path),
        books.lost
    );
    assert_eq!(books.lost, 0, "the filter's queue holds far more than this load");
}

#[test]
fn no_request_fails_and_no_record_is_lost_unaccounted_for() {
    let mesh = Mesh::enter("faults");
    mesh.install(&json!({}));
    let collector = ["-n", "otelmesh", "deployment/otel-collector-gateway"];

    fault(&mesh, "nothing", false, || thread::sleep(Duration::from_secs(3)));
    fault(&mesh, "a collector's pod deleted", false, || {
        mesh.kubectl(&["-n", "otelmesh", "delete", "pods", "-l", "app.kubernetes.io/component=collector-gateway"]);
        mesh.kubectl(&[&["rollout", "status", "--timeout=60s"], &collector[..]].concat());
    });
    fault(&mesh, "a collector killed at once", true, || {
        let force = ["--grace-period=0", "--force", "-l", "app.kubernetes.io/component=collector-gateway"];
        mesh.kubectl(&[&["-n", "otelmesh", "delete", "pods"], &force[..]].concat());
        mesh.kubectl(&[&["rollout", "status", "--timeout=60s"], &collector[..]].concat());
    });
    fault(&mesh, "no collector for 8 s", false, || {
        mesh.kubectl(&[&["scale", "--replicas=0"], &collector[..]].concat());
        thread::sleep(Duration::from_secs(8));
        mesh.kubectl(&[&["scale", "--replicas=1"], &collector[..]].concat());
        mesh.kubectl(&[&["rollout", "status", "--timeout=60s"], &collector[..]].concat());
    });
    fault(&mesh, "istiod restarted", false, || {
        mesh.kubectl(&["-n", "istio-system", "rollout", "restart", "deployment/istiod"]);
        mesh.kubectl(&["-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=90s"]);
    });
    bad_configuration(&mesh);
    bad_image(&mesh);
    no_registry(&mesh);
    mesh.done("8 faults under load, 0 requests failed, 0 records dropped by the filter");
}

/// A pluginConfig that cannot be used switches the filter off, is counted, and is found and mended by the command.
fn bad_configuration(mesh: &Mesh) {
    let patch = r#"{"spec":{"wasm":{"pluginConfig":{"sampling":"everything"}}}}"#;
    let (answers, ()) = mesh.under_load(FRONTEND, || {
        mesh.kubectl(&["-n", "istio-system", "patch", "trafficextension", "otelmesh", "--type=merge", "-p", patch]);
        mesh.wait_until("the filter refuses it", || mesh.counter("client", "config_rejected") > 0);
    });
    assert_eq!(answers.bad(), 0, "{answers:?}");
    assert_eq!(mesh.check("drift"), "error", "somebody else's change is found");
    let values = mesh.values(&json!({}));
    run(mesh.otelmesh(&["install", "--yes", "--force-conflicts", "-f"]).arg(values));
    mesh.wait_until("every proxy runs the filter", || mesh.check("proxies-loaded") == "success");
    mesh.wait_for_whole_trace(FRONTEND);
    println!(
        "    a pluginConfig that cannot be used  {:>4} requests, 0 failed; refused, counted, found and mended",
        answers.requests
    );
}

/// An image that is not there leaves proxies with what lets all requests through, and `check` says so.
fn bad_image(mesh: &Mesh) {
    let digest = format!("sha256:{}", "0".repeat(64));
    let (answers, ()) = mesh.under_load(FRONTEND, || {
        let values = mesh.values(&json!({"filter": {"image": {"digest": digest}}}));
        run(mesh.otelmesh(&["install", "--yes", "-f"]).arg(values));
        mesh.wait_until("check finds it", || mesh.check("proxies-loaded") == "error");
    });
    assert_eq!(answers.bad(), 0, "{answers:?}");
    let (again, ()) = mesh.under_load(FRONTEND, || {
        run(&mut mesh.otelmesh(&["rollback", "--yes"]));
        mesh.wait_until("check finds all well", || mesh.check("proxies-loaded") == "success");
    });
    assert_eq!(again.bad(), 0, "{again:?}");
    let requests = answers.requests + again.requests;
    println!(
        "    an image that is not there         {requests:>4} requests, 0 failed; found by check, mended by rollback"
    );
}

/// A pod that starts while the registry is away serves without the filter.
fn no_registry(mesh: &Mesh) {
    registry("down");
    mesh.kubectl(&["-n", "shop", "delete", "pods", "-l", "app=client"]);
    mesh.kubectl(&["-n", "shop", "rollout", "status", "deployment/client", "--timeout=120s"]);
    let answers = mesh.requests("client", &["-n", "50", "http://frontend.shop:8080/orders/7"]);
    let found = mesh.check("proxies-loaded");
    registry("up");
    assert_eq!(answers.bad(), 0, "{answers:?}");
    assert_eq!(found, "error", "the pod without the filter is found");
    mesh.kubectl(&["-n", "shop", "delete", "pods", "-l", "app=client"]);
    mesh.kubectl(&["-n", "shop", "rollout", "status", "deployment/client", "--timeout=120s"]);
    mesh.wait_until("a new pod has the filter", || mesh.check("proxies-loaded") == "success");
    println!(
        "    no registry at a pod's start       {:>4} requests, 0 failed; found by check, mended by a new pod",
        answers.requests
    );
}

fn registry(command: &str) {
    // Not by its output, which the registry that it starts would keep open.
    let mut command =
        Command::new(root().join("e2e/kind/cluster.sh")).args(["registry", command]).spawn().expect("a shell");
    assert!(command.wait().expect("it ends").success());
}
