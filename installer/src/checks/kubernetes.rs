//! Kubernetes itself: version, kinds, permissions, namespaces.

use std::collections::BTreeMap;

use super::{Findings, Snapshot, finding};
use crate::cluster::Id;

/// The oldest Kubernetes, as the oldest supported Istio wants it.
const OLDEST: (u32, u32) = (1, 28);

pub(super) fn version(snapshot: &Snapshot) -> Findings {
    let version = &snapshot.kubernetes;
    let found = numbers(version).ok_or_else(|| format!("{version:?} is no version"))?;
    if found >= OLDEST {
        return Ok(vec![]);
    }
    Ok(vec![finding(format!("the cluster runs Kubernetes {version}"), "upgrade the cluster to a supported version")])
}

pub(super) fn kinds(snapshot: &Snapshot) -> Findings {
    let missing = snapshot.missing_kinds.iter().map(|(kind, version)| {
        let next = match version.split('.').next().unwrap_or_default() {
            _ if version.contains("istio.io") => "install Istio with its CRDs: istioctl install",
            "monitoring" => "install the Prometheus operator's CRDs, or turn monitoring off in the values",
            _ => "kubectl api-resources lists the kinds that are there",
        };
        finding(format!("there is no kind {kind} in {version}"), next)
    });
    Ok(missing.collect())
}

pub(super) fn permissions(snapshot: &Snapshot) -> Findings {
    let mut by_resource = BTreeMap::<(&str, &str), Vec<&str>>::new();
    for denied in snapshot.denied.as_ref().map_err(Clone::clone)? {
        by_resource.entry((&denied.namespace, &denied.resource)).or_default().push(&denied.verb);
    }
    let findings = by_resource.into_iter().map(|((namespace, resource), verbs)| {
        let (place, option) = match namespace {
            "" => ("in the whole cluster".to_owned(), String::new()),
            namespace => (format!("in namespace {namespace}"), format!(" -n {namespace}")),
        };
        finding(
            format!("you may not {} {resource} {place}", verbs.join(", ")),
            format!(
                "ask for the right; it is there when this says yes: kubectl auth can-i {} {resource}{option}",
                verbs[0]
            ),
        )
    });
    Ok(findings.collect())
}

pub(super) fn namespaces(snapshot: &Snapshot) -> Findings {
    let live = snapshot.namespaces.as_ref().map_err(Clone::clone)?;
    let is_there = |name: &str| {
        // The release's own is made by the installation.
        name.is_empty()
            || name == snapshot.release.namespace
            || live.iter().any(|namespace| namespace["metadata"]["name"] == name)
            || snapshot.own("Namespace").any(|namespace| namespace["metadata"]["name"] == name)
    };
    let mut missing: Vec<String> =
        snapshot.objects.iter().map(|o| Id::of(o).namespace).filter(|n| !is_there(n)).collect();
    missing.sort();
    missing.dedup();
    let finding = |name: String| {
        let next = match name == snapshot.root_namespace {
            true => "install Istio, or set mesh.rootNamespace to its root namespace".to_owned(),
            false => format!("kubectl create namespace {name}"),
        };
        finding(format!("there is no namespace {name}"), next)
    };
    Ok(missing.into_iter().map(finding).collect())
}

/// Major and minor of a version, whatever comes before and after.
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
