//! The proxies: whether they run the filter, whether it sees requests, and whether its exports arrive.

use std::collections::BTreeMap;

use super::snapshot::proxies::Runs;
use super::{Findings, Snapshot, finding};

pub(super) fn loaded(snapshot: &Snapshot) -> Findings {
    let mut findings = Vec::new();
    let mut silent = Vec::new();
    for proxy in snapshot.proxies.as_ref().map_err(Clone::clone)? {
        let (namespace, pod) = proxy.pod.split_once('/').unwrap_or(("", &proxy.pod));
        let log = format!("kubectl logs -n {namespace} {pod} -c istio-proxy | grep -i wasm");
        let cause = match &proxy.said {
            Err(reason) => {
                silent.push(format!("{}: {reason}", proxy.pod));
                continue;
            }
            Ok((Runs::Filter, counters)) if counters.get("panics").is_some_and(|count| *count > 0) => {
                "has workers on which the filter panicked and is off"
            }
            Ok((Runs::Filter | Runs::NoListener, _)) => continue,
            Ok((Runs::AllowAll, _)) => "could not pull the image and lets all requests through without the filter",
            Ok((Runs::DenyAll, _)) => "could not pull the image and denies all requests",
            Ok((Runs::Nothing, _)) => "has no filter by that name",
        };
        findings.push(finding(format!("pod {} {cause}", proxy.pod), log));
    }
    match (findings.is_empty(), silent.is_empty()) {
        (true, false) => Err(format!("proxies that did not answer: {}", silent.join("; "))),
        _ => Ok(findings),
    }
}

pub(super) fn counters(snapshot: &Snapshot) -> Findings {
    let counters = sums(snapshot)?;
    if counters.is_empty() {
        return Err("no proxy told its counters".to_owned());
    }
    Ok(
        match counters.get("spans_recorded").copied().unwrap_or(0) + counters.get("logs_recorded").copied().unwrap_or(0)
        {
            0 => vec![finding(
                "no proxy has recorded anything yet",
                "send a request through the mesh; with sampling on, send some more, then check again",
            )],
            _ => vec![],
        },
    )
}

pub(super) fn exports(snapshot: &Snapshot) -> Findings {
    let counters = sums(snapshot)?;
    let get = |name: &str| counters.get(name).copied().unwrap_or(0);
    let mut findings = Vec::new();
    if get("exports_started") > 0 && get("exports_succeeded") == 0 {
        findings.push(finding(
            format!("of {} exports none arrived", get("exports_started")),
            "is the collector ready, and do Sidecar, NetworkPolicy and PeerAuthentication let the proxies reach it? \
             otelmesh status",
        ));
    }
    for signal in ["spans", "logs", "data_points"] {
        let lost: i64 =
            counters.iter().filter(|(name, _)| name.starts_with(&format!("{signal}_dropped"))).map(|(_, n)| n).sum();
        if lost > 0 {
            findings.push(finding(
                format!("{lost} of {} {} were dropped", get(&format!("{signal}_recorded")), signal.replace('_', " ")),
                "look at the filter's dashboard: queue_full asks for a bigger batch.maxQueueBytes, export_failed for a \
                 collector that answers",
            ));
        }
    }
    Ok(findings)
}

/// The counters of all proxies that told them.
fn sums(snapshot: &Snapshot) -> Result<BTreeMap<String, i64>, String> {
    let mut sums = BTreeMap::new();
    for proxy in snapshot.proxies.as_ref().map_err(Clone::clone)? {
        for (name, value) in proxy.said.iter().flat_map(|(_, counters)| counters) {
            *sums.entry(name.clone()).or_insert(0) += value;
        }
    }
    Ok(sums)
}
