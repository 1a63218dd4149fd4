//! What happens around the exporter: clusters, names, configurations and Envoys that come and go while it works.
//!
//! In: a [`Change`], who exports and how. Out: an [`super::Outcome`], of which the filter's is checked. Everything is
//! configured as in a mesh: listeners, clusters and the filter reach Envoy by xDS, from files that are replaced.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use otelmesh::envoy::bootstrap::{Protocol, bootstrap};
use otelmesh::envoy::bootstrap::{Traffic, WasmFilter, cluster, http_listener, route, socket_address, wasm_filter};
use otelmesh::envoy::{Envoy, Options};
use otelmesh::server::Port;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::{NOUNS, Outcome, Subject, Wire, fortune, native, requests};
use crate::names::Names;
use crate::proxy::{Books, COLLECTOR, assert_alive};
use crate::scripted::Scripted;
use crate::upstream::Upstream;

/// Requests in a change.
const REQUESTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(20);
/// Twice what a record waits.
const MOMENT: Duration = Duration::from_millis(800);

/// Something that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The receiver is killed under the load of four workers, and restarted.
    KilledFourWorkers,
    /// The cluster is not there at first.
    ClusterMissing,
    /// The cluster is replaced again and again.
    ClusterUpdated,
    /// The receiver's name does not resolve for a while.
    NameGone,
    /// The filter's configuration is replaced again and again.
    ConfigurationUpdated,
    /// The listeners are drained, then Envoy is stopped, as Istio stops a proxy.
    Drained,
    /// Envoy is stopped without a drain.
    Stopped,
    /// Another Envoy takes over.
    HotRestart,
}

/// One Envoy's configuration, in files.
struct Stage {
    subject: Subject,
    wire: Wire,
    directory: TempDir,
    upstream: SocketAddr,
    collector: Value,
    /// A fixed port, which an Envoy that takes over needs.
    port: Port,
}

// === impl Change ===

impl Change {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::KilledFourWorkers,
        Self::ClusterMissing,
        Self::ClusterUpdated,
        Self::NameGone,
        Self::ConfigurationUpdated,
        Self::Drained,
        Self::Stopped,
        Self::HotRestart,
    ];

    /// In a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KilledFourWorkers => "killed under four workers' load",
            Self::ClusterMissing => "cluster missing, then there",
            Self::ClusterUpdated => "cluster updated five times",
            Self::NameGone => "name gone from DNS for a while",
            Self::ConfigurationUpdated => "configuration updated five times",
            Self::Drained => "Envoy drained, then stopped",
            Self::Stopped => "Envoy stopped without a drain",
            Self::HotRestart => "Envoy hot-restarted",
        }
    }

    /// Lets it happen.
    ///
    /// # Panics
    /// A request failed, or the filter's records are neither with the receiver nor accounted for.
    pub async fn run(self, subject: Subject, wire: Wire) -> Outcome {
        let (upstream, mut receiver) = (Upstream::start().await, Scripted::start().await);
        let stage = Stage::new(subject, wire, &upstream, &receiver);
        let names = Names::start().await;
        let mut options = Options::default();
        match self {
            Self::KilledFourWorkers => options.concurrency = 4,
            Self::ClusterMissing => stage.clusters(false, 1000),
            Self::NameGone => stage.write("clusters", vec![stage.inbound(), stage.named(&names, receiver.address())]),
            Self::HotRestart => {
                options.hot_restart = true;
                options.args = stage.epoch(0);
            }
            _ => {}
        }
        let envoy = stage.start(&options).await;
        let to = envoy.listener("inbound").await.expect("the listener is there");
        let load = tokio::spawn(requests(to, 0..REQUESTS, PAUSE));
        let mut last = Some(envoy);
        let mut books = None;
        match self {
            Self::KilledFourWorkers => {
                sleep(MOMENT / 2).await;
                receiver.stop().await;
                sleep(MOMENT).await;
                receiver.restart();
            }
            Self::ClusterMissing => {
                sleep(MOMENT).await;
                stage.clusters(true, 1000);
            }
            Self::ClusterUpdated | Self::ConfigurationUpdated => {
                for n in 1..=5 {
                    sleep(MOMENT / 4).await;
                    match self {
                        Self::ClusterUpdated => stage.clusters(true, 1000 + n),
                        _ => stage.configure(200 + n),
                    }
                }
            }
            Self::NameGone => {
                sleep(MOMENT / 2).await;
                names.resolve(false);
                sleep(MOMENT).await;
                names.resolve(true);
            }
            Self::HotRestart => {
                sleep(MOMENT / 2).await;
                options.args = stage.epoch(1);
                let heir = stage.start(&options).await;
                // The older one ends by itself once it has drained.
                sleep(Duration::from_secs(4)).await;
                last = Some(heir);
            }
            Self::Drained | Self::Stopped => {}
        }
        let failed = load.await.expect("the load does not panic");
        if let (Self::Drained | Self::Stopped, Some(envoy)) = (self, last.take_if(|_| self.ends())) {
            if self == Self::Drained {
                envoy.admin_post("/drain_listeners?graceful").await.expect("it drains");
                sleep(MOMENT).await;
                books = Some(Books::of(&envoy).await).filter(|books| !books.is_empty());
            }
            envoy.stop().await.expect("it stops");
            sleep(PAUSE).await;
        }
        match &last {
            // Envoy hands over its counters now and then, and the rest of them dies with it: the receiver alone can tell.
            Some(heir) if self == Self::HotRestart => assert_alive(heir).await,
            Some(envoy) => books = settled(subject, envoy).await,
            None => {}
        }
        let fortunes = NOUNS.map(|noun| fortune(&receiver, noun, REQUESTS, None, books.as_ref()));
        let outcome = Outcome { sent: REQUESTS, failed, fortunes };
        assert_eq!(failed, 0, "{}: {outcome:?}", self.name());
        if subject == Subject::Filter && self != Self::Stopped {
            for fortune in &outcome.fortunes {
                let what = format!("{} over {}: {outcome:?}", self.name(), wire.name());
                assert_eq!((fortune.received, fortune.dropped.len()), (REQUESTS, 0), "{what}");
            }
        }
        outcome
    }

    fn ends(self) -> bool {
        matches!(self, Self::Drained | Self::Stopped)
    }
}

/// Waits until nothing waits, where that can be seen.
async fn settled(subject: Subject, envoy: &Envoy) -> Option<Books> {
    if subject == Subject::Native {
        sleep(Duration::from_millis(2500)).await;
        return None;
    }
    let all = |books: &Books, noun: &str| {
        books.recorded(noun) == REQUESTS as i64 && books.get(&format!("{noun}_waiting")) == 0
    };
    let settled = |books: &Books| !books.is_empty() && NOUNS.iter().all(|noun| all(books, noun));
    let books = Books::until(envoy, "all records are recorded and none waits", settled).await;
    assert_alive(envoy).await;
    Some(books)
}

// === impl Stage ===

impl Stage {
    fn new(subject: Subject, wire: Wire, upstream: &Upstream, receiver: &Scripted) -> Self {
        let stage = Self {
            subject,
            wire,
            directory: tempfile::tempdir().expect("a directory can be made"),
            upstream: upstream.address(),
            collector: cluster(COLLECTOR, receiver.address(), wire.speaks()),
            port: Port::reserve(Ipv4Addr::LOCALHOST).expect("a free port on loopback"),
        };
        stage.clusters(true, 1000);
        stage.configure(200);
        let mut listener = match subject {
            Subject::Native => native::listener(wire),
            Subject::Filter => {
                let discovery = json!({"name": "otelmesh", "config_discovery": {
                    "config_source": stage.source("filters"),
                    "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
                }});
                http_listener("inbound", Traffic::Inbound, vec![discovery], vec![route(&["*"], "inbound")])
            }
        };
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        listener["address"] = socket_address(stage.port.address());
        stage.write("listeners", vec![listener]);
        stage
    }

    async fn start(&self, options: &Options) -> Envoy {
        let node = json!({"id": "test", "cluster": "test"});
        let mut bootstrap = bootstrap(node, vec![], vec![]);
        bootstrap["dynamic_resources"] =
            json!({"lds_config": self.source("listeners"), "cds_config": self.source("clusters")});
        if self.subject == Subject::Native {
            native::flush_often(&mut bootstrap);
        }
        let binary = crate::envoy();
        let envoy = Envoy::start(&binary, "test", &bootstrap, options).await;
        envoy.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The arguments of one Envoy in a row of them.
    fn epoch(&self, n: u32) -> Vec<String> {
        // Envoys of other tests have other ports.
        let id = self.port.address().port().to_string();
        ["--base-id", &id, "--restart-epoch", &n.to_string(), "--drain-time-s", "1", "--parent-shutdown-time-s", "3"]
            .map(str::to_owned)
            .to_vec()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.json"))
    }

    fn source(&self, name: &str) -> Value {
        json!({"path_config_source": {"path": self.path(name)}, "resource_api_version": "V3"})
    }

    /// Replaces a file; Envoy looks at it again when another one is moved over it.
    fn write(&self, name: &str, resources: Vec<Value>) {
        let next = self.directory.path().join("next");
        fs::write(&next, json!({"resources": resources}).to_string()).expect("the directory can be written");
        fs::rename(next, self.path(name)).expect("the directory can be written");
    }

    fn inbound(&self) -> Value {
        typed(cluster("inbound", self.upstream, Protocol::Http1))
    }

    fn clusters(&self, with_collector: bool, connect_timeout_ms: u32) {
        let mut collector = typed(self.collector.clone());
        collector["connect_timeout"] = json!(format!("{}s", f64::from(connect_timeout_ms) / 1000.0));
        self.write("clusters", [self.inbound()].into_iter().chain(with_collector.then_some(collector)).collect());
    }

    /// The collector by a name that `names` resolves.
    fn named(&self, names: &Names, address: SocketAddr) -> Value {
        let mut collector = typed(self.collector.clone());
        collector["type"] = json!("STRICT_DNS");
        collector["dns_lookup_family"] = json!("V4_ONLY");
        collector["dns_refresh_rate"] = json!("0.1s");
        collector["dns_failure_refresh_rate"] = json!({"base_interval": "0.1s", "max_interval": "0.2s"});
        collector["typed_dns_resolver_config"] = json!({
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {
                    "address": names.address().ip().to_string(), "port_value": names.address().port(),
                }}],
                "dns_resolver_options": {"no_default_search_domain": true},
            },
        });
        let endpoint = collector.pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address");
        *endpoint.expect("a cluster of ours") =
            json!({"socket_address": {"address": "collector.test", "port_value": address.port()}});
        collector
    }

    fn configure(&self, schedule_delay_ms: u32) {
        if self.subject == Subject::Native {
            return;
        }
        let config = json!({
            "exporter": {"cluster": COLLECTOR, "protocol": self.wire.name(), "timeout": "500ms"},
            "batch": {"scheduleDelay": format!("{schedule_delay_ms}ms")},
        });
        let module = crate::wasm();
        let mut filter = wasm_filter(&WasmFilter {
            name: "otelmesh",
            root_id: "",
            module: &module,
            config: &config,
            failure_policy: "FAIL_OPEN",
        });
        filter["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
        self.write("filters", vec![filter]);
    }
}

fn typed(mut cluster: Value) -> Value {
    cluster["@type"] = json!("type.googleapis.com/envoy.config.cluster.v3.Cluster");
    cluster
}
