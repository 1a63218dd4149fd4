//! Writing a plan into the cluster, so that a kill at any point leaves what the next run can finish.
//!
//! In: a plan, and the revision it makes. Out: a cluster that is as the plan says. The order is the safety: the namespace,
//! then the revision, then the parent that names all kinds, then the objects, then what is pruned, then the parent again
//! with the revision's number. There is no lock: of two runs, the one with the higher revision goes on, and the other
//! stops at its next write ([`ApplyError::Superseded`]).

use serde_json::Value;

use crate::chart::Release;
use crate::cluster::{ApplyOptions, Cluster, ClusterError, Id};
use crate::inventory::Inventory;
use crate::plan::{Action, Change, Plan};
use crate::release::Installed;
use crate::revision::{self, Revision, secret_name};

/// How often an object is read anew because it changed before it was written: controllers write a status now and then.
const TRIES: usize = 20;

/// Why a plan was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A request failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Another run began after this one.
    #[error(
        "another run began revision {0} after this one began, so this one stopped\n`otelmesh status` tells when that \
         one is done"
    )]
    Superseded(u32),
    /// Another run took the number of this one's revision.
    #[error("another run began at the same moment and took revision {0}, so this one changed no object\nrun it again")]
    NumberTaken(u32),
}

/// Writes the plan as a revision.
///
/// # Errors
/// [`ApplyError`]. What was written so far stays, and the next run goes on from there.
pub async fn apply(
    cluster: &Cluster,
    installed: &Installed,
    plan: &Plan,
    revision: &Revision,
    force: bool,
    tell: &mut dyn FnMut(String),
) -> Result<(), ApplyError> {
    let release = &installed.release;
    let writer = Writer { cluster, release, number: revision.number, force };
    let (namespaces, others): (Vec<&Change>, Vec<&Change>) =
        plan.changes.iter().partition(|change| change.id.kind == "Namespace" && change.object.is_some());
    for change in namespaces.iter().filter(|change| change.id.name == release.namespace) {
        writer.write(change).await?;
    }
    let objects = plan.objects();
    revision.store(cluster, release).await.map_err(|error| match error {
        ClusterError::Exists { .. } => ApplyError::NumberTaken(revision.number),
        error => error.into(),
    })?;
    tell(format!("revision {} begins", revision.number));
    writer.announce(&mut installed.inventory.clone(), &objects, None).await?;
    for change in namespaces.iter().chain(&others).filter(|c| !matches!(c.action, Action::Delete | Action::Restore)) {
        writer.write(change).await?;
        tell(format!("{} {}", past(change.action), change.id));
    }
    let mut inventory = Inventory::read(cluster, release, &installed.revisions).await?;
    let kept: Vec<Id> = objects.iter().map(Id::of).collect();
    for member in inventory.members.iter().filter(|member| !kept.contains(&Id::of(member))) {
        writer.still_newest().await?;
        let done = let_go(cluster, member, installed.replaced(&Id::of(member))).await?;
        tell(format!("{} {}", past(done), Id::of(member)));
    }
    writer.announce(&mut inventory, &objects, Some(revision.number)).await
}

/// Forgets the oldest revisions, but never the newest `keep`.
///
/// # Errors
/// [`ClusterError`].
pub async fn forget(cluster: &Cluster, release: &Release, keep: usize) -> Result<(), ClusterError> {
    let revisions = revision::list(cluster, release).await?;
    for old in revisions.iter().rev().skip(keep.max(1)) {
        cluster.delete(&secret(release, old.number)).await?;
    }
    Ok(())
}

/// Takes an object out of the release: back to what it was, or away.
///
/// # Errors
/// [`ClusterError`].
pub async fn let_go(cluster: &Cluster, member: &Value, replaced: Option<&Value>) -> Result<Action, ClusterError> {
    let Some(replaced) = replaced else {
        cluster.delete(member).await?;
        return Ok(Action::Delete);
    };
    let mut object = replaced.clone();
    object["metadata"]["resourceVersion"] = member["metadata"]["resourceVersion"].clone();
    let restored = cluster.replace(&object).await?;
    // The first write made this command a manager of what it put back. The second changes nothing but the managers: the
    // former owner finds the object as it left it.
    object["metadata"]["resourceVersion"] = restored["metadata"]["resourceVersion"].clone();
    cluster.replace(&object).await?;
    Ok(Action::Restore)
}

/// The Secret of a revision, as far as it takes to delete it.
pub fn secret(release: &Release, number: u32) -> Value {
    let metadata = serde_json::json!({"name": secret_name(release, number), "namespace": release.namespace});
    serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
}

struct Writer<'a> {
    cluster: &'a Cluster,
    release: &'a Release,
    number: u32,
    force: bool,
}

// === impl Writer ===

impl Writer<'_> {
    async fn write(&self, change: &Change) -> Result<(), ApplyError> {
        let Some(object) = &change.object else { return Ok(()) };
        let kind = self.cluster.kind_of(object).await?;
        let mut last = ClusterError::Changed { what: change.id.to_string() };
        for _ in 0..TRIES {
            self.still_newest().await?;
            let live = self.cluster.get(&kind, &change.id.namespace, &change.id.name).await?;
            let mut object = object.clone();
            if let Some(live) = live {
                // Refused if another run writes in between: it has the higher number, and this one looks again.
                object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
            }
            match self.cluster.apply(&object, ApplyOptions { dry_run: false, force: self.force }).await {
                Ok(_) => return Ok(()),
                Err(error @ ClusterError::Changed { .. }) => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }

    /// The newer of two runs writes the parent after it stored its revision. So either the older one sees that revision
    /// here, or it finds the parent as it was, or its write is refused.
    async fn announce(
        &self,
        inventory: &mut Inventory,
        objects: &[Value],
        complete: Option<u32>,
    ) -> Result<(), ApplyError> {
        for _ in 0..TRIES {
            inventory.refresh(self.cluster).await?;
            self.still_newest().await?;
            match inventory.announce(self.cluster, objects, complete).await {
                Err(ClusterError::Changed { .. }) => {}
                done => return Ok(done?),
            }
        }
        Err(ClusterError::Changed { what: "the ApplySet's parent".to_owned() }.into())
    }

    async fn still_newest(&self) -> Result<(), ApplyError> {
        let next = self.number + 1;
        match revision::exists(self.cluster, self.release, next).await? {
            true => Err(ApplyError::Superseded(next)),
            false => Ok(()),
        }
    }
}

fn past(action: Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Update => "updated",
        Action::Keep => "unchanged",
        Action::Delete => "deleted",
        Action::Restore => "restored",
    }
}
