//! The patches of the chart's EnvoyFilters in a real Envoy, put in as istiod puts them: the filter by discovery, and the
//! cluster that it brings. What Istio's agent does is done by hand: the module in place of its image's name.

use std::fs;
use std::path::Path;
use std::process::Command;

use http::HeaderMap;
use otelmesh::apps::App;
use otelmesh::client::Client;
use otelmesh::envoy::bootstrap::{Protocol, bootstrap, cluster};
use otelmesh::receiver::Receiver;
use otelmesh::server::ANY_PORT;
use otelmesh_e2e::proxy::{PATIENCE, Proxy, Setup, inbound_manager};
use otelmesh_e2e::rendered::objects;
use otelmesh_e2e::tools::{refused, run};
use otelmesh_e2e::{envoy, wasm};
use serde_json::{Value, json};

const SETTINGS: &str = "filter.delivery=envoyfilter,filter.ownCluster=true,filter.config.sampling.ratio=1,\
                        filter.config.batch.scheduleDelay=200ms";

/// What the EnvoyFilters that an installation renders patch in, with what they apply to and their context.
fn patches(set: &str) -> Vec<(String, String, Value)> {
    let filters = objects(&["--set", set]).into_iter().filter(|object| object["kind"] == "EnvoyFilter");
    let patches = filters.flat_map(|filter| filter["spec"]["configPatches"].as_array().unwrap().clone());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    patches.map(|p| (text(&p["applyTo"]), text(&p["match"]["context"]), p["patch"]["value"].clone())).collect()
}

fn patch(patches: &[(String, String, Value)], kind: &str, context: &str) -> Value {
    let found = patches.iter().find(|(k, c, _)| k == kind && c == context);
    found.unwrap_or_else(|| panic!("no {kind} for {context}")).2.clone()
}

/// A proxy that is patched as by istiod, with this module.
async fn patched(app: &App, module: &Path, dir: &Path) -> Proxy {
    let patches = patches(SETTINGS);
    let mut extension = patch(&patches, "EXTENSION_CONFIG", "ANY");
    let code = &mut extension["typed_config"]["config"]["vm_config"]["code"];
    let uri = code["remote"]["http_uri"]["uri"].as_str().unwrap();
    assert!(uri.starts_with("oci://r.example:5000/"), "the agent would fetch {uri}");
    *code = json!({"local": {"filename": module}});
    extension["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
    let resources = dir.join("ecds.json");
    fs::write(&resources, json!({"resources": [extension]}).to_string()).unwrap();

    let filters = ["SIDECAR_INBOUND", "SIDECAR_OUTBOUND"].map(|context| {
        let mut filter = patch(&patches, "HTTP_FILTER", context);
        let source = &mut filter["config_discovery"]["config_source"];
        assert_eq!(source.as_object_mut().unwrap().remove("ads"), Some(json!({})));
        source["path_config_source"] = json!({"path": resources});
        filter
    });
    assert_eq!(patch(&patches, "HTTP_FILTER", "GATEWAY"), patch(&patches, "HTTP_FILTER", "SIDECAR_INBOUND"));
    let mut own = patch(&patches, "CLUSTER", "ANY");

    let mut setup = Setup::new(app.address());
    setup.edit = Box::new(move |bootstrap| {
        for (i, filter) in filters.into_iter().enumerate() {
            let manager = format!("/static_resources/listeners/{i}/filter_chains/0/filters/0/typed_config");
            bootstrap.pointer_mut(&manager).unwrap()["http_filters"][0] = filter;
        }
        let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
        let receiver = bootstrap.pointer(&format!("/static_resources/clusters/2{endpoint}")).unwrap().clone();
        let named = own.pointer_mut(endpoint).unwrap();
        assert_eq!(named["socket_address"]["address"], "otel-collector.otelmesh.svc.cluster.local");
        *named = receiver;
        bootstrap["static_resources"]["clusters"][2] = own;
    });
    setup.start().await
}

#[tokio::test]
async fn the_filter_arrives_by_discovery_and_exports_through_the_cluster_it_brings() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::start("app", |_| Vec::new()).await.unwrap();
    let proxy = patched(&app, &wasm(), dir.path()).await;
    for address in [proxy.inbound, proxy.outbound] {
        let reply = Client::new().get(&format!("http://{address}/a"), HeaderMap::new()).await.unwrap();
        assert_eq!(reply.status, 200);
    }
    proxy.settle(2, 2).await;
    proxy.assert_alive().await;
}

/// A filter that crashes on every request.
const CRASHING: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
    (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)
)"#;

#[tokio::test]
async fn a_crash_costs_no_request_in_any_direction() {
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("crashing.wasm");
    fs::write(&module, wat::parse_str(CRASHING).unwrap()).unwrap();
    let app = App::start("app", |_| Vec::new()).await.unwrap();
    // One direction after the other: after the first crash the worker goes on without the filter.
    for outbound in [false, true] {
        let proxy = patched(&app, &module, dir.path()).await;
        let address = if outbound { proxy.outbound } else { proxy.inbound };
        for _ in 0..3 {
            let reply = Client::new().get(&format!("http://{address}/a"), HeaderMap::new()).await.unwrap();
            assert_eq!(reply.status, 200, "{}", proxy.envoy.log());
        }
        let log = proxy.envoy.log();
        assert!(log.contains("proxy_on_request_headers"), "nothing crashed: {log}");
    }
}

#[tokio::test]
async fn native_access_logs_carry_attributes_and_the_ids_of_envoys_own_span() {
    let receiver = Receiver::start(None).await.unwrap();
    let mut patch = patch(&patches("tracing.mode=native,tracing.native.accessLogs=true"), "NETWORK_FILTER", "ANY");
    let export = "/typed_config/access_log/0/typed_config/common_config/grpc_service/envoy_grpc/cluster_name";
    let name = patch.pointer_mut(export).unwrap();
    assert_eq!(*name, "outbound|4317||otel-collector.otelmesh.svc.cluster.local");
    *name = json!("collector");
    let app = App::start("app", |_| Vec::new()).await.unwrap();
    let mut setup = Setup::new(app.address());
    let address = receiver.grpc();
    setup.edit = Box::new(move |bootstrap| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
        clusters.push(cluster("collector", address, Protocol::Http2));
        let manager = inbound_manager(bootstrap);
        manager["access_log"] = patch["typed_config"]["access_log"].take();
        manager["http_filters"].as_array_mut().unwrap().remove(0);
        // What Istio makes of the Telemetry and its provider.
        manager["tracing"] = json!({"provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}},
                "service_name": "app",
            },
        }});
    });
    let proxy = setup.start().await;
    let reply = Client::new().get(&format!("http://{}/a", proxy.inbound), HeaderMap::new()).await.unwrap();
    assert_eq!(reply.status, 200);
    let complete = receiver.wait_for(PATIENCE, |all| !all.logs().is_empty() && !all.spans().is_empty()).await;
    let snapshot = receiver.snapshot();
    assert!(complete, "{snapshot:?}\n{}", proxy.envoy.log());
    let (log, span) = (&snapshot.logs()[0], &snapshot.spans()[0]);
    assert_eq!((&log.trace_id, &log.span_id), (&span.trace_id, &span.span_id));
    assert_eq!(log.body, "GET 200");
    assert_eq!(log.attributes["http.request.method"], "GET");
    assert_eq!(log.attributes["http.response.status_code"], "200");
}

#[test]
fn envoy_takes_the_cluster_towards_a_collector_with_a_sidecar() {
    let own = patch(&patches(&format!("{SETTINGS},security.mtls=STRICT")), "CLUSTER", "ANY");
    assert_eq!(own.pointer("/transport_socket/name"), Some(&json!("envoy.transport_sockets.tls")));
    // Istio's agent gives certificates behind this name, in every proxy.
    let agent = cluster("sds-grpc", ANY_PORT, Protocol::Http2);
    let mut wrong = own.clone();
    wrong["transport_socket"]["typed_config"]["common_tls_context"]["alpn"] = json!(["istio"]);
    for (clusters, fits) in [(vec![own, agent.clone()], true), (vec![wrong, agent], false)] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bootstrap.json");
        let node = json!({"id": "test", "cluster": "test"});
        fs::write(&file, bootstrap(node, vec![], clusters).to_string()).unwrap();
        let mut envoy = Command::new(envoy());
        envoy.args(["--mode", "validate", "-c"]).arg(file);
        if fits {
            run(&mut envoy);
        } else {
            assert!(refused(&mut envoy).contains("alpn"));
        }
    }
}
