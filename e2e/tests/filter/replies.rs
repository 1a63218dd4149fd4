//! Responses that no application gave: Envoy's own, before, behind and beside the filter.

use otelmesh::telemetry::{Log, Span};
use otelmesh_e2e::proxy::{Proxy, Setup, inbound_manager, inbound_route};
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};

/// The one span and the one log that a proxy recorded.
async fn record(proxy: &Proxy) -> (Span, Log) {
    proxy.settle(1, 1).await;
    let snapshot = proxy.receiver.snapshot();
    (snapshot.spans().remove(0), snapshot.logs().remove(0))
}

/// Puts a filter before or behind ours.
fn insert_filter(bootstrap: &mut Value, at: usize, name: &str, kind: &str, config: Value) {
    let mut typed = config;
    typed["@type"] = json!(format!("type.googleapis.com/{kind}"));
    let filters = inbound_manager(bootstrap)["http_filters"].as_array_mut().unwrap();
    filters.insert(at, json!({"name": name, "typed_config": typed}));
}

#[tokio::test]
async fn a_request_that_is_too_large_is_a_413() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        let kind = "envoy.extensions.filters.http.buffer.v3.Buffer";
        insert_filter(bootstrap, 1, "envoy.filters.http.buffer", kind, json!({"max_request_bytes": 10}));
    };
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    let request =
        b"POST /big HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 20\r\n\r\n01234567890123456789";
    assert_eq!(raw::send(proxy.inbound, request).await, Some(413));
    let (span, log) = record(&proxy).await;
    assert_eq!((span.text("http.response.status_code"), span.status.as_str()), ("413".into(), "UNSET"));
    assert_eq!(log.severity, "WARN");
    assert_eq!(log.body, "POST /big 413");
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn an_upstream_that_is_away_is_a_503_with_its_reason() {
    let gone = Upstream::start().await.address();
    let proxy = Setup::new(gone).start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/a", &[])).await, Some(503));
    let (span, log) = record(&proxy).await;
    assert_eq!((span.text("http.response.status_code"), span.status.as_str()), ("503".into(), "ERROR"));
    assert_eq!(span.text("error.type"), "503");
    assert_eq!(span.text("envoy.response_flags"), "UF");
    assert!(span.text("envoy.response_code_details").contains("upstream_reset_before_response_started"));
    assert_eq!(log.severity, "ERROR");
}

#[tokio::test]
async fn an_upstream_that_hangs_up_is_a_503_too() {
    let upstream = Upstream::start().await;
    let proxy = Setup::new(upstream.address()).start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/reset", &[])).await, Some(503));
    let (span, _) = record(&proxy).await;
    assert_eq!(span.text("envoy.response_flags"), "UC");
}

#[tokio::test]
async fn a_direct_response_is_recorded_like_any_other() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        let route = inbound_route(bootstrap);
        route.as_object_mut().unwrap().remove("route");
        route["direct_response"] = json!({"status": 418});
    };
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/tea?sig=secret", &[])).await, Some(418));
    let (span, log) = record(&proxy).await;
    assert_eq!(span.text("http.response.status_code"), "418");
    assert_eq!(span.text("envoy.response_code_details"), "direct_response");
    assert_eq!((span.text("url.path"), span.text("url.query")), ("/tea".into(), "sig=REDACTED".into()));
    assert_eq!(log.trace_id, span.trace_id);
}

#[tokio::test]
async fn a_request_without_a_route_is_a_404() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| inbound_route(bootstrap)["match"] = json!({"prefix": "/only-this"});
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/a", &[])).await, Some(404));
    let (span, _) = record(&proxy).await;
    assert_eq!(span.text("envoy.response_flags"), "NR");
}

#[tokio::test]
async fn a_request_denied_before_us_is_recorded_from_the_log_phase() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        let kind = "envoy.extensions.filters.http.rbac.v3.RBAC";
        let deny_all = json!({"rules": {"action": "ALLOW", "policies": {}}});
        insert_filter(bootstrap, 0, "envoy.filters.http.rbac", kind, deny_all);
    };
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    let parent: (&str, &[u8]) = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/denied", &[parent])).await, Some(403));
    let (span, log) = record(&proxy).await;
    assert_eq!(span.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent_span_id, "b7ad6b7169203331");
    assert_eq!((span.text("url.path"), span.text("http.response.status_code")), ("/denied".into(), "403".into()));
    assert!(span.start_unix_nano > 0 && span.end_unix_nano >= span.start_unix_nano);
    assert_eq!(log.span_id, span.span_id);
    assert_eq!(proxy.books().await.get("exchanges_log_only"), 1);
}

#[tokio::test]
async fn an_internal_redirect_is_a_second_span_below_the_first() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        let policy = json!({"redirect_response_codes": [302], "allow_cross_scheme_redirect": true});
        inbound_route(bootstrap)["route"]["internal_redirect_policy"] = policy;
    };
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/redirect", &[])).await, Some(200));
    proxy.settle(2, 2).await;
    let spans = proxy.receiver.snapshot().spans();
    let of = |path: &str| spans.iter().find(|span| span.text("url.path") == path).unwrap();
    let (first, second) = (of("/redirect"), of("/redirected"));
    assert_eq!(second.trace_id, first.trace_id);
    assert_eq!(second.parent_span_id, first.span_id);
    proxy.assert_alive().await;
}
