//! A release of otelmesh in the mesh, made by the command as a user makes it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{FRONTEND, Mesh, REGISTRY};
use crate::tools::{otelmesh, root, run};

// === impl Mesh ===

impl Mesh {
    /// Pushes the filter as a user does, and gives its digest.
    pub(super) fn push(&self) -> String {
        let mut command = self.otelmesh(&["image", "push", &format!("{REGISTRY}/otelmesh/filter"), "-o", "json"]);
        let pushed: Value = serde_json::from_str(&run(&mut command)).expect("JSON");
        pushed["digest"].as_str().expect("a digest").to_owned()
    }

    /// Pushes another module under a tag of its own, and gives its digest.
    pub fn push_module(&self, module: &Path, tag: &str) -> String {
        let target = format!("{REGISTRY}/otelmesh/filter:{tag}");
        let said = run(self.otelmesh(&["image", "push", &target, "-o", "json", "--wasm"]).arg(module));
        let pushed: Value = serde_json::from_str(&said).expect("JSON");
        pushed["digest"].as_str().expect("a digest").to_owned()
    }

    /// The digest of the filter that was pushed.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Removes what another test installed.
    pub(super) fn clear(&self) {
        let label = ["get", "configmaps", "-A", "-l", "applyset.kubernetes.io/id", "-o", "json"];
        let parents: Value = serde_json::from_str(&self.kubectl(&label)).expect("JSON");
        for parent in parents["items"].as_array().into_iter().flatten() {
            let text = |key: &str| parent["metadata"][key].as_str().unwrap_or_default();
            let release = text("name").trim_start_matches("release-");
            run(&mut self.otelmesh(&["uninstall", "--yes", "-n", text("namespace"), "--release-name", release]));
        }
    }

    /// The `otelmesh` command, for this cluster.
    pub fn otelmesh(&self, args: &[&str]) -> Command {
        let mut command = otelmesh();
        command.args(args).env("SSL_CERT_FILE", root().join("target/kind/registry.crt"));
        command
    }

    /// The values that every test shares, with more laid over them: images of this cluster, all traces, and exporters to
    /// the test's receiver.
    pub fn values(&self, over: &Value) -> PathBuf {
        let mut values = json!({
            "filter": {
                "image": {"registry": REGISTRY, "digest": self.digest},
                "config": {"sampling": {"ratio": 1.0}, "batch": {"scheduleDelay": "200ms"}},
            },
            "collector": {
                "image": {
                    "registry": "docker.io", "repository": "otelmesh/otelcol", "pullPolicy": "IfNotPresent",
                },
                "gateway": {"replicas": 1},
                "exporters": {"test": {
                    "type": "otlp_http", "endpoint": format!("http://{}", self.receiver.http()),
                    "config": {"compression": "none"},
                }},
            },
            "demo": {"image": "docker.io/otelmesh/app:1.0"},
        });
        merge(&mut values, over);
        self.file("values.json", &values)
    }

    /// Installs, or upgrades, and waits until each proxy runs the filter and a trace is whole.
    pub fn install(&self, over: &Value) -> String {
        let said = self.deploy(over);
        self.wait_for_whole_trace(FRONTEND);
        said
    }

    /// Installs, or upgrades, and waits until each proxy runs the filter.
    pub fn deploy(&self, over: &Value) -> String {
        let values = self.values(over);
        let said = run(self.otelmesh(&["install", "--yes", "-f"]).arg(values));
        self.wait_until("every proxy runs the filter", || self.check("proxies-loaded") == "success");
        said
    }

    /// What `otelmesh check` says of one check.
    pub fn check(&self, id: &str) -> String {
        let output = self.otelmesh(&["check", "-o", "json"]).output().expect("otelmesh runs");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let checks = report["checks"].as_array().cloned().unwrap_or_default();
        let found = checks.iter().find(|check| check["id"] == id);
        found.map_or_else(|| "absent".to_owned(), |check| check["result"].as_str().unwrap_or_default().to_owned())
    }
}

/// Lays values over others.
pub fn merge(values: &mut Value, over: &Value) {
    match (values, over) {
        (Value::Object(values), Value::Object(over)) => {
            for (key, value) in over {
                merge(values.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (value, over) => *value = over.clone(),
    }
}
