//! Metrics of whole exchanges.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric};

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Nothing but metrics, once a second.
const ONLY: &str = r#"{"metrics":{"interval":"1s"},"traces":{"enabled":false},"logs":{"enabled":false}}"#;

fn metrics(call: &Made) -> Vec<Metric> {
    assert_eq!(path(call), "/v1/metrics");
    let request = ExportMetricsServiceRequest::decode(&call.body[..]).unwrap();
    let [resource] = request.resource_metrics.as_slice() else { panic!("{request:?}") };
    assert!(resource.resource.as_ref().unwrap().attributes.iter().any(|a| a.key == "service.name"));
    resource.scope_metrics.iter().flat_map(|scope| scope.metrics.clone()).collect()
}

fn points(metric: &Metric) -> Vec<HistogramDataPoint> {
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    histogram.data_points.clone()
}

fn attribute(point: &HistogramDataPoint, key: &str) -> Option<Value> {
    point.attributes.iter().find(|a| a.key == key)?.value.clone()?.value
}

/// Ticks until the next export of metrics, and takes it.
fn next(world: &mut World) -> Vec<Metric> {
    for _ in 0..8 {
        world.tick();
        if !world.host().calls.is_empty() {
            return metrics(&world.reply(Some(200), b""));
        }
    }
    panic!("no export of metrics");
}

#[test]
fn every_exchange_is_measured_sampled_or_not() {
    let mut world = World::new(
        r#"{"metrics":{"interval":"1s"},"sampling":{"ratio":0},"logs":{"enabled":false},"routes":{"templates":["/a/{id}"]},
            "direction":"inbound"}"#,
    );
    for n in 0..3 {
        world.exchange(&[(":method", "GET"), (":scheme", "http"), (":path", &format!("/a/{n}"))], 200);
    }
    world.exchange(&[(":method", "GET"), (":path", "/healthz")], 200);
    let [metric] = next(&mut world).try_into().unwrap();
    let [point] = points(&metric).try_into().unwrap();
    assert_eq!((metric.name.as_str(), point.count), ("http.server.request.duration", 3), "and none that is excluded");
    assert_eq!(attribute(&point, "http.route"), Some(Value::StringValue("/a/{id}".into())));
    assert!(point.exemplars.is_empty(), "no span, no example");
    world.balance();
    assert_eq!((world.stat("data_points_exported"), world.stat("spans_recorded")), (1, 0));
}

#[test]
fn examples_are_spans_that_are_exported() {
    let mut world = World::new(r#"{"metrics":{"interval":"1s"},"logs":{"enabled":false},"direction":"inbound"}"#);
    world.exchange(&[(":method", "GET")], 200);
    let mut exported = Vec::new();
    let mut examples = Vec::new();
    for _ in 0..8 {
        world.tick();
        while !world.host().calls.is_empty() {
            let call = world.reply(Some(200), b"");
            match path(&call) {
                "/v1/traces" => exported.extend(spans(&call).into_iter().map(|span| (span.trace_id, span.span_id))),
                _ => examples.extend(
                    metrics(&call).iter().flat_map(points).flat_map(|p| p.exemplars).map(|e| (e.trace_id, e.span_id)),
                ),
            }
        }
    }
    assert_eq!(exported.len(), 1);
    assert_eq!(examples, exported);
}

#[test]
fn a_clients_series_names_the_host_that_envoy_chose() {
    let mut world = World::new(&ONLY.replace(r#"{"metrics""#, r#"{"direction":"outbound","metrics""#));
    world.host().set_property(&["xds", "cluster_name"], b"outbound|80||cart.shop.svc.cluster.local");
    world.exchange(&[(":method", "GET"), (":authority", "cart")], 503);
    let [metric] = next(&mut world).try_into().unwrap();
    let [point] = points(&metric).try_into().unwrap();
    assert_eq!(metric.name, "http.client.request.duration");
    let want = [
        ("server.address", Value::StringValue("cart.shop.svc.cluster.local".into())),
        ("server.port", Value::IntValue(80)),
        ("error.type", Value::StringValue("503".into())),
    ];
    for (key, value) in want {
        assert_eq!(attribute(&point, key), Some(value), "{key}");
    }
}

#[test]
fn writers_are_told_apart_and_root_contexts_of_one_target_share_one() {
    let mut world = World::new(ONLY);
    let same = world.root(ONLY);
    let other = world.root(&ONLY.replace("{\"interval\"", "{\"maxSeries\":20,\"interval\""));
    for root in [ROOT, same, other] {
        world.parent = root;
        world.exchange(&[(":method", "GET")], 200);
    }
    let told: Vec<_> = (0..2)
        .map(|_| {
            let point = points(&next(&mut world)[0]).remove(0);
            (point.count, attribute(&point, "otelmesh.writer"))
        })
        .collect();
    assert_eq!(told, [(2, Some(Value::IntValue(0))), (1, Some(Value::IntValue(1)))]);
}

#[test]
fn an_outage_costs_a_meter_nothing_and_holds_one_collection_only() {
    for temporality in ["cumulative", "delta"] {
        let mut world =
            World::new(&ONLY.replace(r#""interval""#, &format!(r#""temporality":"{temporality}","interval""#)));
        world.host().refuse_calls = Some(Status::INTERNAL_FAILURE);
        for _ in 0..100 {
            world.exchange(&[(":method", "GET")], 200);
            world.host().time += SECOND;
            world.tick();
            assert!(world.stat("data_points_waiting") <= 1);
        }
        world.host().refuse_calls = None;
        let mut counts = Vec::new();
        for _ in 0..100 {
            world.tick();
            while !world.host().calls.is_empty() {
                counts.extend(metrics(&world.reply(Some(200), b"")).iter().flat_map(points).map(|point| point.count));
            }
        }
        world.balance();
        let total = if temporality == "delta" { counts.iter().sum() } else { *counts.last().unwrap() };
        assert_eq!(total, 100, "{temporality}: {counts:?}");
    }
}

#[test]
fn exchanges_under_way_come_and_go_however_they_end() {
    let mut world = World::new(&ONLY.replace(r#"{"interval""#, r#"{"activeRequests":true,"interval""#));
    let active = |world: &mut World| {
        let metric = next(world).into_iter().find(|metric| metric.name.ends_with("active_requests")).unwrap();
        let Some(Data::Sum(sum)) = metric.data else { panic!("no sum") };
        sum.data_points.iter().map(|point| point.value).collect::<Vec<_>>()
    };
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    let open: Vec<_> = (0..3).map(|_| world.begin(&[(":method", "GET")])).collect();
    assert_eq!(active(&mut world), [Some(Value::AsInt(3))]);
    world.end(open[0], 200);
    world.plugin.on_done(open[1]);
    assert_eq!(active(&mut world), [Some(Value::AsInt(1))], "one was logged, one just went");
    world.end(open[2], 0);
    assert_eq!(active(&mut world), [Some(Value::AsInt(0))]);
    assert_eq!(world.stat("data_points_recorded"), world.stat("data_points_exported"));
}
