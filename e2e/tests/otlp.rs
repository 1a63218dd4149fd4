//! The filter's exports, taken by the real collector: both protocols, plain and compressed, and through a crash.

use std::time::Duration;

use otelmesh_e2e::otelcol::Running;
use otelmesh_e2e::proxy::Setup;
use otelmesh_e2e::raw;
use otelmesh_e2e::rendered::collectors;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};
use tokio::time::sleep;

async fn collector() -> Running {
    let (_, config) = collectors(&[]).remove(0);
    Running::edited(&config, |config: &mut Value| {
        for pipeline in config["service"]["pipelines"].as_object_mut().unwrap().values_mut() {
            pipeline["exporters"] = json!(["debug"]);
        }
    })
    .await
}

#[tokio::test]
async fn the_collector_takes_every_protocol_and_compression() {
    let collector = collector().await;
    let [grpc, http] = collector.addresses();
    let mut sent = 0.0;
    for (protocol, address) in [("http/protobuf", http), ("grpc", grpc)] {
        for compression in ["none", "gzip"] {
            let upstream = Upstream::start().await;
            let config = json!({"exporter": {"protocol": protocol, "compression": compression}});
            let setup = Setup { config, collector: Some(address), ..Setup::new(upstream.address()) };
            let proxy = setup.start().await;
            for _ in 0..30 {
                assert_eq!(raw::send(proxy.inbound, &raw::request(b"/a", &[])).await, Some(200));
            }
            let books = proxy.until("all", |b| b.exported("spans") == 30 && b.exported("logs") == 30).await;
            books.assert_balanced();
            assert_eq!(books.get("exports_retried"), 0, "{protocol}, {compression}: taken at once as it is");
            sent += 30.0;
            for kind in ["spans", "log_records"] {
                let accepted = collector.sum(&format!("otelcol_receiver_accepted_{kind}"), "").await;
                assert!((accepted - sent).abs() < 0.5, "{protocol}, {compression}: {accepted} {kind} of {sent}");
            }
            proxy.assert_alive().await;
        }
    }
}

#[tokio::test]
async fn a_collector_that_crashes_gets_over_grpc_what_it_missed() {
    let mut collector = collector().await;
    let upstream = Upstream::start().await;
    let config = json!({"exporter": {"protocol": "grpc"}});
    let [grpc, _] = collector.addresses();
    let proxy = Setup { config, collector: Some(grpc), ..Setup::new(upstream.address()) }.start().await;
    let (inbound, load) = (proxy.inbound, 100);
    let load = tokio::spawn(async move {
        for _ in 0..load {
            assert_eq!(raw::send(inbound, &raw::request(b"/a", &[])).await, Some(200));
            sleep(Duration::from_millis(20)).await;
        }
    });
    sleep(Duration::from_millis(500)).await;
    collector.crash_and_return().await;
    load.await.unwrap();
    let books = proxy.until("all", |b| b.exported("spans") == 100 && b.exported("logs") == 100).await;
    books.assert_balanced();
    assert_eq!(books.dropped("spans") + books.dropped("logs"), 0);
}

#[tokio::test]
async fn the_collector_takes_metrics_of_every_form() {
    let collector = collector().await;
    let [grpc, http] = collector.addresses();
    let mut sent = 0;
    for (protocol, address) in [("http/protobuf", http), ("grpc", grpc)] {
        for (histogram, temporality) in [("explicit", "cumulative"), ("exponential", "delta")] {
            let upstream = Upstream::start().await;
            let config = json!({
                "exporter": {"protocol": protocol},
                "metrics": {
                    "interval": "1s", "histogram": histogram, "temporality": temporality,
                    "activeRequests": true, "bodySizes": true,
                },
            });
            let setup = Setup { config, collector: Some(address), ..Setup::new(upstream.address()) };
            let proxy = setup.start().await;
            for n in 0..10 {
                let to = if n % 2 == 0 { proxy.inbound } else { proxy.outbound };
                assert_eq!(raw::send(to, &raw::request(b"/a", &[])).await, Some(200));
            }
            // Three histograms and the exchanges under way, on either side.
            let all =
                |b: &otelmesh_e2e::proxy::Books| b.exported("data_points") >= 8 && b.get("data_points_waiting") == 0;
            let books = proxy.until("all", all).await;
            books.assert_balanced();
            assert_eq!(books.get("data_points_rejected") + books.dropped("data_points"), 0);
            // A proxy that is gone sends no more, so the sums can be compared.
            let at_least = books.exported("data_points");
            drop(proxy);
            sent += at_least;
            let accepted = collector.sum("otelcol_receiver_accepted_metric_points", "").await;
            #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
            let sum = sent as f64;
            assert!(accepted >= sum, "{protocol}, {histogram}: {accepted} of {sum}");
            assert!(collector.sum("otelcol_receiver_refused_metric_points", "").await < 0.5);
        }
    }
}
