//! The chart rendered by the real Helm and by `otelmesh render`: the same objects, and the same values refused.

use std::fs;
use std::process::Command;

use otelmesh::chart::{Chart, Release};
use otelmesh::values::Sources;
use otelmesh_e2e::rendered::{INSTALLATIONS, NEEDED};
use otelmesh_e2e::tools::{go_tool, otelmesh, refused, root, run};
use serde_json::{Value, json};

const REGISTRY: &str = "filter.image.registry=registry.example.com:5000";

fn helm(args: &[&str]) -> Command {
    let mut command = Command::new(go_tool("helm"));
    command.current_dir(root()).args(args);
    command
}

/// The objects in rendered text, with what may differ taken away.
fn objects(text: &str, manager: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    for object in &mut objects {
        let labels = &mut object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/managed-by"], manager);
        labels["app.kubernetes.io/managed-by"] = json!("whoever rendered it");
        numbers(object);
        texts(object);
        let pod = &mut object["spec"]["template"]["metadata"];
        if pod.is_object() {
            pod["labels"]["app.kubernetes.io/managed-by"] = json!("whoever rendered it");
        }
        let claims = object["spec"].get_mut("volumeClaimTemplates").and_then(Value::as_array_mut);
        assert!(claims.into_iter().flatten().all(|claim| claim["metadata"].get("labels").is_none()));
    }
    objects.sort_by_key(|object| {
        ["kind", "/metadata/namespace", "/metadata/name"].map(|key| match key.strip_prefix('/') {
            Some(_) => object.pointer(key).map(Value::to_string),
            None => Some(object[key].to_string()),
        })
    });
    objects
}

/// What a ConfigMap holds as YAML or JSON is compared as such: the two write the same map in different words.
fn texts(object: &mut Value) {
    if object["kind"] != "ConfigMap" {
        return;
    }
    for (name, text) in object["data"].as_object_mut().unwrap() {
        if !name.ends_with(".yaml") && !name.ends_with(".json") {
            continue;
        }
        let source = text.as_str().unwrap();
        *text = serde_saphyr::from_str(source).unwrap_or_else(|e| panic!("{e}\n{source}"));
        numbers(text);
    }
}

/// 1, 1.0 and 1e+00 are one number to Kubernetes.
fn numbers(value: &mut Value) {
    match value {
        Value::Number(n) => *value = json!(n.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(numbers),
        Value::Object(map) => map.values_mut().for_each(numbers),
        _ => {}
    }
}

/// Renders with both.
fn both(values: &str, set: &[&str]) -> (Vec<Value>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    let mut args = vec!["-f", file.to_str().unwrap(), "--set", REGISTRY, "-n", "observability"];
    set.iter().for_each(|set| args.extend(["--set", set]));
    let theirs = run(helm(&["template", "mesh-a", "manifests"]).args(&args));
    let ours = run(otelmesh().args(["render", "--release-name", "mesh-a"]).args(&args));
    (objects(&theirs, "Helm"), objects(&ours, "otelmesh"))
}

#[test]
fn both_give_the_same_objects() {
    let vectors: &[(&str, &[&str], &str)] = &[
        ("", &[], "the defaults"),
        ("filter: {image: {tag: '1.10'}}", &[], "a tag that looks like a number"),
        ("", &["filter.image.tag=007"], "one that looks like an octal number"),
        (
            "filter: {image: {digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}}",
            &["filter.image.tag=x"],
            "a digest beside a tag",
        ),
        ("filter: {selector: {matchLabels: {app: shop, 'on': 'yes'}}}", &["filter.namespace=shop"], "a selector"),
        ("", &["filter.selector.matchLabels.app\\.kubernetes\\.io/name=shop"], "a label with dots"),
        (
            "filter: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}, {kind: Service, name: s}]}",
            &[],
            "references",
        ),
        ("", &["filter.targetRefs[0].kind=Service,filter.targetRefs[0].name=s"], "references by index"),
        ("{tracing: {telemetry: false}, mesh: {rootNamespace: mesh}}", &[], "no Telemetry"),
        ("tracing: {telemetry: no}", &[], "YAML 1.1, in which no is false"),
        ("filter: {priority: 1000000}", &[], "a number that Go writes with an exponent"),
        ("filter: {priority: 010}", &[], "a number that YAML 1.1 takes for eight"),
        ("filter: {priority: -5, phase: STATS, failStrategy: FAIL_RELOAD}", &[], "another place in the chain"),
        ("filter: {image: {pullPolicy: Always, pullSecret: regcred}}", &[], "a private registry"),
        ("filter: {hostEnv: []}", &[], "no variables from the proxy"),
        ("filter: {env: {OTEL_SERVICE_NAME: shop, POD_NAME: \"a\\\"b\\\\c\\u00e9\\n\"}}", &[], "a value to be quoted"),
        ("filter: {hostEnv: null, env: {}}", &["filter.hostEnv={A,B}"], "a list from an option over a null"),
        ("filter: {config: {exporter: null, sampling: null}}", &[], "keys of the chart taken away"),
        (
            "filter: {config: {exporter: {cluster: 'outbound|443||o.example', timeout: 5s, authority: o.example}}}",
            &[],
            "an exporter of one's own",
        ),
        (
            "filter: {config: {batch: {maxQueueBytes: 4194304}, sampling: {ratio: 1}, propagation: {extract: [b3], inject: []}}}",
            &[],
            "numbers and empty lists",
        ),
        (
            "filter: {config: {resource: {attributes: {a: 'yes', b: '1_000', c: '0x10', d: '1:30', e: '~', f: '=', g: \"x\\ny\", h: ' x', i: '', j: '0o7', k: '1e3', 'on': '<<'}}}}",
            &[],
            "strings that YAML 1.1 takes for something else",
        ),
        (
            "collector: {mode: none, name: c, namespace: obs, clusterDomain: example.internal}",
            &[],
            "a collector elsewhere",
        ),
        ("", &["mesh.istioVersion=1.30.1"], "a TrafficExtension"),
        ("", &["filter.delivery=envoyfilter,filter.config.resource.attributes.a=<b>&"], "an EnvoyFilter"),
        (
            "filter: {delivery: envoyfilter, ownCluster: true, selector: {matchLabels: {app: shop}}, env: {A: b}}",
            &["filter.image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
            "an EnvoyFilter that brings its cluster",
        ),
        (
            "{tracing: {mode: native, native: {environment: prod, samplingPercentage: 2.5, accessLogs: true}}}",
            &[],
            "Envoy's own tracing",
        ),
        ("collector: {mode: agent, kubeletMetrics: true, kubeletInsecureSkipVerify: true}", &[], "agents"),
        ("collector: {mode: agent-gateway, version: 0.120.0, preset: large}", &["collector.podSecurity="], "old names"),
        (
            "collector: {exporters: {j: {type: otlp_grpc, endpoint: 'j:4317', config: {tls: {insecure: true}, \
             sending_queue: {enabled: false, batch: null}}}, d: {type: debug, signals: [logs]}}, \
             config: {gateway: {processors: {memory_limiter: {limit_percentage: 70}}, service: {telemetry: {logs: {level: warn}}}}}}",
            &[],
            "exporters and a configuration laid over",
        ),
        (
            "{collector: {mode: agent-gateway, clusterMetrics: true, sampling: {mode: tail, percentage: 0.5}, gateway: \
             {persistence: {enabled: true}, autoscaling: {enabled: true, acceptedSpansPerPod: 5000}, antiAffinity: hard}}, \
             filter: {config: {sampling: {ratio: 1}}}}",
            &[],
            "whole traces",
        ),
    ];
    for (values, set, reason) in vectors {
        let (theirs, ours) = both(values, set);
        assert!(!theirs.is_empty());
        assert_eq!(ours, theirs, "{reason}: {values} {set:?}; right is Helm's");
    }
}

#[test]
fn both_refuse_the_same_values() {
    for (set, reason) in [
        ("filter.image.registry=", "no registry"),
        ("filter.image.tagg=1", "an unknown key"),
        ("filter.image.digest=sha256:0", "half a digest"),
        ("filter.config.sampling.rate=1", "a key that the filter does not know"),
        ("filter.config.sampling.ratio=2", "more than all"),
        ("filter.config.batch.scheduleDelay=1", "a duration without a unit"),
        ("filter.config.propagation.extract={w3c}", "no propagator's name"),
        ("filter.failStrategy=FAIL_CLOSE", "denied traffic"),
        ("filter.phase=FIRST", "no phase"),
        ("filter.image.pullPolicy=Never", "no policy of Istio"),
        ("collector.name=", "no collector"),
        ("mesh.istioVersion=latest", "no version"),
        ("tracing.mode=both", "each writes the headers"),
        ("traffic.timeout=10", "a duration without a unit"),
        ("collector.podSecurity=strict", "no level"),
        ("collector.version=1.0", "no version of a collector"),
        ("collector.gateway.replicas=0", "no gateway"),
        ("collector.gateway.autoscaling.cpu=101", "more than all"),
        ("collector.gateway.persistence.size=10", "bytes are not enough"),
        ("collector.sampling.percentage=101", "more than all"),
        ("collector.exporters.a.type=otlp", "the old name"),
        ("collector.exporters.a.kind=debug", "a key that is none"),
        ("collector.image.digest=latest", "no digest"),
        ("collector.external.enabled=true", "open to all"),
        ("security.mtls=ON", "no mode"),
        ("security.plaintextPorts={70000}", "no port"),
        ("filter.delivery=envoyfilter,filter.image.pullSecret=s", "an EnvoyFilter knows none"),
        ("demo.enabled=true", "nothing to run"),
        ("trials.load.requestsPerSecond=0", "no load"),
        ("collector=null", "no collector at all"),
        ("filter.image={a,b,c,d,e,f}", "a list for a map"),
        ("filter.targetRefs[0][0]=g", "a list for a reference"),
        ("filter.targetRefs[0].kindd=g", "half a reference"),
        ("filter.selector.matchLabels.a=b,filter.targetRefs[0].kind=K,filter.targetRefs[0].name=n", "both at once"),
    ] {
        let set = format!("{REGISTRY},{set}");
        let theirs = refused(helm(&["template", "x", "manifests"]).args(["--set", &set]));
        assert!(theirs.contains("Error:"), "{reason}: {theirs}");
        let ours = refused(otelmesh().args(["render", "--set", &set]));
        assert!(ours.starts_with("otelmesh: wrong values:"), "{reason}: {ours}");
    }
}

/// Values files and options as both know them; a profile is a values file to Helm.
fn installation(args: &[&str]) -> (Vec<String>, Vec<String>) {
    let ours: Vec<_> = ["-n", "observability", "--set", NEEDED].iter().chain(args).map(ToString::to_string).collect();
    let mut theirs = ours.clone();
    if let Some(at) = theirs.iter().position(|arg| arg == "--profile") {
        theirs[at] = "-f".to_owned();
        theirs[at + 1] = format!("manifests/values-{}.yaml", theirs[at + 1]);
    }
    (ours, theirs)
}

#[test]
fn both_give_the_same_objects_for_every_installation() {
    for (reason, args) in INSTALLATIONS {
        let (ours, theirs) = installation(args);
        let theirs = objects(&run(helm(&["template", "mesh-a", "manifests"]).args(theirs)), "Helm");
        let ours = objects(&run(otelmesh().args(["render", "--release-name", "mesh-a"]).args(ours)), "otelmesh");
        assert_eq!(ours.len(), theirs.len(), "{reason}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{reason}; right is Helm's");
        }
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for (reason, args) in INSTALLATIONS {
        let said = run(helm(&["lint", "--strict", "manifests"]).args(installation(args).1));
        assert!(said.contains("0 chart(s) failed"), "{reason}: {said}");
    }
}

#[test]
fn helm_renders_what_a_cluster_with_traffic_extensions_takes() {
    let args = ["template", "x", "manifests", "--set", REGISTRY, "-a", "extensions.istio.io/v1alpha1/TrafficExtension"];
    let theirs = objects(&run(&mut helm(&args)), "Helm");
    let apis = vec!["extensions.istio.io/v1alpha1/TrafficExtension".to_owned()];
    let chart = Chart::embedded().unwrap().for_apis(apis);
    let sources = Sources { set: vec![REGISTRY.to_owned()], ..Sources::default() };
    let release = Release { name: "x".to_owned(), namespace: "default".to_owned() };
    let ours = chart.render(&sources.merge(chart.defaults()).unwrap(), &release).unwrap();
    for kinds in [
        theirs.iter().map(|o| o["kind"].as_str().unwrap()).collect(),
        ours.iter().map(|o| o.kind()).collect::<Vec<_>>(),
    ] {
        assert!(kinds.contains(&"TrafficExtension") && !kinds.contains(&"WasmPlugin"), "{kinds:?}");
    }
}

#[test]
fn helm_prints_the_notes_that_we_print() {
    let dry = ["install", "mesh-a", "manifests", "--dry-run=client", "--set", REGISTRY, "-n", "observability"];
    let said = run(&mut helm(&dry));
    let chart = Chart::embedded().unwrap();
    let sources = Sources { set: vec![REGISTRY.to_owned()], ..Sources::default() };
    let release = Release { name: "mesh-a".to_owned(), namespace: "observability".to_owned() };
    let notes = chart.notes(&sources.merge(chart.defaults()).unwrap(), &release).unwrap();
    assert!(said.contains(notes.trim()), "{said}\ndoes not hold\n{notes}");
}
