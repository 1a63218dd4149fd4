//! The cluster at one moment, as far as the checks look at it.
//!
//! In: a cluster, and what is or will be installed. Out: a [`Snapshot`]. What may not be read is an error in its place, so
//! that one missing permission does not silence every check.

use serde_json::{Value, json};

use crate::chart::Release;
use crate::cluster::{Cluster, ClusterError, Id};
use crate::health::Health;
use crate::image::look;
use crate::images;
use crate::inventory;
use crate::plan::{Action, Plan};
use crate::release::{Installed, State};

mod istio;
pub(crate) mod permissions;
pub(crate) mod proxies;

pub use permissions::Denied;
pub use proxies::Proxy;

/// Objects, or why they could not be read.
pub type Looked = Result<Vec<Value>, String>;

/// The cluster at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What is or will be installed.
    pub release: Release,
    /// Its objects.
    pub objects: Vec<Value>,
    /// Whether what the release has in the cluster and not among them is still to be taken away.
    pub prunes: bool,
    /// `mesh.rootNamespace`.
    pub root_namespace: String,
    /// Kubernetes' version.
    pub kubernetes: String,
    /// Kinds that the cluster does not serve, with their versions.
    pub missing_kinds: Vec<(String, String)>,
    /// What the user may not do.
    pub denied: Result<Vec<Denied>, String>,
    /// All namespaces.
    pub namespaces: Looked,
    /// istiod's pods.
    pub istiod: Looked,
    /// What they say of their version, each once.
    pub istio_versions: Result<Vec<String>, String>,
    /// Istio's ConfigMaps with the mesh's configuration, whatever their revision.
    pub mesh_configs: Looked,
    /// ztunnel's DaemonSets.
    pub ztunnels: Looked,
    /// Telemetry resources.
    pub telemetries: Looked,
    /// WasmPlugins and TrafficExtensions.
    pub plugins_there: Looked,
    /// EnvoyFilters.
    pub envoy_filters: Looked,
    /// Sidecar resources.
    pub sidecars: Looked,
    /// The filter's images, and their digests.
    pub images: Vec<(String, Result<String, String>)>,
    /// Where the release stands.
    pub state: State,
    /// What differs from what was applied.
    pub drift: Result<Vec<String>, String>,
    /// The health of each applied object.
    pub health: Vec<(Id, Health)>,
    /// The proxies that should run the filter.
    pub proxies: Result<Vec<Proxy>, String>,
}

/// Kinds of Istio and Kubernetes that checks look at.
const NAMESPACE: &str = "Namespace";
const POD: &str = "Pod";
const CONFIG_MAP: &str = "ConfigMap";
const DAEMON_SET: &str = "DaemonSet.apps";
const TELEMETRY: &str = "Telemetry.telemetry.istio.io";
const WASM_PLUGIN: &str = "WasmPlugin.extensions.istio.io";
const TRAFFIC_EXTENSION: &str = "TrafficExtension.extensions.istio.io";
const ENVOY_FILTER: &str = "EnvoyFilter.networking.istio.io";
const SIDECAR: &str = "Sidecar.networking.istio.io";

// === impl Snapshot ===

impl Snapshot {
    /// Before an installation of these objects.
    ///
    /// # Errors
    /// [`ClusterError`] if not even discovery is answered.
    pub async fn before(
        cluster: &Cluster,
        release: &Release,
        objects: Vec<Value>,
        root_namespace: &str,
    ) -> Result<Self, ClusterError> {
        let mut snapshot = Self::take(cluster, release, objects, root_namespace).await?;
        snapshot.prunes = true;
        snapshot.denied = permissions::denied(cluster, release, &snapshot.objects).await.map_err(|e| e.to_string());
        for image in filter_images(&snapshot.objects) {
            let digest = look::digest(&image).await;
            snapshot.images.push((image, digest));
        }
        Ok(snapshot)
    }

    /// After one; with at most so many proxies.
    ///
    /// # Errors
    /// As [`Snapshot::before`].
    pub async fn after(cluster: &Cluster, installed: &Installed, max_proxies: usize) -> Result<Self, ClusterError> {
        let (objects, root) = applied(installed);
        let mut snapshot = Self::take(cluster, &installed.release, objects, &root).await?;
        snapshot.state = installed.state();
        if snapshot.missing_kinds.is_empty() {
            snapshot.drift = match Plan::make(cluster, installed, &snapshot.objects).await {
                Ok(plan) => Ok(drift(&plan)),
                Err(error) => Err(error.to_string()),
            };
        }
        for object in &snapshot.objects {
            let id = Id::of(object);
            let Ok(kind) = cluster.kind_of(object).await else { continue };
            let health = match cluster.get(&kind, &id.namespace, &id.name).await? {
                Some(live) => Health::of(&live),
                None => Health::Failed("it is not there".to_owned()),
            };
            snapshot.health.push((id, health));
        }
        snapshot.proxies = proxies::look(cluster, &snapshot.objects, &snapshot.root_namespace, max_proxies)
            .await
            .map_err(|e| e.to_string());
        Ok(snapshot)
    }

    async fn take(
        cluster: &Cluster,
        release: &Release,
        objects: Vec<Value>,
        root_namespace: &str,
    ) -> Result<Self, ClusterError> {
        let mut missing_kinds = Vec::new();
        for object in &objects {
            match cluster.kind_of(object).await {
                Ok(_) => {}
                Err(ClusterError::NoKind { kind, version }) => missing_kinds.push((kind, version)),
                Err(error) => return Err(error),
            }
        }
        missing_kinds.sort();
        missing_kinds.dedup();
        let mut plugins_there = look_at(cluster, WASM_PLUGIN, "").await;
        if let (Ok(plugins), Ok(more)) = (&mut plugins_there, look_at(cluster, TRAFFIC_EXTENSION, "").await) {
            plugins.extend(more);
        }
        let is_mesh_config = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            (name == "istio" || name.starts_with("istio-")) && object["data"]["mesh"].is_string()
        };
        let istiod = look_at(cluster, POD, "app=istiod").await;
        let mesh_configs = look_in(cluster, CONFIG_MAP, root_namespace, "").await;
        Ok(Self {
            release: release.clone(),
            root_namespace: root_namespace.to_owned(),
            kubernetes: cluster.version().to_owned(),
            missing_kinds,
            denied: Ok(Vec::new()),
            namespaces: look_at(cluster, NAMESPACE, "").await,
            istio_versions: istio::versions(cluster, &istiod).await,
            istiod,
            mesh_configs: mesh_configs.map(|all| all.into_iter().filter(is_mesh_config).collect()),
            ztunnels: look_at(cluster, DAEMON_SET, "app=ztunnel").await,
            telemetries: look_at(cluster, TELEMETRY, "").await,
            plugins_there,
            envoy_filters: look_at(cluster, ENVOY_FILTER, "").await,
            sidecars: look_at(cluster, SIDECAR, "").await,
            images: Vec::new(),
            state: State::NotInstalled,
            drift: Ok(Vec::new()),
            health: Vec::new(),
            proxies: Ok(Vec::new()),
            prunes: false,
            objects,
        })
    }

    /// The release's own objects of a kind.
    pub fn own<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// Whether an object in the cluster is one of the release, or of the revision that it takes the place of.
    pub fn is_own(&self, object: &Value) -> bool {
        let id = Id::of(object);
        let part_of = &object["metadata"]["labels"][inventory::PART_OF];
        self.prunes && *part_of == inventory::id(&self.release) || self.objects.iter().any(|own| Id::of(own) == id)
    }

    /// The release's own objects that bring the filter into proxies: of Istio's kinds, those that name an image.
    pub fn plugins(&self) -> impl Iterator<Item = &Value> {
        plugins(&self.objects)
    }

    /// The mesh's configuration, of every revision of Istio, with the ConfigMap's name.
    pub fn meshes(&self) -> Result<Vec<(String, Value)>, String> {
        let read = |object: &Value| {
            let text = object["data"]["mesh"].as_str().unwrap_or_default();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            (name.to_owned(), serde_saphyr::from_str(text).unwrap_or(Value::Null))
        };
        Ok(self.mesh_configs.as_ref().map_err(Clone::clone)?.iter().map(read).collect())
    }
}

/// The objects of the current revision, and the root namespace that it was made for.
fn applied(installed: &Installed) -> (Vec<Value>, String) {
    let objects = installed.current().map(|revision| revision.objects.clone()).unwrap_or_default();
    let root = installed.current().and_then(|r| r.values["mesh"]["rootNamespace"].as_str());
    (objects, root.unwrap_or("istio-system").to_owned())
}

/// See [`Snapshot::plugins`].
fn plugins(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| !filter_images(std::slice::from_ref(*object)).is_empty())
}

async fn look_at(cluster: &Cluster, kind: &str, labels: &str) -> Looked {
    look_in(cluster, kind, "", labels).await
}

async fn look_in(cluster: &Cluster, kind: &str, namespace: &str, labels: &str) -> Looked {
    match cluster.preferred_kind(kind).await.map_err(|e| e.to_string())? {
        Some(kind) => cluster.list(&kind, namespace, labels).await.map_err(|e| e.to_string()),
        None => Ok(Vec::new()),
    }
}

/// Images that proxies pull, as against those that nodes pull: what Istio's objects name.
fn filter_images(objects: &[Value]) -> Vec<String> {
    let istio = objects.iter().filter(|object| object["apiVersion"].as_str().unwrap_or("").contains("istio.io/"));
    images::images(&istio.cloned().collect::<Vec<_>>()).into_iter().collect()
}

/// A line for each field that is not as it was applied.
fn drift(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for change in &plan.changes {
        match change.action {
            Action::Keep => {}
            Action::Create => lines.push(format!("{} is not there", change.id)),
            Action::Update => {
                for field in &change.fields {
                    let value = |value: &Option<Value>| value.as_ref().map_or(json!(null), Clone::clone).to_string();
                    let owner =
                        change.conflicts.iter().find(|c| c.field.trim_start_matches('.').starts_with(&field.path));
                    let owner = owner.map(|c| format!(", set by {}", c.owner)).unwrap_or_default();
                    lines.push(format!(
                        "{}: {} is {}, not {}{owner}",
                        change.id,
                        field.path,
                        value(&field.before),
                        value(&field.after)
                    ));
                }
            }
            Action::Delete | Action::Restore => lines.push(format!("{} is there, but not of this revision", change.id)),
        }
    }
    lines
}
