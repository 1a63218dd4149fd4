//! The real mesh that `make kind-up` brings up, and a release of otelmesh in it.
//!
//! In: values. Out: a [`Mesh`] with the applications of the tests behind sidecars, an OTLP receiver that the cluster's
//! collectors send to, and commands on both. There is one mesh, so one test at a time has it, and begins without a
//! release. What a test waits for and does not get is told with the pods, the proxies and the collectors as they are.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use otelmesh::receiver::{Receiver, Snapshot};
use otelmesh::telemetry::{Log, Span};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::tools::{go_tool, otelmesh, root, run};

/// Where the cluster's pods reach this machine.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
/// The registry that `make kind-up` starts there.
pub const REGISTRY: &str = "172.31.0.1:5000";
/// The namespace of the tests' own applications.
pub const SHOP: &str = "shop";
/// What clients ask, by way of four hops: out of the client, into and out of the frontend, into the backend.
pub const FRONTEND: &str = "http://frontend.shop:8080/orders/7";
/// Spans of such a request.
pub const HOPS: usize = 4;
/// On a machine whose two cores run a whole cluster.
pub const PATIENCE: Duration = Duration::from_secs(120);

static TURN: Mutex<()> = Mutex::new(());

/// A test's turn with the mesh.
pub struct Mesh {
    /// What the collectors send on.
    pub receiver: Receiver,
    digest: String,
    subject: &'static str,
    begun: Instant,
    lent: Mutex<Vec<PathBuf>>,
    runtime: Runtime,
    _turn: MutexGuard<'static, ()>,
}

/// What a client in the mesh got.
#[derive(Debug)]
pub struct Answers {
    /// Requests sent.
    pub requests: u64,
    /// Answers by status.
    pub statuses: Value,
    /// Requests without an answer, by reason.
    pub errors: Value,
    /// The last answer's body.
    pub last: String,
}

/// What the filter counted of one signal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Books {
    /// Records that entered the books.
    pub recorded: u64,
    /// Records that a collector took.
    pub exported: u64,
    /// Records that were dropped or rejected, for whatever reason.
    pub lost: u64,
    /// Records that are held.
    pub waiting: u64,
}

// === impl Books ===

impl Books {
    /// Whether they add up, with nothing waiting.
    pub fn are_settled(&self) -> bool {
        self.waiting == 0 && self.recorded == self.exported + self.lost
    }
}

/// Requests that a client keeps sending; dropping it ends them.
pub struct Load {
    ended: Arc<AtomicBool>,
    sender: Option<JoinHandle<Vec<Answers>>>,
}

// === impl Load ===

impl Load {
    /// Ends, and tells how many were sent and how many were not answered with 200.
    ///
    /// # Panics
    /// The client could not be told to send.
    pub fn end(mut self) -> (u64, u64) {
        self.ended.store(true, Ordering::Relaxed);
        let all = self.sender.take().expect("it ends once").join().expect("the client sends");
        (all.iter().map(|answers| answers.requests).sum(), all.iter().map(Answers::bad).sum())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

// === impl Answers ===

impl Answers {
    /// How many were answered with 200.
    pub fn good(&self) -> u64 {
        self.statuses["200"].as_u64().unwrap_or(0)
    }

    /// Everything that was not answered with 200.
    pub fn bad(&self) -> u64 {
        self.requests - self.good()
    }
}

// === impl Mesh ===

impl Mesh {
    /// Waits for its turn, and sees to it that the applications run and that no release is installed.
    ///
    /// # Panics
    /// There is no cluster; `make kind-up` starts one.
    pub fn enter(subject: &'static str) -> Self {
        // A test that failed leaves nothing that the next would not clear away.
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(
            std::env::var_os("KUBECONFIG").is_some(),
            "there is no cluster: run `make e2e`, or `make kind-up` and `e2e/kind/cluster.sh run cargo test -p \
             otelmesh-e2e --test cluster`"
        );
        let runtime = Runtime::new().expect("a runtime");
        let receiver = runtime.block_on(Receiver::start_on(GATEWAY, None)).expect("a receiver where pods reach it");
        let (begun, lent) = (Instant::now(), Mutex::default());
        let mut mesh = Self { receiver, digest: String::new(), subject, begun, lent, runtime, _turn: turn };
        mesh.digest = mesh.push();
        mesh.clear();
        mesh.apply_file("shop.yaml");
        mesh.wait_for_shop();
        // A test that failed may have left books that do not add up, or a panic; a proxy keeps them for as long as it lives.
        let settled = ["spans", "logs"].iter().all(|signal| mesh.books(signal).are_settled());
        let panicked = ["client", "frontend", "backend"].iter().any(|workload| mesh.counter(workload, "panics") > 0);
        if !settled || panicked {
            mesh.renew_shop();
        }
        mesh
    }

    /// Gives the applications new pods, whose proxies have counted nothing yet.
    pub fn renew_shop(&self) {
        self.kubectl(&["-n", SHOP, "delete", "pods", "--all"]);
        self.wait_for_shop();
    }

    fn wait_for_shop(&self) {
        for deployment in ["client", "frontend", "backend"] {
            self.kubectl(&["-n", SHOP, "rollout", "status", &format!("deployment/{deployment}"), "--timeout=120s"]);
        }
    }

    /// Pushes the filter as a user does, and gives its digest.
    fn push(&self) -> String {
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
    fn clear(&self) {
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

    /// Asks until a trace of it has all its spans. Envoy serves connections that were open by the listener that they came
    /// to, until that is drained.
    pub fn wait_for_whole_trace(&self, url: &str) {
        self.wait_until("a trace is whole", || {
            let trace = trace_id();
            let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
            self.requests("client", &["-H", &parent, url]);
            let whole = self.receiver.wait_for(Duration::from_secs(10), |now| {
                now.spans().iter().filter(|span| span.trace_id == trace).count() == HOPS
            });
            self.runtime.block_on(whole)
        });
    }

    /// What `otelmesh check` says of one check.
    pub fn check(&self, id: &str) -> String {
        let output = self.otelmesh(&["check", "-o", "json"]).output().expect("otelmesh runs");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let checks = report["checks"].as_array().cloned().unwrap_or_default();
        let found = checks.iter().find(|check| check["id"] == id);
        found.map_or_else(|| "absent".to_owned(), |check| check["result"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends requests from a pod with a sidecar; `args` are those of `otelmesh-app get`.
    pub fn requests(&self, from: &str, args: &[&str]) -> Answers {
        ask(from, args)
    }

    /// Sends requests from the client, without a pause, until [`Load::end`].
    pub fn load(&self) -> Load {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let sender = thread::spawn(move || {
            let mut all = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                all.push(ask("client", &["-t", "2s", "-p", "30ms", FRONTEND]));
            }
            all
        });
        Load { ended, sender: Some(sender) }
    }

    /// Stops the receiver as a crash would.
    pub fn stop_receiver(&mut self) {
        self.runtime.block_on(self.receiver.stop());
    }

    /// Starts it again, where it was.
    pub fn restart_receiver(&mut self) {
        self.runtime.block_on(self.receiver.restart()).expect("its ports are free");
    }

    /// The name of the cluster's node.
    pub fn node(&self) -> String {
        self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])
    }

    /// Sends requests for so long while something is done, a few clients at once.
    pub fn under_load<T>(&self, seconds: u64, act: impl FnOnce() -> T) -> (Answers, T) {
        let duration = format!("{seconds}s");
        thread::scope(|scope| {
            let load = scope.spawn(|| self.requests("client", &["-t", &duration, "-c", "2", "-p", "50ms", FRONTEND]));
            let done = act();
            (load.join().expect("the load ends"), done)
        })
    }

    /// Sends OTLP/HTTP from a pod, to a collector of whichever address.
    pub fn post(&self, from: &str, url: &str, headers: &[&str], body: &Value) -> Answers {
        let mut args = vec!["-X", "POST", "-H", "content-type: application/json"];
        args.extend(headers.iter().flat_map(|header| ["-H", header]));
        let body = body.to_string();
        args.extend(["-d", &body, url]);
        self.requests(from, &args)
    }

    /// One of a collector's own counters, by pod, over its series.
    pub fn collected(&self, component: &str, name: &str) -> BTreeMap<String, f64> {
        let label = format!("app.kubernetes.io/component=collector-{component}");
        let pods = self.get(&["pods", "-n", "otelmesh", "-l", &label, "--field-selector=status.phase=Running"]);
        let pods = pods["items"].as_array().into_iter().flatten().filter_map(|pod| pod["metadata"]["name"].as_str());
        let of = |pod: &str| {
            let path = format!("/api/v1/namespaces/otelmesh/pods/{pod}:8888/proxy/metrics");
            let exposition = self.kubectl(&["get", "--raw", &path]);
            let series = exposition.lines().filter(|line| line.starts_with(&format!("{name}{{")));
            series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        pods.map(|pod| (pod.to_owned(), of(pod))).collect()
    }

    /// The filter's books of a signal, over the three applications: recorded, exported, dropped or rejected, and waiting.
    pub fn books(&self, signal: &str) -> Books {
        let mut books = Books::default();
        for (name, value) in ["client", "frontend", "backend"].iter().flat_map(|workload| self.counters(workload)) {
            match name.strip_prefix(&format!("{signal}_")) {
                Some("recorded") => books.recorded += value,
                Some("exported") => books.exported += value,
                Some("waiting") => books.waiting += value,
                Some(other) if other.starts_with("dropped") || other == "rejected" => books.lost += value,
                _ => {}
            }
        }
        books
    }

    /// All that the collectors sent on.
    pub fn snapshot(&self) -> Snapshot {
        self.receiver.snapshot()
    }

    /// What Istio's provider `native` names in its mesh configuration: a Service that leads to the test's receiver.
    pub fn native_backend(&self) -> Value {
        let port = self.receiver.grpc().port();
        json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tracing"}},
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend", "namespace": "tracing"},
                "spec": {"ports": [{"name": "grpc", "port": 4317, "targetPort": port}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": "backend", "namespace": "tracing", "labels": {"kubernetes.io/service-name": "backend"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "grpc", "port": port}],
                "endpoints": [{"addresses": [GATEWAY.to_string()], "conditions": {"ready": true}}],
            },
        ]})
    }

    /// What the Envoy of a workload's sidecar answers on its admin interface.
    pub fn envoy(&self, workload: &str, path: &str) -> String {
        let (namespace, workload) = workload.split_once('/').unwrap_or((SHOP, workload));
        let workload = format!("deployment/{workload}");
        let exec =
            ["-n", namespace, "exec", &workload, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", path];
        self.kubectl(&exec)
    }

    /// The spans of a trace, once there are so many.
    pub fn spans_of(&self, trace: &str, count: usize) -> Vec<Span> {
        let of = |snapshot: &Snapshot| -> Vec<Span> {
            snapshot.spans().into_iter().filter(|span| span.trace_id == trace).collect()
        };
        let arrived = self.runtime.block_on(self.receiver.wait_for(PATIENCE, |now| of(now).len() >= count));
        let spans = of(&self.snapshot());
        assert!(arrived, "of {count} spans of trace {trace} came {}: {spans:#?}\n{}", spans.len(), self.diagnosis());
        spans
    }

    /// The logs of a trace, once there are so many.
    pub fn logs_of(&self, trace: &str, count: usize) -> Vec<Log> {
        let of = |snapshot: &Snapshot| -> Vec<Log> {
            snapshot.logs().into_iter().filter(|log| log.trace_id == trace).collect()
        };
        let arrived = self.runtime.block_on(self.receiver.wait_for(PATIENCE, |now| of(now).len() >= count));
        let logs = of(&self.snapshot());
        assert!(arrived, "of {count} logs of trace {trace} came {}: {logs:#?}\n{}", logs.len(), self.diagnosis());
        logs
    }

    /// Waits for something to become so.
    ///
    /// # Panics
    /// It does not within [`PATIENCE`].
    pub fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{}: not within {PATIENCE:?}: {what}\n{}",
                self.subject,
                self.diagnosis()
            );
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// The filter's counters, over the sidecars of a workload.
    pub fn counters(&self, workload: &str) -> Vec<(String, u64)> {
        let stats = self.envoy(workload, "stats?filter=otelmesh_");
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.strip_prefix("wasmcustom.otelmesh_")?.to_owned(), value.parse().ok()?))
        };
        stats.lines().filter_map(line).collect()
    }

    /// One of them.
    pub fn counter(&self, workload: &str, name: &str) -> u64 {
        self.counters(workload).into_iter().find(|(found, _)| found == name).map_or(0, |(_, value)| value)
    }

    /// Prints the subject's line: what was sent, received and lost.
    pub fn done(&self, line: &str) {
        println!("{:<12} {:>4} s  {line}", self.subject, self.begun.elapsed().as_secs());
    }

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

fn ask(from: &str, args: &[&str]) -> Answers {
    let (namespace, workload) = from.split_once('/').unwrap_or((SHOP, from));
    let mut exec = Command::new(go_tool("kubectl"));
    exec.args(["-n", namespace, "exec", &format!("deployment/{workload}"), "-c", "app", "--", "otelmesh-app", "get"]);
    let said: Value = serde_json::from_str(&run(exec.args(args))).expect("JSON");
    Answers {
        requests: said["requests"].as_u64().unwrap_or(0),
        statuses: said["statuses"].clone(),
        errors: said["errors"].clone(),
        last: said["last"].as_str().unwrap_or_default().to_owned(),
    }
}

/// A trace id that no other request has.
pub fn trace_id() -> String {
    let word = || RandomState::new().hash_one(Instant::now());
    format!("{:016x}{:016x}", word() | 1, word())
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
