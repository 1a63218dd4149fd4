//! The real collector has the last word on its configuration, before anything is written.

use otelmesh_e2e::tools::{go_tool, refused, run};
use serde_json::Value;

use crate::cluster::Cluster;

const BROKEN: &str = ",collector.config.gateway.processors.memory_limiter.check_intervall=1s";

#[test]
fn a_configuration_that_the_real_collector_refuses_is_never_applied() {
    let cluster = Cluster::new("judged");
    let apply = |command: &str, set: &str| {
        let mut apply = cluster.command(&[command, "--yes", "--wait=false"]);
        apply.arg("--set").arg(format!("{}{set}", cluster.whole())).arg("--otelcol").arg(go_tool("otelcol"));
        apply
    };
    let refuses = |said: &str| {
        assert!(said.contains("refuses config.yaml of ConfigMap otel-collector-gateway"), "{said}");
        assert!(said.contains("invalid keys: check_intervall"), "in the collector's own words: {said}");
    };
    refuses(&refused(&mut apply("install", BROKEN)));
    assert_eq!(cluster.server.writes("judged"), [""; 0], "the API server heard of nothing");

    run(&mut apply("install", ""));
    let config = || cluster.get(&["configmap", "otel-collector-gateway", "-n", "judged"])["data"].clone();
    let good = config();
    assert_ne!(good, Value::Null);
    let written = cluster.server.writes("judged");
    assert!(written.len() > 5, "{written:?}");

    refuses(&refused(&mut apply("upgrade", BROKEN)));
    assert_eq!(cluster.server.writes("judged"), written);
    assert_eq!((config(), cluster.revisions()), (good, vec!["1".to_owned()]));
}

#[test]
fn the_real_collector_takes_every_profile_outside_of_a_pod() {
    let cluster = Cluster::new("profiles-judged");
    for profile in ["demo", "agent", "gateway", "production"] {
        let mut install = cluster.command(&["install", "--dry-run", "--profile", profile]);
        install.arg("--set").arg(format!(
            "{},demo.image=app,demo.namespace=demo-judged,collector.secretEnv.TOKEN.name=backend,\
             collector.secretEnv.TOKEN.key=token",
            cluster.whole()
        ));
        let said = run(install.arg("--otelcol").arg(go_tool("otelcol")));
        assert!(said.contains("to create"), "{profile}: {said}");
    }
}
