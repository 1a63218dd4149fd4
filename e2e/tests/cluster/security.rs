//! Who may send telemetry to a collector with a sidecar, and what becomes of what others send.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use otelmesh_e2e::mesh::{FRONTEND, HOPS, Mesh, trace_id};
use serde_json::{Value, json};
use token::Issuer;

mod native;
mod pods;
mod reach;
mod token;

const COLLECTOR: &str = "http://otel-collector.otelmesh:4318/v1/traces";

/// A collector with a sidecar that refuses who has none. Istio's CNI plugin is not in this cluster, so sidecars set up
/// their own redirection, which Pod Security must let them.
fn strict() -> Value {
    json!({"security": {"mtls": "STRICT"}, "collector": {"podSecurity": "privileged"}})
}

fn strict_and(security: &Value) -> Value {
    let mut values = strict();
    for (key, value) in security.as_object().into_iter().flatten() {
        values["security"][key] = value.clone();
    }
    values
}

/// A span as a client of its own would send it.
fn span(trace: &str) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": trace, "spanId": "00000000000000c1", "name": "outside", "kind": 3,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000001000000",
    }]}]}]})
}

#[test]
fn strict_mutual_tls_refuses_strangers_and_the_collectors_own_sidecar_is_not_traced() {
    let mesh = Mesh::enter("security");
    let mut received = 0;
    for delivery in ["wasmplugin", "envoyfilter"] {
        let mut values = strict();
        values["filter"] = json!({"delivery": delivery});
        mesh.install(&values);

        let answers = mesh.post("outside/stranger", COLLECTOR, &[], &span(&trace_id()));
        assert_eq!((answers.requests, &answers.statuses), (1, &json!({})), "no answer at all: {answers:?}");
        let error = answers.errors.to_string();
        assert!(error.contains("reset") || error.contains("EOF"), "the connection is cut: {error}");

        mesh.wait_until("nothing is under way", || {
            let before = mesh.snapshot().spans().len();
            thread::sleep(Duration::from_secs(3));
            mesh.books().are_settled() && mesh.snapshot().spans().len() == before
        });
        let before = mesh.snapshot().spans().len();
        let answers = mesh.requests("client", &["-n", "50", FRONTEND]);
        assert_eq!(answers.bad(), 0, "{answers:?}");
        mesh.wait_until("50 traces", || mesh.snapshot().spans().len() >= before + 50 * HOPS);
        let spans = mesh.snapshot().spans();
        assert_eq!(spans.len(), before + 50 * HOPS, "an export that is traced would be a span more");
        let services: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
        assert_eq!(services, BTreeSet::from(["backend", "client", "frontend"]));
        assert_eq!(mesh.counters("otelmesh/otel-collector-gateway"), [], "no filter in the collector's sidecar");
        received += 50 * HOPS;
    }
    mesh.done(&format!(
        "100 requests under STRICT, 2 deliveries; {received} of {received} spans received, none of the collector's own; 2 \
         strangers cut off"
    ));
}

#[test]
fn outside_clients_need_a_valid_token_and_the_mesh_needs_none() {
    let mesh = Mesh::enter("tokens");
    let issuer = Issuer::start();
    mesh.install(&strict_and(&json!({"plaintextPorts": [4318], "jwt": {
        "issuer": token::ISSUER, "jwksUri": issuer.keys(), "audiences": [token::AUDIENCE],
    }})));
    let trace = trace_id();
    let send = |headers: &[&str]| {
        let answers = mesh.post("outside/stranger", COLLECTOR, headers, &span(&trace));
        let statuses = answers.statuses.as_object().cloned().unwrap_or_default();
        statuses.keys().next().cloned().unwrap_or_else(|| answers.errors.to_string())
    };
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    mesh.wait_until("a client without a token gets 403", || send(&[]) == "403");
    assert_eq!(send(&[&bearer(&issuer.token(-600))]), "401", "expired");
    assert_eq!(send(&[&bearer(&Issuer::start().token(600))]), "401", "signed by somebody else");
    assert_eq!(send(&[&bearer("e30.e30.")]), "401", "no token at all");
    assert!(mesh.snapshot().spans().iter().all(|span| span.trace_id != trace), "nothing refused went on");
    assert_eq!(send(&[&bearer(&issuer.token(600))]), "200");
    assert_eq!(mesh.spans_of(&trace, 1)[0].name, "outside");
    mesh.wait_for_whole_trace(FRONTEND);
    mesh.done("1 span with a good token, received; 3 bad tokens: 401, none: 403; the mesh exports without");
}

#[test]
fn only_allowed_namespaces_and_accounts_export_and_what_others_send_is_counted() {
    let mesh = Mesh::enter("allowed");
    mesh.lend(&market());
    mesh.kubectl(&["-n", "market", "rollout", "status", "deployment/buyer", "--timeout=120s"]);
    mesh.install(&strict_and(&json!({"allow": {"namespaces": ["shop"]}})));

    // By namespace: the shop's proxies may, the market's may not.
    let refused = refused(&mesh, "market/buyer", "market/buyer", 20, &["frontend", "frontend", "backend"]);
    let books = mesh.books().spans;
    assert_eq!(books.lost, 0, "the shop's own are taken: {books:?}");

    // By account: the market's buyer and the shop's client, and not those that they ask.
    mesh.deploy(&strict_and(&json!({"allow": {"serviceAccounts": ["market/buyer", "shop/client"]}})));
    mesh.wait_until("the buyer may export", || {
        mesh.requests("market/buyer", &[FRONTEND]);
        mesh.snapshot().spans().iter().any(|span| span.service == "buyer")
    });
    let again = self::refused(&mesh, "client", "frontend", 20, &["client"]);
    mesh.done(&format!(
        "2 x 20 requests, 0 failed; by namespace {refused} spans of the buyer, by account {again} of the frontend refused, \
         each in the filter's books as dropped_export_failed; the rest received"
    ));
}

/// Sends requests, waits until all that `workload` records is refused, and holds the trace that comes out to `services`.
fn refused(mesh: &Mesh, from: &str, workload: &str, requests: u64, services: &[&str]) -> u64 {
    let count = |what: &str| mesh.counter(workload, &format!("spans_{what}"));
    mesh.wait_until("the policy holds", || {
        let before = count("dropped_export_failed");
        mesh.requests(from, &[FRONTEND]);
        thread::sleep(Duration::from_secs(1));
        count("dropped_export_failed") > before && count("waiting") == 0
    });
    let (recorded, dropped, exported) = (count("recorded"), count("dropped_export_failed"), count("exported"));
    let trace = trace_id();
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    let answers = mesh.requests(from, &["-n", &requests.to_string(), "-H", &parent, FRONTEND]);
    assert_eq!(answers.bad(), 0, "{answers:?}");
    mesh.wait_until("all are refused", || count("recorded") > recorded && count("waiting") == 0);
    let refused = count("dropped_export_failed") - dropped;
    assert_eq!(count("recorded") - recorded, refused, "what is recorded is refused");
    assert!(refused >= requests, "{refused}");
    assert_eq!(count("exported"), exported, "nothing else is taken");
    let spans = mesh.spans_of(&trace, services.len() * usize::try_from(requests).expect("few"));
    let mut found: Vec<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    found.sort_unstable();
    let mut expected: Vec<&str> =
        services.iter().flat_map(|service| vec![*service; answers.requests as usize]).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    refused
}

/// Another namespace of the mesh, with a client.
fn market() -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "market", "labels": {"istio-injection": "enabled"}}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "buyer", "namespace": "market"}},
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "buyer", "namespace": "market"},
            "spec": {
                "selector": {"matchLabels": {"app": "buyer"}},
                "template": {
                    "metadata": {"labels": {"app": "buyer"}},
                    "spec": {
                        "serviceAccountName": "buyer", "terminationGracePeriodSeconds": 1,
                        "containers": [{"name": "app", "image": "docker.io/otelmesh/app:1.0"}],
                    },
                },
            },
        },
    ]})
}
