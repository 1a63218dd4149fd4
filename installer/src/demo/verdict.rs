//! Whether the demo proved what it shows.
//!
//! In: what the client sent, what the applications received, what the receiver got, the filter's counters. Out: numbers
//! and a list of problems, each naming the service, the direction and the trace. An outage of the receiver may cost
//! telemetry, but only what the counters admit.

use std::collections::BTreeSet;

use serde::Serialize;

use super::client::{Format, Sent};
use super::counters::Counters;
use crate::apps::Arrival;
use crate::telemetry::{Log, Span};

mod propagation;
#[cfg(test)]
mod tests;

/// All that a run left behind. Spans and logs are free of repetitions.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) format: Format,
    /// Whether the receiver was away for a while.
    pub(super) outage: bool,
    pub(super) sent: Vec<Sent>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) spans: Vec<Span>,
    pub(super) logs: Vec<Log>,
    /// Exchanges that the metrics count.
    pub(super) measured: usize,
    pub(super) counters: Counters,
}

/// What it proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    pub(super) ok: bool,
    pub(super) requests: usize,
    pub(super) traces: usize,
    pub(super) spans: usize,
    pub(super) logs: usize,
    /// Exchanges that the metrics count.
    pub(super) measured: usize,
    /// Spans, logs and data points that the filter gave up, or that the receiver refused.
    pub(super) dropped: i64,
    /// Spans, logs and data points that the filter still holds.
    pub(super) waiting: i64,
    pub(super) problems: Vec<String>,
}

/// One kind of span in a request's trace.
struct Role {
    service: &'static str,
    kind: &'static str,
    direction: &'static str,
    count: usize,
    /// Service and kind of the parent; the client itself where there is none.
    parent: Option<(&'static str, &'static str)>,
}

const ROLES: [Role; 4] = [
    Role { service: "frontend", kind: "SERVER", direction: "inbound", count: 1, parent: None },
    Role { service: "frontend", kind: "CLIENT", direction: "outbound", count: 2, parent: Some(("frontend", "SERVER")) },
    Role { service: "backend", kind: "SERVER", direction: "inbound", count: 2, parent: Some(("frontend", "CLIENT")) },
    Role { service: "backend", kind: "CLIENT", direction: "outbound", count: 1, parent: Some(("backend", "SERVER")) },
];

/// What the filter keeps books of.
pub(super) const NOUNS: [&str; 3] = ["spans", "logs", "data_points"];

/// Spans, logs, and exchanges that metrics count, of one request.
pub(super) const RECORDS_A_REQUEST: usize = 6;

// === impl Evidence ===

impl Evidence {
    /// The trace that a request belongs to: the client's, or the one that the first application was told.
    pub(super) fn trace_of(&self, sent: &Sent) -> Option<String> {
        sent.trace_id.clone().or_else(|| {
            let arrival = self.arrivals_of(sent).find(|arrival| arrival.service == "frontend")?;
            arrival.headers.get("traceparent")?.split('-').nth(1).map(str::to_owned)
        })
    }

    fn arrivals_of<'a>(&'a self, sent: &'a Sent) -> impl Iterator<Item = &'a Arrival> {
        self.arrivals.iter().filter(|arrival| arrival.headers.get("x-request-id") == Some(&sent.request_id))
    }

    pub(super) fn judge(&self) -> Verdict {
        let fates = NOUNS.map(|noun| self.counters.fate(noun));
        let dropped = fates.iter().map(|fate| fate.dropped + fate.rejected).sum();
        let waiting = fates.iter().map(|fate| fate.waiting).sum();

        let mut problems = self.account();
        let mut traces = BTreeSet::new();
        for sent in &self.sent {
            if let Some(error) = &sent.error {
                problems.push(format!("{} failed: {error}", sent.request_id));
                continue;
            }
            let Some(trace_id) = self.trace_of(sent) else {
                problems.push(format!("{}: the frontend application received no traceparent", sent.request_id));
                continue;
            };
            // What an outage cost is told by the counters, not span by span.
            let is_whole = !self.outage || dropped + waiting == 0;
            problems.extend(self.propagation(sent, &trace_id, is_whole));
            if is_whole {
                problems.extend(self.trace(sent, &trace_id));
            }
            traces.insert(trace_id);
        }
        let strays: Vec<_> = self.spans.iter().filter(|span| !traces.contains(&span.trace_id)).collect();
        if let Some(span) = strays.first() {
            let Span { service, kind, trace_id, .. } = span;
            problems.push(format!(
                "{} spans belong to no request, the first is a {kind} span of {service} in trace {trace_id}",
                strays.len()
            ));
        }
        Verdict {
            ok: problems.is_empty(),
            requests: self.sent.len(),
            traces: traces.len(),
            spans: self.spans.len(),
            logs: self.logs.len(),
            measured: self.measured,
            dropped,
            waiting,
            problems,
        }
    }

    /// Holds the counters against what was sent and what arrived.
    fn account(&self) -> Vec<String> {
        if self.counters.is_empty() {
            let cause = "no wasmcustom.otelmesh_* counter in any Envoy";
            return vec![format!("{cause}: the filter did not start, see its Envoy's log with --keep")];
        }
        let mut problems = Vec::new();
        let due = self.sent.iter().filter(|sent| sent.error.is_none()).count() * RECORDS_A_REQUEST;
        for (noun, arrived) in [("spans", self.spans.len()), ("logs", self.logs.len())] {
            let fate = self.counters.fate(noun);
            let (recorded, exported) = (count(fate.recorded), count(fate.exported));
            let gone = count(fate.dropped + fate.rejected + fate.waiting);
            if !fate.is_whole() {
                problems.push(format!(
                    "{noun}: {recorded} recorded, but {exported} exported + {} rejected + {} dropped + {} waiting",
                    fate.rejected, fate.dropped, fate.waiting
                ));
            }
            if self.sent.iter().all(|sent| sent.error.is_none()) && recorded != due {
                problems.push(format!("{noun}: {recorded} recorded for {due} exchanges"));
            }
            // A reply that an outage cut off makes the filter send again, so more may arrive than it counts.
            if exported > arrived || (!self.outage && exported < arrived) || arrived + gone < recorded {
                problems.push(format!("{noun}: {exported} exported, {arrived} arrived"));
            }
            if !self.outage {
                let reasons = self.counters.dropped(noun).filter(|(_, count)| *count > 0);
                problems.extend(reasons.map(|(reason, count)| format!("{noun}: {count} dropped, {reason}")));
                if fate.rejected > 0 {
                    problems.push(format!("{noun}: {} rejected by the receiver", fate.rejected));
                }
            }
        }
        // Whatever an outage costs, a meter goes on counting.
        if self.sent.iter().all(|sent| sent.error.is_none()) && self.measured != due {
            problems.push(format!("metrics: {} exchanges counted for {due}", self.measured));
        }
        problems
    }

    /// Every span of a request must be there, hang where it belongs, and have its access log.
    fn trace(&self, sent: &Sent, trace_id: &str) -> Vec<String> {
        let spans: Vec<_> = self.spans.iter().filter(|span| span.trace_id == trace_id).collect();
        let mut problems = Vec::new();
        for Role { service, kind, direction, count, parent } in &ROLES {
            let here: Vec<_> = spans.iter().filter(|span| span.service == *service && span.kind == *kind).collect();
            if here.len() != *count {
                let found = here.len();
                problems.push(format!(
                    "trace {trace_id}: {found} of {count} {kind} spans of {service} ({direction}) arrived"
                ));
            }
            for span in here {
                let parent_id = &span.parent_span_id;
                let is_right = match parent {
                    None => *parent_id == sent.span_id.clone().unwrap_or_default(),
                    Some((service, kind)) => spans
                        .iter()
                        .any(|other| other.span_id == *parent_id && other.service == *service && other.kind == *kind),
                };
                if !is_right {
                    let due = match parent {
                        None if sent.span_id.is_none() => "none".to_owned(),
                        None => "the client's span".to_owned(),
                        Some((service, kind)) => format!("a {kind} span of {service}"),
                    };
                    let found = if parent_id.is_empty() { "none" } else { parent_id };
                    problems.push(format!(
                        "trace {trace_id}: {kind} span {} of {service} ({direction}) has parent {found}, due is {due}",
                        span.span_id
                    ));
                }
                if !self.logs.iter().any(|log| log.trace_id == trace_id && log.span_id == span.span_id) {
                    problems.push(format!(
                        "trace {trace_id}: no access log of {service} ({direction}) for {kind} span {}",
                        span.span_id
                    ));
                }
            }
        }
        problems
    }
}

/// Counters of Envoy are never negative; a gauge that is would be told by the sum.
fn count(value: i64) -> usize {
    usize::try_from(value).unwrap_or_default()
}
