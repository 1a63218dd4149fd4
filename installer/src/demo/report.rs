//! What the demo prints.
//!
//! In: the evidence and the verdict. Out: text for people, with ANSI colours that a writer may strip, or one JSON
//! document with everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::client::{Format, Sent};
use super::counters::Counters;
use super::verdict::{Evidence, NOUNS, Verdict};
use crate::apps::Arrival;
use crate::receiver::forward::Outcome;
use crate::telemetry::{Log, Span};
use crate::waterfall::Waterfall;

/// Enough for every log of three requests; JSON has them all.
const SHOWN_LOGS: usize = 18;

const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const QUIET: Style = Style::new().dimmed();

/// The document of `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    format: Format,
    /// Whether the receiver was away for a part of the requests.
    receiver_outage: bool,
    requests: &'a [Sent],
    traces: Vec<Trace<'a>>,
    logs: &'a [Log],
    /// What the applications received.
    arrivals: &'a [Arrival],
    counters: &'a Counters,
    /// What became of the copies for `--otlp-endpoint`.
    forwarding: Option<&'a Outcome>,
    verdict: &'a Verdict,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    trace_id: &'a str,
    spans: Vec<&'a Span>,
}

// === impl Document ===

impl<'a> Document<'a> {
    pub(super) fn new(evidence: &'a Evidence, verdict: &'a Verdict, forwarding: Option<&'a Outcome>) -> Self {
        Self {
            format: evidence.format,
            receiver_outage: evidence.outage,
            requests: &evidence.sent,
            traces: traces(&evidence.spans),
            logs: &evidence.logs,
            arrivals: &evidence.arrivals,
            counters: &evidence.counters,
            forwarding,
            verdict,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        self.write_traces(&mut out)?;
        self.write_logs(&mut out)?;
        self.write_counters(&mut out)?;
        self.write_headers(&mut out)?;
        self.write_verdict(&mut out)?;
        Ok(out)
    }

    fn write_traces(&self, out: &mut String) -> fmt::Result {
        let callers = self.requests.iter().filter_map(|sent| sent.span_id.as_deref()).collect();
        write_waterfalls(out, &self.traces, &callers)
    }

    fn write_logs(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{TITLE}Access logs{TITLE:#}")?;
        let spans = self.traces.iter().flat_map(|trace| &trace.spans);
        let kinds: BTreeMap<_, _> = spans.map(|span| (&span.span_id, span.kind.as_str())).collect();
        for Log { trace_id, span_id, service, severity, body, .. } in self.logs.iter().take(SHOWN_LOGS) {
            let kind = kinds.get(span_id).unwrap_or(&"?");
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            writeln!(out, "{trace_id}  {span_id}  {service:8}  {kind:6}  {severity:5}  {body}")?;
        }
        match self.logs.len().saturating_sub(SHOWN_LOGS) {
            0 => writeln!(out),
            more => writeln!(out, "{QUIET}and {more} more (-o json has them all){QUIET:#}\n"),
        }
    }

    fn write_counters(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{TITLE}The filter's counters{TITLE:#} (wasmcustom.otelmesh_*, both Envoys)")?;
        for noun in NOUNS {
            let fate = self.counters.fate(noun);
            let label = noun.trim_start_matches("data_");
            write!(out, "{label:6} {} recorded = {} exported", fate.recorded, fate.exported)?;
            write!(out, " + {} rejected + {} dropped", fate.rejected, fate.dropped)?;
            let reasons: Vec<_> = self.counters.dropped(noun).filter(|(_, count)| *count > 0).collect();
            if !reasons.is_empty() {
                let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
                write!(out, " ({})", reasons.join(", "))?;
            }
            writeln!(out, " + {} waiting", fate.waiting)?;
        }
        writeln!(out)
    }

    /// B3 users want to see that their own headers arrive beside the new one.
    fn write_headers(&self, out: &mut String) -> fmt::Result {
        let Some(arrival) = self.arrivals.iter().find(|arrival| self.format.is_b3() && arrival.service == "backend")
        else {
            return Ok(());
        };
        writeln!(out, "{TITLE}Headers that backend's application received{TITLE:#} with {}", arrival.path)?;
        for (name, value) in &arrival.headers {
            writeln!(out, "{name}: {value}")?;
        }
        writeln!(out)
    }

    fn write_verdict(&self, out: &mut String) -> fmt::Result {
        let Verdict { ok, traces, spans, logs, measured, dropped, waiting, problems, .. } = self.verdict;
        if self.receiver_outage {
            writeln!(out, "The receiver was away for a part of the requests.")?;
        }
        if let Some(Outcome { forwarded, failed, reason, .. }) = self.forwarding {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(", the first because: {reason}"));
            writeln!(out, "{} forwarded, {failed} failed{reason}", some(*forwarded, "export request"))?;
        }
        for problem in problems {
            writeln!(out, "{BAD}×{BAD:#} {problem}")?;
        }
        let (mark, parents) =
            if *ok { (format!("{GOOD}√{GOOD:#}"), ", all parents found") } else { (format!("{BAD}×{BAD:#}"), "") };
        let waiting = if *waiting == 0 { String::new() } else { format!(", {waiting} waiting") };
        let nouns = [(traces, "trace"), (spans, "span"), (logs, "log"), (measured, "exchange")];
        let [traces, spans, logs, measured] = nouns.map(|(n, noun)| some(*n, noun));
        writeln!(out, "{mark} {traces}, {spans}{parents}, {logs}, {measured} measured, {dropped} dropped{waiting}")
    }
}

/// `1 trace`, `2 traces`.
pub(super) fn some(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Every distinct trace in `spans`, none of which has a caller that is known.
pub(super) fn waterfalls(spans: &[Span]) -> Result<String, fmt::Error> {
    let mut out = String::new();
    write_waterfalls(&mut out, &traces(spans), &BTreeSet::new())?;
    Ok(out)
}

fn write_waterfalls(out: &mut String, traces: &[Trace<'_>], callers: &BTreeSet<&str>) -> fmt::Result {
    let mut shapes: Vec<(String, Waterfall<'_>, &str, usize)> = Vec::new();
    for Trace { trace_id, spans } in traces {
        let waterfall = Waterfall::new(spans.iter().copied(), callers);
        let shape = waterfall.shape();
        match shapes.iter_mut().find(|(known, ..)| *known == shape) {
            Some((.., count)) => *count += 1,
            None => shapes.push((shape, waterfall, trace_id, 1)),
        }
    }
    for (_, waterfall, trace_id, count) in shapes {
        let alike = if count == 1 { String::new() } else { format!(" and {} more of this shape", count - 1) };
        writeln!(out, "{TITLE}Trace {trace_id}{TITLE:#}{alike}\n{waterfall}")?;
    }
    Ok(())
}

fn traces(spans: &[Span]) -> Vec<Trace<'_>> {
    let mut by_id: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        by_id.entry(&span.trace_id).or_default().push(span);
    }
    let mut traces: Vec<_> = by_id.into_iter().map(|(trace_id, spans)| Trace { trace_id, spans }).collect();
    // Ids are random; people read in the order of time.
    traces.sort_by_key(|trace| trace.spans.iter().map(|span| span.start_unix_nano).min());
    traces
}
