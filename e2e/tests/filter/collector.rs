//! A collector that is absent, blinks, refuses, or is not known to Envoy: requests never notice, and the books balance.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use otelmesh::client::Client;
use otelmesh_e2e::proxy::{Proxy, Setup};
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};

async fn requests(to: SocketAddr, count: usize) {
    let client = Client::new();
    for n in 0..count {
        let reply = client.get(&format!("http://{to}/{n}"), HeaderMap::new()).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK, "request {n}");
    }
}

/// Spans that arrived, each counted once: an export whose reply got lost is sent again.
fn arrived(proxy: &Proxy) -> i64 {
    let ids: BTreeSet<_> = proxy.receiver.snapshot().spans().into_iter().map(|span| span.span_id).collect();
    ids.len() as i64
}

#[tokio::test]
async fn a_collector_that_comes_late_gets_everything() {
    let upstream = Upstream::start().await;
    let mut proxy = Setup { receiver_is_up: false, ..Setup::new(upstream.address()) }.start().await;
    requests(proxy.inbound, 20).await;
    let books = proxy.until("a failed export", |b| b.recorded("spans") == 20 && b.get("exports_retried") > 0).await;
    books.assert_balanced();
    assert_eq!((books.get("spans_waiting"), books.get("logs_waiting")), (20, 20));
    assert_eq!(books.exported("spans"), 0);

    proxy.receiver.restart().await.unwrap();
    proxy.settle(20, 20).await;
    let log = proxy.envoy.log();
    assert_eq!(log.matches("cannot export to otel-collector").count(), 1, "one line an outage: {log}");
    assert_eq!(log.matches("exports to otel-collector succeed again").count(), 1, "{log}");
}

#[tokio::test]
async fn a_collector_that_is_killed_under_load_costs_no_request_and_no_span() {
    let upstream = Upstream::start().await;
    let mut proxy = Setup { concurrency: 2, ..Setup::new(upstream.address()) }.start().await;
    let (inbound, outbound) = (proxy.inbound, proxy.outbound);
    let load = tokio::spawn(async move {
        tokio::join!(requests(inbound, 400), requests(inbound, 400), requests(outbound, 400));
    });
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.receiver.stop().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.receiver.restart().await.unwrap();
    }
    load.await.unwrap();
    let books = proxy.until("all spans", |b| b.exported("spans") == 1200 && b.exported("logs") == 1200).await;
    books.assert_balanced();
    assert_eq!((arrived(&proxy), books.dropped("spans")), (1200, 0));
    proxy.assert_alive().await;
}

#[tokio::test]
async fn what_a_receiver_refuses_for_good_is_dropped_and_counted() {
    let upstream = Upstream::start().await;
    let proxy = Setup { config: json!({"logs": {"enabled": false}}), ..Setup::new(upstream.address()) }.start().await;
    proxy.receiver.answer_next(1, StatusCode::BAD_REQUEST);
    requests(proxy.inbound, 5).await;
    let books = proxy.until("a refusal", |b| b.recorded("spans") == 5 && b.get("spans_waiting") == 0).await;
    books.assert_balanced();
    let dropped = books.get("spans_dropped_export_failed");
    assert!(dropped > 0 && books.get("exports_failed") == 1, "{books:?}");
    assert_eq!(arrived(&proxy), 5 - dropped, "what was not dropped arrived");
    assert_eq!(proxy.envoy.log().matches("the receiver answered 400").count(), 1);
}

#[tokio::test]
async fn a_receiver_that_is_busy_is_asked_again() {
    let upstream = Upstream::start().await;
    let proxy = Setup { config: json!({"logs": {"enabled": false}}), ..Setup::new(upstream.address()) }.start().await;
    proxy.receiver.answer_next(2, StatusCode::SERVICE_UNAVAILABLE);
    requests(proxy.inbound, 5).await;
    let books = proxy.settle(5, 0).await;
    assert_eq!((books.get("exports_retried"), books.dropped("spans")), (2, 0));
}

#[tokio::test]
async fn a_cluster_that_envoy_does_not_know_is_named_once_and_hurts_nobody() {
    let upstream = Upstream::start().await;
    let config = json!({"exporter": {"cluster": "nowhere"}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    requests(proxy.inbound, 10).await;
    let books = proxy.until("a failed export", |b| b.recorded("spans") == 10 && b.get("exports_retried") > 1).await;
    books.assert_balanced();
    assert_eq!(books.get("spans_waiting"), 10);
    let log = proxy.envoy.log();
    assert_eq!(log.matches("cannot export to nowhere: Envoy has no such cluster").count(), 1, "{log}");
    proxy.assert_alive().await;
}

#[tokio::test]
async fn a_full_batch_leaves_before_its_time() {
    let upstream = Upstream::start().await;
    let config = json!({"batch": {"scheduleDelay": "60s", "maxExportBatchSize": 10}, "logs": {"enabled": false}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    requests(proxy.inbound, 25).await;
    let came = proxy.receiver.wait_for(Duration::from_secs(10), |snapshot| snapshot.spans().len() == 20).await;
    assert!(came, "two batches of ten: {:?}", proxy.receiver.snapshot());
    assert!(proxy.receiver.snapshot().exports.len() == 2);
}

#[tokio::test]
async fn both_listeners_share_a_worker_s_batch_and_its_resource() {
    let upstream = Upstream::start().await;
    let config = json!({"resource": {"attributes": {"deployment.environment.name": "e2e"}}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    tokio::join!(requests(proxy.inbound, 5), requests(proxy.outbound, 5));
    proxy.settle(10, 10).await;
    let spans = proxy.receiver.snapshot().spans();
    let kinds: BTreeSet<_> = spans.iter().map(|span| span.kind.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["CLIENT", "SERVER"]));
    for span in &spans {
        assert_eq!(span.service, "test", "node.cluster, where nothing else names the service");
        assert_eq!(span.resource["deployment.environment.name"], "e2e");
        assert_eq!(span.resource["k8s.namespace.name"], "e2e");
        assert_eq!(span.resource["k8s.pod.name"], "test-0");
    }
}

/// Hands listeners to Envoy in a file, which a test can replace.
struct ListenerFile {
    directory: tempfile::TempDir,
}

impl ListenerFile {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("listeners.json")
    }

    /// Moves the bootstrap's listeners into the file.
    fn edit(&self) -> Box<dyn FnOnce(&mut Value)> {
        let path = self.path();
        Box::new(move |bootstrap| {
            let mut listeners = bootstrap["static_resources"].as_object_mut().unwrap().remove("listeners").unwrap();
            for listener in listeners.as_array_mut().unwrap() {
                listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
            }
            std::fs::write(&path, json!({"resources": listeners}).to_string()).unwrap();
            bootstrap["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": path}}});
        })
    }

    /// Replaces text in the file. Envoy looks at it again when another file is moved over it.
    fn replace(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path()).unwrap();
        assert!(text.contains(from), "{text}");
        let next = self.directory.path().join("next");
        std::fs::write(&next, text.replace(from, to)).unwrap();
        std::fs::rename(&next, self.path()).unwrap();
    }
}

#[tokio::test]
async fn a_configuration_that_is_replaced_sends_what_it_holds() {
    let upstream = Upstream::start().await;
    let file = ListenerFile::new();
    // The schedule alone would keep everything for a minute.
    let config = json!({"batch": {"scheduleDelay": "60s"}});
    let args = ["--drain-time-s", "1", "--drain-strategy", "immediate"].map(str::to_owned).to_vec();
    let proxy = Setup { config, args, edit: file.edit(), ..Setup::new(upstream.address()) }.start().await;
    requests(proxy.inbound, 5).await;
    assert!(proxy.receiver.snapshot().exports.is_empty());
    file.replace("60s", "59s");
    proxy.settle(5, 5).await;
    let books = proxy.until("metrics", |b| b.exported("data_points") == 1).await;
    assert_eq!((books.get("exports_started"), books.get("exports_succeeded")), (3, 3));
    let points = proxy.receiver.snapshot().points();
    assert_eq!(
        points.iter().map(|point| (point.name.as_str(), point.count)).collect::<Vec<_>>(),
        [("http.server.request.duration", 5)]
    );
    proxy.assert_alive().await;
}
