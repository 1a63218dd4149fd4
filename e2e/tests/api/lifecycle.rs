//! Install, upgrade, rollback, uninstall, and what each of them leaves behind.

use otelmesh_e2e::tools::{otelmesh, refused, run};
use serde_json::{Value, json};

use crate::cluster::Cluster;

fn priority(cluster: &Cluster) -> Value {
    cluster.get(&["wasmplugin", cluster.name, "-n", &cluster.root])["spec"]["priority"].clone()
}

#[test]
fn a_release_is_installed_upgraded_rolled_back_and_gone() {
    let cluster = Cluster::new("lifecycle");
    let said = run(&mut cluster.apply(&["install"], ""));
    assert!(said.contains("install of release lifecycle in namespace lifecycle, revision 1"), "{said}");
    assert!(said.contains("+ WasmPlugin lifecycle-root/lifecycle"), "{said}");
    assert_eq!(cluster.members().len(), 3, "{:?}", cluster.members());
    assert_eq!(priority(&cluster), 1000);
    run(&mut cluster.command(&["status"]));

    let said = run(&mut cluster.apply(&["upgrade"], ",filter.priority=7,tracing.telemetry=false"));
    assert!(said.contains("1 to change, 1 to delete"), "{said}");
    assert_eq!(priority(&cluster), 7);
    assert_eq!(cluster.members().len(), 2, "what the new revision lacks is pruned: {:?}", cluster.members());
    let annotations = cluster.parent()["metadata"]["annotations"].clone();
    assert_eq!(annotations["applyset.kubernetes.io/contains-group-kinds"], "Namespace,WasmPlugin.extensions.istio.io");
    assert_eq!(annotations["applyset.kubernetes.io/additional-namespaces"], "lifecycle-root");
    assert_eq!(annotations["otelmesh.io/revision"], "2");

    run(&mut cluster.command(&["rollback", "--yes"]));
    assert_eq!(priority(&cluster), 1000);
    assert_eq!(cluster.members().len(), 3);
    let history: Value = serde_json::from_str(&run(&mut cluster.command(&["history", "-o", "json"]))).unwrap();
    let causes: Vec<&Value> = history.as_array().unwrap().iter().map(|revision| &revision["cause"]).collect();
    assert_eq!(causes, ["install", "upgrade", "rollback to 1"]);
    assert_eq!(history[0]["digest"], history[2]["digest"]);
    assert_eq!(history[2]["state"], "deployed");

    run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
    for (kind, name, namespace) in
        [("wasmplugin", "lifecycle", "lifecycle-root"), ("telemetry", "lifecycle", "lifecycle-root")]
    {
        assert_eq!(cluster.get(&[kind, name, "-n", namespace]), Value::Null);
    }
    assert_eq!(cluster.parent(), Value::Null);
    assert_eq!(cluster.revisions(), [""; 0]);
    // Without controllers a namespace that is deleted stays in that state.
    assert_eq!(cluster.get(&["namespace", "lifecycle"])["status"]["phase"], "Terminating");
    assert_eq!(cluster.get(&["namespace", "lifecycle-root"])["status"]["phase"], "Active");
    run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
}

#[test]
fn each_delivery_takes_the_place_of_the_one_before_and_goes_with_the_release() {
    let cluster = Cluster::new("delivery");
    let there = |kind: &str| cluster.get(&[kind, "delivery", "-n", "delivery-root"]) != Value::Null;
    let kinds = ["wasmplugin", "trafficextension", "envoyfilter"];
    for (set, kind) in [
        ("", "wasmplugin"),
        (",mesh.istioVersion=", "trafficextension"),
        (",filter.delivery=envoyfilter", "envoyfilter"),
        (",mesh.istioVersion=1.30", "trafficextension"),
        (",filter.delivery=envoyfilter", "envoyfilter"),
    ] {
        run(&mut cluster.apply(&["install"], set));
        assert_eq!(kinds.map(there), kinds.map(|other| other == kind), "{set}");
    }
    run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
    assert_eq!(kinds.map(there), [false; 3]);
}

#[test]
fn an_upgrade_without_values_takes_those_of_the_installed_revision() {
    let cluster = Cluster::new("reuse");
    run(&mut cluster.apply(&["install"], ",filter.priority=7"));
    run(&mut cluster.command(&["upgrade", "--yes", "--reuse-values", "--set", "filter.phase=STATS"]));
    let spec = cluster.get(&["wasmplugin", "reuse", "-n", "reuse-root"])["spec"].clone();
    assert_eq!((&spec["priority"], &spec["phase"]), (&json!(7), &json!("STATS")));
    let mut again = cluster.command(&["upgrade", "--yes"]);
    let output = again.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing to do"), "{output:?}");
    assert_eq!(cluster.revisions(), ["1", "2"], "what changes nothing is no revision");
}

#[test]
fn history_is_bounded_and_the_numbers_go_on() {
    let cluster = Cluster::new("bounded");
    for priority in 1..=5 {
        run(&mut cluster.apply(&["install", "--history-max", "3"], &format!(",filter.priority={priority}")));
    }
    assert_eq!(cluster.revisions(), ["3", "4", "5"]);
    let said = refused(&mut cluster.command(&["rollback", "1", "--yes"]));
    assert!(said.contains("revision 1 is not stored") && said.contains("3, 4, 5"), "{said}");
}

#[test]
fn objects_that_were_there_before_come_back_as_they_were() {
    let cluster = Cluster::new("restore");
    let theirs = json!({
        "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": "restore", "namespace": "restore-root", "labels": {"owner": "them"}},
        "spec": {"accessLogging": [{"providers": [{"name": "envoy"}]}]},
    });
    let file = cluster.server.kubeconfig(None).with_file_name("theirs.json");
    std::fs::write(&file, theirs.to_string()).unwrap();
    let file = file.to_str().unwrap();
    cluster.kubectl(&["apply", "--server-side", "--field-manager", "them", "-f", file]);
    let get = || cluster.get(&["--show-managed-fields", "telemetry", "restore", "-n", "restore-root"]);
    let before = get();

    let said = run(&mut cluster.apply(&["install"], ""));
    assert!(said.contains("~ Telemetry restore-root/restore (is there already: taken over"), "{said}");
    assert!(get()["spec"]["tracing"].is_array());
    run(&mut cluster.apply(&["upgrade"], ",filter.priority=7"));
    run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
    let after = get();
    for key in ["labels", "annotations", "managedFields"] {
        assert_eq!(after["metadata"][key], before["metadata"][key], "{key}");
    }
    assert_eq!(after["spec"], before["spec"]);
    // Whoever owned it finds nobody in the way.
    cluster.kubectl(&["apply", "--server-side", "--field-manager", "them", "-f", file]);
}

#[test]
fn a_namespace_that_others_use_stays() {
    let cluster = Cluster::new("shared");
    run(&mut cluster.apply(&["install"], ""));
    cluster.kubectl(&["create", "configmap", "theirs", "-n", "shared"]);
    let said = run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
    assert!(said.contains("Namespace shared stays, since others use it: ConfigMap shared/theirs"), "{said}");
    let namespace = cluster.get(&["namespace", "shared"]);
    assert_eq!(namespace["status"]["phase"], "Active");
    assert!(namespace["metadata"]["labels"]["applyset.kubernetes.io/part-of"].is_null());
    assert!(cluster.get(&["wasmplugin", "shared", "-n", "shared-root"]).is_null());
}

#[test]
fn collectors_are_restarted_upgraded_and_rolled_back_alone() {
    let cluster = Cluster::new("collectors");
    run(cluster.command(&["install", "--yes", "--wait=false"]).args(["--set", &cluster.whole()]));
    let gateway =
        || cluster.get(&["deployment", "otel-collector-gateway", "-n", "collectors"])["spec"]["template"].clone();
    let image = || gateway()["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    let before = image();

    run(&mut cluster.command(&["collector", "restart", "--yes", "--wait=false"]));
    assert!(gateway()["metadata"]["annotations"]["otelmesh.io/restarted-at"].is_string());
    run(cluster.command(&["diff"]).args(["--set", &cluster.whole()]));

    run(&mut cluster.command(&["collector", "upgrade", "0.160.0", "--yes", "--wait=false"]));
    assert!(image().ends_with(":0.160.0"), "{}", image());
    assert!(
        gateway()["metadata"]["annotations"]["otelmesh.io/restarted-at"].is_string(),
        "an upgrade undoes no restart"
    );
    run(&mut cluster.command(&["collector", "rollback", "--yes", "--wait=false"]));
    assert_eq!(image(), before);
    let filter = cluster.get(&["wasmplugin", "collectors", "-n", "collectors-root"]);
    assert_eq!(filter["metadata"]["generation"], 1, "the filter was not touched");
    run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));

    let none = Cluster::new("collectorless");
    run(&mut none.apply(&["install"], ""));
    let said = refused(&mut none.command(&["collector", "restart", "--yes"]));
    assert!(said.contains("has no collectors"), "{said}");
}

#[test]
fn nothing_is_written_without_a_yes_or_a_terminal() {
    let cluster = Cluster::new("question");
    let said = refused(cluster.command(&["install"]).args(["--set", &cluster.values()]));
    assert!(said.contains("no terminal to ask on") && said.contains("--yes"), "{said}");
    assert_eq!(cluster.server.writes("question"), [""; 0]);
}

/// What a profile asks its user for.
const ASKED: &str = ",demo.image=registry.example.com/echo:1,filter.image.digest=sha256:\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn every_profile_is_installed_with_strict_field_validation_and_gone_again() {
    let profiles = run(otelmesh().args(["values", "--profiles"]));
    assert!(profiles.lines().any(|profile| profile == "production"), "{profiles}");
    let cluster = Cluster::new("profiles");
    for profile in std::iter::once("").chain(profiles.lines()) {
        let mut command = cluster.command(&["install", "--yes", "--wait=false"]);
        command.args(["--set", &(cluster.whole() + ASKED)]);
        if !profile.is_empty() {
            command.args(["--profile", profile]);
        }
        let said = run(&mut command);
        assert!(said.contains("WasmPlugin profiles-root/profiles"), "{profile}: {said}");
        let pods = pods(&cluster);
        assert!(!pods.is_empty(), "{profile}: {said}");
        for pod in pods {
            let namespace = pod["metadata"]["namespace"].as_str().unwrap().to_owned();
            let labels = cluster.get(&["namespace", &namespace])["metadata"]["labels"].clone();
            let level = &labels["pod-security.kubernetes.io/enforce"];
            assert!(namespace != "profiles" || level == "restricted", "{profile}: {namespace} enforces {level}");
            // The API server refuses a pod that breaks the level of its namespace.
            let file = cluster.server.kubeconfig(None).with_file_name("profile-pod.json");
            std::fs::write(&file, pod.to_string()).unwrap();
            cluster.kubectl(&["create", "--dry-run=server", "-f", file.to_str().unwrap()]);
        }
        run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
        for kind in ["deployments", "daemonsets", "statefulsets", "services", "configmaps", "secrets", "rolebindings"] {
            let left = cluster.kubectl(&["get", kind, "-n", "profiles", "-o", "name"]);
            assert_eq!(left, "", "{profile} leaves {kind}");
        }
        let cluster_wide = cluster.kubectl(&["get", "clusterroles,clusterrolebindings", "-o", "name"]);
        assert!(!cluster_wide.contains("/profiles"), "{profile} leaves {cluster_wide}");
        cluster.free();
    }
}

/// A pod for each workload of the release.
fn pods(cluster: &Cluster) -> Vec<Value> {
    let id = cluster.parent()["metadata"]["labels"]["applyset.kubernetes.io/id"].as_str().unwrap().to_owned();
    let label = format!("applyset.kubernetes.io/part-of={id}");
    let workloads = cluster.get(&["deployments,daemonsets,statefulsets", "-A", "-l", &label]);
    let pod = |workload: &Value| {
        let template = &workload["spec"]["template"];
        let (name, namespace) = (&workload["metadata"]["name"], &workload["metadata"]["namespace"]);
        let mut spec = template["spec"].clone();
        // What the class's own controller would set.
        spec.as_object_mut().unwrap().remove("priorityClassName");
        // And a StatefulSet's for its claims.
        for claim in workload["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let volume = json!({"name": claim["metadata"]["name"], "emptyDir": {}});
            let volumes = spec.as_object_mut().unwrap().entry("volumes").or_insert(json!([]));
            volumes.as_array_mut().unwrap().push(volume);
        }
        json!({"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {
            "name": name, "namespace": namespace, "labels": template["metadata"]["labels"]}})
    };
    workloads["items"].as_array().unwrap().iter().map(pod).collect()
}
