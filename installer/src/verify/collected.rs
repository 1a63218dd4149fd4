//! What a collector logged of telemetry, read back.
//!
//! In: the log of a collector whose `debug` exporter says everything. Out: spans and logs, each with the time at which it
//! was logged. Lines that say something else are passed over.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::telemetry::{Attributes, Log, Span};

/// The exporter that the chart's `collector.verify` adds.
pub(super) const EXPORTER: &str = "debug/verify";

/// Spans and logs, and when they were logged.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) spans: BTreeMap<String, (Span, Timestamp)>,
    pub(super) logs: Vec<Log>,
}

// === impl Collected ===

impl Collected {
    /// Reads a log, which may hold again what another one held.
    pub(super) fn read(&mut self, log: &str) {
        for line in log.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            if line["otelcol.component.id"] != EXPORTER {
                continue;
            }
            let (Some(text), Some(time)) = (line["msg"].as_str(), line["ts"].as_str().and_then(|ts| ts.parse().ok()))
            else {
                continue;
            };
            self.read_text(text, time);
        }
    }

    fn read_text(&mut self, text: &str, time: Timestamp) {
        let mut resource = Attributes::new();
        let mut section = Section::None;
        let mut span = Span::default();
        let mut log = Log::default();
        for line in text.lines() {
            let begins = |what: &str| line.starts_with(what);
            if begins("ResourceSpans #") || begins("ResourceLog #") || begins("Span #") || begins("LogRecord #") {
                self.take(&mut span, &mut log, time);
            }
            if begins("Resource attributes:") {
                resource.clear();
                section = Section::Resource;
            } else if begins("Attributes:") {
                section = Section::Attributes;
            } else if begins("Span #") || begins("LogRecord #") {
                section = Section::None;
                span.resource.clone_from(&resource);
                log.resource.clone_from(&resource);
                let service = resource.get("service.name").and_then(Value::as_str).unwrap_or_default();
                service.clone_into(&mut span.service);
                service.clone_into(&mut log.service);
            } else if let Some((key, value)) = line.trim_start().strip_prefix("-> ").and_then(|a| a.split_once(": ")) {
                match section {
                    Section::Resource => drop(resource.insert(key.to_owned(), typed(value))),
                    Section::Attributes => {
                        span.attributes.insert(key.to_owned(), typed(value));
                        log.attributes.insert(key.to_owned(), typed(value));
                    }
                    Section::None => {}
                }
            } else if let Some((key, value)) = line.split_once(':') {
                let value = value.trim();
                match key.trim() {
                    // A span's are indented, a log's are not.
                    "Trace ID" if line.starts_with(' ') => value.clone_into(&mut span.trace_id),
                    "Trace ID" => value.clone_into(&mut log.trace_id),
                    "Parent ID" => value.clone_into(&mut span.parent_span_id),
                    "ID" => value.clone_into(&mut span.span_id),
                    "Span ID" => value.clone_into(&mut log.span_id),
                    "Name" => value.clone_into(&mut span.name),
                    "Kind" => span.kind = value.to_uppercase(),
                    "Status code" => span.status = value.to_uppercase(),
                    "Start time" => span.start_unix_nano = nanos(value),
                    "End time" => span.end_unix_nano = nanos(value),
                    _ => {}
                }
            }
        }
        self.take(&mut span, &mut log, time);
    }

    /// Keeps what is complete.
    fn take(&mut self, span: &mut Span, log: &mut Log, time: Timestamp) {
        let (span, log) = (std::mem::take(span), std::mem::take(log));
        if !span.span_id.is_empty() {
            self.spans.entry(span.span_id.clone()).or_insert((span, time));
        }
        if !log.span_id.is_empty() && !self.logs.iter().any(|known| known.span_id == log.span_id) {
            self.logs.push(log);
        }
    }
}

enum Section {
    None,
    Resource,
    Attributes,
}

/// A value as the exporter writes it: `Str(x)`, `Int(1)`.
fn typed(value: &str) -> Value {
    let inner = value.split_once('(').and_then(|(kind, rest)| Some((kind, rest.strip_suffix(')')?)));
    match inner {
        Some(("Int", number)) => number.parse::<i64>().map_or(Value::Null, Value::from),
        Some(("Double", number)) => number.parse::<f64>().map_or(Value::Null, Value::from),
        Some(("Bool", truth)) => (truth == "true").into(),
        Some((_, text)) => text.into(),
        None => value.into(),
    }
}

/// A time as Go prints it: `2026-11-24 09:31:33.335052 +0000 UTC`.
fn nanos(time: &str) -> u64 {
    let rfc3339 = time.replacen(' ', "T", 1).replace(" +0000 UTC", "Z");
    rfc3339.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_nanosecond()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As collector 0.161 logs them; shortened.
    const LOG: &str = include_str!("../../tests/recorded/debug_verify.jsonl");

    #[test]
    fn a_span_and_its_log_are_read_back_with_their_resource() {
        let mut collected = Collected::default();
        collected.read(LOG);
        collected.read(LOG);
        assert_eq!((collected.spans.len(), collected.logs.len()), (2, 1), "what is read twice counts once");
        let (span, time) = &collected.spans["59ad58c9772c6e33"];
        assert_eq!(span.trace_id, "6f746d7616cd43dd8448eb211c80319c");
        assert_eq!(span.parent_span_id, "7e2f4f212280dfa4");
        assert_eq!((span.service.as_str(), span.kind.as_str(), span.name.as_str()), ("backend", "SERVER", "GET"));
        assert_eq!(span.nanos(), 594_000);
        assert_eq!(span.attributes["http.response.status_code"], 200);
        assert_eq!(span.resource["k8s.pod.name"], "backend-0");
        assert_eq!(time.to_string(), "2026-11-24T09:31:34.026Z");
        assert_eq!(collected.spans["aaad58c9772c6e33"].0.service, "frontend", "each span has its own resource");
        let log = &collected.logs[0];
        assert_eq!((log.trace_id.as_str(), log.span_id.as_str()), (span.trace_id.as_str(), span.span_id.as_str()));
        assert_eq!(log.resource, span.resource);
    }

    #[test]
    fn other_lines_are_passed_over() {
        let mut collected = Collected::default();
        collected.read(&format!("not JSON\n{{\"msg\":1}}\n{}", LOG.replace(EXPORTER, "debug/log")));
        assert!(collected.spans.is_empty() && collected.logs.is_empty());
    }
}
