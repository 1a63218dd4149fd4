//! What is compared: one Envoy each, alike but for what watches its traffic. In: a [`Rung`] and a [`Setting`]. Out: its
//! Envoy, behind it an upstream that is everybody's and a receiver of its own.

use std::fs;
use std::path::{Path, PathBuf};

use otelmesh::envoy::bootstrap::{
    Protocol, Traffic, WasmFilter, bootstrap, cluster, http_listener, route, wasm_filter,
};
use otelmesh::envoy::{Envoy, Options};
use serde_json::{Value, json};

use crate::load::Client;
use crate::sink::Sink;
use crate::usage;

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Watcher {
    /// Nobody.
    Nobody,
    /// A Wasm filter with our callbacks that does nothing in them.
    Empty,
    /// One that asks of Envoy what ours has to ask, and does nothing with it: what no code of ours can make cheaper.
    Crossings {
        /// Of an exchange that leaves a span and a log, or of one that leaves nothing.
        recorded: bool,
    },
    /// Envoy's OpenTelemetry tracer, and its OTLP access log.
    Native {
        /// Part of the requests that are traced.
        ratio: f64,
        /// Whether each request is logged.
        logs: bool,
    },
    /// The filter.
    Otelmesh {
        /// Part of the requests that are traced.
        ratio: f64,
        /// Whether each request is logged.
        logs: bool,
        /// Whether each request is measured.
        metrics: bool,
    },
}

/// What holds for all rungs of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// In tables.
    pub name: &'static str,
    /// Between client, proxy and upstream.
    pub protocol: Protocol,
    /// Worker threads of the proxy.
    pub workers: u32,
    /// Further headers of each request.
    pub headers: usize,
}

/// A proxy under measurement.
pub struct Rung {
    /// Who watches.
    pub watcher: Watcher,
    /// Its way in.
    pub client: Client,
    envoy: Envoy,
    sink: Sink,
}

const COLLECTOR: &str = "otel-collector";

/// Everything that is compared.
pub const WATCHERS: [Watcher; 15] = {
    const fn native(ratio: f64, logs: bool) -> Watcher {
        Watcher::Native { ratio, logs }
    }
    const fn otelmesh(ratio: f64, logs: bool, metrics: bool) -> Watcher {
        Watcher::Otelmesh { ratio, logs, metrics }
    }
    [
        Watcher::Nobody,
        Watcher::Empty,
        Watcher::Crossings { recorded: false },
        Watcher::Crossings { recorded: true },
        native(0.0, false),
        native(0.1, false),
        native(1.0, false),
        native(0.1, true),
        native(1.0, true),
        otelmesh(0.0, false, false),
        otelmesh(0.1, false, false),
        otelmesh(1.0, false, false),
        otelmesh(0.1, true, false),
        otelmesh(1.0, true, false),
        otelmesh(1.0, true, true),
    ]
};

/// The settings of a whole run.
pub const SETTINGS: [Setting; 4] = [
    Setting { name: "HTTP/1.1, 1 worker", protocol: Protocol::Http1, workers: 1, headers: 0 },
    Setting { name: "HTTP/2, 1 worker", protocol: Protocol::Http2, workers: 1, headers: 0 },
    Setting { name: "HTTP/1.1, 2 workers", protocol: Protocol::Http1, workers: 2, headers: 0 },
    Setting { name: "HTTP/1.1, 1 worker, 24 more headers", protocol: Protocol::Http1, workers: 1, headers: 24 },
];

// === impl Watcher ===

impl Watcher {
    /// In tables.
    pub fn name(self) -> String {
        let percent = |ratio: f64| format!("{:.0} %", ratio * 100.0);
        match self {
            Self::Nobody => "no filter".to_owned(),
            Self::Empty => "empty filter".to_owned(),
            Self::Crossings { recorded: false } => "crossings of 0 % of spans".to_owned(),
            Self::Crossings { recorded: true } => "crossings of 100 % of spans, logs".to_owned(),
            Self::Native { ratio, logs: false } => format!("native, {} of spans", percent(ratio)),
            Self::Native { ratio, logs: true } => format!("native, {} of spans, logs", percent(ratio)),
            Self::Otelmesh { ratio, logs, metrics } => {
                let logs = if logs { ", logs" } else { "" };
                let metrics = if metrics { ", metrics" } else { "" };
                format!("otelmesh, {} of spans{logs}{metrics}", percent(ratio))
            }
        }
    }

    /// Changes a listener's connection manager.
    fn watch(self, manager: &mut Value, modules: &Modules) {
        let filter = |module: &Path, config: &Value| {
            let filter = WasmFilter { name: "otelmesh", root_id: "", module, config, failure_policy: "FAIL_OPEN" };
            wasm_filter(&filter)
        };
        let mut insert = |filter| {
            let filters = manager["http_filters"].as_array_mut().expect("a listener of ours");
            filters.insert(0, filter);
        };
        match self {
            Self::Nobody => {}
            Self::Empty => insert(filter(&modules.empty, &json!({}))),
            Self::Crossings { recorded } => insert(filter(&modules.crossings[usize::from(recorded)], &json!({}))),
            Self::Otelmesh { ratio, logs, metrics } => {
                let config = json!({
                    "exporter": {"cluster": COLLECTOR},
                    "sampling": {"ratio": ratio},
                    "logs": {"enabled": logs},
                    "metrics": {"enabled": metrics},
                });
                insert(filter(&modules.otelmesh, &config));
            }
            Self::Native { ratio, logs } => {
                manager["tracing"] = tracing(ratio);
                if logs {
                    manager["access_log"] = json!([access_log()]);
                }
            }
        }
    }
}

/// As Istio's extension providers configure it: over gRPC, and by Envoy's defaults otherwise.
fn tracing(ratio: f64) -> Value {
    json!({
        "random_sampling": {"value": ratio * 100.0},
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "service_name": "orders.shop",
            "grpc_service": {"envoy_grpc": {"cluster_name": COLLECTOR}},
        }},
    })
}

/// An access log of twelve attributes, about as many as the filter's.
fn access_log() -> Value {
    let attributes = [
        ("http.request.method", "%REQ(:METHOD)%"),
        ("url.path", "%REQ(:PATH)%"),
        ("url.scheme", "%REQ(:SCHEME)%"),
        ("server.address", "%REQ(:AUTHORITY)%"),
        ("user_agent.original", "%REQ(USER-AGENT)%"),
        ("http.response.status_code", "%RESPONSE_CODE%"),
        ("network.protocol.name", "%PROTOCOL%"),
        ("client.address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
        ("envoy.response_flags", "%RESPONSE_FLAGS%"),
        ("http.request.body.size", "%BYTES_RECEIVED%"),
        ("http.response.body.size", "%BYTES_SENT%"),
        ("duration", "%DURATION%"),
    ];
    let text = |value: &str| json!({"string_value": value});
    let values = attributes.map(|(key, value)| json!({"key": key, "value": text(value)}));
    json!({"name": "envoy.access_loggers.open_telemetry", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "common_config": {
            "log_name": "otel", "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": COLLECTOR}},
        },
        "body": text("%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%"),
        "attributes": {"values": values},
    }})
}

/// The modules that filters are made of.
pub struct Modules {
    /// What `make wasm` builds.
    pub otelmesh: PathBuf,
    /// See [`Watcher::Empty`].
    pub empty: PathBuf,
    /// See [`Watcher::Crossings`]: of what is not recorded, and of what is.
    pub crossings: [PathBuf; 2],
}

/// What the filter asks of Envoy, inbound, for an exchange that it records; asked in this order.
pub const PROPERTIES: [&str; 7] = [
    "xds\\00listener_direction",
    "response\\00code",
    "response\\00flags",
    "request\\00protocol",
    "response\\00size",
    "source\\00address",
    "connection\\00uri_san_peer_certificate",
];
/// Where what Envoy answers goes, and the module's memory behind it.
const ANSWERS: u32 = 4096;

/// A module with the filter's callbacks, which run instructions.
fn module(on_request_headers: &str, on_log: &str, data: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
    (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    {data}
    (func (export "_initialize"))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const {ANSWERS})
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
    (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {on_request_headers} i32.const 0)
    (func (export "proxy_on_log") (param i32) {on_log})
    (func (export "proxy_on_done") (param i32) (result i32) i32.const 1))"#
    );
    wat::parse_str(text).expect("a module")
}

/// See [`Watcher::Crossings`].
fn crossings(recorded: bool) -> Vec<u8> {
    let header = "traceparent00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
    let mut data = format!(r#"(data (i32.const 64) "{header}")"#);
    let now = "(drop (call $now (i32.const 8)))";
    let name = "traceparent".len();
    let write = format!(
        "(drop (call $headers (i32.const 0) (i32.const 0) (i32.const 4))) {now}
         (drop (call $replace (i32.const 0) (i32.const 64) (i32.const {name}) (i32.const {}) (i32.const {})))",
        64 + name,
        header.len() - name,
    );
    let mut ask = String::new();
    for (n, property) in PROPERTIES.iter().enumerate().filter(|_| recorded) {
        let at = 256 + 64 * n;
        data += &format!(r#"(data (i32.const {at}) "{property}")"#);
        // A NUL is one byte and not three.
        let len = property.len() - 2;
        ask += &format!("(drop (call $property (i32.const {at}) (i32.const {len}) (i32.const 0) (i32.const 4)))");
    }
    if recorded {
        ask += now;
    }
    module(&write, &ask, &data)
}

// === impl Modules ===

impl Modules {
    /// The filter, wherever it is found, and modules to compare it with in `folder`.
    ///
    /// # Panics
    /// There is no filter, or the folder cannot be written.
    pub fn find(folder: &Path) -> Self {
        let otelmesh = otelmesh::wasm::find(None).unwrap_or_else(|error| panic!("{error:#}"));
        let otelmesh = fs::canonicalize(otelmesh).expect("it was found");
        let write = |name: &str, module: Vec<u8>| {
            let path = folder.join(name);
            fs::write(&path, module).expect("the directory can be written");
            path
        };
        Self {
            otelmesh,
            empty: write("empty.wasm", module("", "", "")),
            crossings: [false, true].map(|recorded| write(&format!("crossings-{recorded}.wasm"), crossings(recorded))),
        }
    }
}

// === impl Rung ===

impl Rung {
    /// Starts an Envoy in front of `upstream`.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start(
        binary: &Path,
        watcher: Watcher,
        setting: Setting,
        upstream: std::net::SocketAddr,
        modules: &Modules,
    ) -> Self {
        let sink = Sink::start().await;
        let mut listener = http_listener("inbound", Traffic::Inbound, vec![], vec![route(&["*"], "inbound")]);
        let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config").expect("a listener of ours");
        watcher.watch(manager, modules);
        let is_native = matches!(watcher, Watcher::Native { .. });
        let exports = if is_native { Protocol::Http2 } else { Protocol::Http1 };
        let node = json!({"id": "sidecar~10.0.0.1~orders-0.shop~shop.svc.cluster.local", "cluster": "orders.shop",
            "metadata": {"NAME": "orders-0", "NAMESPACE": "shop", "WORKLOAD_NAME": "orders"}});
        let clusters =
            vec![cluster("inbound", upstream, setting.protocol), cluster(COLLECTOR, sink.address(), exports)];
        let bootstrap = bootstrap(node, vec![listener], clusters);
        let options = Options { concurrency: setting.workers, ..Options::default() };
        let envoy = Envoy::start(binary, "bench", &bootstrap, &options).await;
        let envoy = envoy.unwrap_or_else(|error| panic!("{}: {error:#}", watcher.name()));
        let to = envoy.listener("inbound").await.expect("it listens");
        let value = |n| format!("value {n} of an ordinary length");
        let headers = (0..setting.headers).map(|n| (format!("x-header-{n}"), value(n))).collect();
        Self { watcher, client: Client::connect(to, setting.protocol, headers).await, envoy, sink }
    }

    /// CPU time so far, in microseconds.
    pub fn cpu(&self) -> f64 {
        usage::cpu(self.pid()).as_secs_f64() * 1e6
    }

    /// Resident memory now, in bytes.
    pub fn resident(&self) -> u64 {
        usage::resident(self.pid())
    }

    /// Bytes exported so far.
    pub fn exported(&self) -> u64 {
        self.sink.bytes()
    }

    /// The process.
    ///
    /// # Panics
    /// It has ended.
    pub fn pid(&self) -> u32 {
        self.envoy.pid().expect("it runs")
    }

    /// Asserts that the filter worked: it counts nothing lost, and is there in the end.
    ///
    /// # Panics
    /// It did not.
    pub async fn check(&self) {
        let stats = self.envoy.stats(r"^wasmcustom\.otelmesh_|http.inbound.downstream_rq_completed").await;
        let stats = stats.expect("the admin interface answers");
        let get = |name: &str| stats.get(name).copied().unwrap_or(0);
        if let Watcher::Otelmesh { ratio, logs, .. } = self.watcher {
            let all = get("http.inbound.downstream_rq_completed");
            let seen = get("wasmcustom.otelmesh_traces_started");
            // What the last tick did not publish yet.
            assert!(seen > all / 2, "{}: {seen} of {all} requests seen", self.watcher.name());
            let lost = stats.iter().filter(|(name, _)| name.contains("_dropped_") || name.contains("panics"));
            assert_eq!(lost.map(|(_, count)| count).sum::<i64>(), 0, "{stats:?}");
            assert_eq!(ratio > 0.0 || logs, self.exported() > 0, "{}", self.watcher.name());
        }
    }
}
