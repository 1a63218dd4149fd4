//! `otelmesh check` and the wait of an installation, on real answers.

use std::time::Duration;

use otelmesh::cluster::{self, ClusterArgs, block_on};
use otelmesh::health::{self, WaitError};
use otelmesh_e2e::registry::Registry;
use otelmesh_e2e::tools::{otelmesh, run};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// Each check's result, and the whole document.
fn check(cluster: &Cluster, args: &[&str]) -> (Option<i32>, Value) {
    let output = cluster.command(&[&["check", "-o", "json"], args].concat()).output().unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (output.status.code(), document)
}

fn result<'a>(document: &'a Value, id: &str) -> &'a Value {
    document["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap()
}

/// Objects as an installation of Istio leaves them.
fn istio(cluster: &Cluster) {
    let mesh = format!("rootNamespace: {}\n", cluster.root);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "istiod", "namespace": cluster.root, "labels": {"app": "istiod"}},
        "spec": {"containers": [{"name": "discovery", "image": "registry.example.com/pilot:1.30.1"}]},
    });
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"mesh": mesh},
        "metadata": {"name": "istio", "namespace": cluster.root},
    });
    create(cluster, "istio", &[pod, config]);
    cluster.kubectl(&["label", "namespace", &cluster.root, "istio-injection=enabled"]);
    let ready = r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
    cluster.kubectl(&["patch", "pod", "istiod", "-n", &cluster.root, "--subresource=status", "-p", ready]);
}

fn create(cluster: &Cluster, name: &str, objects: &[Value]) {
    let file = cluster.server.kubeconfig(None).with_file_name(format!("{}-{name}.json", cluster.name));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&file, list.to_string()).unwrap();
    cluster.kubectl(&["create", "-f", file.to_str().unwrap()]);
}

#[test]
fn before_an_installation_every_check_holds_where_istio_and_the_image_are() {
    let cluster = Cluster::alone("check-pre");
    istio(&cluster);
    let registry = Registry::open();
    let dir = tempfile::tempdir().unwrap();
    let wasm = dir.path().join("filter.wasm");
    std::fs::write(&wasm, wat::parse_str(r#"(module (func (export "proxy_abi_version_0_2_1")))"#).unwrap()).unwrap();
    let name = format!("{}/otelmesh/filter", registry.address);
    let pushed = run(otelmesh().args(["image", "push", &name, "--wasm"]).arg(&wasm));
    let digest = pushed.trim().rsplit('@').next().unwrap();

    let values = format!("{},filter.image.registry={}", cluster.values(), registry.address);
    let (code, document) = check(&cluster, &["--pre", "--set", &format!("{values},filter.image.digest={digest}")]);
    assert_eq!(code, Some(0), "{document:#}");
    let odd = document["checks"].as_array().unwrap().iter().filter(|check| check["result"] != "success");
    // Here runs no istiod that could be asked for its version.
    let odd: Vec<_> = odd.map(|check| (&check["id"], &check["result"])).collect();
    assert_eq!(odd, [(&json!("istio-version"), &json!("unknown"))], "{document:#}");

    let wrong = format!("sha256:{}", "0".repeat(64));
    let (code, document) = check(&cluster, &["--pre", "--set", &format!("{values},filter.image.digest={wrong}")]);
    assert_eq!(code, Some(1));
    assert_eq!(result(&document, "image")["result"], "error", "{document:#}");

    let theirs = json!({
        "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": "mesh-default", "namespace": cluster.root},
        "spec": {"tracing": [{"providers": [{"name": "zipkin"}]}]},
    });
    create(&cluster, "theirs", &[theirs]);
    let (_, document) = check(&cluster, &["--pre", "--set", &values]);
    for id in ["telemetry-clash", "mesh-tracing"] {
        let cause = result(&document, id)["findings"][0]["cause"].as_str().unwrap_or_default();
        assert!(cause.contains("Telemetry check-pre-root/mesh-default"), "{document:#}");
    }
}

#[test]
fn rights_that_are_missing_are_named_by_verb_resource_and_namespace() {
    let cluster = Cluster::new("check-rights");
    let user = cluster.server.kubeconfig_without_rights("check-rights-user");
    let role = ["create", "clusterrole", "check-rights", "--verb=get,list", "--resource=*.*"];
    cluster.kubectl(&role);
    cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        "check-rights",
        "--clusterrole=check-rights",
        "--user=check-rights-user",
    ]);
    let mut command = cluster.command_as(&user, &["check", "--pre", "-o", "json", "--set", &cluster.values()]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = result(&document, "permissions")["findings"].to_string();
    let expected = "you may not create, delete, patch wasmplugins.extensions.istio.io in namespace check-rights-root";
    assert!(findings.contains(expected), "{findings}");
    assert!(findings.contains("kubectl auth can-i create secrets -n check-rights"), "{findings}");
    assert!(!findings.contains("get"), "what is allowed is not named: {findings}");
}

#[test]
fn after_an_installation_drift_is_named_with_who_did_it() {
    let cluster = Cluster::new("check-drift");
    run(&mut cluster.apply(&["install"], ""));
    let (_, document) = check(&cluster, &[]);
    for id in ["installed", "drift", "workloads"] {
        assert_eq!(result(&document, id)["result"], "success", "{document:#}");
    }
    let patch = r#"{"spec":{"priority":5}}"#;
    let object = ["wasmplugin", "check-drift", "-n", "check-drift-root"];
    cluster.kubectl(&[&["patch"], &object[..], &["--type=merge", "-p", patch, "--field-manager", "them"]].concat());
    cluster.kubectl(&["delete", "telemetry", "check-drift", "-n", "check-drift-root"]);
    let (code, document) = check(&cluster, &[]);
    assert_eq!(code, Some(1));
    let causes = result(&document, "drift")["findings"].to_string();
    assert!(causes.contains("spec.priority is 5, not 1000, set by \\\"them\\\""), "{causes}");
    assert!(causes.contains("Telemetry check-drift-root/check-drift is not there"), "{causes}");
}

#[test]
fn a_wait_names_the_first_pod_that_fails_and_its_reason() {
    let cluster = Cluster::new("wait");
    let labels = json!({"app": "collector"});
    let containers = json!([{"name": "collector", "image": "registry.example.com/collector:1"}]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "collector", "namespace": cluster.root},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": containers}}},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "collector-abc", "namespace": cluster.root, "labels": labels},
        "spec": {"containers": containers},
    });
    create(&cluster, "workload", &[deployment.clone(), pod]);
    let status = json!({"status": {"containerStatuses": [{
        "name": "collector", "image": "", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}},
    }]}});
    let pod = ["pod", "collector-abc", "-n", &cluster.root];
    cluster.kubectl(&[&["patch"], &pod[..], &["--subresource=status", "-p", &status.to_string()]].concat());

    let args = ClusterArgs { kubeconfig: Some(cluster.kubeconfig.clone()), context: None };
    let wait = |timeout: u64| {
        block_on(async {
            let cluster = cluster::Cluster::connect(&args).await.map_err(std::io::Error::other)?;
            let timeout = Duration::from_secs(timeout);
            std::io::Result::Ok(health::wait(&cluster, std::slice::from_ref(&deployment), timeout, &mut |_| {}).await)
        })
        .unwrap()
    };
    let error = wait(1).unwrap_err();
    assert!(matches!(error, WaitError::NotReady { .. }));
    let said = error.to_string();
    assert!(said.contains("Deployment wait-root/collector is not ready: pod collector-abc"), "{said}");
    assert!(said.contains("container collector is in ImagePullBackOff: Back-off pulling image"), "{said}");
    assert!(said.contains("kubectl describe pod -n wait-root collector-abc"), "{said}");

    let ready = json!({"status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    let object = ["deployment", "collector", "-n", &cluster.root];
    cluster.kubectl(&[&["patch"], &object[..], &["--subresource=status", "-p", &ready.to_string()]].concat());
    wait(10).unwrap();
}
