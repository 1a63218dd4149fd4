//! Routes, native tracing, monitors, the demo and trials.

use serde_json::{Value, json};

use super::{render, spec};
use crate::chart::{Chart, Object, Release};
use crate::values::Sources;

fn objects(set: &[&str]) -> Vec<Object> {
    render(&[&["filter.image.registry=r.example"], set].concat()).unwrap()
}

fn of_kind(kind: &str, set: &[&str]) -> Vec<Value> {
    objects(set).into_iter().filter(|o| o.kind() == kind).map(|o| o.value).collect()
}

#[test]
fn both_ports_have_http_routes_with_a_timeout() {
    let service = spec(&["traffic.enabled=true"], "VirtualService");
    assert!(service.get("tcp").is_none() && service.get("tls").is_none(), "gRPC is HTTP/2");
    let routes = service["http"].as_array().unwrap();
    let matches: Vec<_> = routes.iter().map(|route| &route["match"][0]).collect();
    for expected in [
        json!({"port": 4318, "uri": {"prefix": "/v1/traces"}}),
        json!({"port": 4318, "uri": {"prefix": "/v1/metrics"}}),
        json!({"port": 4318, "uri": {"prefix": "/v1/logs"}}),
        json!({"port": 4317}),
    ] {
        assert!(matches.contains(&&expected), "{matches:?} lacks {expected}");
    }
    for route in routes {
        assert_eq!(route["timeout"], "10s");
        assert_eq!(route["route"][0]["destination"]["port"]["number"], route["match"][0]["port"]);
        let retry = route["retries"]["retryOn"].as_str().unwrap();
        assert!(!retry.contains("5xx"), "what a collector took would be taken twice: {retry}");
    }
    let never = spec(&["traffic.enabled=true,traffic.retries=0"], "VirtualService");
    assert_eq!(never["http"][0]["retries"], json!({"attempts": 0}));
}

#[test]
fn rules_hold_for_every_host_and_encrypt_where_the_collector_asks_for_it() {
    let set =
        "traffic.enabled=true,traffic.failoverPriority={topology.kubernetes.io/zone},collector.mode=agent-gateway";
    for (mtls, tls) in [("DISABLE", Value::Null), ("STRICT", json!({"mode": "ISTIO_MUTUAL"}))] {
        let rules = of_kind("DestinationRule", &[set, &format!("security.mtls={mtls}")]);
        let hosts: Vec<_> = rules.iter().map(|rule| &rule["spec"]["host"]).collect();
        assert_eq!(
            hosts,
            ["otel-collector.otelmesh.svc.cluster.local", "otel-collector-gateway.otelmesh.svc.cluster.local"]
        );
        for rule in &rules {
            let policy = &rule["spec"]["trafficPolicy"];
            assert_eq!(policy["tls"], tls, "{mtls}");
            assert_eq!(policy["loadBalancer"]["simple"], "LEAST_REQUEST");
            assert!(policy["loadBalancer"]["localityLbSetting"]["failoverPriority"].is_array());
            assert!(policy["outlierDetection"].is_object(), "failover needs it");
        }
    }
}

#[test]
fn native_tracing_names_a_tracing_provider_and_the_notes_define_it() {
    let set = "tracing.mode=native,tracing.native.environment=production";
    assert!(!objects(&[set]).iter().any(|o| ["WasmPlugin", "TrafficExtension"].contains(&o.kind())), "never both");
    let tracing = spec(&[set], "Telemetry")["tracing"][0].clone();
    assert_eq!(tracing["providers"], json!([{"name": "otelmesh-traces"}]));
    assert_eq!(tracing["randomSamplingPercentage"].as_f64(), Some(10.0));
    assert_eq!(
        tracing["customTags"],
        json!({
            "deployment.environment.name": {"literal": {"value": "production"}},
            "service.version": {"header": {"name": "x-app-version", "defaultValue": "unknown"}},
        })
    );
    let chart = Chart::embedded().unwrap();
    let sources = Sources { set: vec![set.to_owned()], ..Sources::default() };
    let release = Release { name: "otelmesh".to_owned(), namespace: "otelmesh".to_owned() };
    let notes = chart.notes(&sources.merge(chart.defaults()).unwrap(), &release).unwrap();
    for words in ["- name: otelmesh-traces", "service: otel-collector.otelmesh.svc.cluster.local", "zipkin:", "9411"] {
        assert!(notes.contains(words), "{words} is not in\n{notes}");
    }
}

#[test]
fn monitors_name_ports_that_exist_and_count_no_pod_twice() {
    for mode in ["agent", "gateway", "agent-gateway"] {
        let set = format!("monitoring.monitors=true,collector.mode={mode}");
        let monitor = spec(&[&set], "ServiceMonitor");
        let port = monitor["endpoints"][0]["port"].clone();
        let services = of_kind("Service", &[&set]);
        let scraped: Vec<_> =
            services.iter().filter(|s| s["metadata"]["labels"]["otelmesh.io/scrape"] != "false").collect();
        for service in &scraped {
            let ports = service["spec"]["ports"].as_array().unwrap();
            assert!(ports.iter().any(|p| p["name"] == port), "{mode}: {service} has no port {port}");
        }
        let mut selectors: Vec<_> = scraped.iter().map(|s| s["spec"]["selector"].to_string()).collect();
        selectors.sort();
        let tiers = selectors.len();
        selectors.dedup();
        assert_eq!((tiers, tiers), (selectors.len(), mode.split('-').count()), "{mode}");
    }
    let set = "monitoring.monitors=true,monitoring.labels.release=prometheus";
    let pods = &of_kind("PodMonitor", &[set])[0];
    assert_eq!(pods["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(pods["spec"]["podMetricsEndpoints"][0]["path"], "/stats/prometheus");
    assert!(of_kind("PodMonitor", &[set, "tracing.mode=native"]).is_empty());
    let selects = |sets: &[&str]| of_kind("PodMonitor", sets)[0]["spec"]["selector"].to_string();
    let reference = "filter.targetRefs[0].kind=Gateway,filter.targetRefs[0].name=w,\
                     filter.targetRefs[0].group=gateway.networking.k8s.io";
    assert!(selects(&[set]).contains("istio.io-mesh-controller"), "no waypoint, which would seem to miss the filter");
    assert!(selects(&[set, reference]).contains("gateway.networking.k8s.io/gateway-name"), "one that is named");
}

#[test]
fn the_demos_sidecars_are_bounded_by_annotations() {
    let objects = objects(&["demo.enabled=true,demo.image=r.example/shop:1,mesh.revision=1-30"]);
    let namespace = objects.iter().find(|o| o.kind() == "Namespace" && o.name() == "otelmesh-demo").unwrap();
    let labels = &namespace.value["metadata"]["labels"];
    assert_eq!(labels["istio.io/rev"], "1-30");
    assert!(labels.get("istio-injection").is_none(), "with both labels Istio takes the other");
    let services: Vec<_> = objects
        .iter()
        .filter(|o| o.kind() == "Deployment" && o.value["metadata"]["namespace"] == "otelmesh-demo")
        .collect();
    assert_eq!(services.len(), 2);
    for service in services {
        let pod = &service.value["spec"]["template"];
        let annotations = &pod["metadata"]["annotations"];
        for bound in ["proxyCPU", "proxyCPULimit", "proxyMemory", "proxyMemoryLimit"] {
            assert!(annotations[format!("sidecar.istio.io/{bound}")].is_string(), "{bound}");
        }
        let proxy: Value = serde_json::from_str(annotations["proxy.istio.io/config"].as_str().unwrap()).unwrap();
        assert_eq!(proxy["concurrency"], 1);
        let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        assert!(env.iter().any(|e| e["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT"));
        assert_eq!(
            proxy["proxyMetadata"]["OTEL_SERVICE_NAME"],
            env.iter().find(|e| e["name"] == "OTEL_SERVICE_NAME").unwrap()["value"]
        );
    }
}

#[test]
fn loss_is_a_schedule_of_its_own_kind() {
    let schedule = &of_kind("Schedule", &["trials.chaos.enabled=true"])[0];
    assert_eq!(schedule["apiVersion"], "chaos-mesh.org/v1alpha1");
    let spec = &schedule["spec"];
    assert_eq!(spec["type"], "PodChaos");
    assert!(spec["podChaos"].get("scheduler").is_none(), "Chaos Mesh 1 had it there");
    let gateways = spec["podChaos"]["selector"]["labelSelectors"].clone();
    assert_eq!(of_kind("Deployment", &[])[0]["spec"]["selector"]["matchLabels"], gateways);
}

#[test]
fn a_filter_that_speaks_grpc_exports_to_the_port_for_it() {
    let grpc = "filter.config.exporter.protocol=grpc";
    let plugin = spec(&[grpc], "WasmPlugin");
    let exporter = &plugin["pluginConfig"]["exporter"];
    assert_eq!(exporter["cluster"], "outbound|4317||otel-collector.otelmesh.svc.cluster.local");
    assert_eq!(exporter["protocol"], "grpc");
    let own = of_kind("EnvoyFilter", &[grpc, "filter.ownCluster=true"]);
    let cluster = &own[0]["spec"]["configPatches"][0]["patch"]["value"];
    let at = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value";
    assert_eq!(cluster.pointer(at), Some(&json!(4317)));
    let options =
        &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    assert!(options["explicit_http_config"]["http2_protocol_options"].is_object(), "gRPC is HTTP/2");
}

#[test]
fn a_waypoint_gets_a_cluster_to_export_through_and_the_filter_where_requests_are() {
    let reference = "filter.targetRefs[0].kind=Gateway,filter.targetRefs[0].name=waypoint,\
                     filter.targetRefs[0].group=gateway.networking.k8s.io";
    let exporter = spec(&[reference], "WasmPlugin")["pluginConfig"]["exporter"].clone();
    assert_eq!(exporter["authority"], "otel-collector.otelmesh.svc.cluster.local");
    let filters = of_kind("EnvoyFilter", &[reference, "filter.delivery=envoyfilter"]);
    let patches = || filters.iter().flat_map(|filter| filter["spec"]["configPatches"].as_array().into_iter().flatten());
    let of_waypoints = |patch: &&Value| patch["match"]["context"] == "SIDECAR_INBOUND";
    let cluster = patches().filter(of_waypoints).find(|patch| patch["applyTo"] == "CLUSTER").expect("a cluster");
    assert_eq!(cluster["patch"]["value"]["name"], exporter["cluster"]);
    let inbound = patches().filter(of_waypoints).find(|patch| patch["applyTo"] == "HTTP_FILTER").expect("the filter");
    assert_eq!(inbound["match"]["listener"]["name"], "main_internal");
    // Beside another release, whose collector has a sidecar.
    let beside = [reference, "collector.mode=none,security.mtls=STRICT"];
    let cluster = of_kind("EnvoyFilter", &beside)[0]["spec"]["configPatches"][1]["patch"]["value"].clone();
    assert!(cluster["transport_socket"].is_object(), "{cluster}");
    assert_eq!(of_kind("PeerAuthentication", &beside).len(), 0, "the policy is the other's");
    assert_eq!(
        of_kind("EnvoyFilter", &[reference, "filter.config.exporter.cluster=c"]).len(),
        0,
        "a cluster that is there"
    );
}
