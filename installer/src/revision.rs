//! A revision: everything that one run applied, kept in the cluster so that it can be applied again.
//!
//! In: the objects, the values they came from, and what they replaced. Out: one Secret a revision, created before the
//! first object is written and never changed, so that a run that is killed leaves a record of what it was about to do.
//! Two runs cannot take the same number, since a Secret is created once.

use std::io::{Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::chart::Release;
use crate::cluster::{Cluster, ClusterError};

/// Label with the release's name.
pub const RELEASE: &str = "otelmesh.io/release";
/// Label with the revision's number.
pub const NUMBER: &str = "otelmesh.io/revision";
/// The type of the Secrets, which tells them from everybody else's.
const TYPE: &str = "otelmesh.io/revision";
/// The API server takes no Secret with more than a MiB.
const MAX_BYTES: usize = 1024 * 1024;
/// Unpacked, a revision of the largest profile has less than one MiB.
const MAX_UNPACKED: u64 = 32 * 1024 * 1024;

/// What one run applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// One more than the revision before.
    pub number: u32,
    /// When it was stored, by the API server's clock.
    #[serde(default)]
    pub time: String,
    /// The chart's version.
    pub chart: String,
    /// Why: `install`, `upgrade`, `rollback to 3`.
    pub cause: String,
    /// Hash of the objects: two revisions with the same one are the same.
    pub digest: String,
    /// The values that were given, without the chart's own.
    pub values: Value,
    /// The objects as they were applied.
    pub objects: Vec<Value>,
    /// Objects that were there before, as they were.
    #[serde(default)]
    pub replaced: Vec<Value>,
}

/// The name of a revision's Secret.
pub fn secret_name(release: &Release, number: u32) -> String {
    format!("release-{}.v{number}", release.name)
}

/// A hash of objects.
pub fn digest(objects: &[Value]) -> String {
    let bytes = serde_json::to_vec(objects).unwrap_or_default();
    format!("sha256:{:x}", HexArray(Sha256::digest(bytes).as_slice()))
}

struct HexArray<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexArray<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The revisions of a release, the oldest first.
///
/// # Errors
/// [`ClusterError`], also for a Secret that somebody changed.
pub async fn list(cluster: &Cluster, release: &Release) -> Result<Vec<Revision>, ClusterError> {
    let kind = cluster.kind_of(&json!({"apiVersion": "v1", "kind": "Secret"})).await?;
    let secrets = cluster.list(&kind, &release.namespace, &format!("{RELEASE}={}", release.name)).await?;
    let ours = secrets.iter().filter(|secret| secret["type"] == TYPE);
    let mut revisions = ours.map(Revision::from_secret).collect::<Result<Vec<_>, _>>()?;
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

/// Whether a revision is stored.
///
/// # Errors
/// [`ClusterError`].
pub async fn exists(cluster: &Cluster, release: &Release, number: u32) -> Result<bool, ClusterError> {
    let kind = cluster.kind_of(&json!({"apiVersion": "v1", "kind": "Secret"})).await?;
    Ok(cluster.get(&kind, &release.namespace, &secret_name(release, number)).await?.is_some())
}

// === impl Revision ===

impl Revision {
    /// Stores it.
    ///
    /// # Errors
    /// [`ClusterError::Exists`] if another run took the number, [`ClusterError::Refused`] if it is too large.
    pub async fn store(&self, cluster: &Cluster, release: &Release) -> Result<(), ClusterError> {
        let secret = self.to_secret(release);
        let size = secret["data"]["revision"].as_str().unwrap_or_default().len();
        if size > MAX_BYTES * 4 / 3 {
            let what = format!("Secret {}/{}", release.namespace, secret_name(release, self.number));
            let message = format!("the revision has {size} bytes when packed, and a Secret takes a MiB");
            return Err(ClusterError::Refused { what, message });
        }
        cluster.create(&secret).await.map(drop)
    }

    /// The Secret.
    pub fn to_secret(&self, release: &Release) -> Value {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail.
        let _ = serde_json::to_vec(self).map(|bytes| packed.write_all(&bytes));
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": TYPE, "immutable": true,
            "metadata": {
                "name": secret_name(release, self.number), "namespace": release.namespace,
                "labels": {
                    "app.kubernetes.io/managed-by": "otelmesh",
                    RELEASE: release.name, NUMBER: self.number.to_string(),
                },
            },
            "data": {"revision": BASE64_STANDARD.encode(packed.finish().unwrap_or_default())},
        })
    }

    fn from_secret(secret: &Value) -> Result<Self, ClusterError> {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        let broken = |message: String| ClusterError::Refused {
            what: format!("to read the revision in Secret {name}"),
            message: format!("{message}; delete that Secret if its revision may be forgotten"),
        };
        let packed = BASE64_STANDARD.decode(secret["data"]["revision"].as_str().unwrap_or_default());
        let mut bytes = Vec::new();
        let packed = packed.map_err(|e| broken(e.to_string()))?;
        GzDecoder::new(packed.as_slice())
            .take(MAX_UNPACKED)
            .read_to_end(&mut bytes)
            .map_err(|e| broken(e.to_string()))?;
        let mut revision: Self = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
        revision.time = secret["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
        Ok(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision() -> Revision {
        Revision {
            number: 3,
            time: String::new(),
            chart: "0.1.0".to_owned(),
            cause: "install".to_owned(),
            digest: digest(&[]),
            values: json!({"a": 1}),
            objects: vec![json!({"kind": "A"})],
            replaced: vec![],
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let release = Release { name: "a".to_owned(), namespace: "n".to_owned() };
        let secret = revision().to_secret(&release);
        assert_eq!(secret["metadata"]["name"], "release-a.v3");
        assert_eq!(Revision::from_secret(&secret).unwrap(), revision());
    }

    #[test]
    fn a_secret_that_somebody_changed_is_refused_by_name() {
        let secret = json!({"metadata": {"name": "release-a.v1"}, "data": {"revision": "YQ=="}});
        let error = Revision::from_secret(&secret).unwrap_err().to_string();
        assert!(error.contains("Secret release-a.v1") && error.contains("delete that Secret"), "{error}");
    }

    #[test]
    fn the_digest_is_that_of_the_objects_alone() {
        assert_eq!(digest(&[]), "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945");
        assert_ne!(digest(&[json!(1)]), digest(&[json!(2)]));
    }
}
