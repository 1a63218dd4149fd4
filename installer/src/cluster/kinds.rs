//! The kinds that the cluster serves, asked for once each.

use kube::core::GroupVersionKind;
use kube::discovery::{self, ApiResource, Scope};
use serde_json::Value;

use super::{Cluster, ClusterError, Id};

/// A kind, and where its objects are.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Its path and name.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

// === impl Cluster ===

impl Cluster {
    /// The kind of an object, in the object's own version.
    ///
    /// # Errors
    /// [`ClusterError::NoKind`] if the cluster does not serve it, or none could be asked.
    pub async fn kind_of(&self, object: &Value) -> Result<Kind, ClusterError> {
        let (version, kind) = (object["apiVersion"].as_str().unwrap_or("v1"), object["kind"].as_str().unwrap_or(""));
        let missing = || ClusterError::NoKind { kind: kind.to_owned(), version: version.to_owned() };
        let key = (version.to_owned(), kind.to_owned());
        if let Some(known) = self.known(&key) {
            return known.ok_or_else(missing);
        }
        let (group, short) = version.split_once('/').unwrap_or(("", version));
        let asked = discovery::pinned_kind(&self.client, &GroupVersionKind::gvk(group, short, kind)).await;
        let found = self.found(&format!("kind {kind} in {version}"), asked)?;
        self.remember(key, found.clone());
        found.ok_or_else(missing)
    }

    /// A kind in the version that the cluster prefers, for objects whose version is not known; none if it is not served.
    ///
    /// # Errors
    /// The cluster could not be asked.
    pub async fn preferred_kind(&self, group_kind: &str) -> Result<Option<Kind>, ClusterError> {
        let key = (String::new(), group_kind.to_owned());
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        let (kind, group) = group_kind.split_once('.').unwrap_or((group_kind, ""));
        let asked = discovery::group(&self.client, group).await;
        // Not every kind of a group is in the version that the group prefers: Istio's EnvoyFilter has v1alpha3 only.
        let asked = asked.map(|group| {
            let mut others = group.versions().flat_map(|version| group.versioned_resources(version));
            group.recommended_kind(kind).or_else(|| others.find(|(resource, _)| resource.kind == kind))
        });
        let found = match asked {
            Ok(Some(found)) => self.found(group_kind, Ok(found))?,
            Ok(None) => None,
            Err(error) => self.found(group_kind, Err(error))?,
        };
        self.remember(key, found.clone());
        Ok(found)
    }

    /// The kind of an [`Id`], in the version that the cluster prefers.
    ///
    /// # Errors
    /// As [`Cluster::preferred_kind`], and [`ClusterError::NoKind`].
    pub async fn kind_of_id(&self, id: &Id) -> Result<Kind, ClusterError> {
        let kind = self.preferred_kind(&id.group_kind()).await?;
        kind.ok_or_else(|| ClusterError::NoKind { kind: id.kind.clone(), version: id.group.clone() })
    }

    /// Every kind that the cluster serves, as Helm names them to a chart: GROUP/VERSION, and GROUP/VERSION/KIND.
    ///
    /// # Errors
    /// The cluster could not be asked.
    pub async fn apis(&self) -> Result<Vec<String>, ClusterError> {
        let discovery = discovery::Discovery::new(self.client.clone()).run_aggregated().await;
        let discovery = discovery.map_err(|e| self.explain("the kinds that the cluster serves", e))?;
        let mut apis = Vec::new();
        for group in discovery.groups() {
            for version in group.versions() {
                for (resource, _) in group.versioned_resources(version) {
                    apis.push(format!("{}/{}", resource.api_version, resource.kind));
                    apis.push(resource.api_version);
                }
            }
        }
        apis.sort();
        apis.dedup();
        Ok(apis)
    }

    fn found(
        &self,
        what: &str,
        asked: kube::Result<(ApiResource, discovery::ApiCapabilities)>,
    ) -> Result<Option<Kind>, ClusterError> {
        match asked {
            Ok((resource, capabilities)) => {
                Ok(Some(Kind { resource, namespaced: capabilities.scope == Scope::Namespaced }))
            }
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(self.explain(what, error)),
        }
    }

    fn known(&self, key: &(String, String)) -> Option<Option<Kind>> {
        self.kinds.lock().ok().and_then(|kinds| kinds.get(key).cloned())
    }

    fn remember(&self, key: (String, String), kind: Option<Kind>) {
        if let Ok(mut kinds) = self.kinds.lock() {
            kinds.insert(key, kind);
        }
    }
}
