//! What the user may not do, asked of the API server for every object that would be written.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::chart::Release;
use crate::cluster::{Cluster, ClusterError, Id};

/// What an installation does with an object, and an uninstall after it.
const VERBS: [&str; 4] = ["get", "create", "patch", "delete"];
/// What keeps the inventory and the revisions.
const OWN: [&str; 2] = ["ConfigMap", "Secret"];

/// Something that the user may not do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// What.
    pub verb: String,
    /// With which resource, such as `wasmplugins.extensions.istio.io`.
    pub resource: String,
    /// Where; empty for the whole cluster.
    pub namespace: String,
}

/// Asks, once for each verb, resource and namespace.
pub(super) async fn denied(
    cluster: &Cluster,
    release: &Release,
    objects: &[Value],
) -> Result<Vec<Denied>, ClusterError> {
    let mut questions = BTreeSet::new();
    for object in objects {
        let Ok(kind) = cluster.kind_of(object).await else { continue };
        let namespace = match (kind.namespaced, Id::of(object).namespace) {
            (false, _) => String::new(),
            (true, namespace) if namespace.is_empty() => release.namespace.clone(),
            (true, namespace) => namespace,
        };
        for verb in VERBS.iter().chain(&["list"]) {
            let (group, plural) = (kind.resource.group.clone(), kind.resource.plural.clone());
            questions.insert((namespace.clone(), group, plural, (*verb).to_owned()));
        }
    }
    for kind in OWN {
        let plural = format!("{}s", kind.to_lowercase());
        for verb in VERBS.iter().chain(&["list"]) {
            questions.insert((release.namespace.clone(), String::new(), plural.clone(), (*verb).to_owned()));
        }
    }
    let mut denied = Vec::new();
    for (namespace, group, resource, verb) in questions {
        let question = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": group, "resource": resource,
            }},
        });
        let answer = cluster.review("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &question).await?;
        if answer["status"]["allowed"] != true {
            let resource = if group.is_empty() { resource } else { format!("{resource}.{group}") };
            denied.push(Denied { verb, resource, namespace });
        }
    }
    Ok(denied)
}
