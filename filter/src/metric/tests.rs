//! What a meter tells, decoded by OpenTelemetry's own crate.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric};
use prost::Message;

use super::*;
use crate::attributes::Response;
use crate::config::Metrics;
use crate::propagation::{SpanId, TraceId};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const ALL: Portion = Portion { points: 64, bytes: 1 << 20 };

fn get(route: &str) -> Request {
    Request { method: "GET".into(), scheme: "http".into(), route: Some(route.to_owned()), ..Request::default() }
}

fn measure(meter: &mut Meter, request: &Request, code: u16, nanos: u64, now: u64) -> bool {
    let response = Response { code, protocol: Some("HTTP/2".into()), ..Response::default() };
    let subject = Subject { kind: Kind::Server, request, response: &response, cluster: None };
    meter.measure(&Measurement { subject, nanos, now, exemplar: None })
}

fn collect(meter: &mut Meter, now: u64, portion: Portion) -> Vec<(u32, Metric)> {
    let mut all = Vec::new();
    meter.collect(now, portion, &mut |points, metric| all.push((points, Metric::decode(metric).unwrap())));
    all
}

fn explicit(metric: &Metric) -> (&[HistogramDataPoint], i32) {
    match metric.data.as_ref().unwrap() {
        Data::Histogram(histogram) => (&histogram.data_points, histogram.aggregation_temporality),
        other => panic!("{other:?} is no histogram"),
    }
}

fn attributes(point: &HistogramDataPoint) -> Vec<String> {
    let value = |v: &opentelemetry_proto::tonic::common::v1::AnyValue| format!("{:?}", v.value.as_ref().unwrap());
    point.attributes.iter().map(|a| format!("{}={}", a.key, value(a.value.as_ref().unwrap()))).collect()
}

#[test]
fn a_histogram_says_what_was_measured() {
    let mut meter = Meter::new(&Metrics::default()).unwrap();
    for ms in [5, 6, 80, 20_000] {
        measure(&mut meter, &get("/a"), 200, ms * MS, 100 * SECOND);
    }
    let metrics = collect(&mut meter, 160 * SECOND, ALL);
    let [(1, metric)] = metrics.as_slice() else { panic!("{metrics:?}") };
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("http.server.request.duration", "s"));
    let (points, temporality) = explicit(metric);
    assert_eq!(temporality, 2, "cumulative");
    let [point] = points else { panic!("{points:?}") };
    assert_eq!(point.explicit_bounds, crate::config::DEFAULT_BOUNDARIES);
    assert_eq!(point.bucket_counts, [1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1], "bounds belong to their bucket");
    assert_eq!((point.count, point.min, point.max), (4, Some(0.005), Some(20.0)));
    assert!((point.sum.unwrap() - 20.091).abs() < 1e-9);
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (100 * SECOND - 5 * MS, 160 * SECOND));
    assert_eq!(
        attributes(point),
        [
            r#"http.request.method=StringValue("GET")"#,
            r#"url.scheme=StringValue("http")"#,
            r#"http.route=StringValue("/a")"#,
            r#"network.protocol.version=StringValue("2")"#,
            "http.response.status_code=IntValue(200)",
            "otelmesh.writer=IntValue(0)",
        ]
    );
}

#[test]
fn nothing_that_a_caller_makes_up_is_an_attribute() {
    let mut meter = Meter::new(&Metrics::default()).unwrap();
    for n in 0..100 {
        let request = Request {
            method: format!("M{n}"),
            path: format!("/{n}?q={n}"),
            authority: format!("host-{n}"),
            scheme: format!("s{n}"),
            user_agent: format!("agent/{n}"),
            ..Request::default()
        };
        let response = Response { code: 404, flags: 1 << 8, ..Response::default() };
        for kind in [Kind::Server, Kind::Client] {
            let subject = Subject { kind, request: &request, response: &response, cluster: None };
            meter.measure(&Measurement { subject, nanos: MS, now: SECOND, exemplar: None });
        }
    }
    let metrics = collect(&mut meter, 2 * SECOND, ALL);
    let counts: Vec<_> =
        metrics.iter().map(|(_, m)| explicit(m).0.iter().map(|p| p.count).collect::<Vec<_>>()).collect();
    assert_eq!(counts, [[100], [100]], "one series on each side");
    assert!(attributes(&explicit(&metrics[0].1).0[0]).contains(&r#"http.request.method=StringValue("_OTHER")"#.into()));
}

#[test]
fn cumulative_streams_go_on_and_delta_streams_begin_anew() {
    for (temporality, counts, starts) in
        [(Temporality::Cumulative, [2, 3, 3], [9, 9, 9]), (Temporality::Delta, [2, 1, 0], [9, 20, 0])]
    {
        let mut meter = Meter::new(&Metrics { temporality, ..Metrics::default() }).unwrap();
        let mut told = Vec::new();
        for (n, measurements) in [(1, 2), (2, 1), (3, 0)] {
            for _ in 0..measurements {
                measure(&mut meter, &get("/a"), 200, SECOND, n * 10 * SECOND);
            }
            let metrics = collect(&mut meter, n * 10 * SECOND, ALL);
            told.push(metrics.first().map_or((0, 0), |(_, metric)| {
                let point = &explicit(metric).0[0];
                (point.count, point.start_time_unix_nano / SECOND)
            }));
        }
        let want: Vec<_> = counts.into_iter().zip(starts).collect();
        // The second interval begins where the first ended.
        let want: Vec<_> = want.iter().map(|(c, s)| (*c, if *s == 20 { 10 } else { *s })).collect();
        assert_eq!(told, want, "{temporality:?}");
    }
}

#[test]
fn series_are_bounded_and_what_is_beyond_is_told_as_overflow() {
    let mut meter = Meter::new(&Metrics { max_series: 10, ..Metrics::default() }).unwrap();
    let over = (0..1_000u64).filter(|n| measure(&mut meter, &get(&format!("/{n}")), 200, MS, SECOND)).count();
    assert_eq!(over, 990);
    assert!(!measure(&mut meter, &get("/3"), 200, MS, SECOND), "a series that is there already");
    let metrics = collect(&mut meter, 2 * SECOND, ALL);
    let points: Vec<_> = metrics.iter().flat_map(|(_, metric)| explicit(metric).0).collect();
    assert_eq!(points.len(), 11);
    assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), 1_001, "nothing is lost");
    let overflow = points.last().unwrap();
    assert_eq!(attributes(overflow), ["otel.metric.overflow=BoolValue(true)", "otelmesh.writer=IntValue(0)"]);
    assert_eq!(overflow.count, 990);
}

#[test]
fn a_collection_comes_in_portions() {
    let mut meter = Meter::new(&Metrics::default()).unwrap();
    for n in 0..200 {
        measure(&mut meter, &get(&format!("/{n}")), 200, MS, SECOND);
    }
    let points =
        |portion| collect(&mut meter, 2 * SECOND, portion).iter().map(|(points, _)| *points).collect::<Vec<_>>();
    let mut points = points;
    assert_eq!(points(ALL), [64, 64, 64, 8]);
    assert_eq!(points(Portion { points: 50, ..ALL }), [50; 4]);
    assert!(points(Portion { bytes: 1, ..ALL }).iter().all(|n| *n == 1));
}

#[test]
fn exemplars_are_told_once_the_latest_of_each_bucket() {
    let mut meter = Meter::new(&Metrics::default()).unwrap();
    let request = get("/a");
    let response = Response { code: 200, ..Response::default() };
    let subject = Subject { kind: Kind::Server, request: &request, response: &response, cluster: None };
    let mut note = |n: u8, ms: u64| {
        let (trace_id, span_id) = (TraceId::new([n; 16]).unwrap(), SpanId::new([n; 8]).unwrap());
        let exemplar = Some(Exemplar { trace_id, span_id, time: u64::from(n) });
        meter.measure(&Measurement { subject, nanos: ms * MS, now: SECOND, exemplar });
    };
    note(1, 1);
    note(2, 1);
    note(3, 60);
    let metrics = collect(&mut meter, 2 * SECOND, ALL);
    let exemplars = &explicit(&metrics[0].1).0[0].exemplars;
    let told: Vec<_> = exemplars.iter().map(|e| (e.trace_id[0], e.span_id.clone(), e.time_unix_nano)).collect();
    assert_eq!(told, [(2, vec![2; 8], 2), (3, vec![3; 8], 3)]);
    assert!(explicit(&collect(&mut meter, 3 * SECOND, ALL)[0].1).0[0].exemplars.is_empty());
    let mut meter =
        Meter::new(&Metrics { boundaries: (0..64).map(f64::from).collect(), ..Metrics::default() }).unwrap();
    for n in 0..64 {
        let exemplar = Some(Exemplar {
            trace_id: TraceId::new([n + 1; 16]).unwrap(),
            span_id: SpanId::new([1; 8]).unwrap(),
            time: 1,
        });
        meter.measure(&Measurement { subject, nanos: u64::from(n) * SECOND, now: SECOND, exemplar });
    }
    let metrics = collect(&mut meter, 2 * SECOND, ALL);
    assert_eq!(explicit(&metrics[0].1).0[0].exemplars.len(), crate::config::MAX_EXEMPLARS, "a bounded number of them");
}

#[test]
fn exchanges_under_way_and_sizes_are_told_where_asked_for() {
    let settings =
        Metrics { active_requests: true, body_sizes: true, temporality: Temporality::Delta, ..Metrics::default() };
    let mut meter = Meter::new(&settings).unwrap();
    let (post, get) = (Request { method: "POST".into(), ..get("/a") }, get("/a"));
    let [a, b, c] = [&get, &get, &post].map(|request| meter.enter(Kind::Server, request, SECOND));
    assert!(a == b && b != c);
    meter.leave(a);
    let response = Response { code: 200, request_size: Some(0), response_size: Some(5_000), ..Response::default() };
    let subject = Subject { kind: Kind::Server, request: &get, response: &response, cluster: None };
    meter.measure(&Measurement { subject, nanos: MS, now: SECOND, exemplar: None });
    let metrics = collect(&mut meter, 2 * SECOND, ALL);
    let names: Vec<_> = metrics.iter().map(|(_, metric)| metric.name.trim_start_matches("http.server.")).collect();
    assert_eq!(names, ["request.duration", "request.body.size", "response.body.size", "active_requests"]);
    let sizes = [1, 2].map(|n| explicit(&metrics[n].1).0[0].bucket_counts.clone());
    assert_eq!(sizes, [vec![1, 0, 0, 0, 0, 0, 0, 0], vec![0, 0, 0, 1, 0, 0, 0, 0]]);
    let Some(Data::Sum(sum)) = &metrics[3].1.data else { panic!("no sum") };
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
    assert_eq!(values, [Some(Value::AsInt(1)), Some(Value::AsInt(1))]);
    assert!(!sum.is_monotonic && sum.aggregation_temporality == 2, "it goes up and down, and never begins anew");
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
    use proptest::prelude::*;

    use super::*;
    use crate::config::HistogramForm;

    fn exponential(nanos: &[u64], max_buckets: u32) -> ExponentialHistogramDataPoint {
        let settings = Metrics { histogram: HistogramForm::Exponential, max_buckets, ..Metrics::default() };
        let mut meter = Meter::new(&settings).unwrap();
        for nanos in nanos {
            measure(&mut meter, &get("/a"), 200, *nanos, SECOND);
        }
        let metric = collect(&mut meter, 2 * SECOND, ALL).remove(0).1;
        let Some(Data::ExponentialHistogram(histogram)) = metric.data else { panic!("not exponential") };
        histogram.data_points.into_iter().next().unwrap()
    }

    fn durations() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(prop_oneof![Just(0), 1u64..1_000, 1u64..60 * SECOND, any::<u64>()], 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn exponential_buckets_hold_exactly_what_lies_between_their_bounds(nanos in durations(), max in 2u32..=160) {
            let point = exponential(&nanos, max);
            let values: Vec<f64> = nanos.iter().map(|nanos| *nanos as f64 / 1e9).collect();
            prop_assert_eq!(point.count, values.len() as u64);
            prop_assert_eq!(point.zero_count, nanos.iter().filter(|nanos| **nanos == 0).count() as u64);
            let buckets = point.positive.clone().unwrap_or_default();
            prop_assert!(buckets.bucket_counts.len() <= max as usize);
            let bound = |index: i32| (f64::from(index) * f64::from(-point.scale).exp2()).exp2();
            for (n, count) in buckets.bucket_counts.iter().enumerate() {
                let index = buckets.offset + n as i32;
                // Values so close to a bound that rounding decides may be on either side.
                let within = |slack: f64| {
                    values.iter().filter(|v| **v > bound(index) * (1.0 - slack) && **v <= bound(index + 1) * (1.0 + slack)).count() as u64
                };
                prop_assert!(within(-1e-12) <= *count && *count <= within(1e-12), "{} of {:?}", index, point);
            }
            let counted: u64 = buckets.bucket_counts.iter().sum();
            prop_assert_eq!(counted + point.zero_count, point.count);
            // No scale is coarser than it has to be: twice as fine would need more buckets than there may be.
            if let (Some(low), Some(high)) = (
                values.iter().copied().filter(|v| *v > 0.0).reduce(f64::min),
                values.iter().copied().reduce(f64::max).filter(|_| point.scale < 20),
            ) {
                let spread = (high / low).log2() * f64::from(point.scale + 1).exp2();
                prop_assert!(spread > f64::from(max) - 2.0, "{} buckets would do at a finer scale than {}", spread, point.scale);
            }
        }

        #[test]
        fn explicit_buckets_hold_exactly_what_lies_between_their_bounds(nanos in durations()) {
            let mut meter = Meter::new(&Metrics::default()).unwrap();
            for nanos in &nanos {
                measure(&mut meter, &get("/a"), 200, *nanos, SECOND);
            }
            let metrics = collect(&mut meter, 2 * SECOND, ALL);
            let point = &explicit(&metrics[0].1).0[0];
            let mut bounds = point.explicit_bounds.clone();
            bounds.insert(0, f64::NEG_INFINITY);
            bounds.push(f64::INFINITY);
            for (pair, count) in bounds.windows(2).zip(&point.bucket_counts) {
                let within = nanos.iter().map(|n| *n as f64 / 1e9).filter(|v| *v > pair[0] && *v <= pair[1]).count();
                prop_assert_eq!(within as u64, *count);
            }
            prop_assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        }
    }
}
