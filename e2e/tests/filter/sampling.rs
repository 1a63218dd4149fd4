//! Which exchanges leave a record: rules, limits, late keep, exclusions and log policies.

use otelmesh_e2e::proxy::Setup;
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::json;

#[tokio::test]
async fn rules_limits_and_exclusions_hold_in_envoy() {
    let upstream = Upstream::start().await;
    let config = json!({"sampling": {"ratio": 0, "rules": [
        {"paths": ["/orders/{id}"], "hosts": ["*.example"], "direction": "inbound", "action": "keep"},
        {"paths": ["/limited"], "action": "keep", "maxPerSecond": 0.01},
    ]}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    let get = async |to, path: &str, headers: &[(&str, &[u8])]| {
        assert_eq!(raw::send(to, &raw::request(path.as_bytes(), headers)).await, Some(200));
    };
    get(proxy.inbound, "/orders/7?x=1", &[]).await;
    get(proxy.outbound, "/orders/7", &[]).await;
    get(proxy.inbound, "/other", &[]).await;
    for _ in 0..3 {
        get(proxy.inbound, "/limited", &[]).await;
    }
    get(proxy.inbound, "/healthz", &[]).await;
    get(proxy.inbound, "/", &[("user-agent", b"kube-probe/1.34")]).await;
    assert!(upstream.last().values("traceparent").is_empty(), "a probe goes on untouched");
    let books = proxy.settle(2, 6).await;
    assert_eq!((books.get("traces_over_limit"), books.get("exchanges_excluded")), (2, 2));
    proxy.assert_alive().await;
}

#[tokio::test]
async fn failures_are_kept_and_marked_and_logs_follow_their_policy() {
    let gone = Upstream::start().await.address();
    let upstream = Upstream::start().await;
    let config = json!({
        "sampling": {"ratio": 0, "keep": {"errors": true, "responseFlags": ["UF"]}},
        "logs": {"policy": "errors"},
    });
    let setup = Setup { config, outbound: gone, ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/", &[])).await, Some(200));
    assert_eq!(raw::send(proxy.outbound, &raw::request(b"/", &[])).await, Some(503));
    let books = proxy.settle(1, 1).await;
    assert_eq!(books.get("kept_spans"), 1);
    let span = proxy.receiver.snapshot().spans().remove(0);
    assert_eq!((span.text("otelmesh.kept"), span.flags & 1), ("error".into(), 0));
    assert_eq!(proxy.receiver.snapshot().logs()[0].span_id, span.span_id);
    proxy.assert_alive().await;
}
