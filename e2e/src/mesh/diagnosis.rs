//! The cluster as it is, for a test that failed.

use std::process::Command;

use super::{Mesh, SHOP};
use crate::tools::go_tool;

// === impl Mesh ===

impl Mesh {
    /// The last spans that came, by trace, and how many came.
    fn received(&self) -> String {
        let spans = self.snapshot().spans();
        let last = spans.iter().rev().take(20).map(|span| format!("{} {} {}", span.trace_id, span.service, span.kind));
        last.chain([format!("{} spans", spans.len())]).collect::<Vec<_>>().join("\n")
    }

    /// The cluster as it is, for a test that failed.
    pub fn diagnosis(&self) -> String {
        let kubectl = |args: &[&str]| {
            let output = Command::new(go_tool("kubectl")).args(args).output();
            output.map_or_else(
                |e| e.to_string(),
                |o| String::from_utf8_lossy(&[o.stdout, o.stderr].concat()).into_owned(),
            )
        };
        let check = self.otelmesh(&["check"]).output();
        let check = check.map_or_else(|e| e.to_string(), |o| String::from_utf8_lossy(&o.stdout).into_owned());
        let proxy = |workload: &str| {
            let workload = format!("deployment/{workload}");
            let stats = kubectl(&[
                "-n",
                SHOP,
                "exec",
                &workload,
                "-c",
                "istio-proxy",
                "--",
                "pilot-agent",
                "request",
                "GET",
                "stats?usedonly&filter=otelmesh_|4318.*upstream_(rq|cx)_|wasm",
            ]);
            format!(
                "--- {workload}\n{stats}\n{}",
                kubectl(&["-n", SHOP, "logs", &workload, "-c", "istio-proxy", "--tail=15"])
            )
        };
        [
            "--- pods".to_owned(),
            kubectl(&["get", "pods", "-A", "-o", "wide"]),
            "--- events".to_owned(),
            kubectl(&["get", "events", "-A", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"]),
            "--- check".to_owned(),
            check,
            proxy("client"),
            proxy("frontend"),
            "--- received".to_owned(),
            self.received(),
            "--- collectors".to_owned(),
            kubectl(&["-n", "otelmesh", "logs", "-l", "app.kubernetes.io/name=otelmesh", "--tail=20", "--prefix"]),
        ]
        .join("\n")
    }
}
