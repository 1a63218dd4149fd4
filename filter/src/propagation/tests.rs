//! Formats together: order of extraction, and what is injected for what came.

use super::*;
use crate::config::Boundary;
use crate::host::Headers;
use crate::sampling::Sampler;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
const B3_SINGLE: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers::from_wire(Headers::to_wire(pairs))
}

fn ours(flags: Flags, debug: bool) -> SpanContext {
    SpanContext {
        trace_id: TraceId::from_hex(b"0af7651916cd43dd8448eb211c80319c").unwrap(),
        span_id: SpanId::from_hex(b"00f067aa0ba902b7").unwrap(),
        flags,
        debug,
    }
}

/// What `inject` makes of the request, as `name: value` lines, `name!` for a removal.
fn injected(propagators: &Propagators, pairs: &[(&str, &str)], debug: bool) -> Vec<String> {
    let headers = headers(pairs);
    let carrier = Carrier::of(&headers);
    let found = propagators.extract(&carrier);
    propagators
        .inject(&carrier, &found, &ours(Flags::new(true, true), debug), b"shop.example")
        .into_iter()
        .map(|c| (c.name.as_str(), c.value))
        .map(|(name, value)| value.map_or_else(|| format!("{name}!"), |v| format!("{name}: {v}")))
        .collect()
}

fn reads(formats: &[Format]) -> Propagators {
    configured(Propagation { extract: formats.to_vec(), ..Propagation::default() })
}

fn configured(propagation: Propagation) -> Propagators {
    Propagators::of(&propagation, &Side::default(), Kind::Server)
}

fn defaults() -> Propagators {
    configured(Propagation::default())
}

#[test]
fn the_first_whole_context_in_the_configured_order_wins() {
    use Format::{B3, B3Multi, TraceContext};
    let both = headers(&[("b3", B3_SINGLE), ("traceparent", W3C)]);
    let broken = headers(&[("b3", B3_SINGLE), ("traceparent", "00-broken")]);
    let twice = headers(&[("traceparent", W3C), ("traceparent", W3C)]);
    let lone = headers(&[("b3", "0"), ("traceparent", W3C)]);
    let none = headers(&[("accept", "*/*")]);
    // Headers, order, start of the trace id, malformed formats, reason.
    type Row<'a> = (&'a Headers, &'a [Format], Option<&'a str>, &'a [Format], &'a str);
    let rows: &[Row<'_>] = &[
        (&both, &[TraceContext, B3, B3Multi], Some("0af7"), &[], "tracecontext is asked first"),
        (&both, &[B3, TraceContext], Some("80f1"), &[], "b3 is asked first"),
        (&both, &[B3Multi], None, &[], "a format that is not asked is not read"),
        (&both, &[], None, &[], "none is asked"),
        (&broken, &[TraceContext, B3], Some("80f1"), &[TraceContext], "a malformed one gives way to the next"),
        (&broken, &[TraceContext], None, &[TraceContext], "or to a new trace"),
        (&twice, &[TraceContext], None, &[TraceContext], "two traceparents are malformed"),
        (&lone, &[B3, TraceContext], Some("0af7"), &[], "a lone decision gives way to a whole context"),
        (&none, &[TraceContext, B3, B3Multi], None, &[], "nothing came"),
    ];
    for (headers, order, trace_id, malformed, reason) in rows {
        let found = reads(order).extract(&Carrier::of(headers));
        let got = found.parent.map(|p| p.trace_id.to_string());
        assert_eq!(got.as_deref().and_then(|t| t.get(..4)), *trace_id, "{reason}");
        assert_eq!(found.malformed, *malformed, "{reason}");
        assert_eq!(found.decision, found.parent.and_then(|p| p.decision), "{reason}");
    }
}

#[test]
fn tracestate_goes_with_traceparent_alone() {
    let with = |pairs: &[(&str, &str)]| defaults().extract(&Carrier::of(&headers(pairs)));
    assert_eq!(with(&[("traceparent", W3C), ("tracestate", "a=1"), ("tracestate", "b=2")]).tracestate, "a=1,b=2");
    assert_eq!(with(&[("b3", B3_SINGLE), ("tracestate", "a=1")]).tracestate, "", "b3's trace has no tracestate");
    assert_eq!(with(&[("tracestate", "a=1")]).tracestate, "", "a tracestate alone means nothing");
    let bad = with(&[("traceparent", W3C), ("tracestate", "a")]);
    assert!(bad.tracestate_malformed && bad.parent.is_some(), "a bad tracestate does not hurt traceparent");
}

#[test]
fn by_default_tracecontext_goes_out_and_the_b3_form_that_came_in() {
    const TP: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-03";
    const ID: &str = "x-b3-traceid: 0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "x-b3-spanid: 00f067aa0ba902b7";
    const B3: &str = "b3: 0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1";
    // What came, whether it asked for debug, what changes, reason.
    type Row<'a> = (&'a [(&'a str, &'a str)], bool, &'a [&'a str], &'a str);
    let rows: &[Row<'_>] = &[
        (&[], false, &[TP], "nothing came"),
        (&[("traceparent", W3C)], false, &[TP], "tracecontext came"),
        (&[("traceparent", W3C), ("tracestate", "a=1")], false, &[TP], "a good tracestate stays untouched"),
        (&[("traceparent", W3C), ("tracestate", "a=1 ,b=2")], false, &[TP, "tracestate: a=1,b=2"], "or is normalised"),
        (
            &[("traceparent", W3C), ("tracestate", "a=1"), ("tracestate", "b=2")],
            false,
            &[TP, "tracestate: a=1,b=2"],
            "joined",
        ),
        (&[("traceparent", W3C), ("tracestate", "a")], false, &[TP, "tracestate!"], "a bad one goes"),
        (&[("traceparent", W3C), ("tracestate", "")], false, &[TP, "tracestate!"], "an empty one is never sent on"),
        (&[("tracestate", "a=1")], false, &[TP, "tracestate!"], "it belongs to no trace that we continue"),
        (&[("b3", B3_SINGLE)], false, &[TP, B3], "b3 came"),
        (&[("b3", "0")], false, &[TP, B3], "a lone decision came"),
        (&[("b3", "rubbish")], false, &[TP, B3], "a malformed b3 is replaced, not passed on"),
        (
            &[("x-b3-traceid", "64fe8b2a57d3eff7"), ("x-b3-spanid", "e457b5a2e4d86bd1")],
            false,
            &[TP, ID, SPAN, "x-b3-sampled: 1"],
            "b3multi came",
        ),
        (&[("x-b3-sampled", "0")], false, &[TP, ID, SPAN, "x-b3-sampled: 1"], "a part of b3multi came"),
        (
            &[
                ("x-b3-traceid", "64fe8b2a57d3eff7"),
                ("x-b3-spanid", "e457b5a2e4d86bd1"),
                ("x-b3-parentspanid", "e457b5a2e4d86bd1"),
                ("x-b3-flags", "0"),
            ],
            false,
            &[TP, ID, SPAN, "x-b3-sampled: 1", "x-b3-flags!", "x-b3-parentspanid!"],
            "the parent's parent is not ours",
        ),
        (
            &[("x-b3-flags", "1"), ("x-b3-sampled", "1")],
            true,
            &[TP, ID, SPAN, "x-b3-sampled!"],
            "debug says it all, and stands there already",
        ),
        (&[("b3", "d")], true, &[TP, "b3: 0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-d"], "debug in one header"),
    ];
    for (pairs, debug, want, reason) in rows {
        assert_eq!(injected(&defaults(), pairs, *debug), *want, "{reason}: {pairs:?}");
    }
}

#[test]
fn a_list_of_formats_is_taken_by_its_word() {
    let only = |inject: &[Format]| configured(Propagation { inject: Some(inject.to_vec()), ..Propagation::default() });
    assert!(injected(&only(&[]), &[("b3", B3_SINGLE)], false).is_empty());
    let b3 = injected(&only(&[Format::B3]), &[("traceparent", W3C)], false);
    assert_eq!(b3, ["b3: 0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1"]);
}

#[test]
fn a_trace_is_continued_or_begun() {
    let sampler = Sampler::new(0.0);
    let mut ids = Generator::seeded([1; 32]);
    // What came, whether the trace goes on, our flags, debug, reason.
    type Row<'a> = (&'a [(&'a str, &'a str)], bool, u8, bool, &'a str);
    let rows: &[Row<'_>] = &[
        (&[("traceparent", W3C)], true, 3, false, "the random flag of a continued trace is kept"),
        (&[("traceparent", &W3C.replace("-03", "-01"))], true, 1, false, "and never made up"),
        (&[("traceparent", &W3C.replace("-03", "-02"))], true, 2, false, "the caller's no stands"),
        (&[("traceparent", &W3C.replace("-03", "-ff"))], true, 3, false, "bits without a meaning end here"),
        (&[("b3", B3_SINGLE)], true, 1, false, "b3 says nothing of randomness"),
        (&[("b3", &B3_SINGLE.replace("-1", "-d"))], true, 1, true, "debug is sampled"),
        (&[], false, 2, false, "a new trace has a random id; its ratio here is 0"),
        (&[("traceparent", "rubbish")], false, 2, false, "a malformed context begins a new trace"),
        (&[("b3", "64fe8b2a57d3eff7-e457b5a2e4d86bd1")], true, 0, false, "a deferred decision is ours"),
        (&[("b3", "1")], false, 3, false, "a lone yes begins a recorded one"),
        (&[("b3", "d")], false, 3, true, "a lone debug too"),
    ];
    for (pairs, continued, flags, debug, reason) in rows {
        let headers = headers(pairs);
        let mut found = defaults().extract(&Carrier::of(&headers));
        let ours = SpanContext::begin(&mut found, &mut ids, true, |came, id, list| sampler.decide(came, id, list));
        assert_eq!(found.parent.map(|p| p.trace_id) == Some(ours.trace_id), *continued, "{reason}");
        // Without a span of our own, the caller's stands for it.
        let is_ours = found.parent.is_none_or(|p| p.span_id != ours.span_id);
        assert_eq!(is_ours, found.parent.is_none() || ours.flags.sampled(), "{reason}");
        assert_eq!((ours.flags.bits(), ours.debug), (*flags, *debug), "{reason}");
    }
}

#[test]
fn new_ids_differ_between_workers_and_calls() {
    let mut seen = std::collections::BTreeSet::new();
    for worker in 0..8u8 {
        let mut ids = Generator::seeded([worker.wrapping_add(1); 32]);
        for _ in 0..1000 {
            assert!(seen.insert(ids.trace_id().to_string()));
        }
    }
}

#[test]
fn formats_that_name_different_traces_are_a_conflict_that_the_order_decides() {
    let same = W3C.get(3..35).unwrap();
    // What came besides traceparent, whether that is a conflict, reason.
    let rows: &[(&[(&str, &str)], bool, &str)] = &[
        (&[], false, "one format"),
        (&[("b3", B3_SINGLE)], true, "b3 names another trace"),
        (&[("b3", &format!("{same}-e457b5a2e4d86bd1-0"))], false, "another span of the same trace"),
        (&[("b3", "0")], false, "a lone decision names no trace"),
        (&[("b3", "rubbish")], false, "nor does what is malformed"),
        (&[("uber-trace-id", "1:2:0:1")], true, "jaeger too"),
    ];
    for (pairs, conflict, reason) in rows {
        let pairs: Vec<_> = [("traceparent", W3C)].iter().chain(*pairs).copied().collect();
        let headers = headers(&pairs);
        let found = reads(&Format::ALL).extract(&Carrier::of(&headers));
        assert_eq!(found.conflict, *conflict, "{reason}");
        assert_eq!(found.parent.unwrap().trace_id.to_string(), same, "{reason}");
        assert_eq!(found.decision, Some(Decision::Sample), "{reason}");
    }
}

#[test]
fn every_format_can_be_written_and_cleared() {
    let came = [
        ("traceparent", W3C),
        ("tracestate", "a=1"),
        ("baggage", "k=v"),
        ("b3", B3_SINGLE),
        ("uber-trace-id", "1:2:0:1"),
        ("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793"),
        ("ot-tracer-traceid", "64fe8b2a57d3eff7"),
        ("ot-tracer-spanid", "e457b5a2e4d86bd1"),
        ("ot-tracer-sampled", "false"),
    ];
    let write = configured(Propagation { inject: Some(Format::ALL.to_vec()), ..Propagation::default() });
    assert_eq!(
        injected(&write, &came, false),
        [
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-03",
            "b3: 0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1",
            "x-b3-traceid: 0af7651916cd43dd8448eb211c80319c",
            "x-b3-spanid: 00f067aa0ba902b7",
            "x-b3-sampled: 1",
            "uber-trace-id: 0af7651916cd43dd8448eb211c80319c:00f067aa0ba902b7:0:1",
            "x-amzn-trace-id: Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=00f067aa0ba902b7;Sampled=1",
            "ot-tracer-traceid: 8448eb211c80319c",
            "ot-tracer-spanid: 00f067aa0ba902b7",
            "ot-tracer-sampled: true",
        ]
    );
    let clear = configured(Propagation { clear: Format::ALL.to_vec(), ..Propagation::default() });
    assert_eq!(injected(&clear, &came, false), came.map(|(name, _)| format!("{name}!")), "what came, and no more");
    let both = configured(Propagation {
        inject: Some(vec![Format::TraceContext]),
        clear: Format::ALL.to_vec(),
        ..Propagation::default()
    });
    let changes = injected(&both, &came, false);
    assert!(changes[0].starts_with("traceparent: ") && changes[1] == "baggage!", "what is written is not cleared");
}

#[test]
fn by_default_a_format_that_is_not_read_is_left_alone() {
    let xray = [("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8")];
    assert_eq!(injected(&defaults(), &xray, false).len(), 1, "traceparent alone");
    let reads_xray = configured(Propagation { extract: vec![Format::XRay], ..Propagation::default() });
    assert_eq!(injected(&reads_xray, &xray, false).len(), 2);
}

#[test]
fn a_side_takes_from_both_what_it_does_not_say_itself() {
    let all = Propagation { clear: vec![Format::Baggage], ..Propagation::default() };
    let outbound = Side { inject: Some(vec![Format::B3]), ..Side::default() };
    let propagators = Propagators::of(&all, &outbound, Kind::Client);
    assert_eq!(propagators.extract, all.extract);
    assert_eq!(propagators.plan, [(Format::Baggage, Plan::Clear), (Format::B3, Plan::Inject)]);
}

#[test]
fn where_no_span_is_recorded_the_callers_headers_go_on_as_they_came() {
    let sampler = Sampler::new(1.0);
    let mut ids = Generator::seeded([1; 32]);
    let mut changes = |records, pairs: &[(&str, &str)]| {
        let headers = headers(pairs);
        let carrier = Carrier::of(&headers);
        let mut found = defaults().extract(&carrier);
        let decide = |came, id, list: &str| sampler.decide(came, id, list);
        let span = SpanContext::begin(&mut found, &mut ids, records, decide);
        defaults().inject(&carrier, &found, &span, b"shop.example")
    };
    let dropped = W3C.replace("-03", "-02");
    assert!(changes(true, &[("traceparent", &dropped), ("tracestate", "a=1")]).is_empty(), "the caller's no");
    assert!(changes(false, &[("traceparent", W3C)]).is_empty(), "spans are off");
    assert_eq!(changes(true, &[("traceparent", W3C)]).len(), 1, "a span of our own");
    let b3 = B3_SINGLE.replace("-1", "-0");
    let added = changes(true, &[("b3", &b3)]);
    assert_eq!(added.len(), 1, "traceparent joins, with the caller's span: {added:?}");
    assert!(added[0].value.as_deref().unwrap().ends_with("-e457b5a2e4d86bd1-00"));
}

#[test]
fn a_caller_that_is_not_trusted_is_linked_and_not_followed() {
    let none = Propagation { trust: Trust::None, ..Propagation::default() };
    let propagators = Propagators::of(&none, &Side::default(), Kind::Server);
    let headers = headers(&[("traceparent", W3C), ("tracestate", "a=1")]);
    let found = propagators.extract(&Carrier::of(&headers));
    assert_eq!((found.parent, found.decision, found.tracestate.as_str()), (None, None, ""));
    assert_eq!(found.link.unwrap().span_id.to_string(), "b7ad6b7169203331");
    let trusts = Side { trust: Some(Trust::All), ..Side::default() };
    assert!(Propagators::of(&none, &trusts, Kind::Client).extract(&Carrier::of(&headers)).parent.is_some());
}

#[test]
fn beyond_a_boundary_less_is_told() {
    let boundary = |host: &str, policy| Boundary { hosts: vec![host.to_owned()], policy };
    let boundaries = vec![
        boundary("ours.example", BoundaryPolicy::Propagate),
        boundary("*.example", BoundaryPolicy::Strip),
        boundary("*.far", BoundaryPolicy::StripWithBaggage),
    ];
    let all = Propagation { boundaries, ..Propagation::default() };
    let headers = headers(&[("traceparent", W3C), ("tracestate", "a=1"), ("b3", "0"), ("baggage", "k=v")]);
    let names = |kind, host: &str| {
        let propagators = Propagators::of(&all, &Side::default(), kind);
        let carrier = Carrier::of(&headers);
        let found = propagators.extract(&carrier);
        let changes = propagators.inject(&carrier, &found, &ours(Flags::new(true, true), false), host.as_bytes());
        changes.iter().filter(|c| c.value.is_none()).map(|c| c.name.as_str()).collect::<Vec<_>>()
    };
    assert!(names(Kind::Client, "shop").is_empty(), "no boundary");
    assert!(names(Kind::Client, "ours.example").is_empty(), "the first that matches counts");
    assert_eq!(names(Kind::Client, "theirs.example"), ["traceparent", "tracestate", "b3"]);
    assert_eq!(names(Kind::Client, "a.far"), ["traceparent", "tracestate", "baggage", "b3"]);
    assert!(names(Kind::Server, "theirs.example").is_empty(), "requests to the workload meet none");
}
