//! The first pod of a workload that fails, and why.

use std::fmt;

use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError};

/// A pod, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailingPod {
    pub(super) name: String,
    reason: String,
}

// === impl FailingPod ===

impl fmt::Display for FailingPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}: {}", self.name, self.reason)
    }
}

pub(super) async fn first_failing(cluster: &Cluster, workload: &Value) -> Result<Option<FailingPod>, ClusterError> {
    let labels = workload["spec"]["selector"]["matchLabels"].as_object();
    let Some(labels) = labels.filter(|labels| !labels.is_empty()) else { return Ok(None) };
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let kind = cluster.kind_of(&json!({"apiVersion": "v1", "kind": "Pod"})).await?;
    let namespace = workload["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut pods = cluster.list(&kind, namespace, &labels.join(",")).await?;
    pods.sort_by_key(|pod| pod["metadata"]["name"].to_string());
    let failing = |pod: &Value| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        reason(pod).map(|reason| FailingPod { name, reason })
    };
    Ok(pods.iter().find_map(failing))
}

/// Why a pod is not ready; none if it is.
pub(super) fn reason(pod: &Value) -> Option<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let status = &pod["status"];
    let conditions = list(&status["conditions"]);
    if let Some(unscheduled) = conditions.iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False") {
        return Some(format!("cannot be scheduled: {}", text(&unscheduled["message"])));
    }
    for container in list(&status["initContainerStatuses"]).iter().chain(&list(&status["containerStatuses"])) {
        let name = text(&container["name"]);
        let (waiting, ended) = (&container["state"]["waiting"], &container["lastState"]["terminated"]);
        match text(&waiting["reason"]) {
            "" | "ContainerCreating" | "PodInitializing" => {}
            reason if ended.is_object() => {
                let message = first_line(text(&ended["message"]));
                return Some(format!(
                    "container {name} is in {reason}, last ended with {} {}{message}",
                    text(&ended["reason"]),
                    ended["exitCode"]
                ));
            }
            reason => {
                let message = first_line(text(&waiting["message"]));
                return Some(format!("container {name} is in {reason}{message}"));
            }
        }
        let ended = &container["state"]["terminated"];
        if ended.is_object() && ended["exitCode"] != 0 {
            return Some(format!("container {name} ended with {} {}", text(&ended["reason"]), ended["exitCode"]));
        }
    }
    if !status["reason"].is_null() {
        return Some(format!("{}: {}", text(&status["reason"]), text(&status["message"])));
    }
    let ready = conditions.iter().find(|c| c["type"] == "Ready");
    match ready {
        Some(ready) if ready["status"] == "True" => None,
        Some(ready) if !ready["message"].is_null() => Some(format!("is not ready: {}", text(&ready["message"]))),
        _ => Some("is not ready yet".to_owned()),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn first_line(message: &str) -> String {
    message.lines().next().map(|line| format!(": {line}")).unwrap_or_default()
}
