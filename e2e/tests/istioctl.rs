//! What is rendered, judged by the real istioctl: `validate` field by field, `analyze` as a whole.

use std::fs;
use std::process::Command;

use otelmesh_e2e::rendered::{INSTALLATIONS, text};
use otelmesh_e2e::tools::{go_tool, refused, run};

/// The objects around an installation that analyze looks for: namespaces that inject, and Istio's own.
const SURROUNDINGS: &str = "
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
";

fn istioctl(command: &str, text: &str) -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rendered.yaml");
    fs::write(&file, text).unwrap();
    let mut istioctl = Command::new(go_tool("istioctl"));
    istioctl.arg(command);
    match command {
        "validate" => istioctl.arg("-f").arg(file),
        _ => {
            // Without -A only the namespace `default` is looked at, and nothing is found.
            // Every EnvoyFilter gets IST0133, which says that Istio promises nothing for it; values.yaml says so too.
            istioctl.args(["--suppress", "IST0133=EnvoyFilter *"]);
            istioctl.args(["-A", "--use-kube=false", "--failure-threshold", "Warning"]).arg(file)
        }
    };
    (dir, istioctl)
}

#[test]
fn istioctl_validates_every_installation() {
    for (reason, args) in INSTALLATIONS {
        let (_dir, mut command) = istioctl("validate", &text(args));
        let said = run(&mut command);
        assert!(!said.contains("Error"), "{reason}: {said}");
    }
}

#[test]
fn istioctl_analyzes_every_installation_without_a_warning() {
    for (reason, args) in INSTALLATIONS {
        let (_dir, mut command) = istioctl("analyze", &(text(args) + SURROUNDINGS));
        let said = run(&mut command);
        assert!(!said.contains("Warning") && !said.contains("Error"), "{reason}: {said}");
    }
}

#[test]
fn istioctl_would_have_complained() {
    let rule = "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {name: a, namespace: shop}\n\
                spec: {host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 150}}}\n";
    let (_dir, mut command) = istioctl("validate", rule);
    let said = refused(&mut command);
    assert!(said.contains("percentage 150"), "{said}");

    let service = "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata: {name: a, namespace: shop}\n\
                   spec: {hosts: [a], http: [{route: [{destination: {host: nowhere.shop.svc.cluster.local, subset: x}}]}]}\n";
    let (_dir, mut command) = istioctl("analyze", &(service.to_owned() + SURROUNDINGS));
    let said = refused(&mut command);
    assert!(said.contains("IST0101"), "{said}");
}
