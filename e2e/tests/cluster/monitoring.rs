//! What a real Prometheus makes of the chart's monitors, rules and dashboards: it finds every proxy and collector, every
//! panel shows something, and every alert fires for a fault that was really made, and ends with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use otelmesh_e2e::mesh::{FRONTEND, Mesh, SHOP, merge};
use otelmesh_e2e::prometheus::Prometheus;
use otelmesh_e2e::tools::{root, run};
use otelmesh_filter::stats::names;
use serde_json::{Value, json};

use crate::gateway;

/// Istio's standard metrics come from a filter that only Istio's own build of Envoy has; this mesh runs a stock one.
const NOT_IN_A_STOCK_ENVOY: &str = "istio_";
/// What two who ask one after the other are never told alike.
const RESTLESS: &str = "otelmesh_heartbeats";
/// How many alerts the chart has.
const ALERTS: usize = 11;
/// Where the pod with a sidecar is that comes late; Prometheus takes the namespace away with itself.
const NEWCOMER: &str = "monitoring";
/// What shows zero here, and rightly: what waits is gone when all is well again, no collector refuses for good, data points
/// are few, no record is too large, and until the panels were looked at nothing stopped and nothing panicked.
const ZERO: [&str; 9] = [
    "_waiting",
    "_queue_size",
    "export_failed",
    "exports_failed",
    "_rejected",
    "data_points_dropped",
    "_too_large",
    "_dropped_shutdown",
    "otelmesh_panics",
];

#[test]
fn monitors_find_everything_panels_show_something_and_alerts_fire_and_end() {
    let mut mesh = Mesh::enter("monitoring");
    // A gateway that serves nobody has a listener in ambient mode, and seems to miss the filter.
    mesh.lend(&gateway::front());
    // What proxies counted before is another story, and some alerts would tell it.
    mesh.renew_proxies();
    let mut prometheus = Prometheus::start(&mesh);
    mesh.install(&values());
    let series = assert_scraped(&mesh, &prometheus);
    assert_silent(&mesh, &prometheus);
    prometheus.shorten_rules(&mesh);

    malformed(&mesh);

    let load = mesh.load("client", FRONTEND);
    let fault = Fault::begin("the backend is away");
    mesh.stop_receiver();
    let alerts = [
        ("OtelmeshCollectorQueueBacklog", "otelmesh"),
        ("OtelmeshCollectorHighErrorRate", "otelmesh"),
        ("OtelmeshCollectorExportFailing", "otelmesh"),
        ("OtelmeshFilterDropping", SHOP),
    ];
    let fault = fault.fires(&mesh, &prometheus, &alerts);
    mesh.restart_receiver();
    let mut alerts = fault.end(&mesh, &prometheus);

    let fault = Fault::begin("no collector runs");
    scale(&mesh, 0);
    let set_off = [("OtelmeshCollectorDown", "otelmesh"), ("OtelmeshFilterExportFailing", SHOP)];
    let fault = fault.fires(&mesh, &prometheus, &set_off);
    scale(&mesh, 1);
    alerts += fault.end(&mesh, &prometheus);

    let fault = Fault::begin("a new pod has a configuration that the filter refuses");
    configure(&mesh, &json!({"sampling": {"ratio": "often"}}));
    mesh.apply(&newcomer());
    let fault = fault.fires(&mesh, &prometheus, &[("OtelmeshFilterConfigRejected", NEWCOMER)]);
    install(&mesh, &json!({}));
    alerts += fault.end(&mesh, &prometheus);

    let memory = mebibytes(&prometheus);
    let fault = Fault::begin("a new pod has an image that is not there, and collectors little memory");
    let nowhere = format!("sha256:{}", "0".repeat(64));
    install(&mesh, &json!({"filter": {"image": {"digest": nowhere}}, "collector": {"gateway": {"memory": memory}}}));
    mesh.kubectl(&["-n", NEWCOMER, "rollout", "restart", "deployment/newcomer"]);
    prometheus.shorten_rules(&mesh);
    let set_off = [("OtelmeshFilterNotLoaded", NEWCOMER), ("OtelmeshCollectorHighMemory", "otelmesh")];
    let fault = fault.fires(&mesh, &prometheus, &set_off);
    install(&mesh, &json!({}));
    prometheus.shorten_rules(&mesh);
    alerts += fault.end(&mesh, &prometheus);
    let answers = load.end();
    assert_eq!(answers.bad(), 0, "a request fails with its telemetry: {answers:?}");

    let panels = assert_panels(&mesh, &prometheus);
    let digest = mesh.push_module(&root().join("target/otelmesh-trap-guarded.wasm"), "trap");
    install(&mesh, &json!({"filter": {"image": {"digest": digest}}}));
    let fault = Fault::begin("the filter traps");
    mesh.wait_until("the filter traps", || {
        mesh.requests("client", &["-H", "x-otelmesh-trap: overflow", FRONTEND]).bad() > 0
    });
    let fault = fault.fires(&mesh, &prometheus, &[("OtelmeshFilterWorkerStopped", SHOP)]);
    mesh.renew_proxies();
    alerts += fault.end(&mesh, &prometheus);

    let fault = Fault::begin("the filter panics");
    mesh.wait_until("the filter panics", || {
        mesh.requests("client", &["-H", "x-otelmesh-trap: request", FRONTEND]);
        mesh.counter("client", "panics") > 0
    });
    let fault = fault.fires(&mesh, &prometheus, &[("OtelmeshFilterPanicked", SHOP)]);
    install(&mesh, &json!({}));
    mesh.renew_proxies();
    alerts += fault.end(&mesh, &prometheus);
    mesh.done(&format!(
        "{series} series of the filter's, {panels} panel queries, {alerts} alerts; {} requests, 0 failed",
        answers.requests
    ));
}

fn values() -> Value {
    json!({
        "monitoring": {"monitors": true, "rules": true, "dashboards": true, "interval": "1s"},
        // Small queues and few attempts, so that what takes minutes elsewhere takes seconds here.
        "filter": {"config": {
            "batch": {
                "scheduleDelay": "200ms", "maxExportBatchSize": 40, "maxExportBatchBytes": 32768, "maxQueueBytes": 65536,
            },
            "metrics": {"interval": "5s"},
        }},
        "collector": {"exporters": {"test": {"config": {
            "retry_on_failure": {"initial_interval": "500ms", "max_interval": "1s", "max_elapsed_time": "3s"},
            "sending_queue": {
                "queue_size": 800, "num_consumers": 1,
                "batch": {"min_size": 10, "max_size": 10, "flush_timeout": "200ms"},
            },
        }}}},
    })
}

/// What a fault sets off, and when.
struct Fault {
    what: &'static str,
    begun: Instant,
    fired: BTreeMap<(&'static str, &'static str), Duration>,
}

impl Fault {
    fn begin(what: &'static str) -> Self {
        Self { what, begun: Instant::now(), fired: BTreeMap::new() }
    }

    /// Waits until each of these alerts fires, about that namespace.
    fn fires(mut self, mesh: &Mesh, prometheus: &Prometheus, alerts: &[(&'static str, &'static str)]) -> Self {
        let fired = RefCell::new(BTreeMap::new());
        prometheus.until(mesh, &format!("{}: {alerts:?} fire", self.what), || {
            let firing = prometheus.firing();
            for alert in
                alerts.iter().filter(|(name, about)| firing.contains(&((*name).to_owned(), (*about).to_owned())))
            {
                fired.borrow_mut().entry(*alert).or_insert_with(|| self.begun.elapsed());
            }
            fired.borrow().len() == alerts.len()
        });
        self.fired = fired.into_inner();
        self
    }

    /// Waits until no alert at all fires or is about to, once the fault is mended, and says when each one ended.
    fn end(self, mesh: &Mesh, prometheus: &Prometheus) -> usize {
        let mended = Instant::now();
        let ended = RefCell::new(BTreeMap::new());
        prometheus.until(mesh, &format!("nothing fires when this is over: {}", self.what), || {
            let firing = prometheus.firing();
            for (alert, _) in self.fired.keys().filter(|(alert, _)| !firing.iter().any(|(name, _)| name == alert)) {
                ended.borrow_mut().entry(*alert).or_insert_with(|| mended.elapsed());
            }
            prometheus.inactive() == ALERTS
        });
        for ((alert, _), fired) in &self.fired {
            let ended = ended.borrow()[alert].as_secs();
            println!(
                "  {alert:<30} fires after {:>2} s, ends {ended:>2} s after it is mended: {}",
                fired.as_secs(),
                self.what
            );
        }
        self.fired.len()
    }
}

/// Installs over what the test itself has changed.
fn install(mesh: &Mesh, over: &Value) {
    let mut values = values();
    merge(&mut values, over);
    run(mesh.otelmesh(&["install", "--yes", "--force-conflicts", "--timeout", "60s", "-f"]).arg(mesh.values(&values)));
}

fn scale(mesh: &Mesh, replicas: u8) {
    let replicas = format!("--replicas={replicas}");
    mesh.kubectl(&["-n", "otelmesh", "scale", "deployment/otel-collector-gateway", &replicas]);
}

/// Past every check of the command.
fn configure(mesh: &Mesh, config: &Value) {
    let patch = json!({"spec": {"wasm": {"pluginConfig": config}}}).to_string();
    mesh.kubectl(&["-n", "istio-system", "patch", "trafficextension", "otelmesh", "--type=merge", "-p", &patch]);
}

/// A pod whose proxy has never known another configuration.
fn newcomer() -> Value {
    let labels = json!({"app": "newcomer", "sidecar.istio.io/inject": "true"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "newcomer", "namespace": NEWCOMER},
        "spec": {"selector": {"matchLabels": {"app": "newcomer"}}, "template": {"metadata": {"labels": labels}, "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "app", "image": "docker.io/otelmesh/app:1.0"}],
        }}},
    })
}

/// Headers that the filter does not understand, and a metric for the collector.
fn malformed(mesh: &Mesh) {
    for headers in [
        ["traceparent: none", "b3: none"],
        ["traceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", "tracestate: none"],
        ["x-b3-traceid: none", "x-b3-spanid: none"],
    ] {
        mesh.requests("client", &["-H", headers[0], "-H", headers[1], FRONTEND]);
    }
    let metric = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "sold", "gauge": {"dataPoints": [{"asInt": "1", "timeUnixNano": "1"}]}},
    ]}]}]});
    let to = "http://otel-collector.otelmesh:4318/v1/metrics";
    for _ in 0..2 {
        let sent = mesh
            .requests("client", &["-X", "POST", "-H", "content-type: application/json", "-d", &metric.to_string(), to]);
        assert_eq!(sent.bad(), 0, "{sent:?}");
        thread::sleep(Duration::from_secs(2));
    }
}

/// What a collector holds, which is more than 85 % of what it then may.
fn mebibytes(prometheus: &Prometheus) -> u64 {
    let held = prometheus.query("max(otelcol_process_memory_rss_bytes) / 1048576");
    held.first().map_or(0, |sample| sample.value as u64)
}

/// Every counter of every proxy is there, and says what its Envoy says.
fn assert_scraped(mesh: &Mesh, prometheus: &Prometheus) -> usize {
    prometheus.until(mesh, "each target is up", || {
        prometheus.query("up == 1").len() == 5 && prometheus.query("up").len() == 5
    });
    let expected: BTreeSet<String> = names().map(str::to_owned).collect();
    let mut series = 0;
    for workload in ["client", "frontend", "backend"] {
        let query = format!("{{__name__=~\"otelmesh_.+\", namespace=\"{SHOP}\", pod=~\"{workload}-.+\"}}");
        prometheus.until(mesh, &format!("Prometheus knows what the Envoy of {workload} counts"), || {
            let told = |name: String, value: u64| (name.clone(), if name == RESTLESS { 0 } else { value });
            let counted = mesh.counters(workload).into_iter();
            let counted: BTreeMap<String, u64> =
                counted.map(|(name, value)| told(format!("otelmesh_{name}"), value)).collect();
            let scraped = prometheus.query(&query).into_iter();
            let scraped = scraped.map(|sample| {
                told(sample.labels["__name__"].as_str().unwrap_or_default().to_owned(), sample.value as u64)
            });
            counted == scraped.collect() && counted.into_keys().collect::<BTreeSet<_>>() == expected
        });
        series += expected.len();
    }
    series
}

/// The rules as the chart brings them are evaluated, and nothing is to be said of a mesh that is well.
fn assert_silent(mesh: &Mesh, prometheus: &Prometheus) {
    prometheus.until(mesh, "every rule is evaluated, and no alert is on its way", || {
        let rules = prometheus.rules();
        // A proxy that is younger than the rate looks back seems to beat too seldom, which is why that has to last.
        let young = rules
            .iter()
            .filter(|(_, rule)| rule["name"] == "OtelmeshFilterWorkerStopped" && rule["state"] == "pending");
        rules.iter().all(|(_, rule)| rule["health"] == "ok") && prometheus.inactive() + young.count() == ALERTS
    });
    prometheus.until(mesh, "what the autoscaler follows is there", || {
        prometheus.query("otelmesh_collector_accepted_spans_per_second").len() == 1
    });
}

/// Every query of every dashboard that is installed gives data.
fn assert_panels(mesh: &Mesh, prometheus: &Prometheus) -> usize {
    let maps = mesh.get(&["-n", "otelmesh", "configmaps", "-l", "grafana_dashboard=1"]);
    let mut queries = Vec::new();
    for text in
        maps["items"].as_array().into_iter().flatten().flat_map(|map| map["data"].as_object().into_iter().flatten())
    {
        let dashboard: Value = serde_json::from_str(text.1.as_str().expect("text")).expect("JSON");
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for target in list(&dashboard["panels"]).iter().flat_map(|panel| list(&panel["targets"])) {
            let query = target["expr"].as_str().expect("a query");
            // What Grafana puts in for all namespaces, and for a range that holds the whole test.
            queries.push(query.replace("$namespace", ".*").replace("$__rate_interval", "10m"));
        }
        for variable in list(&dashboard["templating"]["list"]) {
            let parts = variable["query"]
                .as_str()
                .and_then(|query| query.strip_prefix("label_values(")?.strip_suffix(')')?.split_once(", "));
            queries.extend(parts.map(|(metric, label)| format!("count by ({label}) ({metric})")));
        }
    }
    let (elsewhere, here): (Vec<_>, Vec<_>) =
        queries.into_iter().partition(|query| query.contains(NOT_IN_A_STOCK_ENVOY));
    assert!(here.len() > 35 && elsewhere.len() == 5, "{} and {} queries", here.len(), elsewhere.len());
    for query in &here {
        let found = prometheus.query(query);
        assert!(!found.is_empty() && found.iter().all(|sample| sample.value.is_finite()), "{query}: {found:?}");
        let zero = found.iter().all(|sample| sample.value == 0.0);
        let rightly = ZERO.iter().any(|part| query.contains(part));
        assert!(!zero || rightly, "{query}: {found:?}");
    }
    here.len()
}
