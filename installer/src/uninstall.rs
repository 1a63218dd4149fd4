//! `otelmesh uninstall`: exactly what was installed goes, and what was replaced comes back.
//!
//! In: a release. Out: a cluster without it. What carries the release's label goes, in the reverse order of installing;
//! what was there before is put back as it was; then the revisions and the ApplySet's parent. Killed at any point, the
//! next run goes on. A namespace that the release made goes too, unless others have put something into it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::apply::{let_go, secret};
use crate::cluster::{Cluster, ClusterArgs, ClusterError, Id, block_on};
use crate::inventory::PART_OF;
use crate::plan::Action;
use crate::release::{Installed, ReleaseArgs, State};
use crate::run::{confirm, duration};

/// Kinds that people put into namespaces; what else is there, such as events, hangs on one of these.
const KINDS: [&str; 8] = [
    "Pod",
    "ConfigMap",
    "Secret",
    "Service",
    "PersistentVolumeClaim",
    "Deployment.apps",
    "DaemonSet.apps",
    "StatefulSet.apps",
];
/// What Kubernetes and Istio put into every namespace.
const EVERYWHERE: [&str; 3] = ["kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl"];

/// How often is asked whether it is gone.
const INTERVAL: Duration = Duration::from_millis(500);
/// Something is left.
const FAILED: u8 = 1;

/// Arguments of `otelmesh uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Print what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until all of it is gone: a namespace takes a while, and nothing can be installed into it meanwhile
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

// === impl UninstallArgs ===

impl UninstallArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        block_on(async {
            let (cluster, installed) = self.release.find(&self.cluster).await?;
            let release = &installed.release;
            if installed.state() == State::NotInstalled {
                eprintln!("nothing to do: there is no release {} in namespace {}", release.name, release.namespace);
                return Ok(ExitCode::SUCCESS);
            }
            let (members, kept) = self.members(&cluster, &installed).await?;
            println!("uninstall of release {} in namespace {}, on {}", release.name, release.namespace, cluster.url());
            for member in &members {
                let id = Id::of(member);
                let note = installed.replaced(&id).map_or("", |_| " (put back as it was before)");
                println!("- {id}{note}");
            }
            for (namespace, others) in &kept {
                println!("= Namespace {namespace} stays, since others use it: {others}");
            }
            if self.dry_run {
                return Ok(ExitCode::SUCCESS);
            }
            confirm(&format!("Remove these {} objects?", members.len()), self.yes)?;
            for member in &members {
                let id = Id::of(member);
                let done = let_go(&cluster, member, installed.replaced(&id)).await?;
                eprintln!("· {} {id}", if done == Action::Restore { "put back" } else { "deleted" });
            }
            // The revisions hold what is put back: they go when all of it is.
            for revision in &installed.revisions {
                cluster.delete(&secret(release, revision.number)).await?;
            }
            for (namespace, _) in &kept {
                self.disown(&cluster, namespace).await?;
            }
            if let Some(parent) = &installed.inventory.parent {
                cluster.delete(&whole(parent)).await?;
            }
            if self.wait
                && let Some(left) = self.wait_until_gone(&cluster, &installed, &members).await?
            {
                eprintln!("otelmesh: {left} is still there after {:?}, and being deleted", self.timeout);
                eprintln!("kubectl get {} {} -o yaml tells what holds it", left.kind.to_lowercase(), left.name);
                return Ok(ExitCode::from(FAILED));
            }
            eprintln!("release {} is gone", release.name);
            Ok(ExitCode::SUCCESS)
        })
    }

    /// The first object that is not gone in time.
    async fn wait_until_gone(
        &self,
        cluster: &Cluster,
        installed: &Installed,
        members: &[Value],
    ) -> Result<Option<Id>, ClusterError> {
        let end = Instant::now() + self.timeout;
        for member in members {
            let id = Id::of(member);
            if installed.replaced(&id).is_some() {
                continue;
            }
            let Ok(kind) = cluster.kind_of(member).await else { continue };
            let uid = &member["metadata"]["uid"];
            let mut told = false;
            while let Some(left) = cluster.get(&kind, &id.namespace, &id.name).await?
                && left["metadata"]["uid"] == *uid
            {
                if !told {
                    eprintln!("· waiting for {id} to be gone");
                    told = true;
                }
                if Instant::now() >= end {
                    return Ok(Some(id));
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
        Ok(None)
    }

    /// What goes, in order, and the namespaces that stay, with what is in them.
    async fn members(
        &self,
        cluster: &Cluster,
        installed: &Installed,
    ) -> Result<(Vec<Value>, Vec<(String, String)>), ClusterError> {
        let mut members = installed.inventory.members.clone();
        members.sort_by_key(|member| (rank(&Id::of(member)), Id::of(member)));
        let mut kept = Vec::new();
        let mut going = Vec::new();
        for member in members {
            let id = Id::of(&member);
            let others = match id.kind == "Namespace" && installed.replaced(&id).is_none() {
                true => others(cluster, installed, &id.name).await?,
                false => Vec::new(),
            };
            if others.is_empty() {
                going.push(member);
            } else {
                kept.push((id.name, others.join(", ")));
            }
        }
        Ok((going, kept))
    }

    /// Leaves a namespace to those who use it.
    async fn disown(&self, cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
        let object = crate::cluster::namespace_object(namespace);
        cluster.apply(&object, crate::cluster::ApplyOptions { force: true, dry_run: false }).await.map(drop)
    }
}

/// The objects in a namespace that are not the release's.
async fn others(cluster: &Cluster, installed: &Installed, namespace: &str) -> Result<Vec<String>, ClusterError> {
    let mut found = Vec::new();
    for kind in KINDS {
        let Some(kind) = cluster.preferred_kind(kind).await? else { continue };
        for object in cluster.list(&kind, namespace, "").await? {
            let metadata = &object["metadata"];
            let labels = &metadata["labels"];
            let ours = labels[PART_OF] == crate::inventory::id(&installed.release)
                || labels[crate::revision::RELEASE] == installed.release.name;
            // Pods and the like go with what owns them.
            let owned = metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
            let everywhere = EVERYWHERE.iter().any(|name| metadata["name"] == *name);
            if !ours && !owned && !everywhere && metadata["deletionTimestamp"].is_null() {
                found.push(Id::of(&object).to_string());
            }
        }
    }
    Ok(found)
}

/// The order of going: what acts first, what it needs next, namespaces last.
fn rank(id: &Id) -> u8 {
    match id.kind.as_str() {
        "Namespace" => 3,
        "ServiceAccount" | "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => 2,
        "Service" | "ConfigMap" | "Secret" | "PersistentVolumeClaim" => 1,
        _ => 0,
    }
}

/// An object from a GET, with its version and kind, to be deleted.
fn whole(parent: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": parent["metadata"]})
}
