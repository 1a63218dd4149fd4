//! Single requests for objects of any kind.
//!
//! Every write is an apply, a creation, a replacement, a patch or a deletion; strict field validation is always on, so that a
//! misspelt field is refused instead of dropped.

use http::Request;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::params::ValidationDirective;
use kube::core::{Resource, request};
use kube::discovery::ApiResource;
use serde_json::Value;

use super::{Cluster, ClusterError, FIELD_MANAGER, Id, Kind};

/// Objects asked for at once: a page of a large cluster's pods.
const PAGE: u32 = 500;

/// How an object is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApplyOptions {
    /// The API server does everything but store it.
    pub dry_run: bool,
    /// Take fields that others own.
    pub force: bool,
}

// === impl Kind ===

impl Kind {
    fn path(&self, namespace: &str) -> String {
        DynamicObject::url_path(&self.resource, (self.namespaced && !namespace.is_empty()).then_some(namespace))
    }
}

// === impl Cluster ===

impl Cluster {
    /// An object, if it is there.
    ///
    /// # Errors
    /// [`ClusterError`] but for its absence.
    pub async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Value>, ClusterError> {
        let request = request::Request::new(kind.path(namespace)).get(name, &Default::default());
        let what = what(&kind.resource, namespace, name);
        match self.send(&what, request).await {
            Ok(object) => Ok(Some(object)),
            Err(ClusterError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind with these labels, in one namespace or, with an empty one, in all of them.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn list(&self, kind: &Kind, namespace: &str, labels: &str) -> Result<Vec<Value>, ClusterError> {
        let what = what(&kind.resource, namespace, "*");
        let mut params = ListParams::default().labels(labels).limit(PAGE);
        let mut objects = Vec::new();
        loop {
            let mut page = self.send(&what, request::Request::new(kind.path(namespace)).list(&params)).await?;
            for mut object in page["items"].as_array_mut().map(std::mem::take).unwrap_or_default() {
                // A list names version and kind once, its items do not.
                object["apiVersion"] = kind.resource.api_version.clone().into();
                object["kind"] = kind.resource.kind.clone().into();
                objects.push(object);
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => params = params.continue_token(token),
                _ => return Ok(objects),
            }
        }
    }

    /// Applies an object and returns what became of it.
    ///
    /// # Errors
    /// [`ClusterError`]; [`ClusterError::Conflicts`] names the fields that others own.
    pub async fn apply(&self, object: &Value, options: ApplyOptions) -> Result<Value, ClusterError> {
        let kind = self.kind_of(object).await?;
        let id = Id::of(object);
        let params = PatchParams {
            dry_run: options.dry_run,
            force: options.force,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let request = request::Request::new(kind.path(&id.namespace)).patch(&id.name, &params, &Patch::Apply(object));
        self.send(&id.to_string(), request).await
    }

    /// Creates an object that must not be there yet.
    ///
    /// # Errors
    /// [`ClusterError::Exists`] if it is, or any other [`ClusterError`].
    pub async fn create(&self, object: &Value) -> Result<Value, ClusterError> {
        let kind = self.kind_of(object).await?;
        let id = Id::of(object);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let body = serde_json::to_vec(object).unwrap_or_default();
        self.send(&id.to_string(), request::Request::new(kind.path(&id.namespace)).create(&params, body)).await
    }

    /// Puts an object in the place of the one with the same name.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn replace(&self, object: &Value) -> Result<Value, ClusterError> {
        let kind = self.kind_of(object).await?;
        let id = Id::of(object);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let body = serde_json::to_vec(object).unwrap_or_default();
        let request = request::Request::new(kind.path(&id.namespace)).replace(&id.name, &params, body);
        self.send(&id.to_string(), request).await
    }

    /// Changes some fields of an object, as another manager than the one that applies it.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn merge(&self, object: &Value, patch: &Value, manager: &str) -> Result<Value, ClusterError> {
        let kind = self.kind_of(object).await?;
        let id = Id::of(object);
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let request = request::Request::new(kind.path(&id.namespace)).patch(&id.name, &params, &Patch::Merge(patch));
        self.send(&id.to_string(), request).await
    }

    /// Deletes just this object, not one that was made anew under its name. What is gone already is no error.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn delete(&self, object: &Value) -> Result<(), ClusterError> {
        let id = Id::of(object);
        let kind = self.kind_of(object).await?;
        let uid = object["metadata"]["uid"].as_str().map(str::to_owned);
        let params = DeleteParams {
            preconditions: uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::background()
        };
        let request = request::Request::new(kind.path(&id.namespace)).delete(&id.name, &params);
        match self.send(&id.to_string(), request).await {
            Ok(_) | Err(ClusterError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks a question that the API server answers without storing it, such as a SelfSubjectAccessReview.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn review(&self, path: &str, question: &Value) -> Result<Value, ClusterError> {
        let body = serde_json::to_vec(question).unwrap_or_default();
        self.send("a review", request::Request::new(path).create(&PostParams::default(), body)).await
    }

    /// The answer to a GET of any path, as text.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn text(&self, path: &str) -> Result<String, ClusterError> {
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|e| ClusterError::Refused { what: path.to_owned(), message: e.to_string() })?;
        self.client.request_text(request).await.map_err(|e| self.explain(path, e))
    }

    async fn send(&self, what: &str, request: Result<Request<Vec<u8>>, request::Error>) -> Result<Value, ClusterError> {
        let request = request.map_err(|e| ClusterError::Refused { what: what.to_owned(), message: e.to_string() })?;
        self.client.request(request).await.map_err(|e| self.explain(what, e))
    }
}

fn what(resource: &ApiResource, namespace: &str, name: &str) -> String {
    let id = Id {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    id.to_string()
}
