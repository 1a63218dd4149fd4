//! Envoy's own tracer, which overwrites the headers that the filter writes: whether it is on, and by whom.

use serde_json::Value;

use super::{Finding, Findings, Snapshot, finding};
use crate::cluster::Id;

pub(super) fn providers(snapshot: &Snapshot) -> Findings {
    let telemetries = snapshot.telemetries.as_ref().map_err(Clone::clone)?;
    // Whoever stays on Envoy's own tracer wants it on.
    if snapshot.plugins().next().is_none() {
        return Ok(vec![]);
    }
    let mut findings: Vec<Finding> =
        telemetries.iter().filter(|t| !snapshot.is_own(t) && concerns(snapshot, t)).filter_map(turns_on).collect();
    // A Telemetry of ours turns off what the mesh's configuration turns on.
    if snapshot.own("Telemetry").any(turns_off) {
        return Ok(findings);
    }
    for (name, mesh) in snapshot.meshes()? {
        let providers = mesh["defaultProviders"]["tracing"].as_array().map_or(0, Vec::len);
        let reason = match (providers, &mesh["enableTracing"], &mesh["defaultConfig"]["tracing"]) {
            (1.., _, _) => format!("defaultProviders.tracing: {}", mesh["defaultProviders"]["tracing"]),
            (_, Value::Bool(true), _) => "enableTracing: true".to_owned(),
            (_, _, Value::Object(tracing)) if !tracing.is_empty() => "defaultConfig.tracing".to_owned(),
            _ => continue,
        };
        findings.push(finding(
            format!("ConfigMap {}/{name} has {reason}", snapshot.root_namespace),
            "set tracing.telemetry=true, or take it out of the mesh's configuration",
        ));
    }
    Ok(findings)
}

fn turns_on(telemetry: &Value) -> Option<Finding> {
    let id = Id::of(telemetry);
    let tracing = telemetry["spec"]["tracing"].as_array()?;
    if tracing.iter().all(|entry| entry["disableSpanReporting"] == true) {
        return None;
    }
    Some(finding(
        format!("{id} configures tracing for its workloads, and wins over the release's"),
        format!(
            "kubectl edit telemetry -n {} {}: take `tracing` out, or set disableSpanReporting: true",
            id.namespace, id.name
        ),
    ))
}

fn turns_off(telemetry: &Value) -> bool {
    let tracing = telemetry["spec"]["tracing"].as_array();
    tracing.is_some_and(|entries| entries.iter().any(|entry| entry["disableSpanReporting"] == true))
}

/// Whether a Telemetry is for workloads that the filter is for: in the same namespace, or in any if the filter is
/// everywhere.
fn concerns(snapshot: &Snapshot, telemetry: &Value) -> bool {
    let namespace = telemetry["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut scopes =
        snapshot.own("Telemetry").chain(snapshot.own("WasmPlugin")).chain(snapshot.own("TrafficExtension"));
    scopes
        .any(|own| own["metadata"]["namespace"] == namespace || own["metadata"]["namespace"] == snapshot.root_namespace)
}

pub(super) fn clash(snapshot: &Snapshot) -> Findings {
    let telemetries = snapshot.telemetries.as_ref().map_err(Clone::clone)?;
    let scope = |object: &Value| {
        let spec = &object["spec"];
        (object["metadata"]["namespace"].clone(), spec["selector"].clone(), spec["targetRefs"].clone())
    };
    let mut findings = Vec::new();
    for own in snapshot.own("Telemetry") {
        for other in telemetries.iter().filter(|other| !snapshot.is_own(other) && scope(other) == scope(own)) {
            findings.push(finding(
                format!("{} is for the same workloads, and Istio honours only the older one", Id::of(other)),
                "set tracing.telemetry=false, and write `tracing: [{disableSpanReporting: true}]` into that one",
            ));
        }
    }
    Ok(findings)
}

pub(super) fn envoy_filters(snapshot: &Snapshot) -> Findings {
    let filters = snapshot.envoy_filters.as_ref().map_err(Clone::clone)?;
    let configures = |filter: &&Value| {
        let patches = filter["spec"]["configPatches"].as_array().cloned().unwrap_or_default();
        patches.iter().any(|patch| patch["patch"]["value"]["typed_config"]["tracing"].is_object())
    };
    let foreign = filters.iter().filter(|filter| !snapshot.is_own(filter)).filter(configures);
    let finding = |filter: &Value| {
        let id = Id::of(filter);
        let next = format!("kubectl get envoyfilter -n {} {} -o yaml: take `tracing` out", id.namespace, id.name);
        finding(format!("{id} writes a tracer into Envoy's connection manager"), next)
    };
    Ok(foreign.map(finding).collect())
}
