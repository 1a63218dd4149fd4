//! The inventory is an ApplySet as kubectl understands it.

use otelmesh_e2e::apiserver::kubectl;
use otelmesh_e2e::tools::{otelmesh, refused, run};
use serde_json::Value;

use crate::cluster::Cluster;

fn apply(cluster: &Cluster, file: &str, dry: bool) -> std::process::Command {
    let mut command = kubectl(&cluster.server.kubeconfig(None));
    command.env("KUBECTL_APPLYSET", "true").args(["apply", "--server-side", "--prune", "--force-conflicts"]);
    command.args(["-n", &cluster.root, &format!("--applyset=configmap/release-{}", cluster.name), "-f", file]);
    if dry {
        command.arg("--dry-run=server");
    }
    command
}

#[test]
fn kubectl_sees_the_same_members_and_prunes_what_we_would() {
    let cluster = Cluster::new("applyset");
    // kubectl takes one namespace for a set and its parent, so the release is put where the mesh's configuration is.
    let install = || {
        let mut command = otelmesh();
        command.args([
            "install",
            "--yes",
            "--force-conflicts",
            "--set",
            &cluster.values(),
            "--release-name",
            "applyset",
        ]);
        command.args(["-n", &cluster.root]).arg("--kubeconfig").arg(&cluster.kubeconfig);
        run(&mut command)
    };
    let parent = || cluster.get(&["configmap", "release-applyset", "-n", &cluster.root]);
    install();
    let id = parent()["metadata"]["labels"]["applyset.kubernetes.io/id"].as_str().unwrap().to_owned();
    let members = || cluster.labelled(&id);
    let objects: Vec<Value> = members()
        .iter()
        .map(|name| cluster.get(&[name, "-n", &cluster.root]))
        .map(|mut object| {
            for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                object["metadata"].as_object_mut().unwrap().remove(key);
            }
            object["metadata"]["labels"].as_object_mut().unwrap().remove("applyset.kubernetes.io/part-of");
            object.as_object_mut().unwrap().remove("status");
            object
        })
        .collect();
    let file = |name: &str, objects: &[Value]| {
        let path = cluster.server.kubeconfig(None).with_file_name(name);
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&path, list.to_string()).unwrap();
        path.display().to_string()
    };
    let all = file("applyset-all.json", &objects);
    let less: Vec<Value> = objects.iter().filter(|object| object["kind"] != "Telemetry").cloned().collect();
    let less = file("applyset-less.json", &less);

    let said = refused(&mut apply(&cluster, &all, false));
    assert!(said.contains("otelmesh"), "kubectl leaves a set alone that another tool looks after: {said}");

    cluster.kubectl(&[
        "annotate",
        "configmap",
        "release-applyset",
        "-n",
        &cluster.root,
        "--overwrite",
        "applyset.kubernetes.io/tooling=kubectl/v1.34.4",
    ]);
    let said = run(&mut apply(&cluster, &all, true));
    assert!(!said.contains("pruned"), "{said}");
    let said = run(&mut apply(&cluster, &less, true));
    let pruned: Vec<&str> = said.lines().filter(|line| line.contains("pruned")).collect();
    assert_eq!(pruned.len(), 1, "{said}");
    assert!(pruned[0].contains("telemetry"), "{said}");

    run(&mut apply(&cluster, &less, false));
    assert!(cluster.get(&["telemetry", "applyset", "-n", &cluster.root]).is_null());
    assert_eq!(members().len(), 1, "kubectl computed the same id: {:?}", members());
    install();
    assert_eq!(members().len(), 2, "and what it pruned is made again");
}
