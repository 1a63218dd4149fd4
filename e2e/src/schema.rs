//! Objects against the schemas of those who will read them.
//!
//! In: CRDs, or Kubernetes' own description of its API, and an object. Out: what the schema has against the object, as
//! strict as `kubectl --validate=strict`: an unknown field counts. Refuses a kind that no schema describes.

use std::fs;

use serde_json::{Map, Value, json};

use crate::tools::go_tool;

/// The kinds that some CRDs define.
#[derive(Debug)]
pub struct Crds(Vec<Value>);

/// The kinds of Kubernetes itself.
#[derive(Debug)]
pub struct Kubernetes(Value);

// === impl Crds ===

impl Crds {
    /// Reads a file that `make test-tools` fetched.
    ///
    /// # Panics
    /// If it is not there, or holds no CRDs.
    pub fn fetched(name: &str) -> Self {
        let text = fs::read_to_string(go_tool(name)).expect("fetched files can be read");
        Self(serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{name}: {e}")))
    }

    /// What the schema has against an object.
    ///
    /// # Panics
    /// If no CRD is of its kind and version.
    pub fn complaints(&self, object: &Value) -> Vec<String> {
        let (kind, version) = names(object);
        let crd = self.0.iter().find(|crd| crd["spec"]["names"]["kind"] == kind);
        let crd = crd.unwrap_or_else(|| panic!("no CRD defines {kind}"));
        let versions = crd["spec"]["versions"].as_array().expect("a CRD has versions");
        let served = versions.iter().find(|v| v["name"] == version && v["served"] == true);
        let mut schema =
            served.unwrap_or_else(|| panic!("{kind} has no {version}"))["schema"]["openAPIV3Schema"].clone();
        // What every object has, no CRD names.
        for (key, value) in
            [("apiVersion", json!({"type": "string"})), ("kind", json!({"const": kind})), ("metadata", json!({}))]
        {
            schema["properties"][key] = value;
        }
        judge(schema, object)
    }
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Reads the file that `make test-tools` fetched.
    ///
    /// # Panics
    /// If it is not there, or is no JSON.
    pub fn fetched() -> Self {
        let text = fs::read_to_string(go_tool("kubernetes.json")).expect("fetched files can be read");
        Self(serde_json::from_str(&text).expect("the API's description is JSON"))
    }

    /// What the schema has against an object.
    ///
    /// # Panics
    /// If Kubernetes has no such kind.
    pub fn complaints(&self, object: &Value) -> Vec<String> {
        let (kind, version) = names(object);
        let api = object["apiVersion"].as_str().unwrap_or_default();
        let group = api.split_once('/').map_or("", |(group, _)| group);
        let wanted = json!({"group": group, "kind": kind, "version": version});
        let definitions = self.0["definitions"].as_object().expect("an API has definitions");
        let found = definitions.iter().find(|(_, definition)| {
            let kinds = definition["x-kubernetes-group-version-kind"].as_array();
            // Options of calls carry the group of every kind; an object has only its own.
            kinds.is_some_and(|kinds| kinds.len() == 1 && kinds[0] == wanted)
        });
        let (name, _) = found.unwrap_or_else(|| panic!("Kubernetes has no {kind} in {api}"));
        let mut definitions = definitions.clone();
        definitions.values_mut().for_each(quantities);
        judge(json!({"$ref": format!("#/definitions/{name}"), "definitions": definitions}), object)
    }
}

fn names(object: &Value) -> (&str, &str) {
    let api = object["apiVersion"].as_str().expect("an object has an apiVersion");
    let kind = object["kind"].as_str().expect("an object has a kind");
    (kind, api.rsplit('/').next().unwrap_or_default())
}

fn judge(mut schema: Value, object: &Value) -> Vec<String> {
    close(&mut schema);
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let kind = &object["kind"];
    validator.iter_errors(object).map(|e| format!("{kind} {}: {e}", e.instance_path())).collect()
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

/// Kubernetes calls a port's name or number, and a quantity, strings of a format.
fn quantities(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("format") == Some(&json!("int-or-string")) {
                *map = Map::from_iter([("type".to_owned(), json!(["string", "integer"]))]);
            }
            map.values_mut().for_each(quantities);
        }
        Value::Array(items) => items.iter_mut().for_each(quantities),
        _ => {}
    }
}
