//! Whether an object does what it is for.
//!
//! In: an object as the API server gives it, or workloads to wait for. Out: a [`Health`]; for workloads that stay behind,
//! the first pod that fails and the reason. Objects without a state of their own are healthy when they are there.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError, Id};

mod pods;

/// How often is asked: often enough to feel prompt, seldom enough for an API server with thousands of nodes.
const INTERVAL: Duration = Duration::from_secs(1);

/// The state of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "health", content = "reason")]
pub enum Health {
    /// As it should be.
    Healthy,
    /// Not yet, and how far it is.
    Progressing(String),
    /// It will not come to be by itself.
    Failed(String),
}

/// Workloads that did not become ready in time.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// A request failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Time is up, or a workload failed for good.
    #[error("{what} is not ready: {reason}\n{next}")]
    NotReady {
        /// The workload.
        what: String,
        /// The first failing pod and its reason, or else how far it is.
        reason: String,
        /// The next command.
        next: String,
    },
}

// === impl Health ===

impl Health {
    /// Of an object.
    pub fn of(object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        let number = |value: &Value| value.as_i64();
        let behind = number(&object["metadata"]["generation"]) > number(&status["observedGeneration"]);
        match object["kind"].as_str().unwrap_or_default() {
            "Deployment" | "StatefulSet" | "DaemonSet" if behind => {
                Self::Progressing("its controller has not seen it yet".to_owned())
            }
            "Deployment" if exceeded(status) => Self::Failed("its progress deadline is exceeded".to_owned()),
            "Deployment" => replicas(
                number(&spec["replicas"]).unwrap_or(1),
                [number(&status["updatedReplicas"]), number(&status["availableReplicas"])],
                number(&status["replicas"]),
            ),
            "StatefulSet" => replicas(
                number(&spec["replicas"]).unwrap_or(1),
                [number(&status["updatedReplicas"]), number(&status["readyReplicas"])],
                None,
            ),
            "DaemonSet" => replicas(
                number(&status["desiredNumberScheduled"]).unwrap_or(0),
                [number(&status["updatedNumberScheduled"]), number(&status["numberAvailable"])],
                None,
            ),
            "Namespace" if status["phase"] == "Terminating" => Self::Failed("it is being deleted".to_owned()),
            "PersistentVolumeClaim" if status["phase"] == "Lost" => Self::Failed("its volume is lost".to_owned()),
            _ => Self::Healthy,
        }
    }
}

fn exceeded(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded")
}

fn replicas(wanted: i64, [updated, ready]: [Option<i64>; 2], all: Option<i64>) -> Health {
    let (updated, ready) = (updated.unwrap_or(0), ready.unwrap_or(0));
    if updated < wanted {
        Health::Progressing(format!("{updated} of {wanted} pods are of the new revision"))
    } else if all.unwrap_or(wanted) > wanted {
        Health::Progressing(format!("{} old pods are still to end", all.unwrap_or(wanted) - wanted))
    } else if ready < wanted {
        Health::Progressing(format!("{ready} of {wanted} pods are ready"))
    } else {
        Health::Healthy
    }
}

/// Waits until all of these objects are healthy, telling each time the first one that is not comes further.
///
/// # Errors
/// [`WaitError::NotReady`] names the first workload that is not, and its first failing pod.
pub async fn wait(
    cluster: &Cluster,
    objects: &[Value],
    timeout: Duration,
    tell: &mut dyn FnMut(String),
) -> Result<(), WaitError> {
    let end = Instant::now() + timeout;
    let mut told = String::new();
    loop {
        let Some((live, health)) = first_unhealthy(cluster, objects).await? else { return Ok(()) };
        let id = Id::of(&live);
        let (reason, failed) = match health {
            Health::Failed(reason) => (reason, true),
            Health::Progressing(reason) => (reason, false),
            Health::Healthy => continue,
        };
        let pod = pods::first_failing(cluster, &live).await?;
        if failed || Instant::now() >= end {
            let next = match &pod {
                Some(pod) => format!("kubectl describe pod -n {} {}", id.namespace, pod.name),
                None => format!("kubectl describe {} -n {} {}", id.kind.to_lowercase(), id.namespace, id.name),
            };
            let reason = pod.map(|pod| pod.to_string()).unwrap_or(reason);
            return Err(WaitError::NotReady { what: id.to_string(), reason, next });
        }
        let pod = pod.map(|pod| format!("; {pod}")).unwrap_or_default();
        let line = format!("waiting for {id}: {reason}{pod}");
        if line != told {
            tell(line.clone());
            told = line;
        }
        tokio::time::sleep(INTERVAL.min(end.saturating_duration_since(Instant::now()))).await;
    }
}

async fn first_unhealthy(cluster: &Cluster, objects: &[Value]) -> Result<Option<(Value, Health)>, ClusterError> {
    for object in objects {
        let id = Id::of(object);
        let kind = cluster.kind_of(object).await?;
        let Some(live) = cluster.get(&kind, &id.namespace, &id.name).await? else {
            return Ok(Some((object.clone(), Health::Failed("it was deleted meanwhile".to_owned()))));
        };
        let health = Health::of(&live);
        if health != Health::Healthy {
            return Ok(Some((live, health)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
