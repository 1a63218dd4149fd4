//! Fields that others own, rights that are missing, and objects that cannot be.

use otelmesh_e2e::tools::{refused, run};

use crate::cluster::Cluster;

#[test]
fn a_field_that_somebody_else_set_is_named_with_its_owner_and_taken_only_when_forced() {
    let cluster = Cluster::new("conflict");
    run(&mut cluster.apply(&["install"], ""));
    let patch = r#"{"spec":{"priority":5}}"#;
    cluster.kubectl(&[
        "patch",
        "wasmplugin",
        "conflict",
        "-n",
        "conflict-root",
        "--type=merge",
        "-p",
        patch,
        "--field-manager",
        "them",
    ]);
    let before = cluster.server.writes("conflict");
    let said = refused(&mut cluster.apply(&["install"], ""));
    assert!(said.contains(r#"! .spec.priority is owned by "them""#), "{said}");
    assert!(said.contains("--force-conflicts"), "{said}");
    assert_eq!(cluster.server.writes("conflict"), before);
    run(&mut cluster.apply(&["install", "--force-conflicts"], ""));
    assert_eq!(cluster.get(&["wasmplugin", "conflict", "-n", "conflict-root"])["spec"]["priority"], 1000);
}

#[test]
fn who_may_not_write_is_told_so_before_anything_is_written() {
    let cluster = Cluster::new("forbidden");
    let nobody = cluster.server.kubeconfig_without_rights("forbidden-viewer");
    let mut command = cluster.command_as(&nobody, &["install", "--yes"]);
    let said = refused(command.args(["--set", &cluster.values()]));
    assert!(said.contains("not allowed") && said.contains("forbidden-viewer"), "{said}");
    assert!(said.contains("otelmesh check --pre"), "{said}");
    cluster.kubectl(&["create", "clusterrole", "forbidden-reads", "--verb=get,list", "--resource=*.*"]);
    cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        "forbidden-reads",
        "--clusterrole=forbidden-reads",
        "--user=forbidden-viewer",
    ]);
    let mut command = cluster.command_as(&nobody, &["install", "--yes"]);
    let said = refused(command.args(["--set", &cluster.values()]));
    assert!(said.contains("not allowed") && said.contains("cannot"), "{said}");
    assert_eq!(cluster.server.writes("forbidden-viewer").len(), 0, "{:?}", cluster.server.writes("forbidden-viewer"));
}

#[test]
fn a_namespace_that_is_missing_is_named_before_anything_is_written() {
    let cluster = Cluster::new("missing");
    let values = "collector.mode=none,filter.image.registry=registry.example.com,mesh.rootNamespace=no-such-namespace";
    let said = refused(&mut cluster.command(&["install", "--yes", "--set", values]));
    assert!(said.contains(r#"namespaces "no-such-namespace" not found"#), "{said}");
    assert_eq!(cluster.server.writes("missing"), [""; 0]);
}

#[test]
fn objects_of_another_release_or_of_helm_are_left_alone() {
    let cluster = Cluster::new("owners");
    run(&mut cluster.apply(&["install"], ""));
    let other = ["install", "--yes", "--set", &cluster.values(), "-n", "owners-other", "--release-name", "owners"];
    let mut command = otelmesh_e2e::tools::otelmesh();
    let said = refused(command.args(other).arg("--kubeconfig").arg(&cluster.kubeconfig));
    assert!(said.contains("belongs to another release") && said.contains("--release-name"), "{said}");

    let helm = Cluster::new("helm-owned");
    let name = "helm-owned";
    let file = helm.server.kubeconfig(None).with_file_name("helm.json");
    let object = serde_json::json!({
        "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": name, "namespace": "helm-owned-root", "annotations": {"meta.helm.sh/release-name": "mesh"}},
    });
    std::fs::write(&file, object.to_string()).unwrap();
    helm.kubectl(&["create", "-f", file.to_str().unwrap()]);
    let said = refused(&mut helm.apply(&["install"], ""));
    assert!(said.contains("belongs to Helm's release mesh") && said.contains("helm uninstall mesh"), "{said}");
    assert_eq!(helm.server.writes(name), [""; 0]);
}
