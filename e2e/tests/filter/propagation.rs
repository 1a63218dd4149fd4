//! Two hops, one trace, in every header format; and the corners of each format as an application sees them.

use http::{HeaderMap, HeaderName, HeaderValue};
use otelmesh::apps::App;
use otelmesh::client::Client;
use otelmesh::telemetry::Link;
use otelmesh_e2e::proxy::Setup;
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::{Head, Upstream};
use serde_json::json;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// What an upstream got when the request carried `headers`.
async fn seen(inbound: std::net::SocketAddr, upstream: &Upstream, headers: &[(&str, &str)]) -> Head {
    let bytes: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    assert_eq!(raw::send(inbound, &raw::request(b"/", &bytes)).await, Some(200));
    upstream.last()
}

#[tokio::test]
async fn two_hops_are_one_trace_in_every_format() {
    let back = App::start("back", |_| Vec::new()).await.unwrap();
    let front = App::start("front", |_| vec![("back", "/back".to_owned())]).await.unwrap();
    let setup = Setup { inbound: front.address(), ..Setup::new(back.address()) };
    let proxy = setup.start().await;
    front.call_through(proxy.outbound);

    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("{TRACE}-{SPAN}-1");
    // Format, what the client sends, headers that both applications must have been given.
    type Row<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [&'a str]);
    let rows: [Row<'_>; 4] = [
        ("none", vec![], &["traceparent"]),
        ("tracecontext", vec![("traceparent", &w3c), ("tracestate", "a=1")], &["traceparent", "tracestate"]),
        ("b3", vec![("b3", &b3)], &["traceparent", "b3"]),
        (
            "b3multi",
            vec![("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")],
            &["traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"],
        ),
    ];
    let client = Client::new();
    for (n, (format, sent, given)) in rows.iter().enumerate() {
        let headers: HeaderMap = sent
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect();
        let reply = client.get(&format!("http://{}/front", proxy.inbound), headers).await.unwrap();
        assert_eq!(reply.status, 200, "{format}");
        let records = (n as i64 + 1) * 2;
        proxy.settle(records, records).await;

        let snapshot = proxy.receiver.snapshot();
        let mut spans = snapshot.spans().split_off(n * 2);
        spans.sort_by(|a, b| b.kind.cmp(&a.kind));
        let [server, client] = spans.as_slice() else { panic!("{format}: {spans:?}") };
        assert_eq!((server.kind.as_str(), client.kind.as_str()), ("SERVER", "CLIENT"), "{format}");
        let came = if sent.is_empty() { String::new() } else { SPAN.to_owned() };
        assert_eq!(server.parent_span_id, came, "{format}");
        assert_eq!(client.parent_span_id, server.span_id, "{format}: the second hop hangs on the first");
        assert_eq!(client.trace_id, server.trace_id, "{format}");
        assert!(sent.is_empty() || server.trace_id == TRACE, "{format}");

        for (app, span) in [(&front, server), (&back, client)] {
            let arrival = app.arrivals().pop().unwrap();
            for name in *given {
                let value = arrival.headers.get(*name).unwrap_or_else(|| panic!("{format}: no {name} in {arrival:?}"));
                let is_ours = match *name {
                    "traceparent" | "b3" => value.contains(&span.trace_id) && value.contains(&span.span_id),
                    "x-b3-traceid" => *value == span.trace_id,
                    "x-b3-spanid" => *value == span.span_id,
                    "x-b3-sampled" => value == "1",
                    _ => value == "a=1",
                };
                assert!(is_ours, "{format}: {name} is {value}, the span {span:?}");
            }
            let surplus: Vec<_> =
                arrival.headers.keys().filter(|k| *k != "x-request-id" && !given.contains(&k.as_str())).collect();
            assert!(surplus.is_empty(), "{format}: {surplus:?}");
        }
        for log in snapshot.logs().split_off(n * 2) {
            let span = spans.iter().find(|span| span.span_id == log.span_id).unwrap();
            assert_eq!((&log.trace_id, log.flags), (&span.trace_id, span.flags & 0xff), "{format}");
            assert_eq!(log.resource, span.resource, "{format}: one resource for both");
        }
    }
    proxy.assert_alive().await;
}

#[tokio::test]
async fn the_corners_of_trace_context_as_an_application_sees_them() {
    let upstream = Upstream::start().await;
    let proxy = Setup::new(upstream.address()).start().await;
    let good = format!("00-{TRACE}-{SPAN}-01");
    let members = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    let (full, over) = (members(32), members(33));
    // What came, whether the trace goes on, the flags and the tracestate lines that go on, reason.
    type Row<'a> = (Vec<(&'a str, String)>, bool, &'a str, Vec<&'a str>, &'a str);
    let tp = |value: &str| ("traceparent", value.replace('T', TRACE).replace('S', SPAN));
    let ts = |value: &str| ("tracestate", value.to_owned());
    let rows: Vec<Row<'_>> = vec![
        (vec![tp("00-T-S-01")], true, "01", vec![], "sampled"),
        (vec![tp("00-T-S-03")], true, "03", vec![], "the random flag is kept"),
        (vec![tp("00-T-S-ff")], true, "03", vec![], "other flags end here"),
        (vec![tp("00-T-S-09")], true, "01", vec![], "whatever they are"),
        (vec![tp("cc-T-S-01-future")], true, "01", vec![], "a future version goes on as version 00"),
        (vec![tp("ff-T-S-01")], false, "03", vec![], "version ff"),
        (vec![tp("00-T-S-01"), tp("00-T-S-01")], false, "03", vec![], "two traceparents begin a new trace"),
        (vec![("traceparent", good.to_uppercase())], false, "03", vec![], "upper case"),
        (vec![tp("00-T-S-01"), ts("a=1"), ts("b=2")], true, "01", vec!["a=1,b=2"], "lines are joined in order"),
        (vec![tp("00-T-S-01"), ts("a=1 \t,\t b=2")], true, "01", vec!["a=1,b=2"], "OWS is trimmed"),
        (vec![tp("00-T-S-01"), ts("")], true, "01", vec![], "an empty tracestate is never sent on"),
        (vec![tp("00-T-S-01"), ts(&full)], true, "01", vec![&full], "32 members"),
        (vec![tp("00-T-S-01"), ts(&over)], true, "01", vec![], "33 members hurt no traceparent"),
        (vec![tp("00-T-S-01"), ts("BAD=1")], true, "01", vec![], "a malformed tracestate hurts no traceparent"),
        (vec![tp("00-broken"), ts("a=1")], false, "03", vec![], "a tracestate goes with its traceparent"),
    ];
    for (came, continued, flags, tracestate, reason) in rows {
        let came: Vec<_> = came.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let head = seen(proxy.inbound, &upstream, &came).await;
        let traceparent = head.value("traceparent");
        assert_eq!(traceparent.contains(TRACE), continued, "{reason}: {traceparent}");
        assert!(!traceparent.contains(SPAN), "{reason}: the next hop's parent is our span");
        assert!(traceparent.ends_with(flags) && traceparent.starts_with("00-"), "{reason}: {traceparent}");
        assert_eq!(head.values("tracestate"), tracestate, "{reason}");
    }
    proxy.assert_alive().await;
}

#[tokio::test]
async fn b3_goes_on_as_it_came_and_never_names_a_parent() {
    let upstream = Upstream::start().await;
    let proxy = Setup::new(upstream.address()).start().await;
    let short = "8448eb211c80319c";

    let head = seen(proxy.inbound, &upstream, &[("b3", &format!("{short}-{SPAN}-d-05e3ac9a4f6e3b90"))]).await;
    let b3 = head.value("b3");
    assert!(b3.starts_with(&format!("{short}-")) && b3.ends_with("-d") && b3.len() == 35, "{b3}");
    assert!(head.value("traceparent").starts_with(&format!("00-0000000000000000{short}-")));

    let parent = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-parentspanid", short), ("x-b3-flags", "1")];
    let head = seen(proxy.inbound, &upstream, &parent).await;
    assert_eq!(head.value("x-b3-traceid"), TRACE);
    assert_ne!(head.value("x-b3-spanid"), SPAN);
    assert_eq!(head.value("x-b3-flags"), "1");
    assert!(head.values("x-b3-parentspanid").is_empty() && head.values("x-b3-sampled").is_empty());

    for (decision, flags) in [("0", "02"), ("1", "03")] {
        let head = seen(proxy.inbound, &upstream, &[("b3", decision)]).await;
        assert!(head.value("traceparent").ends_with(flags), "a lone decision stands for the new trace");
        assert!(head.value("b3").ends_with(decision));
    }
}

#[tokio::test]
async fn an_unsampled_trace_goes_on_and_leaves_only_its_log() {
    let upstream = Upstream::start().await;
    let config = json!({"sampling": {"ratio": 0}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    let head = seen(proxy.inbound, &upstream, &[]).await;
    assert!(head.value("traceparent").ends_with("-02"), "not sampled, but random");
    let head = seen(proxy.inbound, &upstream, &[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]).await;
    assert!(head.value("traceparent").ends_with("-01"), "the caller's decision stands");
    let dropped = format!("00-{TRACE}-{SPAN}-00");
    let head = seen(proxy.inbound, &upstream, &[("traceparent", &dropped), ("tracestate", "a=1")]).await;
    assert_eq!(head.value("traceparent"), dropped, "without a span of ours, the caller's stays the parent");
    proxy.settle(1, 3).await;
}

#[tokio::test]
async fn every_other_format_is_read_written_and_cleared() {
    let upstream = Upstream::start().await;
    let all = ["tracecontext", "b3", "b3multi", "jaeger", "xray", "ottrace"];
    let config = json!({"propagation": {
        "extract": all,
        "inbound": {"inject": ["jaeger", "xray", "ottrace", "tracecontext"], "clear": ["b3", "baggage"]},
        "outbound": {"inject": ["b3"], "clear": ["tracecontext"]},
    }});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    let (time, rest) = TRACE.split_at(8);
    // What came, the trace id that goes on, reason.
    let rows = [
        (vec![("uber-trace-id", format!("{TRACE}:{SPAN}:0:1"))], TRACE.to_owned(), "jaeger"),
        (vec![("x-amzn-trace-id", format!("Root=1-{time}-{rest};Parent={SPAN};Sampled=1"))], TRACE.to_owned(), "xray"),
        (
            vec![("ot-tracer-traceid", TRACE[16..].to_owned()), ("ot-tracer-spanid", SPAN.to_owned())],
            format!("{:0>32}", &TRACE[16..]),
            "ottrace",
        ),
    ];
    for (came, trace_id, reason) in rows {
        let came: Vec<_> =
            came.iter().map(|(n, v)| (*n, v.as_str())).chain([("b3", "0"), ("baggage", "k=v")]).collect();
        let head = seen(proxy.inbound, &upstream, &came).await;
        assert!(head.value("traceparent").starts_with(&format!("00-{trace_id}-")), "{reason}");
        let span = &head.value("traceparent")[36..52];
        assert_eq!(head.value("uber-trace-id"), format!("{trace_id}:{span}:0:1"), "{reason}");
        assert!(head.value("x-amzn-trace-id").contains(&format!("Parent={span};Sampled=1")), "{reason}");
        assert_eq!(head.value("ot-tracer-traceid"), trace_id[16..], "{reason}");
        assert_eq!(head.value("ot-tracer-spanid"), span, "{reason}");
        assert!(head.values("b3").is_empty() && head.values("baggage").is_empty(), "{reason}: cleared");

        let head =
            seen(proxy.outbound, &upstream, &[("traceparent", &format!("00-{TRACE}-{SPAN}-01")), ("baggage", "k=v")])
                .await;
        assert!(head.value("b3").starts_with(TRACE), "{reason}: the other direction has its own list");
        assert!(head.values("traceparent").is_empty() && head.value("baggage") == "k=v", "{reason}");
    }
    let books = proxy.until("all spans", |b| b.exported("logs") == 6).await;
    assert_eq!(books.get("conflicting_contexts"), 0);
    seen(proxy.inbound, &upstream, &[("uber-trace-id", "1:2:0:1"), ("b3", &format!("{TRACE}-{SPAN}-1"))]).await;
    proxy.until("a conflict", |b| b.get("conflicting_contexts") == 1).await;
    proxy.assert_alive().await;
}

#[tokio::test]
async fn a_sampled_trace_tells_backends_how_many_it_stands_for() {
    let upstream = Upstream::start().await;
    let config = json!({"sampling": {"ratio": 0.5}});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    let (mut sampled, mut dropped) = (0, 0);
    while sampled < 5 || dropped < 5 {
        let head = seen(proxy.inbound, &upstream, &[]).await;
        let traceparent = head.value("traceparent");
        let is_high = traceparent.as_bytes()[21] >= b'8';
        if traceparent.ends_with("-03") {
            assert!(is_high, "decided on the last 56 bits: {traceparent}");
            assert_eq!(head.value("tracestate"), "ot=th:8");
            sampled += 1;
        } else {
            assert!(!is_high && head.values("tracestate").is_empty(), "{traceparent}");
            dropped += 1;
        }
        assert!(sampled + dropped < 200, "{sampled} of {}", sampled + dropped);
    }
    proxy.settle(sampled, sampled + dropped).await;
    assert!(proxy.receiver.snapshot().spans().iter().all(|span| span.trace_state == "ot=th:8"));
    // A caller's threshold that contradicts its flag is erased, the rest goes on.
    let low = format!("00-{}00-{SPAN}-01", &TRACE[..30]).replace("8448eb211c8031", "0048eb211c8031");
    let head = seen(proxy.inbound, &upstream, &[("traceparent", &low), ("tracestate", "a=1,ot=th:8")]).await;
    assert_eq!(head.value("tracestate"), "a=1");
}

#[tokio::test]
async fn a_distrusted_caller_is_linked_and_a_boundary_keeps_secrets() {
    let upstream = Upstream::start().await;
    let config = json!({"propagation": {
        "inbound": {"trust": "none"},
        "boundaries": [{"hosts": ["*.example"], "policy": "stripWithBaggage"}],
    }});
    let proxy = Setup { config, ..Setup::new(upstream.address()) }.start().await;
    let context = format!("00-{TRACE}-{SPAN}-01");
    let came = [("traceparent", context.as_str()), ("tracestate", "a=1"), ("baggage", "k=v")];
    let head = seen(proxy.inbound, &upstream, &came).await;
    assert!(!head.value("traceparent").contains(TRACE) && head.values("tracestate").is_empty());
    let head = seen(proxy.outbound, &upstream, &came).await;
    let left: Vec<_> = came.iter().filter(|(name, _)| !head.values(name).is_empty()).collect();
    assert!(left.is_empty(), "shop.example lies beyond the boundary: {left:?}");
    proxy.settle(2, 2).await;
    let spans = proxy.receiver.snapshot().spans();
    let outbound = spans.iter().find(|span| span.kind == "CLIENT").unwrap();
    assert_eq!(outbound.trace_id, TRACE, "our own span hangs where it belongs");
    let inbound = spans.iter().find(|span| span.kind == "SERVER").unwrap();
    assert_eq!(inbound.links, [Link { trace_id: TRACE.into(), span_id: SPAN.into() }]);
    assert_eq!(proxy.books().await.get("traces_distrusted"), 1);
}

#[tokio::test]
async fn callers_and_access_logs_can_be_told_the_trace() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut serde_json::Value| {
        let manager = otelmesh_e2e::proxy::inbound_manager(bootstrap);
        let value = "%FILTER_STATE(wasm.otelmesh.traceparent:PLAIN)%";
        manager["route_config"]["response_headers_to_add"] =
            json!([{"header": {"key": "traceresponse", "value": value}}]);
        manager["access_log"] = json!([{
            "name": "log",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
                "log_format": {"text_format_source": {"inline_string": format!("trace {value} {}\n", "%RESPONSE_CODE%")}},
            },
        }]);
    };
    let config = json!({"propagation": {"filterState": true, "traceIdFromRequestId": true}});
    let proxy = Setup { config, edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("x-request-id"),
        HeaderValue::from_static("0af76519-16cd-43dd-8448-eb211c80319c"),
    )]);
    let reply = Client::new().get(&format!("http://{}/", proxy.inbound), headers).await.unwrap();
    let told = reply.headers["traceresponse"].to_str().unwrap().to_owned();
    assert_eq!(told, upstream.last().value("traceparent"));
    proxy.settle(1, 1).await;
    let span = proxy.receiver.snapshot().spans().remove(0);
    assert!(told.starts_with(&format!("00-{}-{}-", span.trace_id, span.span_id)), "{told}");
    let log = proxy.envoy.log();
    assert!(log.contains(&format!("trace {told} 200")), "{log}");
}
