//! The load that the chart brings, on a real collector by the real k6: short here, and long enough to pass or to fail.

use std::process::Command;

use otelmesh_e2e::otelcol::Running;
use otelmesh_e2e::rendered::{collectors, objects};
use otelmesh_e2e::tools::go_tool;

/// k6's own: a threshold was crossed.
const THRESHOLD_CROSSED: i32 = 99;

/// Runs the script of the rendered ConfigMap, and gives k6's exit code and all that it said.
fn load(endpoint: &str) -> (Option<i32>, String) {
    let rendered = objects(&["--set", "trials.load.enabled=true"]);
    let map = rendered.into_iter().find(|object| object["metadata"]["name"] == "otelmesh-load").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("load.js");
    std::fs::write(&script, map["data"]["load.js"].as_str().unwrap()).unwrap();
    let mut k6 = Command::new(go_tool("k6"));
    // The address of its own API would be taken by a second run.
    k6.args(["run", "--no-usage-report", "--address", "", "--quiet"]).arg(script);
    k6.env("ENDPOINT", endpoint).env("PEAK", "20").env("STAGE", "500ms").env("PATIENCE", "2");
    let output = k6.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_keeps_up_passes() {
    let collector = Running::start(&collectors(&[])[0].1).await;
    let endpoint = collector.http();
    let (code, said) = tokio::task::spawn_blocking(move || load(&endpoint)).await.unwrap();
    assert_eq!(code, Some(0), "{said}\n{}", collector.log());
    assert!(said.contains("is taken whole"), "{said}");
}

#[test]
fn a_collector_that_is_not_there_fails() {
    let (code, said) = load("http://127.0.0.1:1");
    assert_eq!(code, Some(THRESHOLD_CROSSED), "{said}");
}
