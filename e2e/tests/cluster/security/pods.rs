//! What Kubernetes itself enforces on the chart's pods: the strictest of the Pod Security Standards, and a firewall.

use otelmesh_e2e::mesh::{FRONTEND, Mesh};
use otelmesh_e2e::tools::run;
use serde_json::{Value, json};

#[test]
fn all_pods_of_the_chart_run_under_the_restricted_standard_behind_a_firewall() {
    let mesh = Mesh::enter("restricted");
    let receiver = mesh.receiver.http();
    let mut pods = 0;
    for mode in ["gateway", "agent", "agent-gateway"] {
        let values = json!({
            "collector": {"mode": mode, "podSecurity": "restricted"},
            "security": {"networkPolicy": {
                "enabled": true, "namespaces": ["shop"],
                "backends": [{"cidr": format!("{}/32", receiver.ip()), "ports": [receiver.port()]}],
            }},
            // Beside the collector, in the namespace with that standard. Its application stands in for k6: who may run
            // is asked of pods, not of programs.
            "demo": {"enabled": true, "namespace": "otelmesh", "createNamespace": false},
            "trials": {"load": {"enabled": true, "image": "docker.io/otelmesh/app:1.0"}},
        });
        run(mesh.otelmesh(&["install", "--yes", "-f"]).arg(mesh.values(&values)));
        let namespace = mesh.get(&["namespace", "otelmesh"]);
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        let components: &[&str] = match mode {
            "gateway" => &["collector-gateway"],
            "agent" => &["collector-agent"],
            _ => &["collector-agent", "collector-gateway"],
        };
        for component in [components, &["demo-frontend", "demo-backend", "load"]].concat() {
            mesh.wait_until(&format!("{mode}: {component} runs"), || running(&mesh, component) > 0);
            pods += running(&mesh, component);
        }
        let tiers: Vec<String> = components.iter().map(|name| name.replace("collector", "otel-collector")).collect();
        let policies = mesh.get(&["networkpolicies", "-n", "otelmesh"]);
        let names: Vec<&str> = items(&policies).filter_map(|policy| policy["metadata"]["name"].as_str()).collect();
        assert_eq!(names, tiers, "{mode}");
    }
    mesh.wait_for_whole_trace(FRONTEND);
    mesh.done(&format!(
        "3 modes, {pods} pods admitted and running; 1 whole trace; NetworkPolicies are there, and enforced by nobody here"
    ));
}

/// Pods of a component that run, with all their containers ready.
fn running(mesh: &Mesh, component: &str) -> usize {
    let label = format!("app.kubernetes.io/component={component}");
    let pods = mesh.get(&["pods", "-n", "otelmesh", "-l", &label]);
    items(&pods)
        .filter(|pod| {
            pod["status"]["containerStatuses"].as_array().is_some_and(|all| all.iter().all(|c| c["ready"] == true))
        })
        .count()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}
