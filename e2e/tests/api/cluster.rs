//! A test's own part of the shared API server.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use otelmesh_e2e::apiserver::{self, ApiServer};
use otelmesh_e2e::tools::{otelmesh, run};
use serde_json::Value;

/// A namespace, a mesh root, a release and a user of the same name, which no other test has.
pub(crate) struct Cluster {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) name: &'static str,
    pub(crate) root: String,
    pub(crate) kubeconfig: PathBuf,
}

impl Cluster {
    /// With a namespace for the mesh's configuration, as Istio's installation leaves it.
    pub(crate) fn new(name: &'static str) -> Self {
        Self::on(ApiServer::shared(), name)
    }

    /// On a server of its own, for what looks at the whole cluster.
    pub(crate) fn alone(name: &'static str) -> Self {
        Self::on(Arc::new(ApiServer::start()), name)
    }

    fn on(server: Arc<ApiServer>, name: &'static str) -> Self {
        let kubeconfig = server.kubeconfig(Some(name));
        let cluster = Self { server, name, root: format!("{name}-root"), kubeconfig };
        cluster.kubectl(&["create", "namespace", &cluster.root]);
        cluster
    }

    /// The values that keep tests apart, without a collector: the filter and its Telemetry.
    pub(crate) fn values(&self) -> String {
        format!("{},collector.mode=none", self.whole())
    }

    /// The values that keep tests apart.
    pub(crate) fn whole(&self) -> String {
        let Self { name, root, .. } = self;
        // A version, or the cluster's own API makes a TrafficExtension of the WasmPlugin.
        format!(
            "mesh.istioVersion=1.29,filter.image.registry=registry.example.com,mesh.rootNamespace={root},\
             collector.namespace={name}"
        )
    }

    /// A command that knows the cluster and the release.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_as(&self.kubeconfig, args)
    }

    /// The same, as somebody else.
    pub(crate) fn command_as(&self, kubeconfig: &PathBuf, args: &[&str]) -> Command {
        let mut command = otelmesh();
        command.args(args).args(["-n", self.name, "--release-name", self.name]).arg("--kubeconfig").arg(kubeconfig);
        command
    }

    /// `install --yes` and so on, with this test's values and more.
    pub(crate) fn apply(&self, args: &[&str], set: &str) -> Command {
        let mut command = self.command(args);
        command.args(["--yes", "--set", &format!("{}{set}", self.values())]);
        command
    }

    /// What kubectl says, as a user of its own.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        run(apiserver::kubectl(&self.server.kubeconfig(None)).args(args))
    }

    /// An object as kubectl gets it; null if it is not there.
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        let found = self.kubectl(&[&["get", "-o", "json", "--ignore-not-found"], args].concat());
        if found.is_empty() { Value::Null } else { serde_json::from_str(&found).unwrap() }
    }

    /// The objects of the release, as the ApplySet's label finds them.
    pub(crate) fn members(&self) -> Vec<String> {
        let id = self.parent()["metadata"]["labels"]["applyset.kubernetes.io/id"].clone();
        let id = id.as_str().unwrap_or("none").to_owned();
        self.labelled(&id)
    }

    /// The objects with a set's label.
    pub(crate) fn labelled(&self, id: &str) -> Vec<String> {
        let kinds = "namespaces,wasmplugins,telemetries,configmaps,envoyfilters";
        let label = format!("applyset.kubernetes.io/part-of={id}");
        let names = self.kubectl(&["get", kinds, "-A", "-l", &label, "-o", "name"]);
        names.lines().map(str::to_owned).collect()
    }

    /// The ApplySet's parent.
    pub(crate) fn parent(&self) -> Value {
        self.get(&["configmap", &format!("release-{}", self.name), "-n", self.name])
    }

    /// The numbers of the stored revisions.
    pub(crate) fn revisions(&self) -> Vec<String> {
        let label = format!("otelmesh.io/release={}", self.name);
        let path = "jsonpath={range .items[*]}{.metadata.labels.otelmesh\\.io/revision}{\"\\n\"}{end}";
        let mut found: Vec<String> = self
            .kubectl(&["get", "secrets", "-n", self.name, "-l", &label, "-o", path])
            .lines()
            .map(str::to_owned)
            .collect();
        found.sort_by_key(|number| number.parse::<u32>().unwrap());
        found
    }

    /// What the namespace controller does: lets go of a namespace that was deleted.
    pub(crate) fn free(&self) {
        if self.get(&["namespace", self.name])["status"]["phase"] != "Terminating" {
            return;
        }
        self.kubectl(&["delete", "secrets,configmaps", "--all", "-n", self.name]);
        let file = self.server.kubeconfig(None).with_file_name(format!("free-{}.json", self.name));
        let metadata = serde_json::json!({"name": self.name});
        let body = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": {}});
        std::fs::write(&file, body.to_string()).unwrap();
        let path = format!("/api/v1/namespaces/{}/finalize", self.name);
        self.kubectl(&["replace", "--raw", &path, "-f", file.to_str().unwrap()]);
    }
}
