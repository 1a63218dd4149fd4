//! What a run would change, found out without changing anything.
//!
//! In: the objects that should be, and what is installed. Out: one [`Change`] an object, from a server-side dry run with
//! strict field validation: what the API server would refuse, it refuses here. Refuses objects that another tool's set or
//! Helm's release holds.

use serde::Serialize;
use serde_json::{Value, json};

use crate::chart::Release;
use crate::cluster::{ApplyOptions, Cluster, ClusterError, Conflict, Id, namespace_object};
use crate::difference::{self, Field};
use crate::inventory::{self, PART_OF};
use crate::release::Installed;

pub mod text;

/// Annotation by which Helm claims an object.
const HELM_RELEASE: &str = "meta.helm.sh/release-name";

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Create,
    /// Some of its fields change.
    Update,
    /// It stays as it is.
    Keep,
    /// It is deleted, since nothing asks for it any more.
    Delete,
    /// It is put back as it was before it was taken over.
    Restore,
}

/// What becomes of one object, and why it cannot.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// To what.
    #[serde(flatten)]
    pub id: Id,
    /// Whether it was there before, but not the release's.
    pub adopts: bool,
    /// The fields that change.
    pub fields: Vec<Field>,
    /// The fields that others own.
    pub conflicts: Vec<Conflict>,
    /// What is applied, or for Restore put back.
    #[serde(skip)]
    pub object: Option<Value>,
}

/// What a run would change.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Writes in their order, then what is pruned.
    pub changes: Vec<Change>,
    /// Objects that the release takes over, as they are now, and those that it took over before.
    pub replaced: Vec<Value>,
}

// === impl Plan ===

impl Plan {
    /// Finds out.
    ///
    /// # Errors
    /// [`ClusterError`], for the first object that the API server would refuse.
    pub async fn make(cluster: &Cluster, installed: &Installed, objects: &[Value]) -> Result<Self, ClusterError> {
        let objects = complete(cluster, installed, objects).await?;
        let ids: Vec<Id> = objects.iter().map(Id::of).collect();
        let mut plan = Self { changes: Vec::new(), replaced: Vec::new() };
        for object in &objects {
            plan.add(cluster, installed, object, &ids).await?;
        }
        for member in &installed.inventory.members {
            let id = Id::of(member);
            if !ids.contains(&id) {
                let before = installed.replaced(&id).cloned();
                let action = if before.is_some() { Action::Restore } else { Action::Delete };
                let change = Change { action, id, adopts: false, fields: vec![], conflicts: vec![], object: before };
                plan.changes.push(change);
            }
        }
        Ok(plan)
    }

    /// Whether anything would change.
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.action == Action::Keep)
    }

    /// The changes that others' fields stand against.
    pub fn conflicts(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| !change.conflicts.is_empty())
    }

    /// What is applied, in order.
    pub fn objects(&self) -> Vec<Value> {
        let applied = self.changes.iter().filter(|c| !matches!(c.action, Action::Delete | Action::Restore));
        applied.filter_map(|change| change.object.clone()).collect()
    }

    async fn add(
        &mut self,
        cluster: &Cluster,
        installed: &Installed,
        object: &Value,
        planned: &[Id],
    ) -> Result<(), ClusterError> {
        let id = Id::of(object);
        let kind = cluster.kind_of(object).await?;
        let live = cluster.get(&kind, &id.namespace, &id.name).await?;
        if let Some(live) = &live {
            refuse_foreign(&id, live, &installed.release)?;
        }
        let adopts = live.as_ref().is_some_and(|live| live["metadata"]["labels"][PART_OF].is_null());
        match (&live, installed.replaced(&id)) {
            (Some(live), _) if adopts => self.replaced.push(before(live)),
            (Some(_), Some(replaced)) => self.replaced.push(replaced.clone()),
            _ => {}
        }
        let namespace_is_planned = planned.contains(&Id::of(&namespace_object(&id.namespace)));
        let (after, conflicts) = dry_run(cluster, object, namespace_is_planned).await?;
        let (action, fields) = match &live {
            None => (Action::Create, Vec::new()),
            Some(live) => match difference::fields(live, &after) {
                fields if fields.is_empty() => (Action::Keep, fields),
                fields => (Action::Update, fields),
            },
        };
        self.changes.push(Change { action, id, adopts, fields, conflicts, object: Some(object.clone()) });
        Ok(())
    }
}

/// Objects with their namespaces, the set's label, and the release's own namespace where nobody else has made it.
async fn complete(cluster: &Cluster, installed: &Installed, objects: &[Value]) -> Result<Vec<Value>, ClusterError> {
    let release = &installed.release;
    let mut completed = Vec::new();
    let own = namespace_object(&release.namespace);
    let own_id = Id::of(&own);
    if !objects.iter().any(|object| Id::of(object) == own_id) {
        let kind = cluster.kind_of(&own).await?;
        let live = cluster.get(&kind, "", &release.namespace).await?;
        let ours = |live: &Value| live["metadata"]["labels"][PART_OF] == inventory::id(release);
        if live.as_ref().is_none_or(ours) {
            completed.push(own);
        }
    }
    for object in objects {
        let mut object = object.clone();
        let namespaced = cluster.kind_of(&object).await?.namespaced;
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if !namespaced {
                metadata.remove("namespace");
            } else if metadata.get("namespace").is_none_or(|n| n == "" || n.is_null()) {
                metadata.insert("namespace".to_owned(), release.namespace.clone().into());
            }
        }
        completed.push(object);
    }
    for object in &mut completed {
        if object["metadata"]["labels"].is_null() {
            object["metadata"]["labels"] = json!({});
        }
        object["metadata"]["labels"][PART_OF] = inventory::id(release).into();
    }
    // Nothing can be in a namespace before it is there.
    completed.sort_by_key(|object| object["kind"] != "Namespace");
    Ok(completed)
}

fn refuse_foreign(id: &Id, live: &Value, release: &Release) -> Result<(), ClusterError> {
    let refused = |message: String| Err(ClusterError::Refused { what: id.to_string(), message });
    let metadata = &live["metadata"];
    match (metadata["labels"][PART_OF].as_str(), metadata["annotations"][HELM_RELEASE].as_str()) {
        (Some(set), _) if set != inventory::id(release) => refused(format!(
            "it belongs to another release ({set})\nkubectl get configmap -A -l {}={set} names it; uninstall that one \
             first, or give this one another --release-name",
            inventory::ID
        )),
        (_, Some(helm)) => refused(format!(
            "it belongs to Helm's release {helm}\ngo on with `helm upgrade {helm}`, or run `helm uninstall {helm}` first"
        )),
        _ => Ok(()),
    }
}

/// The object as it would be, and who stands against it.
async fn dry_run(
    cluster: &Cluster,
    object: &Value,
    namespace_is_planned: bool,
) -> Result<(Value, Vec<Conflict>), ClusterError> {
    let options = ApplyOptions { dry_run: true, force: false };
    match cluster.apply(object, options).await {
        Ok(after) => Ok((after, Vec::new())),
        Err(ClusterError::Conflicts { conflicts, .. }) => {
            let after = cluster.apply(object, ApplyOptions { force: true, ..options }).await?;
            Ok((after, conflicts))
        }
        // The namespace will be made by this very plan. Until then the object is tried where it can be, under a name
        // that nobody has.
        Err(ClusterError::Missing { .. }) if namespace_is_planned => {
            let mut elsewhere = object.clone();
            elsewhere["metadata"]["namespace"] = "default".into();
            elsewhere["metadata"]["name"] = format!("otelmesh-dry-run-{:016x}", fastrand::u64(..)).into();
            Ok((cluster.apply(&elsewhere, options).await?, Vec::new()))
        }
        Err(error) => Err(error),
    }
}

/// An object so that it can be put back: with its managers, without what names this very copy of it.
fn before(live: &Value) -> Value {
    let mut object = difference::plain(live);
    object["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
    object
}
