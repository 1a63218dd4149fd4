//! Istio: whether it runs, its version, its mode, its root namespace.

use serde_json::Value;

use super::kubernetes::numbers;
use super::{Findings, Snapshot, finding};

/// The oldest Istio, whose Envoy has what the filter uses.
const OLDEST: (u32, u32) = (1, 20);
/// Namespaces whose pods get a sidecar.
const INJECTION: [&str; 2] = ["istio-injection", "istio.io/rev"];
const AMBIENT: &str = "istio.io/dataplane-mode";

pub(super) fn running(snapshot: &Snapshot) -> Findings {
    let pods = snapshot.istiod.as_ref().map_err(Clone::clone)?;
    let is_ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    Ok(match pods.iter().any(is_ready) {
        true => vec![],
        false if pods.is_empty() => {
            vec![finding("there is no pod with the label app=istiod in any namespace", "istioctl install")]
        }
        false => vec![finding("no pod of istiod is ready", "kubectl get pods -A -l app=istiod")],
    })
}

pub(super) fn version(snapshot: &Snapshot) -> Findings {
    let versions = snapshot.istio_versions.as_ref().map_err(Clone::clone)?;
    if versions.is_empty() && snapshot.istiod.as_ref().is_ok_and(|pods| !pods.is_empty()) {
        return Err("no pod of istiod runs".to_owned());
    }
    let old = versions.iter().filter(|version| numbers(version).is_some_and(|found| found < OLDEST));
    Ok(old.map(|version| finding(format!("istiod is {version}"), "istioctl x precheck, then upgrade Istio")).collect())
}

pub(super) fn mode(snapshot: &Snapshot) -> Findings {
    let namespaces = snapshot.namespaces.as_ref().map_err(Clone::clone)?;
    let labelled = |key: &str, value: Option<&str>| {
        let all = namespaces.iter().chain(snapshot.own("Namespace"));
        all.filter(|n| n["metadata"]["labels"][key].as_str().is_some_and(|v| value.is_none_or(|w| v == w))).count()
    };
    let sidecars = labelled(INJECTION[0], Some("enabled")) + labelled(INJECTION[1], None);
    let ambient = labelled(AMBIENT, Some("ambient"));
    let by_reference = snapshot.objects.iter().any(|object| object["spec"]["targetRefs"].is_array());
    if sidecars > 0 && (ambient == 0 || by_reference) {
        return Ok(vec![]);
    }
    Ok(match (sidecars, ambient) {
        (0, 0) => vec![finding(
            "no namespace asks for sidecars or for ambient mode",
            "kubectl label namespace NAMESPACE istio-injection=enabled, then restart its pods",
        )],
        _ if by_reference => vec![],
        (_, ambient) => vec![finding(
            format!("{ambient} namespaces are in ambient mode, whose ztunnel runs no filters"),
            "give them a waypoint (istioctl waypoint apply -n NAMESPACE) and install a second release with filter.targetRefs",
        )],
    })
}

pub(super) fn root_namespace(snapshot: &Snapshot) -> Findings {
    let meshes = snapshot.meshes()?;
    let root = &snapshot.root_namespace;
    if meshes.is_empty() {
        return Ok(vec![finding(
            format!("namespace {root} has no ConfigMap of Istio with the mesh's configuration"),
            "kubectl get configmap -A | grep istio, then set mesh.rootNamespace",
        )]);
    }
    let other = |(name, mesh): &(String, Value)| {
        let set = mesh["rootNamespace"].as_str().filter(|set| set != root)?;
        Some(finding(format!("ConfigMap {name} says rootNamespace: {set}"), format!("set mesh.rootNamespace={set}")))
    };
    Ok(meshes.iter().filter_map(other).collect())
}
