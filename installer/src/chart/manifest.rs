//! From a template's text to objects, as Helm does it.
//!
//! In: the text of one template, which may hold several documents or none. Out: one [`Object`] a document. Refuses text
//! that is no YAML, and a document that is no Kubernetes object.

use serde_json::Value;

/// Helm's order of installation for the kinds that this chart has or will have; any other kind comes after them.
const ORDER: &[&str] = &[
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Deployment",
    "StatefulSet",
    "Job",
    "CronJob",
    "HorizontalPodAutoscaler",
];

/// A Kubernetes object as a template gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The template, such as `otelmesh/templates/filter/wasmplugin.yaml`.
    pub source: String,
    /// The text, with its comments, without an end of line.
    pub text: String,
    /// What it says.
    pub value: Value,
}

impl Object {
    /// Its `kind`.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// Its `metadata.name`.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// Adds each object in a template's text.
pub(super) fn split(source: &str, text: &str, objects: &mut Vec<Object>) -> Result<(), String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    for document in documents {
        let value: Value = serde_saphyr::from_str(&document).map_err(|e| e.to_string())?;
        // A template that decided to give nothing leaves a document of comments and blank lines.
        if value.is_null() {
            continue;
        }
        let object = Object { source: source.to_owned(), text: document.trim().to_owned(), value };
        if ["apiVersion", "kind"].iter().any(|key| !object.value[key].is_string()) || object.name().is_empty() {
            return Err(format!("a document has no apiVersion, kind or metadata.name:\n{}", object.text));
        }
        objects.push(object);
    }
    Ok(())
}

/// Sorts objects as Helm installs them: by kind, and within a kind as the templates stand.
pub(super) fn sort(objects: &mut [Object]) {
    objects.sort_by(|a, b| key(a).cmp(&key(b)));
}

fn key(object: &Object) -> (usize, &str) {
    let kind = object.kind();
    match ORDER.iter().position(|known| *known == kind) {
        Some(place) => (place, ""),
        None => (ORDER.len(), kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_text(text: &str) -> Result<Vec<Object>, String> {
        let mut objects = Vec::new();
        split("t", text, &mut objects).map(|()| objects)
    }

    #[test]
    fn documents_without_an_object_are_left_out() {
        let objects =
            split_text("# only\n---\n\n---\n# why\napiVersion: v1\nkind: A\nmetadata: {name: a}\n---\n").unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].text, "# why\napiVersion: v1\nkind: A\nmetadata: {name: a}");
    }

    #[test]
    fn a_document_that_is_no_object_is_refused() {
        assert!(split_text("kind: A\n").unwrap_err().contains("metadata.name"));
        assert!(split_text("a: [1\n").is_err());
    }

    #[test]
    fn kinds_come_in_the_order_of_helm_and_unknown_ones_last() {
        let object = |kind: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n---\n");
        let text: String = ["WasmPlugin", "Telemetry", "Service", "Namespace"].map(object).concat();
        let mut objects = split_text(&text).unwrap();
        sort(&mut objects);
        assert_eq!(
            objects.iter().map(Object::kind).collect::<Vec<_>>(),
            ["Namespace", "Service", "Telemetry", "WasmPlugin"]
        );
    }
}
