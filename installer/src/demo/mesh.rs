//! The demo's mesh on loopback.
//!
//! In: an Envoy binary, the filter's module, the receiver's address. Out: client → frontend's Envoy → frontend → the
//! same Envoy → backend's Envoy → backend → the same Envoy → rates, all running. Names, clusters and node metadata are
//! those of Istio's sidecars, so the filter finds its usual surroundings; rates has no sidecar, as a third party.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use otelmesh_filter::config::{Batch, Config, Exporter, Metrics, Millis};
use serde_json::{Value, json};

use crate::apps::{App, Arrival};
use crate::envoy::bootstrap::{Protocol, Traffic, WasmFilter, bootstrap, cluster, http_listener, route, wasm_filter};
use crate::envoy::{Envoy, Options};

/// What the client asks for.
pub(super) const ORDER_PATH: &str = "/order/7";
/// The one cluster that the filter needs.
const COLLECTOR: &str = "otel-collector";
/// Envoy's counter of connections to it that failed.
pub(super) const FAILED_CONNECTS: &str = "^cluster\\.otel-collector\\.upstream_cx_connect_fail$";
/// Counters are published when a batch is due; nobody wants to wait a second for them.
const SCHEDULE_DELAY: Millis = Millis(200);
/// As often as the filter exports metrics at all.
const METRICS_INTERVAL: Millis = Millis(1_000);

const INBOUND: &str = "virtualInbound";
const OUTBOUND: &str = "virtualOutbound";

/// Everything between the client and the collector.
#[derive(Debug)]
pub(super) struct Mesh {
    frontend: App,
    backend: App,
    rates: App,
    envoys: [Envoy; 2],
    entry: SocketAddr,
}

impl Mesh {
    pub(super) async fn start(envoy: &Path, wasm: &Path, collector: SocketAddr) -> Result<Self> {
        let rates = App::start("rates", |_| Vec::new()).await?;
        let backend = App::start("backend", backend_calls).await?;
        let frontend = App::start("frontend", frontend_calls).await?;

        let behind = sidecar(envoy, wasm, "backend", &backend, ("rates", rates.address()), collector).await?;
        let backend_entry = behind.listener(INBOUND).await?;
        let front = sidecar(envoy, wasm, "frontend", &frontend, ("backend", backend_entry), collector).await?;
        let entry = front.listener(INBOUND).await?;
        Ok(Self { frontend, backend, rates, envoys: [front, behind], entry })
    }

    /// Where a client calls the frontend.
    pub(super) fn entry(&self) -> SocketAddr {
        self.entry
    }

    pub(super) fn envoys(&self) -> &[Envoy] {
        &self.envoys
    }

    pub(super) fn check_running(&mut self) -> Result<()> {
        self.envoys.iter_mut().try_for_each(Envoy::check_running)
    }

    /// What the applications received, in the order of a request's way.
    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        [&self.frontend, &self.backend, &self.rates].into_iter().flat_map(App::arrivals).collect()
    }
}

fn frontend_calls(path: &str) -> Vec<(&'static str, String)> {
    match path.strip_prefix("/order/") {
        Some(id) => vec![("backend", format!("/stock/{id}")), ("backend", format!("/price/{id}"))],
        None => Vec::new(),
    }
}

fn backend_calls(path: &str) -> Vec<(&'static str, String)> {
    if path.starts_with("/price/") { vec![("rates", "/rates/EUR".to_owned())] } else { Vec::new() }
}

/// Starts a service's Envoy, and lets the service call through it.
async fn sidecar(
    envoy: &Path,
    wasm: &Path,
    service: &str,
    app: &App,
    (peer, peer_address): (&str, SocketAddr),
    collector: SocketAddr,
) -> Result<Envoy> {
    let config = plugin_config()?;
    let filter = wasm_filter(&WasmFilter {
        name: "otelmesh",
        root_id: "",
        module: wasm,
        config: &config,
        failure_policy: "FAIL_OPEN",
    });
    let (local, remote) = ("inbound|8080||", format!("outbound|80||{peer}.demo.svc.cluster.local"));
    let bootstrap = bootstrap(
        node(service),
        vec![
            http_listener(INBOUND, Traffic::Inbound, vec![filter.clone()], vec![route(&["*"], local)]),
            http_listener(OUTBOUND, Traffic::Outbound, vec![filter], vec![route(&[peer], &remote)]),
        ],
        vec![
            cluster(local, app.address(), Protocol::Http1),
            cluster(&remote, peer_address, Protocol::Http1),
            cluster(COLLECTOR, collector, Protocol::Http1),
        ],
    );
    let envoy = Envoy::start(envoy, service, &bootstrap, &Options::default()).await?;
    app.call_through(envoy.listener(OUTBOUND).await?);
    Ok(envoy)
}

fn plugin_config() -> Result<Value> {
    let config = Config {
        exporter: Exporter { cluster: COLLECTOR.to_owned(), ..Exporter::default() },
        batch: Batch { schedule_delay: SCHEDULE_DELAY, ..Batch::default() },
        metrics: Metrics { interval: METRICS_INTERVAL, ..Metrics::default() },
        ..Config::default()
    };
    config.check().context("the demo's own pluginConfig")?;
    Ok(serde_json::to_value(config)?)
}

/// What Istio's agent tells Envoy about the pod.
fn node(service: &str) -> Value {
    json!({
        "id": format!("sidecar~127.0.0.1~{service}-0.demo~demo.svc.cluster.local"),
        "cluster": service,
        "metadata": {
            "NAME": format!("{service}-0"),
            "NAMESPACE": "demo",
            "WORKLOAD_NAME": service,
            "OWNER": format!("kubernetes://apis/apps/v1/namespaces/demo/deployments/{service}"),
            "SERVICE_ACCOUNT": service,
            "INSTANCE_IPS": "127.0.0.1",
            "CLUSTER_ID": "loopback",
            "MESH_ID": "otelmesh-demo",
            "LABELS": {
                "app": service,
                "version": "v1",
                "service.istio.io/canonical-name": service,
                "service.istio.io/canonical-revision": "v1",
            },
        },
    })
}
