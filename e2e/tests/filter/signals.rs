//! What a record says beyond the defaults: routes, resends and an operator's own attributes.

use otelmesh_e2e::proxy::{PATIENCE, Setup, inbound_route};
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};

#[tokio::test]
async fn routes_name_spans_and_attributes_come_from_both_sides_of_the_exchange() {
    let upstream = Upstream::start().await;
    let config = json!({
        "routes": {"templates": ["/orders/{id}"], "fold": true},
        "attributes": [
            {"name": "tenant", "requestHeader": "x-tenant"},
            {"name": "length", "responseHeader": "content-length", "type": "int"},
            {"name": "tier", "baggage": "tier"},
            {"name": "ring", "literal": "canary"},
            {"name": "behind", "property": "xds.cluster_name"},
            {"name": "team", "property": ["xds", "route_metadata", "filter_metadata", "com.example/owner", "team.name"]},
        ],
    });
    let edit = |bootstrap: &mut Value| {
        inbound_route(bootstrap)["metadata"] =
            json!({"filter_metadata": {"com.example/owner": {"team.name": "stock"}}});
    };
    let proxy = Setup { config, edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    let headers: [(&str, &[u8]); 2] = [("x-tenant", b"blue"), ("baggage", b"tier=gold%20plus")];
    for path in [&b"/orders/7"[..], b"/carts/0af76519-16cd-43dd-8448-eb211c80319c/lines"] {
        assert_eq!(raw::send(proxy.inbound, &raw::request(path, &headers)).await, Some(200));
    }
    proxy.settle(2, 2).await;
    let snapshot = proxy.receiver.snapshot();
    let mut names: Vec<_> = snapshot.spans().iter().map(|span| span.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["GET /carts/{id}/lines", "GET /orders/{id}"]);
    let (span, log) = (snapshot.spans().remove(0), snapshot.logs().remove(0));
    for attributes in [&span.attributes, &log.attributes] {
        assert_eq!(attributes["tenant"], "blue");
        assert_eq!(attributes["length"], 3);
        assert_eq!(attributes["tier"], "gold plus");
        assert_eq!(attributes["ring"], "canary");
        assert_eq!(attributes["behind"], "inbound");
        assert_eq!(attributes["team"], "stock", "names with dots");
    }
    proxy.assert_alive().await;
}

#[tokio::test]
async fn a_request_that_was_sent_again_says_how_often() {
    let gone = Upstream::start().await.address();
    let edit = |bootstrap: &mut Value| {
        // The outbound listener is the second one; give both the same retries.
        inbound_route(bootstrap)["route"]["retry_policy"] = json!({"retry_on": "connect-failure", "num_retries": 2});
        let route = inbound_route(bootstrap)["route"]["retry_policy"].clone();
        let outbound = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0/route";
        bootstrap.pointer_mut(outbound).unwrap()["retry_policy"] = route;
    };
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(gone) }.start().await;
    assert_eq!(raw::send(proxy.outbound, &raw::request(b"/", &[])).await, Some(503));
    proxy.settle(1, 1).await;
    let span = proxy.receiver.snapshot().spans().remove(0);
    assert_eq!(span.attributes["http.request.resend_count"], 2);
    assert_eq!(span.text("envoy.response_flags"), "UF,URX");
}

#[tokio::test]
async fn the_resource_is_what_envoys_node_says_of_the_pod_the_same_for_every_signal() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        bootstrap["node"]["locality"] = json!({"region": "eu-west-1", "zone": "eu-west-1b"});
        let metadata = bootstrap["node"]["metadata"].as_object_mut().unwrap();
        metadata.extend(
            json!({
                "APP_CONTAINERS": "cart", "WORKLOAD_NAME": "cart", "NODE_NAME": "worker-3", "CLUSTER_ID": "blue",
                "OWNER": "kubernetes://apis/apps/v1/namespaces/e2e/statefulsets/cart",
                "LABELS": {"app.kubernetes.io/version": "1.2.3"},
            })
            .as_object()
            .unwrap()
            .clone(),
        );
    };
    let config = json!({"metrics": {"interval": "1s"}, "resource": {"attributes": {"team": "blue"}}});
    let proxy = Setup { config, edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/", &[])).await, Some(200));
    proxy.settle(1, 1).await;
    assert!(proxy.receiver.wait_for(PATIENCE, |snapshot| !snapshot.points().is_empty()).await);
    let snapshot = proxy.receiver.snapshot();
    let resource = snapshot.spans().remove(0).resource;
    for (key, value) in [
        ("service.name", "cart"),
        ("service.namespace", "e2e"),
        ("service.version", "1.2.3"),
        ("service.instance.id", "e2e.test-0.cart"),
        ("k8s.namespace.name", "e2e"),
        ("k8s.pod.name", "test-0"),
        ("k8s.statefulset.name", "cart"),
        ("k8s.container.name", "cart"),
        ("k8s.node.name", "worker-3"),
        ("k8s.cluster.name", "blue"),
        ("cloud.region", "eu-west-1"),
        ("cloud.availability_zone", "eu-west-1b"),
        ("team", "blue"),
    ] {
        assert_eq!(resource[key], value, "{key}");
    }
    assert_eq!(snapshot.logs()[0].resource, resource);
    assert_eq!(snapshot.points()[0].resource, resource);
}

#[tokio::test]
async fn what_is_secret_to_the_operator_leaves_no_trace_of_itself() {
    let upstream = Upstream::start().await;
    let config = json!({
        "semconv": "both",
        "redaction": {
            "queryKeys": ["token"], "paths": ["/users/{id}/**"], "clientAddress": "truncate", "maxValueBytes": 64,
        },
        "logs": {"body": "{method} {path} {protocol} {status} {duration}"},
    });
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    let agent = "a".repeat(200);
    let headers: [(&str, &[u8]); 1] = [("user-agent", agent.as_bytes())];
    let request = raw::request(b"/users/4711/mail?token=hush&page=2", &headers);
    assert_eq!(raw::send(proxy.inbound, &request).await, Some(200));
    assert_eq!(upstream.last().path(), "/users/4711/mail?token=hush&page=2", "the request itself is not touched");
    let books = proxy.settle(1, 1).await;
    assert_eq!((books.get("values_redacted"), books.get("values_truncated")), (1, 1));
    let snapshot = proxy.receiver.snapshot();
    let (span, log) = (snapshot.spans().remove(0), snapshot.logs().remove(0));
    for attributes in [&span.attributes, &log.attributes] {
        assert_eq!(attributes["url.path"], "/users/REDACTED/REDACTED");
        assert_eq!(attributes["http.target"], "/users/REDACTED/REDACTED?token=REDACTED&page=2");
        assert_eq!(attributes["http.status_code"], 200);
        assert_eq!(attributes["client.address"], "127.0.0.0");
        assert!(!attributes.contains_key("client.port"));
        assert_eq!(attributes["user_agent.original"].as_str().unwrap().len(), 64);
    }
    let body = log.body.as_str().unwrap();
    assert!(body.starts_with("GET /users/REDACTED/REDACTED HTTP/1.1 200 "), "{body}");
    for export in &snapshot.exports {
        let bytes = export.payload.encode();
        for secret in [&b"4711"[..], b"hush"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[tokio::test]
async fn envoy_is_asked_for_attributes_and_timings() {
    let upstream = Upstream::start().await;
    let config = json!({
        "traces": {"timings": true},
        "attributes": [
            {"name": "cluster", "property": "xds.cluster_name"},
            {"name": "headers.size", "property": "request.total_size", "type": "int"},
            {"name": "mtls", "property": "connection.mtls", "type": "bool"},
            {"name": "absent", "property": "connection.nothing"},
        ],
    });
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    assert_eq!(raw::send(proxy.outbound, &raw::request(b"/", &[])).await, Some(200));
    proxy.settle(1, 1).await;
    let span = proxy.receiver.snapshot().spans().remove(0);
    assert_eq!(span.attributes["cluster"], "outbound");
    assert_eq!(span.attributes["mtls"], false);
    assert!(span.attributes["headers.size"].as_i64().unwrap() > 0);
    assert!(!span.attributes.contains_key("absent"));
    for key in ["envoy.upstream.latency", "envoy.upstream.cx_pool_ready_duration"] {
        let seconds = span.attributes[key].as_f64().unwrap();
        assert!(seconds > 0.0 && seconds < 20.0, "{key}: {seconds}");
    }
    proxy.assert_alive().await;
}
