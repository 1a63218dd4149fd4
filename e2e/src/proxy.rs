//! One Envoy with the filter, an inbound and an outbound listener, and an OTLP receiver: what most tests look at.
//!
//! In: a [`Setup`]. Out: a [`Proxy`] that can be sent requests, asked for its counters, and waited for until everything
//! it recorded is accounted for. Fails loudly, with the numbers, when that does not come about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use otelmesh::envoy::bootstrap::{
    Protocol, Traffic, WasmFilter, bootstrap, cluster, http_listener, route, wasm_filter,
};
use otelmesh::envoy::{Envoy, Options};
use otelmesh::receiver::Receiver;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The cluster that the receiver stands behind.
pub const COLLECTOR: &str = "otel-collector";
/// Longer than any backoff that a test provokes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a [`Proxy`] is made.
pub struct Setup {
    /// pluginConfig; the collector's cluster and a short schedule delay are filled in where it does not name them.
    pub config: Value,
    /// Worker threads.
    pub concurrency: u32,
    /// Where the inbound listener sends requests.
    pub inbound: SocketAddr,
    /// Where the outbound listener sends requests.
    pub outbound: SocketAddr,
    /// What both of them speak.
    pub protocol: Protocol,
    /// Where exports go instead of to the receiver.
    pub collector: Option<SocketAddr>,
    /// The module, where it is not the one that `make wasm` builds.
    pub module: Option<PathBuf>,
    /// Last changes to the bootstrap.
    pub edit: Box<dyn FnOnce(&mut Value)>,
    /// Further arguments of Envoy.
    pub args: Vec<String>,
    /// Whether the receiver is there from the start.
    pub receiver_is_up: bool,
}

/// A running proxy.
pub struct Proxy {
    /// The Envoy.
    pub envoy: Envoy,
    /// The receiver.
    pub receiver: Receiver,
    /// Where the inbound listener listens.
    pub inbound: SocketAddr,
    /// Where the outbound listener listens.
    pub outbound: SocketAddr,
}

/// The filter's counters without their prefix.
#[derive(Debug, Clone)]
pub struct Books(BTreeMap<String, i64>);

// === impl Setup ===

impl Setup {
    /// One worker, both listeners in front of `upstream`, the defaults of everything else.
    pub fn new(upstream: SocketAddr) -> Self {
        Self {
            config: json!({}),
            concurrency: 1,
            inbound: upstream,
            outbound: upstream,
            protocol: Protocol::Http1,
            collector: None,
            module: None,
            edit: Box::new(|_| {}),
            args: Vec::new(),
            receiver_is_up: true,
        }
    }

    /// Starts the receiver and Envoy.
    ///
    /// # Panics
    /// One of them does not start.
    pub async fn start(self) -> Proxy {
        let mut receiver = Receiver::start(None).await.unwrap();
        if !self.receiver_is_up {
            receiver.stop().await;
        }
        let mut config = self.config;
        for (key, name, value) in [("exporter", "cluster", COLLECTOR), ("batch", "scheduleDelay", "200ms")] {
            if config.is_object() && config[key][name].is_null() {
                config[key][name] = json!(value);
            }
        }
        let (collector, speaks) = if config["exporter"]["protocol"] == "grpc" {
            (receiver.grpc(), Protocol::Http2)
        } else {
            (receiver.http(), Protocol::Http1)
        };
        let module = self.module.unwrap_or_else(crate::wasm);
        let filter = wasm_filter(&WasmFilter {
            name: "otelmesh",
            root_id: "",
            module: &module,
            config: &config,
            failure_policy: "FAIL_OPEN",
        });
        let node = json!({"id": "test", "cluster": "test", "metadata": {"NAME": "test-0", "NAMESPACE": "e2e"}});
        let mut bootstrap = bootstrap(
            node,
            vec![
                http_listener("inbound", Traffic::Inbound, vec![filter.clone()], vec![route(&["*"], "inbound")]),
                http_listener("outbound", Traffic::Outbound, vec![filter], vec![route(&["*"], "outbound")]),
            ],
            vec![
                cluster("inbound", self.inbound, self.protocol),
                cluster("outbound", self.outbound, self.protocol),
                cluster(COLLECTOR, self.collector.unwrap_or(collector), speaks),
            ],
        );
        (self.edit)(&mut bootstrap);
        let options = Options { concurrency: self.concurrency, args: self.args, ..Options::default() };
        let envoy = Envoy::start(&crate::envoy(), "test", &bootstrap, &options).await.unwrap();
        let (inbound, outbound) = (envoy.listener("inbound").await.unwrap(), envoy.listener("outbound").await.unwrap());
        Proxy { envoy, receiver, inbound, outbound }
    }
}

/// The HTTP connection manager of the inbound listener, to be edited.
///
/// # Panics
/// The bootstrap is not one of [`Setup`]'s.
pub fn inbound_manager(bootstrap: &mut Value) -> &mut Value {
    let manager = bootstrap.pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config");
    manager.expect("a bootstrap of Setup")
}

/// The default route of the inbound listener, to be edited.
///
/// # Panics
/// The bootstrap is not one of [`Setup`]'s.
pub fn inbound_route(bootstrap: &mut Value) -> &mut Value {
    let route = inbound_manager(bootstrap).pointer_mut("/route_config/virtual_hosts/0/routes/0");
    route.expect("a bootstrap of Setup")
}

// === impl Proxy ===

impl Proxy {
    /// The filter's counters now.
    ///
    /// # Panics
    /// Envoy does not answer.
    pub async fn books(&self) -> Books {
        Books::of(&self.envoy).await
    }

    /// Waits until the counters are as `condition` wants them.
    ///
    /// # Panics
    /// That does not come about.
    pub async fn until(&self, what: &str, condition: impl Fn(&Books) -> bool) -> Books {
        Books::until(&self.envoy, what, condition).await
    }

    /// Waits until so many spans and logs are recorded and all of them arrived, and returns the counters.
    ///
    /// # Panics
    /// That does not come about, or anything was dropped on the way.
    pub async fn settle(&self, spans: i64, logs: i64) -> Books {
        let what = format!("{spans} spans and {logs} logs");
        let books = self.until(&what, |b| b.exported("spans") == spans && b.exported("logs") == logs).await;
        books.assert_balanced();
        assert_eq!((books.recorded("spans"), books.recorded("logs")), (spans, logs), "{books:?}");
        let snapshot = self.receiver.snapshot();
        assert_eq!((snapshot.spans().len(), snapshot.logs().len()), (spans as usize, logs as usize));
        assert_eq!(books.get("host_errors"), 0, "{books:?}");
        books
    }

    /// [`assert_alive`].
    ///
    /// # Panics
    /// A worker lost its VM.
    pub async fn assert_alive(&self) {
        assert_alive(&self.envoy).await;
    }

    /// Asserts that no VM was lost, whatever else happened to the filter.
    ///
    /// # Panics
    /// One was.
    pub fn assert_not_trapped(&self) {
        let log = self.envoy.log();
        assert!(!log.contains("Function: proxy_on_") && !log.contains("wasm_fail_stream"), "{log}");
    }
}

/// Asserts that no worker lost its VM: Envoy would go on without the filter, silently.
///
/// # Panics
/// One did.
pub async fn assert_alive(envoy: &Envoy) {
    let log = envoy.log();
    for sign in ["Function: proxy_on_", "panicked at", "wasm_fail_stream", "Uncaught RuntimeError"] {
        assert!(!log.contains(sign), "{log}");
    }
    let failures = envoy.stats(r"^wasm\..*vm_reload_failure$|wasm\..*crash").await.unwrap();
    assert!(failures.values().all(|count| *count == 0), "{failures:?}");
}

// === impl Books ===

impl Books {
    /// The filter's counters now.
    ///
    /// # Panics
    /// Envoy does not answer.
    pub async fn of(envoy: &Envoy) -> Self {
        let stats = envoy.stats(r"^wasmcustom\.otelmesh_").await.unwrap();
        let short = |name: String| name.trim_start_matches("wasmcustom.otelmesh_").to_owned();
        Self(stats.into_iter().map(|(name, value)| (short(name), value)).collect())
    }

    /// Waits until the counters are as `condition` wants them.
    ///
    /// # Panics
    /// That does not come about.
    pub async fn until(envoy: &Envoy, what: &str, condition: impl Fn(&Self) -> bool) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let books = Self::of(envoy).await;
            if condition(&books) {
                return books;
            }
            assert!(Instant::now() < deadline, "{what}: {books:?}\n{}", envoy.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// One counter.
    ///
    /// # Panics
    /// The filter has no such counter, which a test must not take for zero.
    pub fn get(&self, name: &str) -> i64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no counter {name} in {:?}", self.0))
    }

    /// Whether the filter has counters at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records of one signal that entered the books.
    pub fn recorded(&self, noun: &str) -> i64 {
        self.0.get(&format!("{noun}_recorded")).copied().unwrap_or(0)
    }

    /// Records that a receiver took.
    pub fn exported(&self, noun: &str) -> i64 {
        self.0.get(&format!("{noun}_exported")).copied().unwrap_or(0)
    }

    /// Records dropped, for whatever reason.
    pub fn dropped(&self, noun: &str) -> i64 {
        let prefix = format!("{noun}_dropped_");
        self.0.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(_, count)| count).sum()
    }

    /// Whether recorded = exported + rejected + dropped + waiting for every signal.
    pub fn is_balanced(&self) -> bool {
        ["spans", "logs", "data_points"].iter().all(|noun| {
            let rest = self.get(&format!("{noun}_rejected")) + self.get(&format!("{noun}_waiting"));
            self.recorded(noun) == self.exported(noun) + self.dropped(noun) + rest
        })
    }

    /// # Panics
    /// [`Books::is_balanced`] does not hold.
    pub fn assert_balanced(&self) {
        assert!(self.is_balanced(), "recorded = exported + rejected + dropped + waiting does not hold: {self:?}");
    }
}
