//! The collector's configuration, judged by the real collector. Older versions are held to their own names here, since
//! the new collector knows both.

use std::collections::BTreeSet;

use otelmesh_e2e::otelcol::otelcol;
use otelmesh_e2e::rendered::{INSTALLATIONS, collectors};
use otelmesh_e2e::tools::{refused, run};
use serde_json::Value;

#[test]
fn the_collector_takes_every_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (reason, args) in INSTALLATIONS {
        for (name, config) in collectors(args) {
            let said = run(&mut otelcol(&["validate"], &config, dir.path()));
            assert!(said.is_empty(), "{reason}, {name}: {said}");
            count += 1;
        }
    }
    assert!(count >= INSTALLATIONS.len(), "only {count} configurations were judged");
}

#[test]
fn the_collector_would_have_complained() {
    let dir = tempfile::tempdir().unwrap();
    let (_, config) = collectors(&[]).remove(0);
    for (from, to, words) in [
        ("check_interval", "check_intervall", "check_intervall"),
        ("k8s_attributes:", "k8s_attributez:", "k8s_attributez"),
        ("- debug", "- nowhere", "nowhere"),
    ] {
        let said = refused(&mut otelcol(&["validate"], &config.replace(from, to), dir.path()));
        assert!(said.contains(words), "{said}");
    }
}

/// Every component's type that a configuration names, without what follows a slash.
fn types(config: &str) -> BTreeSet<String> {
    let config: Value = serde_saphyr::from_str(config).unwrap();
    let parts = ["extensions", "receivers", "processors", "exporters"];
    let names = parts.iter().flat_map(|part| config[part].as_object().unwrap().keys());
    names.map(|name| name.split('/').next().unwrap().to_owned()).collect()
}

#[test]
fn each_version_of_the_collector_gets_its_own_names() {
    let everything = [
        "--profile",
        "production",
        "--set",
        "collector.exporters.h.type=otlp_http,collector.exporters.h.endpoint=http://h,\
         collector.exporters.p.type=prometheus_remote_write,collector.exporters.p.endpoint=http://p,\
         collector.exporters.g.type=otlp_grpc,collector.exporters.g.endpoint=g:4317",
    ];
    // The first column is the version from which a component has the name of the third.
    let renamed = [
        ("0.144.0", "otlp_grpc", "otlp"),
        ("0.144.0", "otlp_http", "otlphttp"),
        ("0.146.0", "k8s_attributes", "k8sattributes"),
        ("0.153.0", "load_balancing", "loadbalancing"),
        ("0.155.0", "kubelet_stats", "kubeletstats"),
        ("0.154.0", "prometheus_remote_write", "prometheusremotewrite"),
        ("0.155.0", "resource_detection", "resourcedetection"),
    ];
    for version in
        ["0.130.0", "0.143.0", "0.144.0", "0.146.1", "0.152.0", "0.153.0", "0.155.0", "0.160.0", "0.161.0", "0.170.0"]
    {
        let set = format!("collector.version={version}");
        let configs = collectors(&[&everything[..], &["--set", &set]].concat());
        let mut types: BTreeSet<String> = configs.iter().flat_map(|(_, config)| types(config)).collect();
        // The receiver kept its name, which is the exporter's old one.
        types.remove("otlp");
        for (from, new, old) in renamed {
            let expected = if minor(version) >= minor(from) { new } else { old };
            if expected != "otlp" {
                assert!(types.contains(expected), "{version}: no {expected} in {types:?}");
            }
            let other = if expected == new { old } else { new };
            assert!(!types.contains(other), "{version}: {other} in {types:?}");
        }
        let batches = types.contains("batch");
        assert_eq!(batches, minor(version) < 144, "{version}: batches belong to the queue from 0.144 on");
    }
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).unwrap().parse().unwrap()
}

#[test]
fn own_telemetry_is_configured_as_the_version_reads_it() {
    for (version, reads) in
        [("0.122.0", "/service/telemetry/metrics/address"), ("0.123.0", "/service/telemetry/metrics/readers")]
    {
        let (_, config) = collectors(&["--set", &format!("collector.version={version}")]).remove(0);
        let config: Value = serde_saphyr::from_str(&config).unwrap();
        assert!(config.pointer(reads).is_some(), "{version}: {config}");
        let metrics = config.pointer("/service/telemetry/metrics").unwrap();
        assert_eq!(metrics.as_object().unwrap().len(), 1, "{version}: {metrics}");
    }
}
