//! What is rendered, against the schemas in Istio's own CRDs: no field that Istio does not know, none of a wrong type.

use std::fs;

use otelmesh_e2e::tools::{go_tool, otelmesh, run};
use serde_json::{Value, json};

/// The schema of a kind, made as strict as `kubectl --validate=strict` is.
fn schema(kind: &str, version: &str) -> Value {
    let crds = fs::read_to_string(go_tool("istio-crds.yaml")).unwrap();
    let crds: Vec<Value> = serde_saphyr::from_multiple(&crds).unwrap();
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap_or_else(|| panic!("no CRD {kind}"));
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let version = versions.iter().find(|v| v["name"] == version && v["served"] == true).unwrap();
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    // What every object has, no CRD names.
    for (key, value) in
        [("apiVersion", json!({"type": "string"})), ("kind", json!({"const": kind})), ("metadata", json!({}))]
    {
        schema["properties"][key] = value;
    }
    close(&mut schema);
    schema
}

/// Forbids fields that a schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
            if map.get("properties").is_some_and(Value::is_object) && !open {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn rendered(set: &[&str]) -> Vec<Value> {
    let mut command = otelmesh();
    command.args(["render", "-o", "json", "--set", "filter.image.registry=r.example:5000"]);
    for set in set {
        command.args(["--set", set]);
    }
    let list: Value = serde_json::from_str(&run(&mut command)).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// What a schema has against an object.
fn complaints(object: &Value) -> Vec<String> {
    let (kind, version) = (object["kind"].as_str().unwrap(), object["apiVersion"].as_str().unwrap());
    let schema = schema(kind, version.rsplit('/').next().unwrap());
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(object).map(|e| format!("{kind}: {e}")).collect()
}

#[test]
fn istio_knows_every_field_that_is_rendered() {
    let vectors: &[&[&str]] = &[
        &[],
        &["filter.selector.matchLabels.app=shop,filter.namespace=shop"],
        &[
            "filter.targetRefs[0].group=gateway.networking.k8s.io,filter.targetRefs[0].kind=Gateway,filter.targetRefs[0].name=g",
        ],
        &["filter.image.pullPolicy=Always,filter.image.pullSecret=regcred,filter.env.OTEL_SERVICE_NAME=shop"],
        &["filter.phase=UNSPECIFIED_PHASE,filter.failStrategy=FAIL_RELOAD,filter.priority=-1"],
        &["filter.config.propagation.extract={b3,tracecontext},filter.config.resource.attributes.a=b"],
    ];
    for set in vectors {
        let objects = rendered(set);
        assert_eq!(objects.len(), 2, "{set:?}");
        for object in &objects {
            assert_eq!(complaints(object), [""; 0], "{set:?}");
        }
    }
}

#[test]
fn the_schemas_are_strict_enough_to_find_a_wrong_field() {
    for (kind, path, value, words) in [
        ("WasmPlugin", "/spec/selectors", json!({}), "selectors"),
        ("WasmPlugin", "/spec/failStrategy", json!("OPEN"), "OPEN"),
        ("WasmPlugin", "/spec/vmConfig/env/0/valuefrom", json!("HOST"), "valuefrom"),
        ("Telemetry", "/spec/tracing/0/disableSpanReporting", json!("yes"), "yes"),
        ("Telemetry", "/spec/tracing/0/disabled", json!(true), "disabled"),
    ] {
        let mut object = rendered(&[]).into_iter().find(|object| object["kind"] == kind).unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        let complaints = complaints(&object);
        assert!(complaints.iter().any(|c| c.contains(words)), "{path} gave {complaints:?}");
    }
}
