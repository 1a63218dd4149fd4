//! What the proxies themselves say: whether they run the filter, and its counters.
//!
//! In: the pods with a proxy that the filter is for. Out: one [`Proxy`] a pod, from Envoy's admin interface, which only a
//! port-forward reaches. A proxy that does not answer is one of which nothing is known, not one that is well.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::release::Installed;

/// Envoy's admin interface in Istio's proxies.
const ADMIN_PORT: u16 = 15000;
/// The container with the proxy, beside the applications, or before them as a native sidecar.
const PROXY_CONTAINER: &str = "istio-proxy";
/// Readiness, and merged metrics: every proxy of Istio's listens there.
const AGENT_PORTS: [u64; 2] = [15021, 15090];
/// Prefix of the filter's counters in Envoy.
const COUNTERS: &str = "wasmcustom.otelmesh_";

/// Label of pods from whose sidecars the chart takes the filter away again: the collectors' own.
const TRACED: &str = "otelmesh.io/traced";
/// Label, and its value, of waypoints, which have the filter by reference alone.
const WAYPOINT: (&str, &str) = ("gateway.istio.io/managed", "istio.io-mesh-controller");

/// What one proxy says.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// Namespace and name of its pod.
    pub pod: String,
    /// What it runs in the filter's place, and the filter's counters; or why it did not say.
    pub said: Result<(Runs, BTreeMap<String, i64>), String>,
}

/// What a proxy runs in the filter's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// The filter.
    Filter,
    /// Istio's stand-in that lets everything through: the image could not be pulled.
    AllowAll,
    /// Istio's stand-in that lets nothing through: the image could not be pulled, and failStrategy is not FAIL_OPEN.
    DenyAll,
    /// Nothing by that name.
    Nothing,
    /// Nothing, and it has no listener either: a gateway that no Gateway resource names yet.
    NoListener,
}

/// Asks at most so many of the proxies that a release is for, and looks at nothing else.
///
/// # Errors
/// [`ClusterError`] if not even the pods could be listed.
pub(crate) async fn of(cluster: &Cluster, installed: &Installed, max: usize) -> Result<Vec<Proxy>, ClusterError> {
    let (objects, root) = super::applied(installed);
    look(cluster, &objects, &root, max).await
}

/// Asks at most so many.
pub(super) async fn look(
    cluster: &Cluster,
    objects: &[Value],
    root_namespace: &str,
    max: usize,
) -> Result<Vec<Proxy>, ClusterError> {
    let kind = cluster.kind_of(&serde_json::json!({"apiVersion": "v1", "kind": "Pod"})).await?;
    let mut proxies = Vec::new();
    for plugin in super::plugins(objects) {
        let namespace = plugin["metadata"]["namespace"].as_str().unwrap_or_default();
        let name = plugin["metadata"]["name"].as_str().unwrap_or_default();
        let scope = if namespace == root_namespace { "" } else { namespace };
        let labels = selector(plugin);
        let pods = cluster.list(&kind, scope, &labels).await?;
        for pod in pods.iter().filter(|pod| is_meant(pod, plugin)).take(max) {
            let (namespace, pod) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
            let said =
                ask(cluster, namespace, pod, &format!("{}.{name}", text(&plugin["metadata"]["namespace"]))).await;
            proxies.push(Proxy { pod: format!("{namespace}/{pod}"), said });
        }
    }
    Ok(proxies)
}

/// Which pods a plugin is for, as a label selector.
pub(crate) fn selector(plugin: &Value) -> String {
    let spec = &plugin["spec"];
    // Gateways and waypoints that Istio made for a Gateway carry its name, and its class.
    for (kind, label) in [("Gateway", "gateway-name"), ("GatewayClass", "gateway-class-name")] {
        let of_kind = spec["targetRefs"].as_array().into_iter().flatten().filter(|to| to["kind"] == kind);
        let names: Vec<&str> = of_kind.map(|to| text(&to["name"])).collect();
        if !names.is_empty() {
            return format!("gateway.networking.k8s.io/{label} in ({})", names.join(","));
        }
    }
    let labels = [&spec["selector"]["matchLabels"], &spec["workloadSelector"]["labels"]];
    let labels = labels.into_iter().filter_map(Value::as_object).flatten();
    labels.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(",")
}

/// Whether a pod that a plugin selects runs a proxy that should have the filter.
pub(crate) fn is_meant(pod: &Value, plugin: &Value) -> bool {
    let containers =
        ["containers", "initContainers"].map(|key| pod["spec"][key].as_array().cloned().unwrap_or_default());
    pod["status"]["phase"] == "Running"
        && pod["metadata"]["labels"][TRACED] != "false"
        && (plugin["spec"]["targetRefs"].is_array() || pod["metadata"]["labels"][WAYPOINT.0] != WAYPOINT.1)
        && containers.iter().flatten().any(|c| c["name"] == PROXY_CONTAINER)
}

async fn ask(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    filter: &str,
) -> Result<(Runs, BTreeMap<String, i64>), String> {
    let dump = admin(cluster, namespace, pod, "/config_dump?resource=ecds_filters").await?;
    let mut runs = runs(&dump, filter);
    if runs == Runs::Nothing && !listens(&admin(cluster, namespace, pod, "/listeners?format=json").await?) {
        runs = Runs::NoListener;
    }
    let stats = admin(cluster, namespace, pod, &format!("/stats?format=json&filter=^{COUNTERS}")).await?;
    Ok((runs, counters(&stats)))
}

/// Whether a proxy listens for more than its agent and Prometheus.
pub(crate) fn listens(listeners: &Value) -> bool {
    let port = |status: &Value| status["local_address"]["socket_address"]["port_value"].as_u64();
    let all = listeners["listener_statuses"].as_array().into_iter().flatten();
    all.filter_map(port).any(|port| !AGENT_PORTS.contains(&port))
}

/// What the dump of a proxy's dynamic filters has in the place of ours, `NAMESPACE.NAME`.
pub(crate) fn runs(dump: &Value, filter: &str) -> Runs {
    for config in dump["configs"].as_array().into_iter().flatten() {
        let extension = &config["ecds_filter"];
        // Istio's names: extensions.istio.io/wasmplugin/NS.NAME, …/trafficextension/NS.NAME[~istio-translated-wasmplugin]
        let last = text(&extension["name"]).rsplit('/').next().unwrap_or_default();
        if last.split('~').next() != Some(filter) {
            continue;
        }
        let typed = &extension["typed_config"];
        let what = [&typed["@type"], &typed["type_url"]].map(text).concat();
        return match what.contains("rbac") {
            false => Runs::Filter,
            true if typed.to_string().contains("wasm-default-allow") => Runs::AllowAll,
            true => Runs::DenyAll,
        };
    }
    Runs::Nothing
}

/// The filter's counters without Envoy's prefix.
pub(crate) fn counters(stats: &Value) -> BTreeMap<String, i64> {
    let all = stats["stats"].as_array().into_iter().flatten();
    all.filter_map(|stat| Some((text(&stat["name"]).strip_prefix(COUNTERS)?.to_owned(), stat["value"].as_i64()?)))
        .collect()
}

async fn admin(cluster: &Cluster, namespace: &str, pod: &str, path: &str) -> Result<Value, String> {
    match cluster.ask_pod(namespace, pod, ADMIN_PORT, path).await? {
        (StatusCode::OK, body) => serde_json::from_slice(&body).map_err(|e| e.to_string()),
        // Envoy's way to say that there is nothing of the kind.
        (StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST, _) => Ok(Value::Null),
        (status, _) => Err(format!("Envoy's admin interface answers {status}")),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
