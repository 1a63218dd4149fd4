//! Whether sidecars can see the collector: a Sidecar resource with an egress list hides what the list does not name, and
//! every export of the filter is refused then.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Findings, Snapshot, finding};
use crate::cluster::Id;

pub(super) fn sidecars(snapshot: &Snapshot) -> Findings {
    let sidecars = snapshot.sidecars.as_ref().map_err(Clone::clone)?;
    let mut findings = Vec::new();
    for host in collectors(&snapshot.objects) {
        for sidecar in sidecars.iter().filter(|sidecar| hides(sidecar, &host)) {
            let id = Id::of(sidecar);
            let namespace = host.split('.').nth(1).unwrap_or_default();
            findings.push(finding(
                format!("{id} has an egress list without {host}"),
                format!(
                    "kubectl edit sidecar -n {} {}: add \"{namespace}/{host}\" to an egress entry",
                    id.namespace, id.name
                ),
            ));
        }
    }
    Ok(findings)
}

/// The hosts of the clusters that Istio's objects export to, `outbound|4318||NAME.NAMESPACE.svc.DOMAIN`; in an EnvoyFilter
/// they stand within a text.
fn collectors(objects: &[Value]) -> BTreeSet<String> {
    fn find(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => {
                for cluster in text.split("outbound|").skip(1) {
                    let end = cluster.find(['"', ' ', ',']).unwrap_or(cluster.len());
                    found.extend(cluster[..end].rsplit('|').next().map(str::to_owned));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| find(item, found)),
            Value::Object(map) => map.values().for_each(|value| find(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    objects.iter().for_each(|object| find(object, &mut found));
    found
}

fn hides(sidecar: &Value, host: &str) -> bool {
    // Without a list everything is seen.
    let Some(egress) = sidecar["spec"]["egress"].as_array().filter(|egress| !egress.is_empty()) else { return false };
    let own = sidecar["metadata"]["namespace"].as_str().unwrap_or_default();
    let hosts = egress.iter().flat_map(|entry| entry["hosts"].as_array().into_iter().flatten());
    !hosts.filter_map(Value::as_str).any(|pattern| shows(pattern, own, host))
}

/// Whether one entry, NAMESPACE/HOST, shows a host to the workloads of a namespace.
fn shows(pattern: &str, own: &str, host: &str) -> bool {
    let (namespace, name) = pattern.split_once('/').unwrap_or(("*", pattern));
    let host_namespace = host.split('.').nth(1).unwrap_or_default();
    let namespace_shows = match namespace {
        "*" => true,
        "." => host_namespace == own,
        "~" => false,
        other => other == host_namespace,
    };
    let name_shows = match name.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => name == host,
    };
    namespace_shows && name_shows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_is_found_in_a_plugin_and_within_the_text_of_an_envoy_filter() {
        let host = "otel-collector.otelmesh.svc.cluster.local";
        let plain = serde_json::json!({"cluster": format!("outbound|4318||{host}")});
        let within = serde_json::json!({"value": plain.to_string()});
        for object in [plain, within] {
            assert_eq!(collectors(&[object]), BTreeSet::from([host.to_owned()]));
        }
    }

    #[test]
    fn an_entry_shows_a_host_by_namespace_and_name() {
        let host = "otel-collector.otelmesh.svc.cluster.local";
        for (pattern, expected, reason) in [
            ("*/*", true, "everything"),
            ("otelmesh/*", true, "its namespace"),
            ("otelmesh/otel-collector.otelmesh.svc.cluster.local", true, "itself"),
            ("*/*.otelmesh.svc.cluster.local", true, "by its suffix"),
            ("./*", false, "the sidecar's own namespace is another"),
            ("~/*", false, "nothing"),
            ("istio-system/*", false, "another namespace"),
            ("otelmesh/other.otelmesh.svc.cluster.local", false, "another name"),
        ] {
            assert_eq!(shows(pattern, "shop", host), expected, "{pattern}: {reason}");
        }
        assert!(shows("./*", "otelmesh", host), "the collector's own namespace");
    }
}
