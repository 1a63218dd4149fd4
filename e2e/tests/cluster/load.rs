//! The chart's load trial by the real k6, and what the filter costs requests that pass through two sidecars: runs with it
//! and without it in turn, so that a busy machine slows both.

use std::fs;
use std::process::Command;

use otelmesh::telemetry::Span;
use otelmesh_e2e::mesh::{Mesh, SHOP};
use otelmesh_e2e::tools::{go_tool, root};
use serde_json::{Value, json};

/// A namespace with sidecars, in which the filter is not.
const PLAIN: &str = "plain";
/// Pairs of runs after the first, which warms up.
const ROUNDS: usize = 5;
/// Spans of a request: the client's, and the server's.
const HOPS: u64 = 2;
/// Far above what was ever seen on a quiet machine; a filter that blocks a worker would be found.
const SLOWER: f64 = 3.0;

#[test]
fn the_load_trial_holds_and_no_request_and_no_span_is_lost_on_the_way() {
    let mesh = Mesh::enter("load");
    let _placed = Placed::new(&mesh);
    mesh.install(&json!({
        "filter": {"namespace": SHOP},
        "trials": {"load": {"enabled": true, "image": "docker.io/otelmesh/k6:1.8.1", "requestsPerSecond": 40, "stage": "4s"}},
    }));
    let trial = trial(&mesh);

    let warm = [run(SHOP), run(PLAIN)];
    let pairs: Vec<(Value, Value)> = (0..ROUNDS).map(|_| (run(SHOP), run(PLAIN))).collect();
    let all = || warm.iter().chain(pairs.iter().flat_map(|(with, without)| [with, without]));
    let sum = |name: &str, every: usize| all().step_by(every).filter_map(|run| run[name].as_u64()).sum::<u64>();
    assert_eq!(sum("failed", 1), 0, "{pairs:?}");
    assert_received(&mesh, sum("requests", 2));

    let [rate, p50, p99] = ["rate", "median", "p99"].map(|name| Figure::of(name, &pairs));
    assert!(p50.ratio < SLOWER, "{pairs:?}");
    mesh.done(&format!(
        "{trial}; {} requests through 2 sidecars, 0 failed, {} spans, 0 lost; with the filter recording each, without it: \
         {:.0} and {:.0} requests/s (×{:.2}), p50 {:.2} and {:.2} ms (×{:.2}), p99 {:.2} and {:.2} ms (×{:.2})",
        sum("requests", 1),
        HOPS * sum("requests", 2),
        rate.with,
        rate.without,
        rate.ratio,
        p50.with,
        p50.without,
        p50.ratio,
        p99.with,
        p99.without,
        p99.ratio
    ));
}

/// One figure over all pairs of runs: medians, and the median of the ratios within each pair.
struct Figure {
    with: f64,
    without: f64,
    ratio: f64,
}

impl Figure {
    fn of(name: &str, pairs: &[(Value, Value)]) -> Self {
        let number = |run: &Value| run[name].as_f64().expect("a figure");
        let over = |figure: &dyn Fn(&(Value, Value)) -> f64| {
            let mut figures: Vec<f64> = pairs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            with: over(&|(with, _)| number(with)),
            without: over(&|(_, without)| number(without)),
            ratio: over(&|(with, without)| number(with) / number(without)),
        }
    }
}

/// The pods that measure and that answer, in both namespaces, until it is dropped.
struct Placed;

impl Placed {
    fn new(mesh: &Mesh) -> Self {
        let placed = Self;
        mesh.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": PLAIN, "labels": {"istio-injection": "enabled"}},
        }));
        let file = file("load.yaml");
        for namespace in [SHOP, PLAIN] {
            mesh.kubectl(&["-n", namespace, "apply", "--server-side", "-f", &file]);
        }
        for namespace in [SHOP, PLAIN] {
            for deployment in ["server", "k6"] {
                let deployment = format!("deployment/{deployment}");
                mesh.kubectl(&["-n", namespace, "rollout", "status", &deployment, "--timeout=120s"]);
            }
        }
        placed
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // Nothing here may panic, since a test that failed ends here too.
        for args in [["-n", SHOP, "-f", &file("load.yaml")].as_slice(), &["namespace", PLAIN]] {
            let delete = ["delete", "--ignore-not-found", "--timeout=60s"];
            drop(Command::new(go_tool("kubectl")).args(delete).args(args).output());
        }
    }
}

fn file(name: &str) -> String {
    root().join("e2e/tests/cluster").join(name).display().to_string()
}

/// Waits until the chart's job has ended, which its thresholds decide, and for all that it sent.
fn trial(mesh: &Mesh) -> String {
    let job = || mesh.get(&["-n", "otelmesh", "job", "otelmesh-load"])["status"].clone();
    mesh.wait_until("the load trial ends", || job()["succeeded"] == 1 || job()["failed"] == 1);
    let said = mesh.kubectl(&["-n", "otelmesh", "logs", "job/otelmesh-load"]);
    assert_eq!(job()["succeeded"], 1, "{said}");
    // As in `iterations......: 1075   67.1/s`.
    let figures = |name: &str| {
        let line = said.lines().map(str::trim_start).find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(": ").map(|(_, figures)| figures.trim().to_owned()).unwrap_or_default()
    };
    let requests: usize = figures("iterations").split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    mesh.wait_until("all spans of the trial arrive", || {
        mesh.snapshot().spans().iter().filter(|span| span.service == "otelmesh-load").count() == 10 * requests
    });
    let durations = figures("{ scenario:exports }");
    let p95 = durations.split_whitespace().find(|figure| figure.starts_with("p(95)=")).unwrap_or_default();
    format!("trial: {requests} exports of 10 spans, 0 lost, {p95}")
}

/// k6 in a pod asks the server of its namespace.
fn run(namespace: &str) -> Value {
    let mut k6 = Command::new(go_tool("kubectl"));
    k6.args(["-n", namespace, "exec", "-i", "deployment/k6", "-c", "k6", "--", "k6", "run"]);
    k6.args(["--quiet", "--no-usage-report", "--address", "", "-e", "VUS=4", "-e", "DURATION=3s"]);
    k6.args(["-e", "TARGET=http://server:8080/", "-"]);
    k6.stdin(fs::File::open(file("load.js")).expect("the script"));
    serde_json::from_str(&otelmesh_e2e::tools::run(&mut k6)).expect("JSON")
}

/// Each request was recorded by both proxies, and all of it came.
fn assert_received(mesh: &Mesh, requests: u64) {
    for (service, kind) in [("k6", "CLIENT"), ("server", "SERVER")] {
        assert_eq!(mesh.counter(service, "spans_recorded"), requests, "of {service}\n{}", mesh.diagnosis());
        mesh.wait_until(&format!("{requests} spans of {service} arrive"), || {
            let of = |span: &&Span| span.service == service && span.kind == kind;
            mesh.snapshot().spans().iter().filter(of).count() as u64 == requests
        });
    }
}
