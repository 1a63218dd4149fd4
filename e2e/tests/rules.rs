//! Alerts and recording rules, judged by the real promtool: each alert fires when it should and is silent when it should
//! be, and leads to a page that says what to do.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use otelmesh_e2e::rendered::objects;
use otelmesh_e2e::tools::{go_tool, refused, root, run};
use serde_json::Value;

const TESTS: &str = "e2e/tests/rules/alerts.test.yaml";
const RUNBOOKS: &str = "manifests/RUNBOOKS.md";

/// The rules of the production profile, with the page of the runbooks told by a word.
fn rules() -> Value {
    let rendered = objects(&["--profile", "production", "--set", "monitoring.runbookUrl=RUNBOOK_URL"]);
    rendered.into_iter().find(|object| object["kind"] == "PrometheusRule").unwrap()["spec"].take()
}

fn alerts(rules: &Value) -> Vec<&Value> {
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap()).filter(|rule| rule["alert"].is_string()).collect()
}

fn promtool(args: &[&str], rules: &Value, tests: &str) -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rules.yaml"), rules.to_string()).unwrap();
    fs::write(dir.path().join("tests.yaml"), tests).unwrap();
    let mut promtool = Command::new(go_tool("promtool"));
    promtool.args(args).current_dir(dir.path());
    (dir, promtool)
}

fn tests() -> String {
    fs::read_to_string(root().join(TESTS)).unwrap()
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let (_dir, mut command) = promtool(&["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"], &rules(), "");
    let said = run(&mut command);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let (_dir, mut command) = promtool(&["test", "rules", "tests.yaml"], &rules(), &tests());
    run(&mut command);
}

#[test]
fn a_threshold_that_moved_would_be_found() {
    for (from, to) in [
        ("> 0.8", "> 0.95"),
        ("> 0.05", "> 0.001"),
        ("for\":\"10m", "for\":\"60m"),
        ("unless on", "and on"),
        ("> 0.5\"", "> 1\""),
        (" - otelmesh_panics", ""),
        ("and rate(otelmesh_heartbeats[5m]) > 0", ""),
        ("for\":\"10m", "for\":\"4m"),
    ] {
        assert!(rules().to_string().contains(from), "no rule says {from}");
        let moved = rules().to_string().replace(from, to);
        let (_dir, mut command) =
            promtool(&["test", "rules", "tests.yaml"], &serde_json::from_str(&moved).unwrap(), &tests());
        assert!(refused(&mut command).contains("FAILED"), "{from} became {to}, and no test failed");
    }
}

#[test]
fn every_alert_is_tested_both_ways() {
    let tests: Value = serde_saphyr::from_str(&tests()).unwrap();
    let vectors =
        || tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let tested = |fires: bool| -> BTreeSet<&str> {
        let chosen = vectors().filter(|vector| vector["exp_alerts"].as_array().unwrap().is_empty() != fires);
        chosen.map(|vector| vector["alertname"].as_str().unwrap()).collect()
    };
    let rules = rules();
    let named: BTreeSet<&str> = alerts(&rules).iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert!(named.len() >= 9);
    assert_eq!(tested(true), named, "these fire in a test");
    assert_eq!(tested(false), named, "these are silent in a test");
}

#[test]
fn every_alert_leads_to_its_heading_in_the_runbooks_and_every_heading_has_its_alert() {
    let rules = rules();
    let links: BTreeSet<String> =
        alerts(&rules).iter().map(|alert| alert["annotations"]["runbook_url"].as_str().unwrap().to_owned()).collect();
    let text = fs::read_to_string(root().join(RUNBOOKS)).unwrap();
    let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    let anchors: BTreeSet<String> = headings.map(|heading| format!("RUNBOOK_URL#{}", heading.to_lowercase())).collect();
    assert_eq!(links, anchors);
    let default = fs::read_to_string(root().join("manifests/values.yaml")).unwrap();
    assert!(default.contains(&format!("/{RUNBOOKS}\n")), "monitoring.runbookUrl leads to another file");
}
