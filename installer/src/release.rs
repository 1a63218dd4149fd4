//! A release as the cluster knows it: what is installed, from which revision, and whether a run was cut off.
//!
//! In: a cluster and what the release is called. Out: an [`Installed`]: the stored revisions, the ApplySet's parent and its
//! members. Nothing is written and nothing is locked: what a killed run left behind is read from what is there.

use clap::Args;
use serde_json::Value;

use crate::chart::Release;
use crate::cluster::{Cluster, ClusterArgs, ClusterError, Id};
use crate::inventory::{self, Inventory};
use crate::revision::{self, Revision};

/// What the release is called, the same for every command that knows one.
#[derive(Debug, Clone, Args)]
pub struct ReleaseArgs {
    /// Namespace that the release is installed from
    #[arg(short, long, default_value = "otelmesh")]
    pub namespace: String,
    /// Name of the release, and of its objects
    #[arg(long, default_value = "otelmesh", value_name = "NAME")]
    pub release_name: String,
}

/// What the cluster holds of a release.
#[derive(Debug, Clone)]
pub struct Installed {
    /// What it is called.
    pub release: Release,
    /// Its revisions, the oldest first.
    pub revisions: Vec<Revision>,
    /// The number of the last revision that was applied to its end.
    pub complete: Option<u32>,
    /// The ApplySet.
    pub inventory: Inventory,
}

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing of it is there.
    NotInstalled,
    /// The newest revision was applied to its end.
    Deployed,
    /// A run began and did not come to its end.
    Interrupted,
}

// === impl ReleaseArgs ===

impl ReleaseArgs {
    /// As the chart wants it.
    pub fn release(&self) -> Release {
        Release { name: self.release_name.clone(), namespace: self.namespace.clone() }
    }

    /// Connects to the cluster, and asks it for the release.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub(crate) async fn find(&self, cluster: &ClusterArgs) -> Result<(Cluster, Installed), ClusterError> {
        let cluster = Cluster::connect(cluster).await?;
        let installed = Installed::read(&cluster, &self.release()).await?;
        Ok((cluster, installed))
    }
}

// === impl Installed ===

impl Installed {
    /// What to say where something needs the release and it is not there.
    pub fn absent(&self) -> String {
        let Release { name, namespace } = &self.release;
        format!("there is no release {name} in namespace {namespace}; `otelmesh install` makes one")
    }

    /// Asks the cluster.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn read(cluster: &Cluster, release: &Release) -> Result<Self, ClusterError> {
        let revisions = revision::list(cluster, release).await?;
        let inventory = Inventory::read(cluster, release, &revisions).await?;
        let complete = inventory.annotation(inventory::REVISION).and_then(|number| number.parse().ok());
        Ok(Self { release: release.clone(), revisions, complete, inventory })
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        match (self.revisions.last(), self.complete) {
            (None, None) if self.inventory.members.is_empty() && self.inventory.parent.is_none() => State::NotInstalled,
            (Some(newest), Some(complete)) if newest.number == complete => State::Deployed,
            _ => State::Interrupted,
        }
    }

    /// The revision that was last applied to its end, or else the newest that was begun.
    pub fn current(&self) -> Option<&Revision> {
        self.revisions.iter().find(|r| Some(r.number) == self.complete).or(self.revisions.last())
    }

    /// A revision by its number.
    pub fn revision(&self, number: u32) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }

    /// What a member was before the release took it over: to be put back when it lets go of it.
    pub fn replaced(&self, id: &Id) -> Option<&Value> {
        // The newest revision that holds the object decides: in between it may have been let go and made anew.
        let is_it = |object: &&Value| Id::of(object) == *id;
        let newest = self.revisions.iter().rev().find(|revision| revision.objects.iter().any(|o| is_it(&o)))?;
        newest.replaced.iter().find(is_it)
    }
}
