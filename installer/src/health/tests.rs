use super::*;
use serde_json::json;

#[test]
fn a_workload_is_healthy_when_every_pod_is_new_and_ready() {
    let deployment = |status: Value| json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status});
    for (status, expected, why) in [
        (json!({}), Some("its controller has not seen it yet"), "nobody looked at it"),
        (
            json!({"observedGeneration": 2, "updatedReplicas": 1}),
            Some("1 of 2 pods are of the new revision"),
            "an old one is left",
        ),
        (
            json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 3, "availableReplicas": 2}),
            Some("1 old pods are still to end"),
            "an old one ends",
        ),
        (
            json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 1}),
            Some("1 of 2 pods are ready"),
            "one starts",
        ),
        (
            json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}),
            None,
            "all are there",
        ),
    ] {
        let health = Health::of(&deployment(status));
        let expected = expected.map_or(Health::Healthy, |text| Health::Progressing(text.to_owned()));
        assert_eq!(health, expected, "{why}");
    }
}

#[test]
fn a_daemon_set_counts_nodes_and_what_has_no_state_is_healthy() {
    let set = json!({"kind": "DaemonSet", "metadata": {"generation": 1}, "status": {"observedGeneration": 1,
        "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}});
    assert_eq!(Health::of(&set), Health::Progressing("2 of 3 pods are ready".to_owned()));
    assert_eq!(Health::of(&json!({"kind": "WasmPlugin"})), Health::Healthy);
    let exceeded = json!({"kind": "Deployment", "status": {"conditions": [
        {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}});
    assert!(matches!(Health::of(&exceeded), Health::Failed(_)));
}

#[test]
fn the_reason_of_a_pod_is_the_one_that_helps() {
    for (status, expected) in [
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}),
            Some("cannot be scheduled: 0/3 nodes are available"),
        ),
        (
            json!({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff",
                "message": "Back-off pulling image"}}}]}),
            Some("container c is in ImagePullBackOff: Back-off pulling image"),
        ),
        (
            json!({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}),
            Some("container c is in CrashLoopBackOff, last ended with OOMKilled 137"),
        ),
        (json!({"conditions": [{"type": "Ready", "status": "True"}]}), None),
        (json!({}), Some("is not ready yet")),
    ] {
        assert_eq!(pods::reason(&json!({"status": status})).as_deref(), expected);
    }
}
