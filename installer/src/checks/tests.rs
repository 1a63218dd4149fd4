use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use super::snapshot::proxies::{Runs, counters, is_meant, listens, runs, selector};
use super::snapshot::{Denied, Proxy};
use super::*;
use crate::chart::{Chart, Release};
use crate::cluster::Id;
use crate::health::Health;
use crate::release::State;
use crate::render::render;
use crate::values::Sources;

/// A cluster in which every check holds.
fn healthy() -> Snapshot {
    let release = Release { name: "otelmesh".to_owned(), namespace: "otelmesh".to_owned() };
    let set = vec!["filter.image.registry=r.example".to_owned()];
    let sources = Sources { set, ..Sources::default() };
    let rendered = render(&Chart::embedded().unwrap(), &sources, &release).unwrap();
    let istiod = json!({
        "metadata": {"labels": {"app": "istiod", "istio.io/rev": "default"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    let mesh = json!({
        "metadata": {"name": "istio"},
        "data": {"mesh": "rootNamespace: istio-system\nenableTracing: true\ndefaultProviders: {tracing: [zipkin]}"},
    });
    let namespace =
        |name: &str| json!({"metadata": {"name": name, "labels": {"istio-injection": "enabled"}}, "kind": "Namespace"});
    let counters = BTreeMap::from(
        [("spans_recorded", 9), ("exports_started", 2), ("exports_succeeded", 2)].map(|(n, v)| (n.to_owned(), v)),
    );
    Snapshot {
        release,
        objects: rendered.into_iter().map(|object| object.value).collect(),
        root_namespace: "istio-system".to_owned(),
        kubernetes: "v1.34.4".to_owned(),
        missing_kinds: vec![],
        denied: Ok(vec![]),
        namespaces: Ok(vec![namespace("istio-system"), namespace("shop")]),
        istiod: Ok(vec![istiod]),
        prunes: false,
        istio_versions: Ok(vec!["1.30.1-0f9e2a-Clean".to_owned()]),
        mesh_configs: Ok(vec![mesh]),
        ztunnels: Ok(vec![]),
        telemetries: Ok(vec![]),
        plugins_there: Ok(vec![]),
        envoy_filters: Ok(vec![]),
        sidecars: Ok(vec![]),
        images: vec![("r.example/otelmesh/filter:0.1.0".to_owned(), Ok("sha256:aa".to_owned()))],
        state: State::Deployed,
        drift: Ok(vec![]),
        health: vec![],
        proxies: Ok(vec![Proxy { pod: "shop/cart-0".to_owned(), said: Ok((Runs::Filter, counters)) }]),
    }
}

fn all() -> impl Iterator<Item = &'static Check> {
    BEFORE.iter().chain(AFTER)
}

/// The ids of the checks that do not hold, and what they say.
fn broken(snapshot: &Snapshot) -> (BTreeSet<&'static str>, String) {
    let mut ids = BTreeSet::new();
    let mut said = String::new();
    for check in all() {
        match (check.run)(snapshot) {
            Ok(findings) if findings.is_empty() => {}
            result => {
                ids.insert(check.id);
                said += &format!("{result:?}");
            }
        }
    }
    (ids, said)
}

fn push(looked: &mut Result<Vec<Value>, String>, object: Value) {
    looked.as_mut().unwrap().push(object);
}

fn plugin(name: &str, namespace: &str, spec: Value) -> Value {
    json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn telemetry(name: &str, namespace: &str, spec: Value) -> Value {
    json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn proxy(snapshot: &mut Snapshot, said: Result<(Runs, BTreeMap<String, i64>), String>) {
    push_proxy(snapshot, Proxy { pod: "shop/web-0".to_owned(), said });
}

fn push_proxy(snapshot: &mut Snapshot, proxy: Proxy) {
    snapshot.proxies.as_mut().unwrap().push(proxy);
}

type Edit = fn(&mut Snapshot);

#[test]
fn in_a_healthy_cluster_every_check_holds() {
    assert_eq!(broken(&healthy()).0, BTreeSet::new());
}

#[test]
fn each_fault_breaks_the_check_that_is_for_it_and_no_other() {
    let vectors: &[(Edit, &str, &str)] = &[
        (|s| s.kubernetes = "v1.27.9".to_owned(), "kubernetes-version", "Kubernetes v1.27.9"),
        (
            |s| s.missing_kinds.push(("WasmPlugin".to_owned(), "extensions.istio.io/v1alpha1".to_owned())),
            "kinds",
            "install Istio with its CRDs",
        ),
        (
            |s| {
                for verb in ["create", "patch"] {
                    let resource = "wasmplugins.extensions.istio.io".to_owned();
                    let denied = Denied { verb: verb.to_owned(), resource, namespace: "istio-system".to_owned() };
                    s.denied.as_mut().unwrap().push(denied);
                }
            },
            "permissions",
            "you may not create, patch wasmplugins.extensions.istio.io in namespace istio-system",
        ),
        (|s| drop(s.namespaces.as_mut().unwrap().remove(0)), "namespaces", "there is no namespace istio-system"),
        (|s| s.istiod.as_mut().unwrap()[0]["status"] = json!({}), "istio-running", "no pod of istiod is ready"),
        (
            |s| s.istio_versions = Ok(vec!["1.19.3-a1b2c3-Clean".to_owned()]),
            "istio-version",
            "istiod is 1.19.3-a1b2c3-Clean",
        ),
        (
            |s| {
                for namespace in s.namespaces.as_mut().unwrap() {
                    namespace["metadata"]["labels"] = json!({"istio.io/dataplane-mode": "ambient"});
                }
            },
            "istio-mode",
            "2 namespaces are in ambient mode",
        ),
        (
            |s| s.mesh_configs.as_mut().unwrap()[0]["data"]["mesh"] = "rootNamespace: mesh".into(),
            "root-namespace",
            "set mesh.rootNamespace=mesh",
        ),
        (
            |s| s.objects.retain(|object| object["kind"] != "Telemetry"),
            "mesh-tracing",
            "defaultProviders.tracing: [\\\"zipkin\\\"]",
        ),
        (
            |s| push(&mut s.telemetries, telemetry("t", "shop", json!({"tracing": [{"providers": [{"name": "z"}]}]}))),
            "mesh-tracing",
            "Telemetry shop/t configures tracing",
        ),
        (
            |s| push(&mut s.telemetries, telemetry("mesh-default", "istio-system", json!({"accessLogging": []}))),
            "telemetry-clash",
            "Telemetry istio-system/mesh-default is for the same workloads",
        ),
        (
            |s| {
                let patch = json!({"patch": {"value": {"typed_config": {"tracing": {"provider": {}}}}}});
                let mut filter = plugin("f", "shop", json!({"configPatches": [patch]}));
                filter["kind"] = "EnvoyFilter".into();
                push(&mut s.envoy_filters, filter);
            },
            "envoyfilter-tracing",
            "EnvoyFilter shop/f writes a tracer",
        ),
        (
            |s| {
                push(&mut s.plugins_there, plugin("other", "shop", json!({"url": "oci://r.example/otelmesh/filter:1"})))
            },
            "plugin-clash",
            "WasmPlugin shop/other runs the filter for the same workloads",
        ),
        (
            |s| push(&mut s.plugins_there, plugin("auth", "shop", json!({"phase": "AUTHN", "priority": 2000}))),
            "plugin-order",
            "set filter.priority above 2000",
        ),
        (|s| s.images[0].1 = Err("not found".to_owned()), "image", "cannot be found: not found"),
        (|s| s.images[0].0 = "r.example/otelmesh/filter@sha256:bb".to_owned(), "image", "the registry gives sha256:aa"),
        (
            |s| {
                let mut sidecar = plugin("default", "shop", json!({"egress": [{"hosts": ["./*", "istio-system/*"]}]}));
                sidecar["kind"] = "Sidecar".into();
                push(&mut s.sidecars, sidecar);
            },
            "sidecar-egress",
            "otelmesh/otel-collector.otelmesh.svc.cluster.local",
        ),
        (|s| s.state = State::Interrupted, "installed", "a run was cut off"),
        (|s| s.drift = Ok(vec!["WasmPlugin a/b: spec.priority is 5, not 1".to_owned()]), "drift", "is 5, not 1"),
        (
            |s| {
                let id = Id::of(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "c"}}));
                s.health.push((id, Health::Progressing("1 of 2 pods are ready".to_owned())));
            },
            "workloads",
            "Deployment c: 1 of 2 pods are ready",
        ),
        (|s| proxy(s, Ok((Runs::AllowAll, BTreeMap::new()))), "proxies-loaded", "lets all requests through without"),
        (|s| proxy(s, Ok((Runs::DenyAll, BTreeMap::new()))), "proxies-loaded", "denies all requests"),
        (|s| proxy(s, Ok((Runs::Nothing, BTreeMap::new()))), "proxies-loaded", "has no filter by that name"),
        (
            |s| proxy(s, Ok((Runs::Filter, BTreeMap::from([("panics".to_owned(), 1)])))),
            "proxies-loaded",
            "has workers on which the filter panicked",
        ),
        (|s| proxy(s, Err("timed out".to_owned())), "proxies-loaded", "did not answer: shop/web-0: timed out"),
        (
            |s| {
                let counters = BTreeMap::from([("spans_recorded".to_owned(), 0)]);
                s.proxies = Ok(vec![Proxy { pod: "a/b".to_owned(), said: Ok((Runs::Filter, counters)) }]);
            },
            "proxies-counters",
            "has recorded anything yet",
        ),
        (
            |s| {
                let counters = [("spans_recorded", 5), ("exports_started", 3)].map(|(n, v)| (n.to_owned(), v));
                let said = Ok((Runs::Filter, BTreeMap::from(counters)));
                s.proxies = Ok(vec![Proxy { pod: "a/b".to_owned(), said }]);
            },
            "proxies-exports",
            "of 3 exports none arrived",
        ),
        (
            |s| proxy(s, Ok((Runs::Filter, BTreeMap::from([("spans_dropped_queue_full".to_owned(), 4)])))),
            "proxies-exports",
            "4 of 9 spans were dropped",
        ),
    ];
    for (edit, id, words) in vectors {
        let mut snapshot = healthy();
        edit(&mut snapshot);
        let (ids, said) = broken(&snapshot);
        assert_eq!(ids, BTreeSet::from([*id]), "{words}: {said}");
        assert!(said.contains(words), "{said} does not say {words}");
    }
    let tried: BTreeSet<_> = vectors.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(tried, all().map(|check| check.id).collect(), "every check is broken once");
}

#[test]
fn what_looks_like_a_fault_and_is_none_passes() {
    let vectors: &[(Edit, &str)] = &[
        (
            |s| push(&mut s.telemetries, telemetry("t", "shop", json!({"tracing": [{"disableSpanReporting": true}]}))),
            "a Telemetry that turns tracing off, too",
        ),
        (
            |s| push(&mut s.telemetries, telemetry("logs", "shop", json!({"accessLogging": []}))),
            "a Telemetry without tracing in another namespace",
        ),
        (
            |s| push(&mut s.plugins_there, plugin("late", "shop", json!({"phase": "STATS", "priority": 9000}))),
            "a plugin of a later phase",
        ),
        (
            |s| {
                push(
                    &mut s.plugins_there,
                    plugin("w", "shop", json!({"url": "oci://r/otelmesh/filter", "targetRefs": []})),
                )
            },
            "a second release for a waypoint",
        ),
        (
            |s| {
                let own = s.objects.clone();
                s.telemetries.as_mut().unwrap().extend(own.iter().filter(|o| o["kind"] == "Telemetry").cloned());
                s.plugins_there.as_mut().unwrap().extend(own.iter().filter(|o| o["kind"] == "WasmPlugin").cloned());
            },
            "the release's own objects",
        ),
    ];
    for (edit, why) in vectors {
        let mut snapshot = healthy();
        edit(&mut snapshot);
        assert_eq!(broken(&snapshot).0, BTreeSet::new(), "{why}");
    }
}

#[test]
fn what_may_not_be_read_is_unknown_and_never_a_success() {
    let mut snapshot = healthy();
    snapshot.telemetries = Err("not allowed: you cannot list\nmore".to_owned());
    let report = serde_json::to_value(Report::new(BEFORE, &snapshot)).unwrap();
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["id"] == "telemetry-clash").unwrap();
    assert_eq!(check["result"], "unknown");
    assert_eq!(check["findings"][0]["cause"], "this could not be looked at: not allowed: you cannot list");
}

#[test]
fn reports_are_as_they_were() {
    let mut snapshot = healthy();
    snapshot.kubernetes = "v1.27.9".to_owned();
    push(&mut snapshot.plugins_there, plugin("auth", "shop", json!({"phase": "AUTHN", "priority": 2000})));
    snapshot.sidecars = Err("not allowed: you cannot list sidecars".to_owned());
    let report = Report::new(BEFORE, &snapshot);
    golden("check_pre.txt", &anstream::adapter::strip_str(&report.text()).to_string());
    golden("check_pre.json", &(serde_json::to_string_pretty(&report).unwrap() + "\n"));
    let report = Report::new(AFTER, &healthy());
    golden("check.txt", &anstream::adapter::strip_str(&report.text()).to_string());
}

/// OTELMESH_UPDATE=1 writes the golden files anew.
fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("OTELMESH_UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "{path} differs");
}

#[test]
fn every_check_is_explained_where_its_hint_points() {
    let path = format!("{}/../{HINTS}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_default();
    let headings: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, all().map(|check| check.id).collect(), "{path}");
}

#[test]
fn the_pods_of_a_plugin_are_those_that_it_selects() {
    for (spec, expected, reason) in [
        (json!({}), "", "everything"),
        (json!({"selector": {"matchLabels": {"app": "shop"}}}), "app=shop", "a WasmPlugin"),
        (json!({"workloadSelector": {"labels": {"app": "shop"}}}), "app=shop", "an EnvoyFilter"),
        (
            json!({"targetRefs": [{"kind": "Gateway", "name": "a"}, {"kind": "Gateway", "name": "b"}]}),
            "gateway.networking.k8s.io/gateway-name in (a,b)",
            "waypoints",
        ),
        (
            json!({"targetRefs": [{"kind": "GatewayClass", "name": "istio-waypoint"}]}),
            "gateway.networking.k8s.io/gateway-class-name in (istio-waypoint)",
            "all waypoints",
        ),
    ] {
        assert_eq!(selector(&json!({"spec": spec})), expected, "{reason}");
    }
}

#[test]
fn the_collectors_own_sidecars_and_waypoints_are_no_proxies_that_miss_the_filter() {
    let pod = |labels: Value, containers: Value| {
        json!({
            "metadata": {"labels": labels}, "status": {"phase": "Running"},
            "spec": {"containers": [{"name": "app"}], "initContainers": containers},
        })
    };
    let proxy = json!([{"name": "istio-proxy"}]);
    let (everywhere, by_reference) = (json!({"spec": {}}), json!({"spec": {"targetRefs": [{}]}}));
    let (plain, untraced) = (json!({}), json!({"otelmesh.io/traced": "false"}));
    let waypoint = json!({"gateway.istio.io/managed": "istio.io-mesh-controller"});
    for (labels, containers, plugin, expected, reason) in [
        (&plain, &proxy, &everywhere, true, "a sidecar"),
        (&plain, &json!([]), &everywhere, false, "no proxy"),
        (&untraced, &proxy, &everywhere, false, "a proxy from which the chart takes the filter"),
        (&waypoint, &proxy, &everywhere, false, "a waypoint follows no selector"),
        (&waypoint, &proxy, &by_reference, true, "a waypoint that is named"),
    ] {
        assert_eq!(is_meant(&pod(labels.clone(), containers.clone()), plugin), expected, "{reason}");
    }
}

#[test]
fn an_envoy_filter_that_brings_the_filter_is_checked_as_a_plugin_is() {
    let mut snapshot = healthy();
    let release = snapshot.release.clone();
    let set = vec!["filter.image.registry=r.example,filter.delivery=envoyfilter".to_owned()];
    let sources = Sources { set, ..Sources::default() };
    let rendered = render(&Chart::embedded().unwrap(), &sources, &release).unwrap();
    snapshot.objects = rendered.into_iter().map(|object| object.value).collect();
    assert_eq!(snapshot.plugins().map(|plugin| plugin["kind"].clone()).collect::<Vec<_>>(), ["EnvoyFilter"]);
    assert_eq!(broken(&snapshot).0, BTreeSet::new());
    push(&mut snapshot.plugins_there, plugin("other", "shop", json!({"url": "oci://r.example/otelmesh/filter:1"})));
    let mut sidecar = plugin("default", "shop", json!({"egress": [{"hosts": ["./*"]}]}));
    sidecar["kind"] = "Sidecar".into();
    push(&mut snapshot.sidecars, sidecar);
    assert_eq!(broken(&snapshot).0, BTreeSet::from(["plugin-clash", "sidecar-egress"]));
}

#[test]
fn what_a_proxy_runs_is_read_from_its_dump() {
    let dump = |name: &str, typed: Value| json!({"configs": [{"ecds_filter": {"name": name, "typed_config": typed}}]});
    let wasm = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"});
    let rbac = |stat: &str| json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules_stat_prefix": stat});
    for (name, typed, expected, reason) in [
        ("extensions.istio.io/wasmplugin/istio-system.otelmesh", wasm.clone(), Runs::Filter, "Istio up to 1.29"),
        (
            "extensions.istio.io/trafficextension/istio-system.otelmesh~istio-translated-wasmplugin",
            wasm.clone(),
            Runs::Filter,
            "Istio from 1.30 on",
        ),
        (
            "extensions.istio.io/wasmplugin/istio-system.otelmesh",
            rbac("wasm-default-allow"),
            Runs::AllowAll,
            "the stand-in under FAIL_OPEN",
        ),
        ("extensions.istio.io/wasmplugin/istio-system.otelmesh", rbac(""), Runs::DenyAll, "any other stand-in"),
        ("extensions.istio.io/wasmplugin/istio-system.otelmesh-2", wasm, Runs::Nothing, "another plugin"),
    ] {
        assert_eq!(runs(&dump(name, typed), "istio-system.otelmesh"), expected, "{reason}");
    }
    assert_eq!(runs(&Value::Null, "istio-system.otelmesh"), Runs::Nothing);
    let ports = |ports: &[u16]| {
        let status = |port| json!({"local_address": {"socket_address": {"address": "0.0.0.0", "port_value": port}}});
        json!({"listener_statuses": ports.iter().map(status).collect::<Vec<_>>()})
    };
    assert!(!listens(&ports(&[15021, 15090])) && listens(&ports(&[15021, 15090, 8080])));
    let stats =
        json!({"stats": [{"name": "wasmcustom.otelmesh_spans_recorded", "value": 3}, {"name": "other", "value": 1}]});
    assert_eq!(counters(&stats), BTreeMap::from([("spans_recorded".to_owned(), 3)]));
}
