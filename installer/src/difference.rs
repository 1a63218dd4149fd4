//! What changes between two states of an object, field by field.
//!
//! In: an object before and after, as the API server gives it. Out: the fields that differ, with their paths. What the
//! API server itself keeps (status, versions, managers) is left out, and what is in a Secret is never shown.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// What the API server writes by itself.
const KEPT_BY_SERVER: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];
const HIDDEN: &str = "(hidden)";
const HIDDEN_AFTER: &str = "(hidden, but another)";

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Where, such as `spec.tracing[0].disableSpanReporting`.
    pub path: String,
    /// What it was; none if it was not there.
    pub before: Option<Value>,
    /// What it will be; none if it will not be there.
    pub after: Option<Value>,
}

/// An object without what the API server keeps by itself.
pub fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        KEPT_BY_SERVER.iter().for_each(|key| drop(metadata.remove(*key)));
    }
    object
}

/// The fields in which two states of one object differ.
pub fn fields(before: &Value, after: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    compare("", Some(&plain(before)), Some(&plain(after)), &mut found);
    if after["kind"] == "Secret" {
        hide(&mut found);
    }
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Field>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
                let path = if path.is_empty() { key.clone() } else { format!("{path}{}", step(key)) };
                compare(&path, before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                compare(&format!("{path}[{index}]"), before.get(index), after.get(index), found);
            }
        }
        _ => found.push(Field { path: path.to_owned(), before: before.cloned(), after: after.cloned() }),
    }
}

/// A key in a path; labels and annotations have dots of their own.
fn step(key: &str) -> String {
    if key.contains(['.', '/']) { format!("[{key}]") } else { format!(".{key}") }
}

fn hide(fields: &mut [Field]) {
    for field in fields.iter_mut().filter(|f| f.path.starts_with("data") || f.path.starts_with("stringData")) {
        field.before = field.before.as_ref().map(|_| HIDDEN.into());
        field.after = field.after.as_ref().map(|_| HIDDEN_AFTER.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_named_by_its_path() {
        let before = json!({"metadata": {"labels": {"a/b": "1"}, "uid": "u"}, "spec": {"l": [1, 2], "gone": 1}});
        let after = json!({"metadata": {"labels": {"a/b": "2"}, "uid": "v"}, "spec": {"l": [1, 3, 4], "new": {}}});
        let paths: Vec<String> = fields(&before, &after).into_iter().map(|f| f.path).collect();
        assert_eq!(paths, ["metadata.labels[a/b]", "spec.gone", "spec.l[1]", "spec.l[2]", "spec.new"]);
    }

    #[test]
    fn what_the_server_keeps_is_no_difference() {
        let before = json!({"metadata": {"resourceVersion": "1", "managedFields": []}, "status": {"a": 1}});
        assert_eq!(fields(&before, &json!({"metadata": {"resourceVersion": "2"}, "status": {"a": 2}})), []);
    }

    #[test]
    fn secrets_are_never_shown() {
        let secret = |value: &str| json!({"kind": "Secret", "data": {"password": value}});
        let shown = format!("{:?}", fields(&secret("b25l"), &secret("dHdv")));
        assert!(shown.contains("data.password") && !shown.contains("b25l") && !shown.contains("dHdv"), "{shown}");
    }
}
