//! What istiod says of its version. Its labels and its image's tag can be anybody's.

use std::collections::BTreeSet;

use http::StatusCode;

use super::Looked;
use crate::cluster::Cluster;

/// Of istiod's own metrics and debugging.
const MONITORING_PORT: u16 = 15014;

/// Asks every pod that runs.
pub(super) async fn versions(cluster: &Cluster, istiod: &Looked) -> Result<Vec<String>, String> {
    let mut versions = BTreeSet::new();
    for pod in istiod.as_ref().map_err(Clone::clone)?.iter().filter(|pod| pod["status"]["phase"] == "Running") {
        let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
        match cluster.ask_pod(text("namespace"), text("name"), MONITORING_PORT, "/version").await? {
            (StatusCode::OK, body) => versions.insert(String::from_utf8_lossy(&body).trim().to_owned()),
            (status, _) => return Err(format!("istiod answers {status} when asked for its version")),
        };
    }
    Ok(versions.into_iter().collect())
}
