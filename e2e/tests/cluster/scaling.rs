//! The gateways' autoscaler at work, by a real metrics server.

use otelmesh_e2e::mesh::{FRONTEND, Mesh};
use serde_json::{Value, json};

#[test]
fn gateways_scale_with_what_they_use_and_no_record_is_lost() {
    let mesh = Mesh::enter("scaling");
    mesh.lend_file("metrics-server.yaml");
    mesh.kubectl(&["-n", "kube-system", "rollout", "status", "deployment/metrics-server", "--timeout=120s"]);
    // Of the CPU no more than what this load takes, and more memory than it does.
    let autoscaling = json!({"enabled": true, "minReplicas": 1, "maxReplicas": 2, "cpu": 10, "memory": 100});
    mesh.install(&json!({"collector": {"gateway": {"autoscaling": autoscaling}}}));
    let before = mesh.settled().both();
    let autoscaler =
        || mesh.get(&["-n", "otelmesh", "horizontalpodautoscaler", "otel-collector-gateway"])["status"].clone();
    let used = |status: &Value, resource: &str| {
        let metrics = status["currentMetrics"].as_array().cloned().unwrap_or_default();
        let of = metrics.iter().find(|metric| metric["resource"]["name"] == resource);
        of.and_then(|metric| metric["resource"]["current"]["averageUtilization"].as_u64())
    };

    let (answers, ()) = mesh.under_load(FRONTEND, || {
        mesh.wait_until("a second gateway runs", || {
            let gateways = mesh.get(&["-n", "otelmesh", "deployment", "otel-collector-gateway"]);
            gateways["status"]["readyReplicas"] == 2
        });
    });
    assert_eq!(answers.bad(), 0, "{answers:?}");
    let status = autoscaler();
    assert_eq!(status["desiredReplicas"], 2, "{status:#}");
    let (cpu, memory) = (used(&status, "cpu"), used(&status, "memory"));
    assert!(cpu.is_some() && memory.is_some_and(|memory| memory > 0), "{status:#}");
    let books = mesh.settled().both() - before;
    assert_eq!(books.lost, 0, "{books:?}");
    mesh.done(&format!(
        "1 gateway, then 2, at {} and {} % of the CPU and memory that it asks for; {} requests, 0 failed, {} records, 0 \
         dropped by the filter",
        cpu.unwrap_or_default(),
        memory.unwrap_or_default(),
        answers.requests,
        books.recorded
    ));
}
