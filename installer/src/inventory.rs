//! The inventory of a release: an ApplySet, as KEP-3659 defines it and kubectl reads it.
//!
//! In: a cluster and a release. Out: the set's parent, a ConfigMap in the release's namespace, and its members, found by
//! label among the kinds and namespaces that the parent and the stored revisions name. Before a run writes, the parent
//! names what was there and what will be, afterwards only what is: a run that is killed leaves nothing that cannot be
//! found.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::chart::Release;
use crate::cluster::{ApplyOptions, Cluster, ClusterError, Id};
use crate::revision::{self, Revision};

/// Label of the parent: the set's id.
pub const ID: &str = "applyset.kubernetes.io/id";
/// Label of the members: the id of the one set they are in.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// Annotation of the parent: who looks after the set. Other tools, kubectl among them, leave the set alone then.
pub const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// Annotation of the parent: the kinds of the members.
pub const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// Annotation of the parent: the members' namespaces, but for its own.
pub const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// Annotation of the parent: the last revision that was applied to its end.
pub const REVISION: &str = "otelmesh.io/revision";

/// A release's ApplySet.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The release.
    release: Release,
    /// The ConfigMap, if it is there.
    pub parent: Option<Value>,
    /// Everything that carries the label.
    pub members: Vec<Value>,
}

/// The name of the parent ConfigMap.
pub fn parent_name(release: &Release) -> String {
    format!("release-{}", release.name)
}

/// The set's id, as KEP-3659 derives it from the parent.
pub fn id(release: &Release) -> String {
    let parent = format!("{}.{}.ConfigMap.", parent_name(release), release.namespace);
    format!("applyset-{}-v1", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(parent)))
}

// === impl Inventory ===

impl Inventory {
    /// Asks the cluster. A kind that is no longer served has no objects any more.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn read(cluster: &Cluster, release: &Release, revisions: &[Revision]) -> Result<Self, ClusterError> {
        let mut inventory = Self { release: release.clone(), parent: None, members: Vec::new() };
        inventory.refresh(cluster).await?;
        let (mut kinds, mut namespaces) = inventory.named();
        for object in revisions.iter().flat_map(|r| &r.objects) {
            let id = Id::of(object);
            kinds.insert(id.group_kind());
            namespaces.insert(id.namespace);
        }
        namespaces.remove("");
        for kind in &kinds {
            let Some(kind) = cluster.preferred_kind(kind).await? else { continue };
            let everywhere = BTreeSet::from([String::new()]);
            for namespace in if kind.namespaced { &namespaces } else { &everywhere } {
                let labels = format!("{PART_OF}={}", id(release));
                inventory.members.extend(cluster.list(&kind, namespace, &labels).await?);
            }
        }
        Ok(inventory)
    }

    /// An annotation of the parent.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.parent.as_ref()?["metadata"]["annotations"][key].as_str()
    }

    /// A member, if it is one.
    pub fn member(&self, id: &Id) -> Option<&Value> {
        self.members.iter().find(|member| Id::of(member) == *id)
    }

    /// Reads the parent again.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn refresh(&mut self, cluster: &Cluster) -> Result<(), ClusterError> {
        let kind = cluster.kind_of(&json!({"apiVersion": "v1", "kind": "ConfigMap"})).await?;
        self.parent = cluster.get(&kind, &self.release.namespace, &parent_name(&self.release)).await?;
        Ok(())
    }

    /// Writes the parent so that it names the kinds and namespaces of these objects. Without the number of a revision
    /// that is complete with them, it goes on to name those that it names now.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] if the parent is not as it was read, or any other.
    pub async fn announce(
        &self,
        cluster: &Cluster,
        objects: &[Value],
        complete: Option<u32>,
    ) -> Result<(), ClusterError> {
        let (mut kinds, mut namespaces) = if complete.is_none() { self.named() } else { Default::default() };
        for id in objects.iter().map(Id::of) {
            kinds.insert(id.group_kind());
            namespaces.insert(id.namespace);
        }
        let own = &self.release.namespace;
        let namespaces = namespaces.into_iter().filter(|n| !n.is_empty() && n != own).collect::<Vec<_>>();
        let mut annotations = json!({
            TOOLING: concat!("otelmesh/v", env!("CARGO_PKG_VERSION")),
            GROUP_KINDS: kinds.into_iter().collect::<Vec<_>>().join(","),
            NAMESPACES: namespaces.join(","),
        });
        let number = complete.map(|number| number.to_string());
        if let Some(number) = number.as_deref().or_else(|| self.annotation(REVISION)) {
            annotations[REVISION] = number.into();
        }
        let mut parent = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": parent_name(&self.release), "namespace": own, "annotations": annotations,
                "labels": {
                    "app.kubernetes.io/managed-by": "otelmesh",
                    ID: id(&self.release), revision::RELEASE: self.release.name,
                },
            },
        });
        if let Some(read) = &self.parent {
            parent["metadata"]["resourceVersion"] = read["metadata"]["resourceVersion"].clone();
        }
        // Forced: the parent is ours alone, whatever somebody wrote into it.
        cluster.apply(&parent, ApplyOptions { force: true, dry_run: false }).await.map(drop)
    }

    /// The kinds and namespaces that the parent names.
    fn named(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let split = |key| {
            let text = self.annotation(key).unwrap_or_default();
            text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let mut namespaces = split(NAMESPACES);
        namespaces.insert(self.release.namespace.clone());
        (split(GROUP_KINDS), namespaces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_derived_as_kubectl_derives_it() {
        let release = Release { name: "otelmesh".to_owned(), namespace: "otelmesh".to_owned() };
        // printf release-otelmesh.otelmesh.ConfigMap. | openssl sha256 -binary | basenc --base64url
        assert_eq!(id(&release), "applyset-TTjf_yS0OhWihEGjBXXJYPUrOUag-gwAkPkf2LviNT0-v1");
    }
}
