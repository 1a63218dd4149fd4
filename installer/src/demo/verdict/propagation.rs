//! Whether every application was told its request's trace.
//!
//! In: the headers that applications received, and the spans of the trace. Out: a problem for each application that was
//! told nothing, another trace, or a span that is not the one of the proxy in front of it; the client's format is held
//! to the same as `traceparent`.

use std::collections::BTreeMap;

use super::Evidence;
use crate::apps::Arrival;
use crate::demo::client::{Format, Sent};

/// What one request means to an application.
struct Hop {
    service: &'static str,
    calls: usize,
    /// Service and kind of the span that its calls must hang on.
    teller: (&'static str, &'static str),
}

const HOPS: [Hop; 3] = [
    Hop { service: "frontend", calls: 1, teller: ("frontend", "SERVER") },
    Hop { service: "backend", calls: 2, teller: ("backend", "SERVER") },
    Hop { service: "rates", calls: 1, teller: ("backend", "CLIENT") },
];

/// The name of a header, and the trace id and span id in it.
type Told<'a> = (&'static str, Option<(&'a str, &'a str)>);

impl Evidence {
    /// `is_whole` says that every span must have arrived.
    pub(super) fn propagation(&self, sent: &Sent, trace_id: &str, is_whole: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for Hop { service, calls, teller } in &HOPS {
            let arrivals: Vec<_> = self.arrivals_of(sent).filter(|arrival| arrival.service == *service).collect();
            if arrivals.len() != *calls {
                let arrived = arrivals.len();
                problems.push(format!("{}: {arrived} of {calls} calls of {service} arrived", sent.request_id));
            }
            for Arrival { path, headers, .. } in arrivals {
                for (name, told) in told(headers, self.format) {
                    let what = match told {
                        None => format!("no {name}"),
                        Some((other, _)) if other != trace_id => format!("{name} of trace {other}"),
                        Some((_, span_id)) if is_whole && !self.is_of(teller, trace_id, span_id) => {
                            format!("{name} of span {span_id}, which is no {} span of {}", teller.1, teller.0)
                        }
                        Some(_) => continue,
                    };
                    problems.push(format!("trace {trace_id}: {service}'s application received {what}, with {path}"));
                }
            }
        }
        problems
    }

    fn is_of(&self, (service, kind): &(&str, &str), trace_id: &str, span_id: &str) -> bool {
        let mut spans = self.spans.iter();
        spans.any(|s| s.span_id == span_id && s.trace_id == trace_id && s.service == *service && s.kind == *kind)
    }
}

/// What `traceparent` says, and the headers of the client's format where that is another.
fn told(headers: &BTreeMap<String, String>, format: Format) -> Vec<Told<'_>> {
    let get = |name: &str| headers.get(name).map(String::as_str);
    let mut told = vec![("traceparent", get("traceparent").and_then(|value| value.split_once('-')?.1.split_once('-')))];
    match format {
        Format::B3 => told.push(("b3", get("b3").and_then(|value| value.split_once('-')))),
        Format::B3Multi => told.push(("x-b3-traceid", get("x-b3-traceid").zip(get("x-b3-spanid")))),
        Format::TraceContext | Format::None => {}
    }
    for (_, rest) in told.iter_mut().filter_map(|(_, ids)| ids.as_mut()) {
        *rest = rest.split('-').next().unwrap_or_default();
    }
    told
}
