//! Building blocks for an Envoy bootstrap, as JSON.
//!
//! In: names, addresses, filters. Out: `serde_json` values that a caller may still change before Envoy reads them.
//! Nothing is checked here: Envoy itself refuses what is wrong, and its reason ends up in the error of the start.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// Which way a listener's traffic goes, Envoy's `traffic_direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// To the workload.
    Inbound,
    /// From the workload.
    Outbound,
    /// Envoy is told nothing.
    Unspecified,
}

/// What a cluster's hosts speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge, as gRPC without TLS.
    Http2,
}

/// A Wasm HTTP filter.
#[derive(Debug, Clone)]
pub struct WasmFilter<'a> {
    /// Name of the filter and of the plugin.
    pub name: &'a str,
    /// Root id; Istio leaves it empty unless a `pluginName` is set.
    pub root_id: &'a str,
    /// The module.
    pub module: &'a Path,
    /// The pluginConfig.
    pub config: &'a Value,
    /// What a crash means: `FAIL_OPEN`, `FAIL_CLOSED` or `FAIL_RELOAD`.
    pub failure_policy: &'a str,
}

/// A whole bootstrap. An admin server is always part of it; an Envoy without one could be neither watched nor asked.
pub fn bootstrap(node: Value, listeners: Vec<Value>, clusters: Vec<Value>) -> Value {
    json!({
        "node": node,
        "admin": {"address": socket_address(([127, 0, 0, 1], 0).into())},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// An HTTP listener on any free port of loopback: `filters` and then the router, and `virtual_hosts` to route by.
/// Envoy's own tracing is left out, so nothing but a filter touches trace headers.
pub fn http_listener(name: &str, traffic: Traffic, mut filters: Vec<Value>, virtual_hosts: Vec<Value>) -> Value {
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    json!({
        "name": name,
        "address": socket_address(([127, 0, 0, 1], 0).into()),
        "traffic_direction": match traffic {
            Traffic::Inbound => "INBOUND",
            Traffic::Outbound => "OUTBOUND",
            Traffic::Unspecified => "UNSPECIFIED",
        },
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "http_filters": filters,
                "route_config": {"name": name, "virtual_hosts": virtual_hosts},
            },
        }]}],
    })
}

/// A virtual host that sends every path to one cluster; `domains` may be `["*"]`.
pub fn route(domains: &[&str], cluster: &str) -> Value {
    json!({
        "name": cluster,
        "domains": domains,
        "routes": [{"name": "default", "match": {"prefix": "/"}, "route": {"cluster": cluster}}],
    })
}

/// A static cluster with one host.
pub fn cluster(name: &str, address: SocketAddr, protocol: Protocol) -> Value {
    let options = match protocol {
        Protocol::Http1 => json!({"http_protocol_options": {}}),
        Protocol::Http2 => json!({"http2_protocol_options": {}}),
    };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(address)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": options,
            },
        },
    })
}

/// A Wasm filter in the form in which Istio hands a WasmPlugin to Envoy: no VM id, the pluginConfig as a string.
pub fn wasm_filter(filter: &WasmFilter<'_>) -> Value {
    json!({
        "name": filter.name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": filter.name,
                "root_id": filter.root_id,
                "failure_policy": filter.failure_policy,
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": filter.module}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": filter.config.to_string(),
                },
            },
        },
    })
}

/// An `envoy.config.core.v3.Address`.
pub fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
