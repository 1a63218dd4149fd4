//! A real Prometheus in the mesh, run by its real operator.
//!
//! In: the monitors and rules that a release brings. Out: what Prometheus made of them, by its own API. It can be given a
//! copy of the rules with short times in place of minutes. Dropping it removes it, and the release before it, whose
//! objects are of the operator's kinds.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::mesh::{Mesh, PATIENCE};
use crate::tools::{go_tool, otelmesh};

const NAMESPACE: &str = "monitoring";
const API: &str = "/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy/api/v1";

/// What stands in for the rules' minutes: rates over ten scrapes, and two evaluations before an alert fires.
const SHORT: [(&str, &str); 4] =
    [("[2m]", "[10s]"), ("[5m]", "[10s]"), ("[15m]", "[10s]"), ("offset 15m", "offset 10s")];
const SHORT_FOR: &str = "2s";

/// Prometheus, until it is dropped.
pub struct Prometheus {
    copies: u32,
}

/// A series of a query's result.
#[derive(Debug)]
pub struct Sample {
    /// Its labels.
    pub labels: Value,
    /// Its value.
    pub value: f64,
}

impl Prometheus {
    /// Starts it, next to a mesh without a release.
    pub fn start(mesh: &Mesh) -> Self {
        let started = Self { copies: 0 };
        let kinds = go_tool("operator-crds.yaml").display().to_string();
        mesh.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &kinds]);
        mesh.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", &kinds]);
        mesh.apply_file("prometheus.yaml");
        mesh.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/operator", "--timeout=120s"]);
        started.until(mesh, "Prometheus answers", || started.api("/status/buildinfo").is_some());
        started
    }

    /// `data` of an answer of its API.
    fn api(&self, path: &str) -> Option<Value> {
        let output = Command::new(go_tool("kubectl")).args(["get", "--raw", &format!("{API}{path}")]).output();
        let mut answer: Value = serde_json::from_slice(&output.ok()?.stdout).ok()?;
        Some(answer["data"].take())
    }

    /// The result of a query, now.
    pub fn query(&self, query: &str) -> Vec<Sample> {
        let data = self.api(&format!("/query?query={}", encode(query))).unwrap_or_default();
        let series = data["result"].as_array().cloned().unwrap_or_default().into_iter();
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse().ok());
        series
            .map(|sample| Sample { value: value(&sample).unwrap_or(f64::NAN), labels: sample["metric"].clone() })
            .collect()
    }

    /// Its rules, as it evaluates them: the group's name and the rule.
    pub fn rules(&self) -> Vec<(String, Value)> {
        let groups = self.api("/rules").unwrap_or_default()["groups"].as_array().cloned().unwrap_or_default();
        let named = |group: &Value| (group["name"].as_str().unwrap_or_default().to_owned(), group["rules"].clone());
        let rules = |(name, rules): (String, Value)| {
            let rules = rules.as_array().cloned().unwrap_or_default();
            rules.into_iter().map(move |rule| (name.clone(), rule))
        };
        groups.iter().map(named).flat_map(rules).collect()
    }

    /// The alerts that fire, each with the namespace that it is about.
    pub fn firing(&self) -> BTreeSet<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |rule: &Value| -> Vec<(String, String)> {
            let alerts = rule["alerts"].as_array().into_iter().flatten().filter(|alert| alert["state"] == "firing");
            alerts.map(|alert| (text(&rule["name"]), text(&alert["labels"]["namespace"]))).collect()
        };
        self.rules().iter().flat_map(|(_, rule)| of(rule)).collect()
    }

    /// How many alerts there are of which nothing is to be said.
    pub fn inactive(&self) -> usize {
        self.rules().iter().filter(|(_, rule)| rule["state"] == "inactive").count()
    }

    /// Puts a copy of the rules that are installed now, with short times, in their place.
    pub fn shorten_rules(&mut self, mesh: &Mesh) {
        self.copies += 1;
        let installed = mesh.get(&["-n", "otelmesh", "prometheusrule", "otelmesh"]);
        let mut spec = installed["spec"].clone();
        for group in spec["groups"].as_array_mut().expect("groups") {
            let name = group["name"].as_str().expect("a name");
            group["name"] = format!("{name}-{}", self.copies).into();
            for rule in group["rules"].as_array_mut().expect("rules") {
                let expr = rule["expr"].as_str().expect("an expression");
                rule["expr"] =
                    SHORT.iter().fold(expr.to_owned(), |expr, (long, short)| expr.replace(long, short)).into();
                if rule["for"].is_string() {
                    rule["for"] = SHORT_FOR.into();
                }
            }
        }
        mesh.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
                "metadata": {"name": "short", "namespace": NAMESPACE, "labels": {"rules": "short"}}, "spec": spec,
            },
        ]}));
        let chosen =
            json!({"spec": {"ruleSelector": {"matchLabels": {"app.kubernetes.io/instance": null, "rules": "short"}}}});
        mesh.kubectl(&["-n", NAMESPACE, "patch", "prometheus", "e2e", "--type=merge", "-p", &chosen.to_string()]);
        let suffix = format!("-{}", self.copies);
        self.until(mesh, "Prometheus has the short rules", || {
            let rules = self.rules();
            !rules.is_empty() && rules.iter().all(|(group, rule)| group.ends_with(&suffix) && rule["health"] == "ok")
        });
    }

    /// Waits for something that Prometheus will say.
    ///
    /// # Panics
    /// It does not within [`PATIENCE`].
    pub fn until(&self, mesh: &Mesh, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(
                begun.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}\n{}\n{}",
                mesh.diagnosis(),
                self.diagnosis()
            );
            self.hurry();
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// A kubelet brings a changed Secret or ConfigMap to a pod when it next looks at that pod, once a minute, and at once
    /// when the pod itself changes.
    fn hurry(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = format!("e2e/looked={}", now.as_millis());
        let pod = ["-n", NAMESPACE, "annotate", "--overwrite", "pod", "prometheus-e2e-0", &now];
        // There may be no pod yet.
        drop(Command::new(go_tool("kubectl")).args(pod).output());
    }

    fn diagnosis(&self) -> String {
        let mut said = "--- targets\n".to_owned();
        let targets = self.api("/targets?state=active").unwrap_or_default();
        for target in targets["activeTargets"].as_array().into_iter().flatten() {
            let _ = writeln!(said, "{} {} {}", target["scrapeUrl"], target["health"], target["lastError"]);
        }
        said.push_str("--- rules\n");
        for (group, rule) in self.rules() {
            let _ =
                writeln!(said, "{group} {} {} {} {}", rule["name"], rule["state"], rule["health"], rule["lastError"]);
        }
        for (workload, container) in [("deployment/operator", "operator"), ("statefulset/prometheus-e2e", "prometheus")]
        {
            let logs = ["-n", NAMESPACE, "logs", workload, "-c", container, "--tail=10"];
            let output = Command::new(go_tool("kubectl")).args(logs).output();
            let log = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            let _ = writeln!(said, "--- {workload}\n{log}");
        }
        said
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Nothing here may panic, since a test that failed ends here too.
        let delete = |args: &[&str]| {
            let mut kubectl = Command::new(go_tool("kubectl"));
            kubectl.args(["delete", "--ignore-not-found", "--timeout=60s"]).args(args).stdout(Stdio::null());
            kubectl.spawn()
        };
        let namespace = delete(&["namespace", NAMESPACE]);
        drop(otelmesh().args(["uninstall", "--yes"]).output());
        let roles = ["clusterrole/e2e-prometheus", "clusterrolebinding/e2e-prometheus"];
        let roles = delete(&[roles[0], roles[1], "clusterrolebinding/e2e-prometheus-operator"]);
        let kinds = delete(&["-f", &go_tool("operator-crds.yaml").display().to_string()]);
        for mut child in [namespace, roles, kinds].into_iter().flatten() {
            drop(child.wait());
        }
    }
}

/// A query as part of an address.
fn encode(query: &str) -> String {
    query.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
