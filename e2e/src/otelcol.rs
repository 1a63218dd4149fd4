//! The real collector on this machine, with a configuration that the chart rendered for a pod.
//!
//! In: the configuration. Out: a command that runs the collector with it, or the names of the metrics that it serves of
//! itself. Refuses to go on where it does not start.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use otelmesh::client::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::tools::go_tool;

/// The collector with what only a pod has put into a directory.
///
/// # Panics
/// If the directory cannot be written.
pub fn otelcol(command: &[&str], config: &str, dir: &Path) -> Command {
    let here = |name: &str| dir.join(name).display().to_string();
    let authority = rcgen::generate_simple_self_signed(["kubernetes".to_owned()]).expect("a certificate can be made");
    fs::write(here("ca.crt"), authority.cert.pem()).expect("the directory can be written");
    let config = config
        .replace("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", &here("ca.crt"))
        .replace("/var/lib/otelcol", &dir.display().to_string());
    let mut config: Value = serde_saphyr::from_str(&config).expect("the configuration is YAML");
    if let Some(kubelet) = config.pointer_mut("/receivers/kubelet_stats") {
        // A service account's token is read when the receiver is made, from where only pods have one.
        kubelet["auth_type"] = json!("none");
    }
    let file = here("config.yaml");
    fs::write(&file, config.to_string()).expect("the directory can be written");
    let mut otelcol = Command::new(go_tool("otelcol"));
    otelcol.args(command).args(["--config", &file]);
    // The collector asks for these when it reads its configuration; nothing connects.
    for (name, value) in [
        ("MY_POD_IP", "127.0.0.1"),
        ("K8S_NODE_NAME", "node"),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "1"),
    ] {
        otelcol.env(name, value);
    }
    otelcol
}

/// A running collector, killed when dropped.
struct Running(Child);

/// Telemetry of each kind, as OTLP's JSON.
const TELEMETRY: [(&str, &str); 3] = [
    (
        "traces",
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"x","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#,
    ),
    ("logs", r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#),
    (
        "metrics",
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"x","gauge":{"dataPoints":[{"asInt":"1","timeUnixNano":"1"}]}}]}]}]}"#,
    ),
];
const PATIENCE: u32 = 100;

/// The names of the metrics that a collector serves of itself, after telemetry of each kind went to one exporter that
/// works and to one that does not.
///
/// # Panics
/// If it does not start, or does not count what it did.
pub async fn metrics(config: &str) -> BTreeSet<String> {
    let mut config: Value = serde_saphyr::from_str(config).expect("the configuration is YAML");
    // It asks the API server whose pods it sees, and there is none.
    let processors = config["processors"].as_object_mut().expect("there are processors");
    processors.remove("k8s_attributes").expect("the entry has k8s_attributes");
    config["exporters"]["otlp_grpc/nowhere"] = json!({
        "endpoint": "127.0.0.1:1", "tls": {"insecure": true}, "sending_queue": {"queue_size": 10},
        "retry_on_failure": {"enabled": false},
    });
    for pipeline in config["service"]["pipelines"].as_object_mut().expect("there are pipelines").values_mut() {
        pipeline["processors"].as_array_mut().expect("it has processors").retain(|name| name != "k8s_attributes");
        pipeline["exporters"] = json!(["debug", "otlp_grpc/nowhere"]);
    }
    let mut text = config.to_string();
    let mut ports = Vec::new();
    for port in [":4317", ":4318", ":13133", ":8888"] {
        // The last is a number of its own.
        let free = TcpListener::bind("127.0.0.1:0").await.and_then(|l| l.local_addr()).expect("a port is free").port();
        text = match port {
            ":8888" => text.replace("\"port\":8888", &format!("\"port\":{free}")),
            port => text.replace(&format!("${{env:MY_POD_IP}}{port}"), &format!("127.0.0.1:{free}")),
        };
        ports.push(free);
    }

    let dir = tempfile::tempdir().expect("a directory can be made");
    let mut command = otelcol(&[], &text, dir.path());
    let log = fs::File::create(dir.path().join("log")).expect("a log can be made");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    let _running = Running(child.expect("the collector runs"));
    let client = Client::new();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let mut found = BTreeSet::new();
    for _ in 0..PATIENCE {
        sleep(Duration::from_millis(200)).await;
        for (signal, body) in TELEMETRY {
            let _ = client.post(&format!("http://127.0.0.1:{}/v1/{signal}", ports[1]), headers.clone(), body).await;
        }
        let Ok(reply) = client.get(&format!("http://127.0.0.1:{}/metrics", ports[3]), HeaderMap::new()).await else {
            continue;
        };
        found = names(&reply.text());
        if found.contains("otelcol_exporter_send_failed_spans_total")
            && found.contains("otelcol_exporter_send_failed_log_records_total")
            && found.contains("otelcol_exporter_send_failed_metric_points_total")
        {
            return found;
        }
    }
    let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    panic!("the collector never counted a failed export; it counts {found:?} and said\n{log}");
}

fn names(exposition: &str) -> BTreeSet<String> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
