//! Who may reach the collector, and what it may reach.

use serde_json::{Value, json};

use super::render;
use crate::chart::Object;

const STRICT: &str = "filter.image.registry=r.example,collector.mode=agent-gateway,security.mtls=STRICT";

fn of_kind(kind: &str, set: &[&str]) -> Vec<Value> {
    let objects: Vec<Object> = render(&[&[STRICT], set].concat()).unwrap();
    objects.into_iter().filter(|o| o.kind() == kind).map(|o| o.value).collect()
}

#[test]
fn each_pod_has_one_peer_authentication() {
    let policies = of_kind("PeerAuthentication", &["security.plaintextPorts={4318}"]);
    let selectors: Vec<_> =
        policies.iter().map(|p| &p["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]).collect();
    assert_eq!(selectors, ["collector-agent", "collector-gateway"]);
    let ports =
        |policy: &Value| policy["spec"]["portLevelMtls"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(ports(&policies[0]), ["4318", "8888"], "clients without a sidecar meet agents only");
    assert_eq!(ports(&policies[1]), ["8888"]);
    assert!(policies.iter().all(|p| p["spec"]["mtls"]["mode"] == "STRICT"));
}

#[test]
fn a_port_is_named_once_however_it_became_plain() {
    let set =
        ["security.jwt.issuer=https://i.example,collector.external.enabled=true", "security.plaintextPorts={4318}"];
    let policies = of_kind("PeerAuthentication", &set);
    let ports: Vec<_> = policies[0]["spec"]["portLevelMtls"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(ports, ["4317", "4318", "8888"]);
}

#[test]
fn clients_need_a_name_or_a_token_and_the_rest_is_denied() {
    let set = [
        "security.allow.namespaces={shop},security.allow.serviceAccounts={web/front}",
        "security.jwt.issuer=https://i.example",
    ];
    let policies = of_kind("AuthorizationPolicy", &set);
    let rules = policies[0]["spec"]["rules"].as_array().unwrap();
    assert_eq!(policies[0]["spec"]["action"], "ALLOW", "what no rule names is denied");
    assert_eq!(
        rules[0]["from"],
        json!([
            {"source": {"namespaces": ["shop"]}},
            {"source": {"principals": ["cluster.local/ns/web/sa/front"]}},
        ])
    );
    assert_eq!(rules[1]["from"], json!([{"source": {"requestPrincipals": ["https://i.example/*"]}}]));
    assert!(rules.iter().all(|rule| !rule["to"][0]["operation"]["ports"].as_array().unwrap().is_empty()));
    let hop = &policies[1]["spec"]["rules"][0]["from"][0]["source"]["principals"];
    assert_eq!(*hop, json!(["cluster.local/ns/otelmesh/sa/otel-collector-agent"]), "agents reach gateways");
    for policy in &policies {
        let open = policy["spec"]["rules"].as_array().unwrap().last().unwrap();
        assert_eq!(open["to"][0]["operation"]["ports"], json!(["8888", "13133"]), "health and metrics stay reachable");
    }
    assert_eq!(of_kind("RequestAuthentication", &set).len(), 1);
}

#[test]
fn without_rules_there_is_no_policy_that_would_deny_all() {
    assert!(of_kind("AuthorizationPolicy", &[]).is_empty());
    assert!(of_kind("RequestAuthentication", &[]).is_empty());
}

/// The ports of all rules of one direction.
fn ports(policy: &Value, direction: &str) -> Vec<(u64, String)> {
    let rules = policy["spec"][direction].as_array().unwrap();
    let ports = rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap());
    ports.map(|p| (p["port"].as_u64().unwrap(), p["protocol"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn the_firewall_leaves_open_what_the_mesh_and_the_collector_need() {
    let set = [
        "security.networkPolicy.enabled=true,collector.kubeletMetrics=true",
        "security.networkPolicy.backends[0].namespace=loki,security.networkPolicy.backends[0].ports={3100}",
    ];
    let policies = of_kind("NetworkPolicy", &set);
    let [agent, gateway] = &policies[..] else { panic!("{} policies", policies.len()) };
    for (policy, direction, needed) in [
        (agent, "ingress", vec![4317, 4318, 13133, 8888, 15008, 15020, 15021, 15090]),
        (agent, "egress", vec![53, 15012, 15017, 443, 6443, 10250, 4317]),
        (gateway, "ingress", vec![4317, 4318, 13133, 8888, 15008, 15020, 15021, 15090]),
        (gateway, "egress", vec![53, 15012, 15017, 443, 6443, 3100]),
    ] {
        let open = ports(policy, direction);
        for port in needed {
            assert!(open.contains(&(port, "TCP".to_owned())), "{direction} lacks {port}: {open:?}");
        }
    }
    assert!(ports(agent, "egress").contains(&(53, "UDP".to_owned())));
    let text = serde_json::to_string(&policies).unwrap();
    assert!(text.contains("kubernetes.io/metadata.name") && !text.contains("\"name\":\"default\""));
}

#[test]
fn a_way_in_from_outside_keeps_addresses_and_wants_a_token() {
    let enabled = "collector.external.enabled=true";
    let open = render(&["filter.image.registry=r.example", enabled]).unwrap_err().to_string();
    assert!(open.contains("open to all"), "{open}");
    let services = of_kind("Service", &[enabled, "security.jwt.issuer=https://i.example"]);
    let outside = services.iter().find(|s| s["metadata"]["name"] == "otel-collector-external").unwrap();
    assert_eq!(outside["spec"]["type"], "LoadBalancer");
    assert_eq!(outside["spec"]["externalTrafficPolicy"], "Local");
    assert_eq!(outside["spec"]["sessionAffinity"], "ClientIP");
}
