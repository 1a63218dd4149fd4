//! What the templates must say, whatever the text looks like.

use otelmesh_filter::config::{Config, DEFAULT_CLUSTER};
use serde_json::json;

use super::*;
use crate::values::Sources;

mod access;
mod collector;
mod mesh;
mod readme;

fn render(set: &[&str]) -> Result<Vec<Object>, ChartError> {
    let chart = Chart::embedded().unwrap();
    let sources = Sources { set: set.iter().map(|s| (*s).to_owned()).collect(), ..Sources::default() };
    let values = sources.merge(chart.defaults()).unwrap();
    chart.render(&values, &Release { name: "mesh-a".to_owned(), namespace: "otelmesh".to_owned() })
}

fn spec(set: &[&str], kind: &str) -> Value {
    let set = [&["filter.image.registry=r.example"], set].concat();
    let objects = render(&set).unwrap();
    objects.iter().find(|o| o.kind() == kind).unwrap_or_else(|| panic!("no {kind}")).value["spec"].clone()
}

#[test]
fn the_charts_version_is_that_of_the_command() {
    let metadata = Chart::embedded().unwrap().metadata().clone();
    assert_eq!(
        (metadata.version.as_str(), metadata.app_version.as_str()),
        (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_charts_collector_is_the_filters_default_cluster() {
    let config = &spec(&[], "WasmPlugin")["pluginConfig"];
    assert_eq!(config["exporter"]["cluster"], DEFAULT_CLUSTER);
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let mut expected = Config::default();
    expected.sampling.ratio = 0.1;
    assert_eq!(config, expected, "the chart changes more than the ratio");
}

#[test]
fn the_image_is_the_charts_version_unless_told() {
    for (set, url) in [
        ("", concat!("oci://r.example/otelmesh/filter:", env!("CARGO_PKG_VERSION"))),
        ("filter.image.tag=2", "oci://r.example/otelmesh/filter:2"),
        (
            "filter.image.repository=f,filter.image.tag=v1,filter.image.digest=sha256:abc",
            "oci://r.example/f@sha256:abc",
        ),
    ] {
        assert_eq!(spec(&[set], "WasmPlugin")["url"], url, "{set}");
    }
}

#[test]
fn envoys_own_tracer_is_off_for_just_those_that_have_the_filter() {
    for set in [
        "filter.selector.matchLabels.app=shop",
        "filter.targetRefs[0].kind=Gateway,filter.targetRefs[0].name=g,filter.targetRefs[0].group=gateway.networking.k8s.io",
        "filter.namespace=shop",
    ] {
        let (plugin, telemetry) = (spec(&[set], "WasmPlugin"), spec(&[set], "Telemetry"));
        assert_eq!(plugin["selector"], telemetry["selector"], "{set}");
        assert_eq!(plugin["targetRefs"], telemetry["targetRefs"], "{set}");
        assert_eq!(telemetry["tracing"], json!([{"disableSpanReporting": true}]));
        let namespaces: Vec<_> = render(&["filter.image.registry=r,collector.mode=none", set])
            .unwrap()
            .iter()
            .map(|o| o.value["metadata"]["namespace"].clone())
            .collect();
        assert_eq!(namespaces[0], namespaces[1], "{set}");
    }
    let objects = render(&["filter.image.registry=r,collector.mode=none,tracing.telemetry=false"]).unwrap();
    assert_eq!(objects.iter().map(Object::kind).collect::<Vec<_>>(), ["WasmPlugin"]);
}

#[test]
fn a_variable_with_a_value_is_not_read_from_the_proxy_too() {
    let env = spec(
        &["filter.hostEnv={POD_NAME,OTEL_SERVICE_NAME},filter.env.OTEL_SERVICE_NAME=shop,filter.env.B=yes"],
        "WasmPlugin",
    );
    assert_eq!(
        env["vmConfig"]["env"],
        json!([
            {"name": "POD_NAME", "valueFrom": "HOST"},
            {"name": "B", "value": "yes"},
            {"name": "OTEL_SERVICE_NAME", "value": "shop"},
        ])
    );
}

#[test]
fn the_templates_refuse_what_would_render_nonsense() {
    let registry = "filter.image.registry=r";
    for (set, words) in [
        (vec![], "filter.image.registry is empty"),
        (vec![registry, "mesh.rootNamespace="], "filter.namespace and mesh.rootNamespace are both empty"),
        (vec![registry, "collector.mode=none,collector.name=null"], "collector.name is empty"),
        (vec![registry, "filter.selector.matchLabels.a=b,filter.targetRefs[0].kind=K"], "Istio takes one of them"),
    ] {
        let error = render(&set).unwrap_err().to_string();
        assert!(error.contains(words), "{set:?} gave {error}");
    }
}

#[test]
fn the_cluster_is_derived_even_where_the_exporter_was_taken_away() {
    let config = &spec(&["filter.config.exporter=null,filter.config.sampling=null"], "WasmPlugin")["pluginConfig"];
    assert_eq!(*config, json!({"exporter": {"cluster": DEFAULT_CLUSTER}}));
}

#[test]
fn the_notes_say_where_the_filter_holds_and_what_its_failure_does() {
    let chart = Chart::embedded().unwrap();
    let notes = |set: &str| {
        let sources = Sources { set: vec![format!("filter.image.registry=r,{set}")], ..Sources::default() };
        let release = Release { name: "otelmesh".to_owned(), namespace: "otelmesh".to_owned() };
        chart.notes(&sources.merge(chart.defaults()).unwrap(), &release).unwrap()
    };
    assert!(notes("").contains("every sidecar and gateway of the mesh."));
    assert!(notes("filter.namespace=shop").contains("every sidecar and gateway of its namespace."));
    assert!(notes("filter.selector.matchLabels.a=b").contains("the workloads that filter.selector names."));
    assert!(notes("").contains("goes on without it,"));
    assert!(notes("filter.failStrategy=FAIL_RELOAD").contains("denies all traffic,"));
}
