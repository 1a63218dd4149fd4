//! How exports travel: over HTTP or gRPC, plain or compressed, to a receiver that takes nothing malformed.

use std::time::Duration;

use http::StatusCode;
use otelmesh::envoy::bootstrap::Protocol;
use otelmesh::receiver::{Signal, Transport};
use otelmesh_e2e::proxy::{Books, Setup};
use otelmesh_e2e::raw;
use otelmesh_e2e::scripted::Scripted;
use otelmesh_e2e::upstream::Upstream;
use serde_json::json;

#[tokio::test]
async fn every_protocol_and_compression_arrives_whole() {
    for (protocol, compression, name) in [
        ("http/protobuf", "none", "content-encoding"),
        ("http/protobuf", "gzip", "content-encoding"),
        ("grpc", "none", "grpc-encoding"),
        ("grpc", "gzip", "grpc-encoding"),
    ] {
        let upstream = Upstream::start().await;
        let config = json!({"exporter": {"protocol": protocol, "compression": compression}});
        let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
        for _ in 0..20 {
            assert_eq!(raw::send(proxy.inbound, &raw::request(b"/a", &[])).await, Some(200));
        }
        let books = proxy.settle(20, 20).await;
        let snapshot = proxy.receiver.snapshot();
        assert!(snapshot.refusals.is_empty(), "{protocol}, {compression}: {:?}", snapshot.refusals);
        assert_eq!(books.get("exports_retried"), 0, "{protocol}, {compression}");
        for signal in [Signal::Traces, Signal::Logs] {
            let exports: Vec<_> = snapshot.exports.iter().filter(|e| e.payload.signal() == signal).collect();
            assert!(!exports.is_empty());
            let is_grpc = protocol == "grpc";
            assert!(exports.iter().all(|e| (e.transport == Transport::Grpc) == is_grpc));
            let compressed = exports.iter().any(|e| e.headers.get(name).is_some_and(|v| v == "gzip"));
            assert_eq!(compressed, compression == "gzip", "{protocol}, {compression}");
        }
        proxy.assert_alive().await;
    }
}

#[tokio::test]
async fn a_receiver_that_refuses_what_is_compressed_gets_it_plain() {
    let upstream = Upstream::start().await;
    let config = json!({"exporter": {"compression": "gzip"}, "logs": {"enabled": false}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    proxy.receiver.answer_next(1, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for _ in 0..20 {
        assert_eq!(raw::send(proxy.inbound, &raw::request(b"/a", &[])).await, Some(200));
    }
    let books = proxy.settle(20, 0).await;
    assert_eq!((books.get("exports_retried"), books.get("exports_failed")), (1, 0));
    let snapshot = proxy.receiver.snapshot();
    assert!(snapshot.exports.iter().all(|export| export.headers.get("content-encoding").is_none()));
}

#[tokio::test]
async fn a_grpc_receiver_that_is_killed_gets_everything_once_it_is_back() {
    let upstream = Upstream::start().await;
    let config = json!({"exporter": {"protocol": "grpc"}});
    let mut proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    for n in 0..60 {
        match n {
            20 => proxy.receiver.stop().await,
            40 => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                proxy.receiver.restart().await.unwrap();
            }
            _ => {}
        }
        assert_eq!(raw::send(proxy.inbound, &raw::request(b"/a", &[])).await, Some(200));
    }
    let books = proxy.until("all", |b| b.exported("spans") == 60 && b.exported("logs") == 60).await;
    books.assert_balanced();
    assert_eq!(books.dropped("spans") + books.dropped("logs"), 0);
    proxy.assert_alive().await;
}

#[tokio::test]
async fn a_collector_behind_the_filter_is_not_asked_to_record_what_it_is_sent() {
    for (protocol, speaks) in [("http/protobuf", Protocol::Http1), ("grpc", Protocol::Http2)] {
        let (upstream, receiver) = (Upstream::start().await, Scripted::start().await);
        let sidecar = Setup { protocol: speaks, ..Setup::new(receiver.address()) }.start().await;
        let config = json!({"exporter": {"protocol": protocol}});
        let collector = Some(sidecar.inbound);
        let proxy = Setup { config, collector, ..Setup::new(upstream.address()) }.start().await;
        for _ in 0..5 {
            assert_eq!(raw::send(proxy.inbound, &raw::request(b"/a", &[])).await, Some(200));
        }
        let all = |books: &Books| books.exported("spans") == 5 && books.exported("logs") == 5;
        proxy.until("all", all).await.assert_balanced();
        // Long enough for an export about the exports.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let books = sidecar.until("exports seen", |b| !b.is_empty() && b.get("exchanges_own_export") >= 2).await;
        assert_eq!((books.recorded("spans"), books.recorded("logs")), (0, 0), "{protocol}: {books:?}");
        assert_eq!(receiver.taken("spans").records.len(), 5);
    }
}

#[tokio::test]
async fn credentials_do_not_leave_by_default() {
    let upstream = Upstream::start().await;
    let proxy = Setup::new(upstream.address()).start().await;
    let secret: &[u8] = b"s3cr3t-9f2c";
    let names =
        ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-forwarded-client-cert", "x-any-header"];
    let headers: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, secret)).collect();
    let query =
        b"/a?sig=s3cr3t-9f2c&X-Amz-Signature=s3cr3t-9f2c&X-Goog-Signature=s3cr3t-9f2c&AWSAccessKeyId=s3cr3t-9f2c";
    assert_eq!(raw::send(proxy.inbound, &raw::request(query, &headers)).await, Some(200));
    proxy.settle(1, 1).await;
    let snapshot = proxy.receiver.snapshot();
    assert!(snapshot.exports.len() >= 2);
    for export in &snapshot.exports {
        let bytes = export.payload.encode();
        assert!(!bytes.windows(secret.len()).any(|w| w == secret), "{:?}", export.payload);
    }
    assert_eq!(upstream.last().value("authorization").as_bytes(), secret, "the request itself is left as it was");
}
