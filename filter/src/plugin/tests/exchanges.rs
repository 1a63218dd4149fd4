//! What an exchange leaves behind: headers for the next hop, a span, a log.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GET: [(&str, &str); 4] = [(":method", "GET"), (":path", "/a"), (":authority", "shop"), (":scheme", "http")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    GET.iter().chain(more).copied().collect()
}

#[test]
fn a_trace_goes_on_through_us_with_a_span_and_its_log() {
    let mut world = World::new("");
    world.host().set_integer(&["xds", "listener_direction"], 2);
    world.host().set_property(&["request", "protocol"], b"HTTP/2");
    let id = world.begin(&with(&[("traceparent", TRACEPARENT), ("tracestate", "a=1")]));
    let carried = world.header("traceparent").unwrap();
    assert!(carried.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert!(!carried.contains("b7ad6b7169203331"), "the next hop's parent is our span");
    assert_eq!(world.header("tracestate").as_deref(), Some("a=1"));
    world.end(id, 200);
    world.tick();

    let (traces, access_logs) = (world.reply(Some(200), b""), world.reply(Some(200), b""));
    let span = &spans(&traces)[0];
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert!(carried.contains(&hex(&span.span_id)));
    assert_eq!(span.trace_state, "a=1");
    assert_eq!(span.kind, 3, "CLIENT, since the listener is outbound");
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 5 * MS);
    let log = &logs(&access_logs)[0];
    assert_eq!((&log.trace_id, &log.span_id, log.flags), (&span.trace_id, &span.span_id, 3));
    assert_eq!(traces.cluster, crate::config::DEFAULT_CLUSTER);
    assert!(traces.headers.contains(&(":authority".into(), "otel-collector.otelmesh.svc.cluster.local".into())));
    world.balance();
    assert_eq!((world.stat("spans_exported"), world.stat("logs_exported")), (1, 1));
    assert_eq!(world.stat("traces_continued"), 1);
}

#[test]
fn a_gateway_is_a_server_although_its_listeners_are_called_outbound() {
    let mut world = World::on("router~10.0.0.1~front.shop~shop.svc.cluster.local", "");
    world.host().set_integer(&["xds", "listener_direction"], 2);
    world.exchange(&GET, 200);
    world.tick();
    assert_eq!(spans(&world.reply(Some(200), b""))[0].kind, 2);
}

#[test]
fn a_request_without_context_begins_a_trace() {
    let mut world = World::new("");
    world.exchange(&GET, 200);
    world.tick();
    let span = &spans(&world.reply(Some(200), b""))[0];
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.kind, 2, "SERVER, where nobody says otherwise");
    assert_eq!(span.flags & 0xff, 3, "sampled, and random");
    assert_eq!(world.stat("traces_started"), 1);
}

#[test]
fn an_unsampled_exchange_has_a_log_and_no_span() {
    let mut world = World::new(r#"{"sampling":{"ratio":0}}"#);
    let id = world.begin(&GET);
    assert!(world.header("traceparent").unwrap().ends_with("-02"), "random, not sampled");
    world.end(id, 200);
    world.tick();
    assert_eq!(logs(&world.reply(Some(200), b""))[0].flags, 2);
    assert!(world.host().calls.is_empty());
    assert_eq!((world.stat("spans_recorded"), world.stat("logs_recorded")), (0, 1));
}

#[test]
fn signals_that_are_off_are_not_recorded_and_context_still_flows() {
    let mut world = World::new(r#"{"traces":{"enabled":false},"logs":{"enabled":false}}"#);
    let id = world.begin(&with(&[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")]));
    assert!(world.header("traceparent").unwrap().starts_with("00-80f198ee56343ba864fe8b2a57d3eff7-"));
    assert!(world.header("b3").unwrap().starts_with("80f198ee56343ba864fe8b2a57d3eff7-"));
    world.end(id, 200);
    world.tick();
    assert!(world.host().calls.is_empty());
}

#[test]
fn an_exchange_that_never_showed_its_headers_is_recorded_from_the_log_phase() {
    let mut world = World::new("");
    world.host().set_integer(&["request", "time"], 7);
    world.host().request_headers = vec![("traceparent".into(), TRACEPARENT.into()), (":method".into(), "GET".into())];
    let id = world.id();
    world.end(id, 403);
    world.tick();
    let span = &spans(&world.reply(Some(200), b""))[0];
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(span.start_time_unix_nano, 7);
    assert_eq!(world.stat("exchanges_log_only"), 1);
    world.balance();
}

#[test]
fn a_reset_is_an_error_without_a_status_code() {
    let mut world = World::new("");
    let id = world.begin(&GET);
    world.host().set_integer(&["response", "flags"], 1 << 14);
    // `end` clears what a response left, so say it again.
    world.host().time += MS;
    world.host().clear_properties("response");
    world.host().set_integer(&["response", "flags"], 1 << 14);
    world.during(Phase::Log, |plugin| plugin.on_log(id));
    world.tick();
    let span = &spans(&world.reply(Some(200), b""))[0];
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let error = span.attributes.iter().find(|kv| kv.key == "error.type").unwrap();
    assert!(format!("{error:?}").contains("DownstreamConnectionTermination"));
    assert!(!span.attributes.iter().any(|kv| kv.key == "http.response.status_code"));
}

#[test]
fn hostile_headers_neither_panic_nor_grow_without_bound() {
    let mut world = World::new("");
    let members = (0..5000).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(64 * 1024);
    let rows: &[&[(&str, &[u8])]] = &[
        &[("traceparent", b"\xff\xfe"), ("b3", b"\x00"), ("x-b3-traceid", b"\xff")],
        &[("traceparent", TRACEPARENT.as_bytes()), ("tracestate", members.as_bytes())],
        &[(":method", b"\xff"), (":path", b"/\xc3\x28"), (":authority", b"\xf0\x28\x8c\xbc")],
        &[(":path", long.as_bytes()), ("user-agent", long.as_bytes()), ("tracestate", long.as_bytes())],
        &[("traceparent", long.as_bytes()), ("b3", long.as_bytes()), ("x-b3-sampled", long.as_bytes())],
        &[],
    ];
    for row in rows {
        let id = world.id();
        world.host().request_headers = row.iter().map(|(n, v)| ((*n).to_owned(), v.to_vec())).collect();
        world.during(Phase::RequestHeaders, |plugin| plugin.on_request_headers(id, false));
        assert_eq!(world.header("traceparent").unwrap().len(), 55);
        world.end(id, 400);
    }
    for _ in 0..100 {
        let line = ("tracestate".to_owned(), b"a=1".to_vec());
        world.host().request_headers = vec![line; 5000];
        let id = world.id();
        world.during(Phase::RequestHeaders, |plugin| plugin.on_request_headers(id, false));
        world.end(id, 200);
    }
    world.tick();
    let largest = spans(&world.reply(Some(200), b"")).iter().map(Message::encoded_len).max().unwrap();
    assert!(largest < 10 * 1024, "a span of {largest} bytes");
    assert_eq!(world.stat("malformed_tracecontext"), 2);
    assert_eq!(world.stat("malformed_tracestate"), 1, "the tracestate of a good traceparent");
    world.balance();
}

#[test]
fn our_own_exports_are_left_alone() {
    let mut world = World::new("");
    let own = [(":method", "POST"), (":path", "/v1/traces"), ("user-agent", crate::export::USER_AGENT)];
    let id = world.begin(&own);
    assert_eq!(world.header("traceparent"), None);
    world.end(id, 200);
    world.exchange(&[(":path", "/v1/traces"), ("user-agent", "an application's SDK")], 200);
    world.tick();
    assert_eq!(world.stat("exchanges_own_export"), 1);
    assert_eq!(world.stat("spans_recorded"), 1, "an application's exports are exchanges like any other");
}

#[test]
fn what_nobody_is_configured_for_is_passed_over() {
    let mut world = World { plugin: Plugin::new(Fake::default()), next_id: ROOT, parent: ROOT };
    world.exchange(&GET, 200);
    assert_eq!(world.header("traceparent"), None);
    world.during(Phase::CallResponse, |plugin| plugin.on_call_response(99, 0, 0, 0));
    world.plugin.on_tick(99);
    assert_eq!(world.stat("spans_recorded"), 0);
}

#[test]
fn a_host_that_refuses_writes_is_counted_and_the_span_stays() {
    let mut world = World::new("");
    world.host().refuse_writes = Some(Status::BAD_ARGUMENT);
    world.exchange(&GET, 200);
    world.tick();
    assert_eq!((world.stat("host_errors"), world.stat("spans_recorded")), (1, 1));
}

#[test]
fn open_exchanges_are_bounded_and_closed_ones_forgotten() {
    let mut world = World::new("");
    for _ in 0..=MAX_LIVE_EXCHANGES {
        world.begin(&[]);
    }
    world.tick();
    assert_eq!(world.stat("exchanges_over_limit"), 1);
    assert_eq!(world.plugin.exchanges.len(), MAX_LIVE_EXCHANGES);
    assert_eq!(world.header("traceparent"), None, "its trace goes on as it came");
    world.end(world.next_id - 1, 200);
    world.tick();
    assert_eq!((world.stat("spans_recorded"), world.stat("exchanges_log_only")), (1, 1), "and it is recorded");
    for id in 2..world.next_id {
        world.plugin.on_done(id);
    }
    assert!(world.plugin.exchanges.is_empty());
}

#[test]
fn probes_leave_no_record_and_no_trace_in_the_headers() {
    let mut world = World::new("");
    let id = world.begin(&[(":method", "GET"), (":path", "/healthz?verbose"), ("traceparent", "rubbish")]);
    assert_eq!(world.header("traceparent").as_deref(), Some("rubbish"));
    world.end(id, 200);
    world.exchange(&[(":path", "/"), ("user-agent", "kube-probe/1.34")], 200);
    world.exchange(&[(":path", "/healthz/deep"), ("user-agent", "curl")], 200);
    world.tick();
    assert_eq!((world.stat("exchanges_excluded"), world.stat("spans_recorded")), (2, 1));
    let mut all = World::new(r#"{"exclude":{"paths":[],"userAgents":[]}}"#);
    all.exchange(&[(":path", "/healthz"), ("user-agent", "kube-probe/1.34")], 200);
    all.tick();
    assert_eq!((all.stat("exchanges_excluded"), all.stat("spans_recorded")), (0, 1));
}

#[test]
fn rules_decide_new_traces_and_no_others() {
    let rules = r#"{"sampling":{"ratio":0,"rules":[
        {"paths":["/pay/**"],"action":"keep"},
        {"methods":["POST"],"action":"keep","maxPerSecond":2}]}}"#;
    let mut world = World::new(rules);
    world.exchange(&[(":method", "GET"), (":path", "/pay/7")], 200);
    world.exchange(&[(":method", "GET"), (":path", "/other")], 200);
    world.exchange(&[(":method", "GET"), (":path", "/pay/7"), ("b3", "0")], 200);
    world.exchange(&[(":method", "GET"), (":path", "/other"), ("b3", "1")], 200);
    for _ in 0..5 {
        world.host().time -= 5 * MS;
        world.exchange(&[(":method", "POST"), (":path", "/other")], 200);
    }
    world.tick();
    assert_eq!(world.stat("spans_recorded"), 4, "a rule, a caller, and two of a limited rule");
    assert_eq!((world.stat("traces_over_limit"), world.stat("logs_recorded")), (3, 9));
}

#[test]
fn a_kept_span_says_why_and_that_its_trace_is_not_whole() {
    let keep = r#"{"sampling":{"ratio":0,"keep":{"errors":true,"slowerThan":"1s"}},"logs":{"enabled":false}}"#;
    let mut world = World::new(keep);
    let dropped = TRACEPARENT.replace("-03", "-00");
    world.exchange(&[(":method", "GET"), ("traceparent", &dropped)], 200);
    assert_eq!(world.header("traceparent"), Some(dropped.clone()), "nothing is recorded, nothing is changed");
    world.exchange(&[(":method", "GET"), ("traceparent", &dropped)], 503);
    let slow = world.begin(&[(":method", "GET")]);
    world.host().time += 2 * SECOND;
    world.end(slow, 200);
    world.tick();
    let kept = spans(&world.reply(Some(200), b""));
    let reason = |span: &Span| format!("{:?}", span.attributes.iter().find(|kv| kv.key == "otelmesh.kept"));
    assert_eq!(kept.len(), 2);
    assert!(reason(&kept[0]).contains("error") && reason(&kept[1]).contains("slow"));
    assert_eq!(hex(&kept[0].parent_span_id), "b7ad6b7169203331");
    assert_ne!(kept[0].span_id, kept[0].parent_span_id, "it has an id of its own");
    assert_eq!(kept[0].flags & 1, 0, "its trace is not sampled");
    assert_eq!(world.stat("kept_spans"), 2);
    world.balance();
}

#[test]
fn a_distrusted_caller_is_linked() {
    let mut world = World::new(r#"{"propagation":{"trust":"none"}}"#);
    let id = world.begin(&with(&[("traceparent", TRACEPARENT), ("tracestate", "a=1")]));
    assert!(!world.header("traceparent").unwrap().contains("0af7651916cd43dd"));
    assert_eq!(world.header("tracestate"), None);
    world.end(id, 200);
    world.tick();
    let span = &spans(&world.reply(Some(200), b""))[0];
    assert!(span.parent_span_id.is_empty() && span.trace_state.is_empty());
    assert_eq!(hex(&span.links[0].trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.links[0].span_id), "b7ad6b7169203331");
    assert_eq!((world.stat("traces_distrusted"), world.stat("traces_continued")), (1, 0));
}

#[test]
fn log_policies_say_which_exchanges_have_one() {
    // Logs, how many of: a sampled success, an unsampled success, a sampled failure, an unsampled failure.
    let rows = [
        (r#"{}"#, [1, 1, 1, 1]),
        (r#"{"enabled":false}"#, [0, 0, 0, 0]),
        (r#"{"policy":"sampled"}"#, [1, 0, 1, 0]),
        (r#"{"policy":"errors"}"#, [0, 0, 1, 1]),
        (r#"{"ratio":0}"#, [0, 0, 1, 1]),
        (r#"{"skipWithSpan":true}"#, [0, 1, 0, 1]),
    ];
    for (logs, want) in rows {
        let mut world = World::new(&format!(r#"{{"logs":{logs}}}"#));
        let mut counts = Vec::new();
        for (b3, code) in [("1", 200), ("0", 200), ("1", 500), ("0", 500)] {
            let before = world.stat("logs_recorded");
            world.exchange(&[(":method", "GET"), ("b3", b3)], code);
            world.tick();
            counts.push(world.stat("logs_recorded") - before);
        }
        assert_eq!(counts, want, "{logs}");
    }
}

#[test]
fn routes_name_spans_and_custom_attributes_stand_on_both_records() {
    let config = r#"{"routes":{"templates":["/orders/{id}"]},"attributes":[
        {"name":"tenant","requestHeader":"x-tenant"},
        {"name":"cached","responseHeader":"x-cached","type":"bool"},
        {"name":"tier","baggage":"tier"},
        {"name":"weight","literal":"7","type":"int"}]}"#;
    let mut world = World::new(config);
    world.host().set_integer(&["xds", "listener_direction"], 2);
    world.host().set_integer(&["upstream", "request_attempt_count"], 3);
    world.host().response_headers = vec![("x-cached".into(), b"true".to_vec())];
    let headers = [
        (":method", "GET"),
        (":path", "/orders/7?x=1"),
        (":authority", "shop"),
        ("x-tenant", "a"),
        ("baggage", "tier=gold"),
    ];
    world.exchange(&headers, 200);
    world.tick();
    let span = spans(&world.reply(Some(200), b"")).remove(0);
    let log = logs(&world.reply(Some(200), b"")).remove(0);
    assert_eq!(span.name, "GET /orders/{id}");
    let printed = |key: &str| format!("{:?}", span.attributes.iter().find(|kv| kv.key == key).unwrap().value);
    for (key, value) in [
        ("http.route", r#"StringValue("/orders/{id}")"#),
        ("tenant", r#"StringValue("a")"#),
        ("tier", r#"StringValue("gold")"#),
        ("cached", "BoolValue(true)"),
        ("weight", "IntValue(7)"),
        ("http.request.resend_count", "IntValue(2)"),
    ] {
        assert!(printed(key).contains(value), "{key}: {}", printed(key));
        assert!(log.attributes.iter().any(|kv| kv.key == key), "{key} on the log");
    }
}

#[test]
fn a_request_id_becomes_the_trace_id_only_where_nothing_else_came() {
    let mut world = World::new(r#"{"propagation":{"traceIdFromRequestId":true}}"#);
    let id = ("x-request-id", "0af76519-16cd-43dd-8448-eb211c80319c");
    world.begin(&[id]);
    let traceparent = world.header("traceparent").unwrap();
    assert!(traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && traceparent.ends_with("-03"));
    world.begin(&[id, ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")]);
    assert!(world.header("traceparent").unwrap().starts_with("00-80f198ee56343ba864fe8b2a57d3eff7-"));
    world.begin(&[("x-request-id", "req-1")]);
    assert!(!world.header("traceparent").unwrap().contains("0af76519"));
    let mut world = World::new("");
    world.begin(&[id]);
    assert!(!world.header("traceparent").unwrap().contains("0af76519"), "only where asked for");
    assert!(world.host().filter_state.is_empty());
}

#[test]
fn baggage_goes_on_as_it_came_and_more_of_it_than_usual_is_counted() {
    let members =
        |n: usize, len: usize| (0..n).map(|i| format!("{i:03}={}", "v".repeat(len))).collect::<Vec<_>>().join(",");
    // Baggage, whether it is counted.
    let rows = [(members(64, 123), 0), (members(65, 1), 1), (members(64, 124), 1)];
    for (baggage, counted) in rows {
        let mut world = World::new("");
        world.exchange(&[("baggage", &baggage)], 200);
        assert_eq!(world.header("baggage").as_deref(), Some(baggage.as_str()));
        world.tick();
        assert_eq!(world.stat("baggage_over_limit"), counted, "{} bytes", baggage.len());
    }
}

#[test]
fn the_context_is_put_into_the_filter_state_where_asked_for() {
    let mut world = World::new(r#"{"propagation":{"filterState":true}}"#);
    world.begin(&GET);
    let want = world.header("traceparent").unwrap();
    assert_eq!(world.host().filter_state["otelmesh.traceparent"], want.as_bytes());
}

#[test]
fn a_request_that_ends_with_its_headers_is_not_asked_for_the_size_of_its_body() {
    let mut world = World::new("{}");
    world.host().set_integer(&["request", "size"], 7);
    for ends in [false, true] {
        let id = world.id();
        world.host().request_headers = vec![(":method".to_owned(), b"GET".to_vec())];
        world.during(Phase::RequestHeaders, |plugin| plugin.on_request_headers(id, ends));
        world.end(id, 200);
    }
    world.tick();
    world.reply(Some(200), b"");
    let logs = logs(&world.reply(Some(200), b""));
    let size = |log: &LogRecord| {
        let size = log.attributes.iter().find(|kv| kv.key == "http.request.body.size");
        format!("{:?}", size.unwrap().value.as_ref().unwrap().value)
    };
    assert_eq!([size(&logs[0]), size(&logs[1])], ["Some(IntValue(7))", "Some(IntValue(0))"]);
}
