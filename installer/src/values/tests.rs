//! What the chart's files say about values must be what the types say.

use serde_json::json;

use super::*;
use crate::chart::Chart;

const REGISTRY: &str = "filter.image.registry=registry.example.com";

fn read(set: &[&str]) -> Result<Values, ValuesError> {
    let set = [REGISTRY].iter().chain(set).map(|s| (*s).to_owned()).collect();
    let merged = Sources { set, ..Sources::default() }.merge(Chart::embedded().unwrap().defaults()).unwrap();
    Values::read(&merged)
}

/// What is wrong, line by line.
fn wrong(set: &[&str]) -> Vec<String> {
    read(set).expect_err("these values were accepted").0
}

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/values.schema.json");

#[test]
fn the_schema_in_the_chart_is_generated_from_the_types() {
    if std::env::var_os("OTELMESH_UPDATE").is_some() {
        std::fs::write(SCHEMA, serde_json::to_string_pretty(&schema()).unwrap() + "\n").unwrap();
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(SCHEMA).unwrap()).unwrap();
    assert!(
        written == schema(),
        "manifests/values.schema.json is old; run OTELMESH_UPDATE=1 cargo test -p otelmesh and look at what changed"
    );
}

#[test]
fn the_charts_defaults_lack_nothing_but_a_registry() {
    let defaults = Chart::embedded().unwrap().defaults().clone();
    assert_eq!(
        Values::read(&defaults).unwrap_err().0,
        ["filter.image.registry: is empty; push the filter with `otelmesh image push`, then name its registry"]
    );
    let values = read(&[]).unwrap();
    let written = serde_json::to_value(&values).unwrap();
    let mut expected = defaults;
    expected["filter"]["image"]["registry"] = json!("registry.example.com");
    assert_eq!(written, expected, "values.yaml says what no type knows, or the other way round");
}

#[test]
fn the_schema_describes_every_key_of_values_yaml() {
    fn compare(schema: &Value, value: &Value, path: &str) {
        if let (Some(properties), Some(map)) = (schema["properties"].as_object(), value.as_object()) {
            for (key, value) in map {
                let property = properties.get(key).unwrap_or_else(|| panic!("{path}.{key} is not in the schema"));
                assert!(property["description"].is_string(), "{path}.{key} has no description");
                compare(property, value, &format!("{path}.{key}"));
            }
        }
    }
    compare(&schema(), Chart::embedded().unwrap().defaults(), "");
}

#[test]
fn each_wrong_key_is_named_with_what_it_must_be() {
    let digest = format!("filter.image.digest=sha256:{}", "A".repeat(64));
    let long = format!("filter.env.LONG={}", "x".repeat(2049));
    let vectors: &[(&[&str], &str, &str)] = &[
        (&["filter.image.registry=https://r"], "filter.image.registry", "a URL is no registry"),
        (&["filter.image.registry=registry"], "filter.image.registry", "it would be pulled from Docker's registry"),
        (&["filter.image.repository=f"], "filter.image.repository", "Istio's agent wants two letters"),
        (&["filter.image.registry=r.example/"], "filter.image.registry", "it would give r//repository"),
        (&["filter.image.repository=Otelmesh"], "filter.image.repository", "registries refuse upper case"),
        (&["filter.image.repository=a:b"], "filter.image.repository", "the tag has a key of its own"),
        (&["filter.image.tag=a b"], "filter.image.tag", "no such tag can be"),
        (&[&digest], "filter.image.digest", "the agent compares lower-case digits"),
        (&["filter.image.digest=latest"], "filter.image.digest", "a tag is no digest"),
        (&["filter.image.pullPolicy=Never"], "filter.image.pullPolicy", "Kubernetes has it, Istio has not"),
        (&["filter.namespace=Kube_System"], "filter.namespace", "no namespace"),
        (&["mesh.rootNamespace="], "mesh.rootNamespace", "then the objects have no namespace"),
        (&["collector.name=a.b"], "collector.name", "no Service is called so"),
        (&["collector.clusterDomain="], "collector.clusterDomain", "no DNS domain"),
        (&["filter.failStrategy=FAIL_CLOSE"], "filter.failStrategy", "telemetry must not deny traffic"),
        (&["filter.priority=2147483648"], "filter.priority", "more than Istio's int32"),
        (&["filter.selector.matchLabels.app=*"], "filter.selector.matchLabels", "Istio's CRD forbids wildcards"),
        (&["filter.selector.app=shop"], "filter.selector.app", "a label outside matchLabels selects nothing"),
        (&["filter.targetRefs[0].kind=Gateway"], "filter.targetRefs[0]", "a reference needs a name"),
        (&["filter.hostEnv={A,A}"], "filter.hostEnv", "Envoy refuses a variable twice"),
        (&["filter.env.A\\=B=1"], "filter.env", "no variable is called so"),
        (&[&long], "filter.env.LONG", "longer than Istio takes"),
        (&["filter.config.sampling.ratio=1.5"], "filter.config.sampling.ratio", "a part of one"),
        (&["filter.config.sampling.rate=1"], "filter.config.sampling.rate", "the filter would switch itself off"),
        (&["filter.config.batch.maxInFlight=0"], "filter.config.batch.maxInFlight", "nothing would be exported"),
        (&["filter.config.batch={1s,2}"], "filter.config.batch", "a list is no map"),
        (&["filter.targetRefs[0][0]=g"], "filter.targetRefs[0]", "a list is no map here either"),
        (&["nonsense=1"], "nonsense", "no such key"),
        (&["mesh.istioVersion=latest,tracing.mode=zipkin"], "tracing.mode", "no such mode"),
        (&["filter.delivery=envoyfilter,filter.image.pullSecret=s"], "filter.image.pullSecret", "it knows none"),
        (&["collector.version=0.100.0"], "collector.version", "its own telemetry is configured otherwise"),
        (&["collector.version=0.120.0,collector.clusterMetrics=true"], "collector.version", "without leases"),
        (&["collector.corsAllowedOrigins={*}"], "collector.corsAllowedOrigins", "every page on the web"),
        (&["collector.kubeletMetrics=true"], "collector.kubeletMetrics", "a gateway is not on every node"),
        (&["collector.gateway.autoscaling.minReplicas=11"], "collector.gateway.autoscaling.minReplicas", "over ten"),
        (&["collector.sampling.mode=probabilistic"], "collector.sampling.mode", "10 % of 10 % is 1 %"),
        (
            &["collector.sampling.mode=tail,filter.config.sampling.ratio=1"],
            "collector.sampling.mode",
            "two gateways would each see half of a trace",
        ),
        (&["collector.exporters.j.type=otlp_grpc"], "collector.exporters.j.endpoint", "it goes nowhere"),
        (
            &["collector.exporters.l.type=otlp_http,collector.exporters.l.endpoint=loki:3100"],
            "collector.exporters.l.endpoint",
            "a URL has a scheme",
        ),
        (&["collector.external.enabled=true"], "collector.external.enabled", "open to all"),
        (&["security.allow.namespaces={shop}"], "security.mtls", "nobody would enforce it"),
        (&["security.mtls=STRICT,collector.mode=none"], "security.mtls", "not ours to protect"),
        (&["security.mtls=STRICT,security.allow.serviceAccounts={shop}"], "security.allow.serviceAccounts", "no name"),
        (&["security.networkPolicy.backends[0].ports={443}"], "security.networkPolicy.backends[0]", "nowhere"),
        (&["demo.enabled=true"], "demo.image", "nothing to run"),
    ];
    for (set, key, reason) in vectors {
        let lines = wrong(set);
        assert!(lines.len() == 1 && lines[0].starts_with(key), "{set:?} ({reason}) gave {lines:?}");
    }
}

#[test]
fn all_wrong_values_are_told_at_once() {
    let lines = wrong(&["filter.image.digest=x,filter.config.sampling.ratio=2,filter.namespace=A"]);
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn a_selector_and_references_exclude_each_other() {
    let lines =
        wrong(&["filter.selector.matchLabels.a=b,filter.targetRefs[0].kind=Gateway,filter.targetRefs[0].name=g"]);
    assert!(lines[0].starts_with("filter.targetRefs: is set together with filter.selector"), "{lines:?}");
}

#[test]
fn a_key_that_null_took_away_is_missed_where_it_is_needed() {
    assert_eq!(wrong(&["collector.name=null"]), ["collector: missing field `name`; null is no value for it"]);
    read(&["filter.config.sampling=null"]).unwrap();
    read(&["filter.config.exporter=null"]).unwrap();
}

#[test]
fn the_collectors_service_does_not_matter_where_a_cluster_is_named() {
    read(&["filter.config.exporter.cluster=outbound|443||otlp.example.com,collector.mode=none,collector.name="])
        .unwrap();
}
