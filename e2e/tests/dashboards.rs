//! Dashboards and rules ask for metrics that exist: a real collector's, the filter's, and what Istio documents.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use otelmesh_e2e::otelcol::Running;
use otelmesh_e2e::rendered::{collectors, objects};
use otelmesh_e2e::tools::{go_tool, run};
use otelmesh_filter::stats::names;
use serde_json::{Value, json};

/// Istio's standard metrics, which its proxies alone serve, what Prometheus says of every target, and an Envoy's own that
/// Istio's default statistics hold.
const DOCUMENTED: [&str; 5] = [
    "istio_requests_total",
    "istio_request_duration_milliseconds_bucket",
    "up",
    "envoy_listener_manager_total_listeners_active",
    "envoy_server_concurrency",
];
const WORDS: [&str; 21] = [
    "sum",
    "max",
    "count",
    "by",
    "on",
    "or",
    "unless",
    "rate",
    "increase",
    "absent",
    "histogram_quantile",
    "le",
    "and",
    "min",
    "avg",
    "without",
    "ignoring",
    "label_values",
    "bool",
    "offset",
    "clamp_min",
];

/// A query's metrics: its words without labels, strings, functions and what follows `by`.
fn metrics(query: &str) -> BTreeSet<String> {
    let mut bare = String::new();
    let mut depth = 0;
    for c in query.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            c if depth == 0 => bare.push(c),
            _ => {}
        }
    }
    for grouping in ["by (", "on ("] {
        while let Some(start) = bare.find(grouping) {
            let end = start + bare[start..].find(')').unwrap();
            bare.replace_range(start..=end, " ");
        }
    }
    let words = bare.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()) && !WORDS.contains(word))
        .map(str::to_owned)
        .collect()
}

fn monitored() -> Vec<Value> {
    objects(&["--profile", "production"])
}

/// Every query of the dashboards, with where it stands.
fn panels() -> Vec<(String, String)> {
    let dashboards = monitored().into_iter().filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1");
    let mut queries = Vec::new();
    for map in dashboards {
        for text in map["data"].as_object().unwrap().values() {
            let dashboard: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
            let title = &dashboard["title"];
            for panel in dashboard["panels"].as_array().unwrap() {
                for target in panel["targets"].as_array().unwrap() {
                    queries.push((format!("{title}, {}", panel["title"]), target["expr"].as_str().unwrap().to_owned()));
                }
            }
            for variable in dashboard["templating"]["list"].as_array().unwrap() {
                if let Some(query) = variable["query"].as_str().and_then(|q| q.strip_prefix("label_values(")) {
                    queries.push((format!("{title}, variable"), query.split(',').next().unwrap().to_owned()));
                }
            }
        }
    }
    queries
}

/// Every rule's name, if it records, and its query.
fn rules() -> Vec<(Option<String>, String)> {
    let rule = monitored().into_iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let groups = rule["spec"]["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| (rule["record"].as_str().map(str::to_owned), rule["expr"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn every_query_names_a_metric_that_exists() {
    let collector = Running::start(&collectors(&[])[0].1).await;
    let items = ["spans", "metric_points", "log_records"];
    let failed = |known: &BTreeSet<String>| {
        items.iter().all(|item| known.contains(&format!("otelcol_exporter_send_failed_{item}_total")))
    };
    let mut known = collector.until("it counts failed exports of each kind", failed).await;
    known.extend(names().chain(DOCUMENTED).map(str::to_owned));
    let rules = rules();
    known.extend(rules.iter().filter_map(|(name, _)| name.clone()));
    let queries = panels().into_iter().chain(rules.into_iter().map(|(_, query)| ("a rule".to_owned(), query)));
    let mut count = 0;
    for (place, query) in queries {
        let metrics = metrics(&query);
        assert!(!metrics.is_empty(), "{place} asks for nothing: {query}");
        let unknown: Vec<_> = metrics.difference(&known).collect();
        assert!(unknown.is_empty(), "{place} asks for {unknown:?}, which nothing serves: {query}");
        count += 1;
    }
    assert!(count > 50, "only {count} queries were found");
}

#[test]
fn whatever_the_filter_loses_counts_as_dropped() {
    let rules = rules();
    let dropped = rules.iter().filter(|(name, _)| name.as_deref() == Some("otelmesh:filter_dropped:rate5m"));
    let counted: BTreeSet<String> = dropped.flat_map(|(_, query)| metrics(query)).collect();
    let is_loss = |name: &&str| {
        ["otelmesh_spans_", "otelmesh_logs_"].iter().any(|signal| {
            name.strip_prefix(signal).is_some_and(|what| what.starts_with("dropped_") || what == "rejected")
        })
    };
    assert_eq!(counted, names().filter(is_loss).map(str::to_owned).collect());
}

#[test]
fn what_becomes_of_records_and_of_workers_is_on_the_filters_dashboard() {
    let shown: BTreeSet<String> = panels().iter().flat_map(|(_, query)| metrics(query)).collect();
    let signals = ["otelmesh_spans_", "otelmesh_logs_", "otelmesh_data_points_"];
    let wanted = names().filter(|name| {
        signals.iter().any(|signal| name.starts_with(signal))
            || ["otelmesh_panics", "otelmesh_heartbeats"].contains(name)
    });
    let missing: Vec<_> = wanted.filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn what_is_asked_of_envoys_themselves_is_kept_when_they_are_scraped() {
    let monitor = monitored().into_iter().find(|object| object["kind"] == "PodMonitor").unwrap();
    let kept = monitor["spec"]["podMetricsEndpoints"][0]["metricRelabelings"][0]["regex"].as_str().unwrap().to_owned();
    let queries = panels().into_iter().map(|(_, query)| query).chain(rules().into_iter().map(|(_, query)| query));
    let asked: BTreeSet<String> =
        queries.flat_map(|query| metrics(&query)).filter(|metric| metric.starts_with("envoy_")).collect();
    assert_eq!(asked.len(), 2);
    for metric in asked {
        assert!(kept.split('|').any(|name| name == metric), "{kept} leaves out {metric}");
    }
}

#[test]
fn prometheus_reads_every_query_of_the_dashboards() {
    let rules: Vec<_> = panels()
        .into_iter()
        .enumerate()
        .map(|(i, (_, query))| json!({"record": format!("panel:{i}"), "expr": query.replace("$__rate_interval", "5m")}))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("panels.yaml"), json!({"groups": [{"name": "panels", "rules": rules}]}).to_string())
        .unwrap();
    run(Command::new(go_tool("promtool")).args(["check", "rules", "panels.yaml"]).current_dir(dir.path()));
}

#[test]
fn metrics_are_found_in_queries() {
    for (query, expected) in [
        ("sum by (a, b) (rate(x_total{le=\"5\"}[5m])) / (y > 0)", vec!["x_total", "y"]),
        ("up{job=\"a\"} == 1 unless on (namespace, pod) z:rate5m", vec!["up", "z:rate5m"]),
    ] {
        assert_eq!(metrics(query), expected.into_iter().map(str::to_owned).collect(), "{query}");
    }
}
