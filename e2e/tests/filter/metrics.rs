//! Metrics of a real Envoy: every exchange counted once, over several workers, in both temporalities and forms.

use std::collections::{BTreeMap, BTreeSet};

use otelmesh::telemetry::DataPoint;
use otelmesh_e2e::proxy::{PATIENCE, Proxy, Setup};
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};

const DURATIONS: [&str; 2] = ["http.server.request.duration", "http.client.request.duration"];

/// What all streams of a metric add up to: the latest data point of each, or the sum of them.
fn total(points: &[DataPoint], name: &str) -> u64 {
    let mut streams: BTreeMap<String, u64> = BTreeMap::new();
    for point in points.iter().filter(|point| point.name == name) {
        let stream = streams.entry(format!("{:?}", point.attributes)).or_default();
        *stream = if point.is_cumulative { point.count } else { *stream + point.count };
    }
    streams.values().sum()
}

async fn arrive(proxy: &Proxy, counts: [u64; 2]) -> Vec<DataPoint> {
    let are_there = |points: &[DataPoint]| DURATIONS.map(|name| total(points, name)) == counts;
    let came = proxy.receiver.wait_for(PATIENCE, |snapshot| are_there(&snapshot.points())).await;
    let points = proxy.receiver.snapshot().points();
    assert!(came, "{:?} of {counts:?}: {points:?}", DURATIONS.map(|name| total(&points, name)));
    points
}

#[tokio::test]
async fn every_exchange_of_every_worker_is_counted_once() {
    for (temporality, histogram, form) in [
        ("cumulative", "explicit", "histogram"),
        ("delta", "explicit", "histogram"),
        ("cumulative", "exponential", "exponentialHistogram"),
    ] {
        let upstream = Upstream::start().await;
        let config = json!({
            "metrics": {"interval": "1s", "temporality": temporality, "histogram": histogram},
            "sampling": {"ratio": 0.5},
            "routes": {"templates": ["/orders/{id}"]},
        });
        let proxy = Setup { config, concurrency: 2, ..Setup::new(upstream.address()) }.start().await;
        for n in 0..40 {
            let path = format!("/orders/{n}");
            let to = if n % 4 == 0 { proxy.outbound } else { proxy.inbound };
            assert_eq!(raw::send(to, &raw::request(path.as_bytes(), &[])).await, Some(200));
        }
        let points = arrive(&proxy, [30, 10]).await;
        assert!(points.iter().all(|point| point.form == form && point.is_cumulative == (temporality == "cumulative")));
        for point in &points {
            assert_eq!(point.text("http.route"), "/orders/{id}");
            assert_eq!(point.attributes["http.response.status_code"], 200);
            assert_eq!(point.text("network.protocol.version"), "1.1");
            assert!(point.sum > 0.0 && point.sum < 60.0 && point.start_unix_nano < point.time_unix_nano);
        }
        // Each worker writes streams of its own: no two of them may be taken for one.
        let mut streams = BTreeSet::new();
        for point in &points {
            assert!(streams.insert((point.name.clone(), format!("{:?}", point.attributes), point.time_unix_nano)));
        }
        // Examples are spans that did arrive.
        let arrived = proxy.receiver.wait_for(PATIENCE, |snapshot| {
            let spans: BTreeSet<_> = snapshot.spans().into_iter().map(|span| (span.trace_id, span.span_id)).collect();
            let examples: Vec<_> = snapshot.points().into_iter().flat_map(|point| point.exemplars).collect();
            !examples.is_empty() && examples.iter().all(|example| spans.contains(example))
        });
        assert!(arrived.await, "examples that name no span");
        let settled = |b: &otelmesh_e2e::proxy::Books| b.recorded("data_points") > 0 && b.is_balanced();
        proxy.until("balanced books", settled).await;
        proxy.assert_alive().await;
    }
}

#[tokio::test]
async fn a_clients_host_is_what_envoy_chose_and_no_more_than_it_routes() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        let text = bootstrap.to_string().replace("\"outbound\"", "\"outbound|80||cart.shop.svc.cluster.local\"");
        *bootstrap = serde_json::from_str(&text).unwrap();
        // The listener keeps its name.
        bootstrap["static_resources"]["listeners"][1]["name"] = json!("outbound");
        let domains =
            "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/domains";
        *bootstrap.pointer_mut(domains).unwrap() = json!(["cart"]);
    };
    let config = json!({"metrics": {"interval": "1s"}, "logs": {"enabled": false}});
    let proxy = Setup { config, edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    let send = async |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        raw::send(proxy.outbound, request.as_bytes()).await
    };
    assert_eq!(send("cart").await, Some(200));
    for n in 0..20 {
        assert_eq!(send(&format!("made-up-{n}.example")).await, Some(404));
    }
    let points = arrive(&proxy, [0, 21]).await;
    let hosts: BTreeSet<_> =
        points.iter().map(|point| (point.text("server.address"), point.text("server.port"))).collect();
    let known = ("cart.shop.svc.cluster.local".to_owned(), "80".to_owned());
    assert_eq!(hosts, BTreeSet::from([known, (String::new(), String::new())]));
    proxy.assert_alive().await;
}

#[tokio::test]
async fn exchanges_under_way_and_sizes_are_told_where_asked_for() {
    let upstream = Upstream::start().await;
    let config = json!({"metrics": {"interval": "1s", "activeRequests": true, "bodySizes": true}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    let request = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(raw::send(proxy.inbound, request).await, Some(200));
    let points = arrive(&proxy, [1, 0]).await;
    let find =
        |name: &str| points.iter().find(|point| point.name == name).unwrap_or_else(|| panic!("{name}: {points:?}"));
    assert!((find("http.server.request.body.size").sum - 5.0).abs() < 0.1);
    assert!((find("http.server.response.body.size").sum - 3.0).abs() < 0.1);
    let active = find("http.server.active_requests");
    assert_eq!((active.form, active.sum, active.is_cumulative), ("sum", 0.0, true));
    proxy.assert_alive().await;
}
