use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

fn span(service: &str, kind: &str, span_id: &str, parent_span_id: &str) -> Span {
    Span {
        service: service.to_owned(),
        kind: kind.to_owned(),
        trace_id: TRACE.to_owned(),
        span_id: span_id.to_owned(),
        parent_span_id: parent_span_id.to_owned(),
        ..Span::default()
    }
}

/// One request that left everything that it should.
fn complete() -> Evidence {
    let spans = vec![
        span("frontend", "SERVER", "1", CLIENT),
        span("frontend", "CLIENT", "2", "1"),
        span("backend", "SERVER", "3", "2"),
        span("frontend", "CLIENT", "4", "1"),
        span("backend", "SERVER", "5", "4"),
        span("backend", "CLIENT", "6", "5"),
    ];
    let log = |span: &Span| Log { trace_id: span.trace_id.clone(), span_id: span.span_id.clone(), ..Log::default() };
    let arrival = |service, path: &str, span_id: &str| Arrival {
        service,
        path: path.to_owned(),
        headers: [("traceparent", format!("00-{TRACE}-{span_id}-01")), ("x-request-id", "r1".to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    };
    Evidence {
        format: Format::TraceContext,
        outage: false,
        sent: vec![Sent {
            request_id: "r1".to_owned(),
            trace_id: Some(TRACE.to_owned()),
            span_id: Some(CLIENT.to_owned()),
            status: Some(200),
            error: None,
        }],
        arrivals: vec![
            arrival("frontend", "/order/7", "1"),
            arrival("backend", "/stock/7", "3"),
            arrival("backend", "/price/7", "5"),
            arrival("rates", "/rates/EUR", "6"),
        ],
        logs: spans.iter().map(log).collect(),
        measured: spans.len(),
        spans,
        counters: Counters::of(&[
            ("spans_recorded", 6),
            ("spans_exported", 6),
            ("logs_recorded", 6),
            ("logs_exported", 6),
        ]),
    }
}

fn problems(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = complete();
    change(&mut evidence);
    let verdict = evidence.judge();
    assert_eq!(verdict.ok, verdict.problems.is_empty());
    verdict.problems
}

#[track_caller]
fn assert_problem(problems: &[String], expected: &str) {
    assert!(problems.iter().any(|problem| problem == expected), "{expected}\nis not among {problems:#?}");
}

#[test]
fn a_complete_run_has_no_problem() {
    let verdict = complete().judge();
    assert_eq!(verdict.problems, Vec::<String>::new());
    assert!(verdict.ok);
    assert_eq!((verdict.traces, verdict.spans, verdict.logs, verdict.dropped), (1, 6, 6, 0));
}

#[test]
fn a_missing_span_is_named_by_service_direction_and_trace_and_so_is_its_orphan() {
    let problems = problems(|evidence| {
        evidence.spans.remove(4);
    });
    assert_problem(&problems, &format!("trace {TRACE}: 1 of 2 SERVER spans of backend (inbound) arrived"));
    assert_problem(
        &problems,
        &format!("trace {TRACE}: CLIENT span 6 of backend (outbound) has parent 5, due is a SERVER span of backend"),
    );
}

#[test]
fn a_span_that_hangs_on_the_wrong_one_is_named() {
    let problems = problems(|evidence| evidence.spans[2].parent_span_id = "1".to_owned());
    assert_eq!(
        problems,
        [format!("trace {TRACE}: SERVER span 3 of backend (inbound) has parent 1, due is a CLIENT span of frontend")]
    );
}

#[test]
fn a_first_span_without_the_clients_parent_is_named_and_without_a_client_it_must_have_none() {
    let wrong = problems(|evidence| evidence.spans[0].parent_span_id.clear());
    assert_eq!(
        wrong,
        [format!("trace {TRACE}: SERVER span 1 of frontend (inbound) has parent none, due is the client's span")]
    );
    let started_by_the_filter = problems(|evidence| {
        evidence.format = Format::None;
        (evidence.sent[0].trace_id, evidence.sent[0].span_id) = (None, None);
        evidence.spans[0].parent_span_id.clear();
    });
    assert_eq!(started_by_the_filter, Vec::<String>::new());
}

#[test]
fn a_missing_log_is_named() {
    let problems = problems(|evidence| {
        evidence.logs.pop();
    });
    assert_problem(&problems, &format!("trace {TRACE}: no access log of backend (outbound) for CLIENT span 6"));
    assert_problem(&problems, "logs: 6 exported, 5 arrived");
}

#[test]
fn an_application_without_the_headers_of_its_trace_is_named() {
    let problems = problems(|evidence| {
        evidence.format = Format::B3;
        for (arrival, span_id) in evidence.arrivals.iter_mut().zip(["1", "3", "5", "6"]) {
            arrival.headers.insert("b3".to_owned(), format!("{TRACE}-{span_id}-1"));
        }
        evidence.arrivals[1].headers.remove("traceparent");
        evidence.arrivals[2].headers.insert("b3".to_owned(), "f00-5-1".to_owned());
        evidence.arrivals[3].headers.remove("b3");
    });
    assert_eq!(
        problems,
        [
            format!("trace {TRACE}: backend's application received no traceparent, with /stock/7"),
            format!("trace {TRACE}: backend's application received b3 of trace f00, with /price/7"),
            format!("trace {TRACE}: rates's application received no b3, with /rates/EUR"),
        ]
    );
}

#[test]
fn an_application_that_was_told_another_span_than_its_proxys_is_named() {
    let told_the_clients = problems(|evidence| {
        let headers = &mut evidence.arrivals[0].headers;
        headers.insert("traceparent".to_owned(), format!("00-{TRACE}-{CLIENT}-01"));
    });
    let text = "received traceparent of span b7ad6b7169203331, which is no SERVER span of frontend, with /order/7";
    assert_eq!(told_the_clients, [format!("trace {TRACE}: frontend's application {text}")]);

    let half_of_b3multi = problems(|evidence| {
        evidence.format = Format::B3Multi;
        for (arrival, span_id) in evidence.arrivals.iter_mut().zip(["1", "3", "5", "6"]) {
            arrival.headers.insert("x-b3-traceid".to_owned(), TRACE.to_owned());
            arrival.headers.insert("x-b3-spanid".to_owned(), span_id.to_owned());
        }
        evidence.arrivals[3].headers.insert("x-b3-spanid".to_owned(), "5".to_owned());
        evidence.arrivals[1].headers.remove("x-b3-spanid");
    });
    assert_eq!(
        half_of_b3multi,
        [
            format!("trace {TRACE}: backend's application received no x-b3-traceid, with /stock/7"),
            format!(
                "trace {TRACE}: rates's application received x-b3-traceid of span 5, which is no CLIENT span of backend, \
                 with /rates/EUR"
            ),
        ]
    );
}

#[test]
fn a_failed_request_is_a_problem_even_with_all_telemetry() {
    let problems = problems(|evidence| evidence.sent[0].error = Some("backend answers 503".to_owned()));
    assert_problem(&problems, "r1 failed: backend answers 503");
}

#[test]
fn a_span_of_a_foreign_trace_is_a_problem() {
    let problems = problems(|evidence| {
        evidence.spans.push(Span { trace_id: "f00".to_owned(), ..span("backend", "SERVER", "7", "") });
        evidence.counters =
            Counters::of(&[("spans_recorded", 7), ("spans_exported", 7), ("logs_recorded", 6), ("logs_exported", 6)]);
    });
    assert_problem(&problems, "1 spans belong to no request, the first is a SERVER span of backend in trace f00");
    assert_problem(&problems, "spans: 7 recorded for 6 exchanges");
}

#[test]
fn counters_that_do_not_add_up_are_a_problem() {
    let none = problems(|evidence| evidence.counters = Counters::default());
    assert!(none[0].contains("the filter did not start"), "{none:?}");
    let lost = problems(|evidence| {
        evidence.counters =
            Counters::of(&[("spans_recorded", 6), ("spans_exported", 5), ("logs_recorded", 6), ("logs_exported", 6)]);
    });
    assert_problem(&lost, "spans: 6 recorded, but 5 exported + 0 rejected + 0 dropped + 0 waiting");
}

/// Two spans and a log that an outage cost; `admitted` says how many spans the filter counts as dropped.
fn outage(evidence: &mut Evidence, admitted: i64) {
    evidence.outage = true;
    evidence.spans.truncate(4);
    evidence.logs.truncate(5);
    evidence.counters = Counters::of(&[
        ("spans_recorded", 6),
        ("spans_exported", 6 - admitted),
        ("spans_dropped_export_failed", admitted),
        ("logs_recorded", 6),
        ("logs_exported", 5),
        ("logs_waiting", 1),
    ]);
}

#[test]
fn an_outage_may_cost_what_the_counters_admit_and_nothing_more() {
    assert_eq!(problems(|evidence| outage(evidence, 2)), Vec::<String>::new());
    assert_problem(&problems(|evidence| outage(evidence, 1)), "spans: 5 exported, 4 arrived");
    let without_an_outage = problems(|evidence| {
        outage(evidence, 2);
        evidence.outage = false;
    });
    assert_problem(&without_an_outage, "spans: 2 dropped, export_failed");
}

#[test]
fn an_exchange_that_no_metric_counts_is_a_problem() {
    let problems = problems(|evidence| evidence.measured = 5);
    assert_problem(&problems, "metrics: 5 exchanges counted for 6");
}
