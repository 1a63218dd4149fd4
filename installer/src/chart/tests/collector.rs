//! The collector's objects: the traps that each of them avoids.

use serde_json::{Value, json};

use super::{render, spec};
use crate::chart::Object;

const REGISTRY: &str = "filter.image.registry=r.example";
const BOTH: &str = "collector.mode=agent-gateway";

fn objects(set: &[&str]) -> Vec<Object> {
    render(&[&[REGISTRY], set].concat()).unwrap()
}

fn named<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|o| o.kind() == kind && o.name() == name);
    &found.unwrap_or_else(|| panic!("no {kind} {name}")).value
}

fn config(set: &[&str], tier: &str) -> Value {
    let objects = objects(set);
    let map = named(&objects, "ConfigMap", &format!("otel-collector-{tier}"));
    serde_saphyr::from_str(map["data"]["config.yaml"].as_str().unwrap()).unwrap()
}

/// The pod templates of all collectors.
fn pods(set: &[&str]) -> Vec<Value> {
    let objects = objects(set);
    let pods = objects.iter().filter(|o| ["DaemonSet", "Deployment", "StatefulSet"].contains(&o.kind()));
    pods.map(|o| o.value["spec"]["template"].clone()).collect()
}

#[test]
fn probes_ask_what_the_configuration_opens() {
    for tier in ["agent", "gateway"] {
        let config = config(&[BOTH], tier);
        assert_eq!(config["extensions"]["health_check"]["endpoint"], "${env:MY_POD_IP}:13133");
        assert!(config["service"]["extensions"].as_array().unwrap().contains(&json!("health_check")));
    }
    for pod in pods(&[BOTH]) {
        let container = &pod["spec"]["containers"][0];
        assert!(container["ports"].as_array().unwrap().contains(&json!({"name": "health", "containerPort": 13133})));
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"], json!({"path": "/", "port": "health"}), "{probe}");
        }
    }
}

#[test]
fn memory_is_limited_first_and_below_what_the_kernel_allows() {
    for (set, memory, go) in [
        ("collector.preset=small", "256Mi", "204MiB"),
        ("collector.preset=large", "4096Mi", "3276MiB"),
        ("collector.agent.memory=500,collector.gateway.memory=500", "500Mi", "400MiB"),
    ] {
        for pod in pods(&[BOTH, set]) {
            let container = &pod["spec"]["containers"][0];
            assert_eq!(container["resources"]["limits"], json!({"memory": memory}), "{set}");
            let env = container["env"].as_array().unwrap();
            assert!(env.contains(&json!({"name": "GOMEMLIMIT", "value": go})), "{set}");
        }
    }
    for tier in ["agent", "gateway"] {
        for pipeline in config(&[BOTH], tier)["service"]["pipelines"].as_object().unwrap().values() {
            assert_eq!(pipeline["processors"][0], "memory_limiter");
        }
    }
}

#[test]
fn every_pod_may_run_where_pods_are_restricted() {
    for pod in pods(&[BOTH, "collector.gateway.persistence.enabled=true"]) {
        let spec = &pod["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &spec["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
        let volumes = spec["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|volume| volume.get("hostPath").is_none()), "{volumes:?}");
        assert!(spec.get("hostNetwork").is_none());
    }
}

#[test]
fn the_clusters_metrics_are_collected_by_one_pod_at_a_time() {
    for (mode, tier) in [("agent", "agent"), ("gateway", "gateway"), ("agent-gateway", "gateway")] {
        let set = format!("collector.mode={mode},collector.clusterMetrics=true");
        let config = config(&[&set], tier);
        let elector = &config["receivers"]["k8s_cluster"]["k8s_leader_elector"];
        assert_eq!(elector, "k8s_leader_elector", "{mode}");
        let lease = config["extensions"]["k8s_leader_elector"]["lease_name"].clone();
        assert!(config["service"]["extensions"].as_array().unwrap().contains(elector), "{mode}");
        let objects = objects(&[&set]);
        let role = named(&objects, "Role", &format!("otel-collector-{tier}"));
        assert_eq!(role["rules"][0]["resourceNames"], json!([lease]), "{mode}");
        let electors = objects.iter().filter(|o| o.kind() == "ConfigMap" && o.text.contains("k8s_cluster:")).count();
        assert_eq!(electors, 1, "{mode}: more than one tier collects");
    }
}

#[test]
fn a_kubelet_is_trusted_by_its_certificate_unless_told() {
    let kubelet = |set: &str| {
        config(&["collector.mode=agent,collector.kubeletMetrics=true", set], "agent")["receivers"]["kubelet_stats"]
            .clone()
    };
    let strict = kubelet("collector.kubeletInsecureSkipVerify=false");
    assert!(strict["ca_file"].is_string() && strict.get("insecure_skip_verify").is_none());
    assert_eq!(kubelet("collector.kubeletInsecureSkipVerify=true")["insecure_skip_verify"], true);
}

#[test]
fn roles_allow_what_is_in_use_and_no_more() {
    let rules = |set: &str, name: &str| named(&objects(&[set]), "ClusterRole", name)["rules"].as_array().unwrap().len();
    assert_eq!(rules("collector.mode=gateway", "otelmesh-otel-collector-gateway"), 2);
    assert_eq!(rules("collector.mode=agent,collector.kubeletMetrics=true", "otelmesh-otel-collector-agent"), 3);
    let objects = objects(&[BOTH]);
    assert!(!objects.iter().any(|o| o.kind() == "ClusterRole" && o.name().ends_with("-gateway")), "it asks nothing");
    for object in objects.iter().filter(|o| o.kind() == "ClusterRole") {
        for rule in object.value["rules"].as_array().unwrap() {
            let verbs = rule["verbs"].as_array().unwrap();
            assert!(verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str().unwrap())), "{rule}");
        }
    }
}

#[test]
fn a_volume_makes_a_stateful_set_and_keeps_the_queue() {
    let with = objects(&["collector.gateway.persistence.enabled=true"]);
    let set = named(&with, "StatefulSet", "otel-collector-gateway");
    assert_eq!(set["spec"]["serviceName"], "otel-collector-gateway");
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(named(&with, "Service", "otel-collector-gateway")["spec"]["clusterIP"], "None");
    assert_eq!(set["spec"]["template"]["spec"]["securityContext"]["fsGroup"], 10001);
    let jaeger = "collector.exporters.j.type=otlp_grpc,collector.exporters.j.endpoint=j:4317";
    let config = config(&["collector.gateway.persistence.enabled=true", jaeger], "gateway");
    assert_eq!(config["exporters"]["otlp_grpc/j"]["sending_queue"]["storage"], "file_storage");
    assert!(config["service"]["extensions"].as_array().unwrap().contains(&json!("file_storage")));
    named(&objects(&[]), "Deployment", "otel-collector-gateway");
}

#[test]
fn what_scales_by_itself_has_no_number_and_is_no_daemon_set() {
    for (persistent, kind) in [("false", "Deployment"), ("true", "StatefulSet")] {
        let set =
            format!("collector.gateway.autoscaling.enabled=true,collector.gateway.persistence.enabled={persistent}");
        let objects = objects(&[BOTH, &set]);
        assert_eq!(spec(&[BOTH, &set], "HorizontalPodAutoscaler")["scaleTargetRef"]["kind"], kind);
        assert!(named(&objects, kind, "otel-collector-gateway")["spec"].get("replicas").is_none());
    }
    assert!(
        !objects(&["collector.mode=agent,collector.gateway.autoscaling.enabled=true"])
            .iter()
            .any(|o| o.kind() == "HorizontalPodAutoscaler")
    );
}

#[test]
fn traces_are_sampled_in_one_place() {
    for (mode, sampler, at) in [
        ("agent", "probabilistic", "agent"),
        ("gateway", "probabilistic", "gateway"),
        ("agent-gateway", "probabilistic", "agent"),
        ("agent-gateway", "tail", "gateway"),
    ] {
        let set = format!("collector.mode={mode},collector.sampling.mode={sampler}");
        let tiers: Vec<_> = ["agent", "gateway"].into_iter().filter(|tier| mode.contains(tier)).collect();
        let sampling: Vec<_> =
            tiers.into_iter().filter(|tier| config(&[&set], tier).to_string().contains("_sampl")).collect();
        assert_eq!(sampling, [at], "{mode}, {sampler}");
    }
    let agent = config(&[BOTH, "collector.sampling.mode=tail"], "agent");
    assert_eq!(agent["service"]["pipelines"]["traces"]["exporters"], json!(["load_balancing/gateway"]));
    assert_eq!(agent["exporters"]["load_balancing/gateway"]["routing_key"], "traceID");
    assert_eq!(agent["service"]["pipelines"]["logs"]["exporters"], json!(["otlp_grpc/gateway"]));
}

#[test]
fn a_signal_goes_to_those_who_take_it_or_to_the_log() {
    let loki = "collector.exporters.l.type=otlp_http,collector.exporters.l.endpoint=http://l,collector.exporters.l.signals={logs}";
    let write = "collector.exporters.p.type=prometheus_remote_write,collector.exporters.p.endpoint=http://p";
    let some = config(&[loki, write], "gateway");
    let pipelines = &some["service"]["pipelines"];
    assert_eq!(pipelines["logs"]["exporters"], json!(["otlp_http/l"]));
    assert_eq!(pipelines["metrics"]["exporters"], json!(["prometheus_remote_write/p"]));
    assert_eq!(pipelines["traces"]["exporters"], json!(["debug"]));
    let all = config(&["collector.exporters.a.type=otlp_grpc,collector.exporters.a.endpoint=a:4317"], "gateway");
    assert!(all["exporters"].get("debug").is_none());
}

#[test]
fn what_the_values_say_wins_over_what_is_generated_even_false_and_null() {
    let set = "collector.config.gateway.processors.memory_limiter.limit_percentage=50,\
               collector.config.gateway.processors.resource_detection.override=false,\
               collector.config.gateway.extensions.zpages.endpoint=localhost:1";
    let config = config(&[set], "gateway");
    assert_eq!(config["processors"]["memory_limiter"]["limit_percentage"], 50);
    assert_eq!(config["processors"]["memory_limiter"]["check_interval"], "1s");
    assert_eq!(config["extensions"]["zpages"]["endpoint"], "localhost:1");
}

#[test]
fn a_changed_configuration_rolls_the_pods_and_an_unchanged_one_does_not() {
    let sum = |set: &str| pods(&[set])[0]["metadata"]["annotations"]["checksum/config"].clone();
    assert_eq!(sum("collector.gateway.replicas=3"), sum("collector.gateway.replicas=4"));
    assert_ne!(sum(""), sum("collector.corsAllowedOrigins={https://a.example}"));
}

#[test]
fn no_collector_means_no_object_of_one() {
    let kinds: Vec<_> = objects(&["collector.mode=none"]).iter().map(|o| o.kind().to_owned()).collect();
    assert_eq!(kinds, ["Telemetry", "WasmPlugin"]);
}

#[test]
fn without_a_sidecar_the_pods_say_so() {
    for (mtls, inject) in [("DISABLE", "false"), ("STRICT", "true")] {
        for pod in pods(&[BOTH, &format!("security.mtls={mtls}")]) {
            assert_eq!(pod["metadata"]["labels"]["sidecar.istio.io/inject"], inject);
        }
    }
}

#[test]
fn gateways_behind_agents_are_tcp_to_a_sidecar_and_else_what_their_other_service_says() {
    for (mode, protocol) in [("agent-gateway", "tcp"), ("gateway", "grpc")] {
        let objects = objects(&[&format!("collector.mode={mode}")]);
        let port = named(&objects, "Service", "otel-collector-gateway")["spec"]["ports"][0].clone();
        assert_eq!((&port["port"], &port["appProtocol"]), (&json!(4317), &json!(protocol)), "{mode}");
    }
}
