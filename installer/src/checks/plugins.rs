//! Other plugins in the same proxies: the filter twice, or something before it.

use serde_json::Value;

use super::{Findings, Snapshot, finding};
use crate::cluster::Id;

/// The repository's last part, by which an installation that is not ours can be known.
const REPOSITORY: &str = "otelmesh/filter";

pub(super) fn twice(snapshot: &Snapshot) -> Findings {
    let plugins = snapshot.plugins_there.as_ref().map_err(Clone::clone)?;
    let filters = snapshot.envoy_filters.as_ref().map_err(Clone::clone)?;
    let own: Vec<&Value> = snapshot.plugins().collect();
    let mut findings = Vec::new();
    for other in plugins.iter().chain(filters).filter(|other| !snapshot.is_own(other)) {
        let same = other["spec"].to_string().contains(REPOSITORY);
        // A second release for other workloads is how waypoints are served.
        if same && own.iter().any(|own| overlaps(snapshot, own, other)) {
            findings.push(finding(
                format!("{} runs the filter for the same workloads, so that every request would give two spans", Id::of(other)),
                format!(
                    "uninstall the release that it belongs to, or give one of them a selector; kubectl get {} -n {} {} -o yaml",
                    other["kind"].as_str().unwrap_or_default().to_lowercase(),
                    Id::of(other).namespace,
                    Id::of(other).name
                ),
            ));
        }
    }
    Ok(findings)
}

/// Whether two plugins may be for the same workloads.
fn overlaps(snapshot: &Snapshot, own: &Value, other: &Value) -> bool {
    let namespace = |object: &Value| object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let same_namespace = namespace(own) == namespace(other);
    let everywhere = [own, other].iter().any(|object| namespace(object) == snapshot.root_namespace);
    let selects = |object: &Value| {
        let labels = &object["spec"]["selector"]["matchLabels"];
        let labels = if labels.is_null() { &object["spec"]["workloadSelector"]["labels"] } else { labels };
        labels.as_object().cloned().unwrap_or_default()
    };
    let (mine, theirs) = (selects(own), selects(other));
    // Two selectors exclude each other for sure if they want different values of one label.
    let apart = mine.iter().any(|(key, value)| theirs.get(key).is_some_and(|other| other != value));
    let by_reference = |object: &Value| object["spec"]["targetRefs"].is_array();
    (same_namespace || everywhere) && !apart && by_reference(own) == by_reference(other)
}

pub(super) fn order(snapshot: &Snapshot) -> Findings {
    let plugins = snapshot.plugins_there.as_ref().map_err(Clone::clone)?;
    let priority = |object: &Value| object["spec"]["priority"].as_i64().unwrap_or(0);
    let rank = |object: &Value| match object["spec"]["phase"].as_str() {
        Some("AUTHN") => 0,
        Some("AUTHZ") => 1,
        Some("STATS") => 2,
        _ => 3,
    };
    let own = snapshot.own("WasmPlugin").chain(snapshot.own("TrafficExtension"));
    let Some(first) = own.min_by_key(|own| (rank(own), -priority(own))) else { return Ok(vec![]) };
    let before = plugins
        .iter()
        .filter(|other| !snapshot.is_own(other) && (rank(other), -priority(other)) < (rank(first), -priority(first)));
    let finding = |other: &Value| {
        finding(
            format!("{} comes first: requests that it answers itself give no span", Id::of(other)),
            format!("set filter.priority above {} if these are to be seen", priority(other)),
        )
    };
    Ok(before.map(finding).collect())
}
