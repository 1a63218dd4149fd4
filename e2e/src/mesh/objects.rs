//! Objects of the cluster, by kubectl: put there to stay, or lent until the test ends.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::Mesh;
use crate::tools::{go_tool, root, run};

// === impl Mesh ===

impl Mesh {
    /// kubectl, to its end.
    pub fn kubectl(&self, args: &[&str]) -> String {
        run(Command::new(go_tool("kubectl")).args(args))
    }

    /// An object, or null.
    pub fn get(&self, args: &[&str]) -> Value {
        let found = self.kubectl(&[&["get", "-o", "json", "--ignore-not-found"], args].concat());
        if found.is_empty() { Value::Null } else { serde_json::from_str(&found).expect("JSON") }
    }

    /// Applies one of the files under e2e/tests/cluster.
    pub fn apply_file(&self, name: &str) {
        let file = root().join("e2e/tests/cluster").join(name);
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.display().to_string()]);
    }

    /// Applies objects.
    pub fn apply(&self, objects: &Value) {
        let file = self.file("objects.json", objects);
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.display().to_string()]);
    }

    /// Applies objects that go when the test ends, however it ends.
    pub fn lend(&self, objects: &Value) {
        let name = format!("lent-{}.json", self.lent.lock().expect("no panic while it is held").len());
        self.lend_path(self.file(&name, objects));
    }

    /// Applies one of the files under e2e/tests/cluster in the same way.
    pub fn lend_file(&self, name: &str) {
        self.lend_path(root().join("e2e/tests/cluster").join(name));
    }

    fn lend_path(&self, file: PathBuf) {
        let path = file.display().to_string();
        self.lent.lock().expect("no panic while it is held").push(file);
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &path]);
    }

    /// A file with a JSON document, gone with the next one by that name.
    pub fn file(&self, name: &str, document: &Value) -> PathBuf {
        let dir = root().join("target/kind/files");
        fs::create_dir_all(&dir).expect("a writable directory");
        let path = dir.join(format!("{}-{name}", self.subject));
        fs::write(&path, document.to_string()).expect("a writable directory");
        path
    }

    /// The name of the cluster's node.
    pub fn node(&self) -> String {
        self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let lent = self.lent.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        for file in lent.drain(..).rev() {
            let mut delete = Command::new(go_tool("kubectl"));
            delete.args(["delete", "--ignore-not-found", "--timeout=60s", "-f"]).arg(file);
            // Not to panic while the test does.
            let _ = delete.output();
        }
    }
}
