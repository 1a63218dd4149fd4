//! Requests that are meant to hurt: headers that cost time, and decisions that are forged.

use std::time::{Duration, Instant};

use super::*;

const EVERYTHING: &str = r#"{
    "propagation": {
        "extract": ["tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray", "ottrace"],
        "inject": ["tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray", "ottrace"]
    },
    "attributes": [{"name": "a", "requestHeader": "x"}, {"name": "b", "baggage": "k"}],
    "routes": {"templates": ["/a/**", "/{x}/{y}/**", "/{x}/b"], "fold": true},
    "sampling": {"rules": [{"paths": ["/x/**"], "headers": {"x": "y"}, "ratio": 1}]}
}"#;

/// Text of `len` bytes, or a little more, made of `part`.
fn long(head: &str, part: &str, len: usize) -> String {
    let mut text = head.to_owned();
    while text.len() < len {
        text.push_str(part);
    }
    text
}

/// The time that one exchange takes, from its headers to its records.
fn time(headers: &[(&str, &str)]) -> Duration {
    let mut world = World::new(EVERYTHING);
    let begun = Instant::now();
    world.exchange(headers, 200);
    let took = begun.elapsed();
    world.balance();
    took
}

/// Requires that what is `growth` times as much takes at most three times `growth` as long; with the square it would be
/// `growth` times `growth`. Other work on the machine can only make it look worse, so one good look is enough.
fn require_proportion(what: &str, growth: u32, small: impl Fn() -> Duration, large: impl Fn() -> Duration) {
    let mut looks = Vec::new();
    for _ in 0..30 {
        let (little, much) = (small(), large());
        // Below a quarter of a millisecond nothing is known.
        if much < little.max(Duration::from_micros(250)) * growth * 3 {
            return;
        }
        looks.push((little, much));
    }
    panic!("{what} takes more time than in proportion: {looks:?}");
}

#[test]
fn oversized_headers_cost_time_in_proportion() {
    let numbered = |len: usize| {
        let mut text = "k=v".to_owned();
        for n in 0.. {
            text.push_str(&format!(",k{n}=v"));
            if text.len() >= len {
                return text;
            }
        }
        text
    };
    type Make<'a> = Box<dyn Fn(usize) -> String + 'a>;
    let parts = |head: &'static str, part: &'static str| -> Make<'_> { Box::new(move |len| long(head, part, len)) };
    let rows: Vec<(&str, Make<'_>)> = vec![
        ("traceparent", parts("00-", "0")),
        ("tracestate", Box::new(numbered)),
        ("tracestate", parts("", ",")),
        ("tracestate", parts("a=", "\t ")),
        ("tracestate", parts("ot=th:8", ";rv:0")),
        ("baggage", Box::new(numbered)),
        ("baggage", parts("", "k=%20;p;q=r,")),
        ("baggage", parts("k=", "%2")),
        ("b3", parts("", "-")),
        ("uber-trace-id", parts("", "1:")),
        ("x-amzn-trace-id", parts("", "Root=1-;")),
        ("ot-tracer-traceid", parts("", "f")),
        (":path", parts("/", "a/")),
        (":path", parts("/?", "sig=x&")),
        (":path", parts("/", "0123-")),
        (":authority", parts("", "a.")),
        ("user-agent", parts("", "\u{fffd}")),
        ("x", parts("", "y")),
    ];
    const SMALL: usize = 8 * 1024;
    const GROWTH: usize = 8;
    for (name, make) in rows {
        let of = |len: usize| {
            let text = make(len);
            let parent = ("traceparent", TRACEPARENT);
            if name == "traceparent" { time(&[(name, &text)]) } else { time(&[parent, (name, &text)]) }
        };
        let sample: String = make(24).chars().take(24).collect();
        require_proportion(&format!("{name}: {sample}…"), GROWTH as u32, || of(SMALL), || of(SMALL * GROWTH));
    }
}

#[test]
fn thousands_of_headers_cost_time_in_proportion() {
    for name in ["tracestate", "baggage", "traceparent", "x"] {
        let of = |count| {
            let headers: Vec<_> = std::iter::once(("traceparent", TRACEPARENT))
                .chain(std::iter::repeat_n((name, "a=1"), count))
                .collect();
            time(&headers)
        };
        require_proportion(name, 8, || of(500), || of(4000));
    }
}

#[test]
fn a_forged_decision_does_not_fill_a_backend_from_beyond_the_edge() {
    // trust, sampling.ratio, spans of a hundred forged requests.
    for (trust, ratio, spans) in [("all", 0, 100), ("none", 0, 0)] {
        let config = format!(r#"{{"propagation":{{"trust":"{trust}"}},"sampling":{{"ratio":{ratio}}}}}"#);
        let mut world = World::new(&config);
        for n in 0..100 {
            let forged = format!("00-{n:032x}-b7ad6b7169203331-01", n = n + 1);
            world.exchange(&[(":method", "GET"), ("traceparent", &forged), ("b3", "1"), ("x-b3-flags", "1")], 200);
        }
        world.tick();
        world.balance();
        assert_eq!(world.stat("spans_recorded"), spans, "trust: {trust}");
        assert_eq!(world.stat("traces_distrusted"), 100 - spans);
    }
}

#[test]
fn beyond_the_edge_new_traces_are_limited_by_the_second() {
    let config = r#"{"propagation":{"trust":"none"},"sampling":{"rules":[{"ratio":1,"maxPerSecond":5}]},"logs":{"enabled":false}}"#;
    let mut world = World::new(config);
    for _ in 0..100 {
        world.exchange(&[(":method", "GET"), ("traceparent", TRACEPARENT)], 200);
    }
    world.tick();
    world.balance();
    let recorded = world.stat("spans_recorded");
    // The exchanges take half a second of the fake's time.
    assert!((5..=10).contains(&recorded), "{recorded}");
    assert_eq!(world.stat("traces_over_limit"), 100 - recorded);
}
