//! The real collector on this machine, with a configuration that the chart rendered for a pod.
//!
//! In: the configuration. Out: a command that runs the collector with it, or a running one, which can be sent telemetry and
//! asked for its metrics. Refuses to go on where it does not start.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use otelmesh::client::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
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
#[derive(Debug)]
pub struct Running {
    child: Child,
    dir: TempDir,
    text: String,
    grpc: u16,
    http: u16,
    metrics: u16,
}

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

/// An exporter to where nothing is.
pub const NOWHERE: &str = "otlp_grpc/nowhere";

// === impl Running ===

impl Running {
    /// Starts it with one exporter that works, and with one that does not.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn start(config: &str) -> Self {
        Self::edited(config, |config| {
            config["exporters"][NOWHERE] = json!({
                "endpoint": "127.0.0.1:1", "tls": {"insecure": true}, "sending_queue": {"queue_size": 10},
                "retry_on_failure": {"enabled": false},
            });
            for pipeline in config["service"]["pipelines"].as_object_mut().expect("there are pipelines").values_mut() {
                pipeline["exporters"] = json!(["debug", NOWHERE]);
            }
        })
        .await
    }

    /// Starts it on free ports with a configuration that takes OTLP in, and that was changed as its place here asks for.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn edited(config: &str, edit: impl FnOnce(&mut Value)) -> Self {
        let mut config: Value = serde_saphyr::from_str(config).expect("the configuration is YAML");
        // It asks the API server whose pods it sees, and there is none.
        config["processors"].as_object_mut().expect("there are processors").remove("k8s_attributes");
        for pipeline in config["service"]["pipelines"].as_object_mut().expect("there are pipelines").values_mut() {
            pipeline["processors"].as_array_mut().expect("it has processors").retain(|name| name != "k8s_attributes");
        }
        edit(&mut config);
        let (grpc, http, metrics) = (free().await, free().await, free().await);
        let mut text = config.to_string();
        for (port, free) in [("4317", grpc), ("4318", http), ("13133", free().await)] {
            text = text.replace(&format!("${{env:MY_POD_IP}}:{port}"), &format!("127.0.0.1:{free}"));
        }
        text = text.replace("\"port\":8888", &format!("\"port\":{metrics}"));

        let dir = tempfile::tempdir().expect("a directory can be made");
        let child = spawn(&text, dir.path());
        let running = Self { child, dir, text, grpc, http, metrics };
        running.is_up().await;
        running
    }

    /// Kills it without a word of warning, and starts it again where it was, with the same files.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn crash_and_return(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("it can be killed");
        self.child = spawn(&self.text, self.dir.path());
        self.is_up().await;
    }

    async fn is_up(&self) {
        // Metrics are served before receivers are.
        for port in [self.metrics, self.grpc, self.http] {
            self.listens(port).await;
        }
    }

    async fn listens(&self, port: u16) {
        for _ in 0..PATIENCE {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("the collector does not listen on {port} and said\n{}", self.log());
    }

    /// Where it takes OTLP/gRPC.
    pub fn grpc(&self) -> String {
        format!("127.0.0.1:{}", self.grpc)
    }

    /// Where it takes OTLP/HTTP.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Sends telemetry as OTLP's JSON.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn post(&self, signal: &str, body: String) -> Result<(), String> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let reply = Client::new().post(&format!("{}/v1/{signal}", self.http()), headers, body).await;
        let reply = reply.map_err(|e| format!("{e:#}"))?;
        if reply.status.is_success() { Ok(()) } else { Err(reply.text()) }
    }

    /// Sends telemetry of each kind.
    async fn send(&self) {
        for (signal, body) in TELEMETRY {
            // Refused while it starts, and sent again.
            let _ = self.post(signal, body.to_owned()).await;
        }
    }

    /// Where it takes both, as addresses: gRPC, then HTTP.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        [self.grpc, self.http].map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The sum of a metric that it serves of itself over all labels that contain `label`.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn sum(&self, name: &str, label: &str) -> f64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let text = Client::new().get(&url, HeaderMap::new()).await.expect("it serves metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The names of the metrics that it serves of itself, as soon as they are as `condition` wants them; telemetry is
    /// sent until then.
    ///
    /// # Panics
    /// That does not come about.
    pub async fn until(&self, what: &str, condition: impl Fn(&BTreeSet<String>) -> bool) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for _ in 0..PATIENCE {
            let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
            if let Ok(reply) = Client::new().get(&url, HeaderMap::new()).await {
                found = names(&reply.text());
                if condition(&found) {
                    return found;
                }
                self.send().await;
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("{what}: it serves {found:?} and said\n{}", self.log());
    }
}

fn spawn(config: &str, dir: &Path) -> Child {
    let log = fs::File::create(dir.join("log")).expect("a log can be made");
    let mut command = otelcol(&[], config, dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the collector runs")
}

async fn free() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    listener.and_then(|l| l.local_addr()).expect("a port is free").port()
}

fn names(exposition: &str) -> BTreeSet<String> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
