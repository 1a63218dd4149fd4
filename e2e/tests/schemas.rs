//! What is rendered, against the schemas of Istio, Kubernetes and Prometheus' operator: no field that they do not know,
//! none of a wrong type.

use std::collections::BTreeSet;

use otelmesh_e2e::rendered::{INSTALLATIONS, objects};
use otelmesh_e2e::schema::{Crds, Kubernetes};
use serde_json::{Value, json};

struct Schemas {
    istio: Crds,
    operator: Crds,
    kubernetes: Kubernetes,
}

impl Schemas {
    fn fetched() -> Self {
        Self {
            istio: Crds::fetched("istio-crds.yaml"),
            operator: Crds::fetched("operator-crds.yaml"),
            kubernetes: Kubernetes::fetched(),
        }
    }

    fn complaints(&self, object: &Value) -> Vec<String> {
        let api = object["apiVersion"].as_str().unwrap();
        match api {
            api if api.contains(".istio.io/") => self.istio.complaints(object),
            api if api.starts_with("monitoring.coreos.com/") => self.operator.complaints(object),
            _ => self.kubernetes.complaints(object),
        }
    }
}

#[test]
fn every_field_that_is_rendered_is_known() {
    let schemas = Schemas::fetched();
    let mut kinds = BTreeSet::new();
    for (reason, args) in INSTALLATIONS {
        for object in objects(args) {
            assert_eq!(schemas.complaints(&object), [""; 0], "{reason}");
            kinds.insert(object["kind"].as_str().unwrap().to_owned());
        }
    }
    let expected = [
        "AuthorizationPolicy",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "DaemonSet",
        "Deployment",
        "DestinationRule",
        "EnvoyFilter",
        "HorizontalPodAutoscaler",
        "Job",
        "Namespace",
        "NetworkPolicy",
        "PeerAuthentication",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "RequestAuthentication",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
        "StatefulSet",
        "Telemetry",
        "TrafficExtension",
        "VirtualService",
        "WasmPlugin",
    ];
    assert_eq!(kinds, expected.map(str::to_owned).into(), "the chart renders other kinds than are judged here");
}

#[test]
fn the_schemas_are_strict_enough_to_find_a_wrong_field() {
    let schemas = Schemas::fetched();
    let all: Vec<Value> = INSTALLATIONS.iter().flat_map(|(_, args)| objects(args)).collect();
    for (kind, path, value, words) in [
        ("WasmPlugin", "/spec/selectors", json!({}), "selectors"),
        ("WasmPlugin", "/spec/failStrategy", json!("OPEN"), "OPEN"),
        ("WasmPlugin", "/spec/vmConfig/env/0/valuefrom", json!("HOST"), "valuefrom"),
        ("TrafficExtension", "/spec/wasm/uri", json!("oci://x"), "uri"),
        ("Telemetry", "/spec/tracing/0/disableSpanReporting", json!("yes"), "yes"),
        ("EnvoyFilter", "/spec/configPatches/0/match/context", json!("SIDECAR"), "SIDECAR"),
        ("VirtualService", "/spec/http/0/retry", json!({}), "retry"),
        ("AuthorizationPolicy", "/spec/rules/0/from/0/source/namespace", json!([]), "namespace"),
        ("StatefulSet", "/spec/template/spec/containers/0/probe", json!({}), "probe"),
        ("HorizontalPodAutoscaler", "/spec/behaviour", json!({}), "behaviour"),
        ("NetworkPolicy", "/spec/egress/0/port", json!(53), "port"),
        ("PodMonitor", "/spec/podMetricsEndpoints/0/relabellings", json!([]), "relabellings"),
        ("PrometheusRule", "/spec/groups/0/rules/0/exp", json!("1"), "exp"),
    ] {
        let mut object = all.iter().find(|object| object["kind"] == kind).unwrap().clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap_or_else(|| panic!("{kind} has no {parent}"))[key] = value;
        let complaints = schemas.complaints(&object);
        assert!(complaints.iter().any(|c| c.contains(words)), "{path} gave {complaints:?}");
    }
}
