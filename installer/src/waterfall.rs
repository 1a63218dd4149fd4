//! A trace as a tree of bars.
//!
//! In: the spans of one trace, in any order, and the ids of callers that are known to be elsewhere. Out: one line a span,
//! parents above children, and a shape by which traces that look alike are told to be alike. Refuses nothing: a span
//! without its parent becomes a further root and says so, and a circle of parents is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use http::Uri;

use crate::telemetry::Span;

/// Wide enough to tell a fifth of a millisecond in ten, narrow enough for 100 columns.
const BAR: usize = 32;

const SERVER: Style = AnsiColor::Green.on_default();
const CLIENT: Style = AnsiColor::Cyan.on_default();
const BROKEN: Style = AnsiColor::Red.on_default();
const QUIET: Style = Style::new().dimmed();

/// A laid out trace; `Display` draws it with ANSI colours, which a writer may strip.
#[derive(Debug)]
pub struct Waterfall<'a> {
    rows: Vec<Row<'a>>,
}

#[derive(Debug)]
struct Row<'a> {
    branch: String,
    depth: usize,
    orphan: bool,
    span: &'a Span,
}

// === impl Waterfall ===

impl<'a> Waterfall<'a> {
    /// Lays out the spans of one trace. `callers` are spans that are reported elsewhere.
    pub fn new(spans: impl IntoIterator<Item = &'a Span>, callers: &BTreeSet<&str>) -> Self {
        let mut spans: Vec<_> = spans.into_iter().collect();
        spans.sort_by_key(|span| (span.start_unix_nano, &span.span_id));
        let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.as_str()).collect();
        let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
        let mut roots = Vec::new();
        for &span in &spans {
            match span.parent_span_id.as_str() {
                parent if ids.contains(parent) => children.entry(parent).or_default().push(span),
                _ => roots.push(span),
            }
        }
        let mut waterfall = Self { rows: Vec::new() };
        // Whatever no root leads to is part of a circle; its earliest span stands for it.
        for span in roots.into_iter().chain(spans.iter().copied()) {
            let parent = span.parent_span_id.as_str();
            let orphan = !parent.is_empty() && !callers.contains(parent);
            waterfall.add(span, &children, String::new(), String::new(), orphan);
        }
        waterfall
    }

    fn add(
        &mut self,
        span: &'a Span,
        children: &BTreeMap<&str, Vec<&'a Span>>,
        branch: String,
        below: String,
        orphan: bool,
    ) {
        if self.rows.iter().any(|row| row.span.span_id == span.span_id) {
            return;
        }
        let depth = below.chars().count() / 2;
        self.rows.push(Row { branch, depth, orphan, span });
        let children_of = children.get(span.span_id.as_str()).map(Vec::as_slice).unwrap_or_default();
        for (i, child) in children_of.iter().enumerate() {
            let (arm, trunk) = if i + 1 == children_of.len() { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.add(child, children, format!("{below}{arm}"), format!("{below}{trunk}"), false);
        }
    }

    /// The same for traces that differ in nothing but ids and times.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for Row { depth, orphan, span, .. } in &self.rows {
            let outcome = outcome(span);
            let _ = writeln!(shape, "{depth} {orphan} {} {} {} {outcome}", span.service, span.kind, label(span));
        }
        shape
    }
}

impl fmt::Display for Waterfall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<_> = self.rows.iter().map(|row| format!("{}{}", row.branch, label(row.span))).collect();
        let services = width(self.rows.iter().map(|row| row.span.service.as_str()));
        let kinds = width(self.rows.iter().map(|row| row.span.kind.as_str()));
        let names = width(labels.iter().map(String::as_str));
        let start = self.rows.iter().map(|row| row.span.start_unix_nano).min().unwrap_or_default();
        let end = self.rows.iter().map(|row| row.span.end_unix_nano).max().unwrap_or_default();

        for (row, label) in self.rows.iter().zip(labels) {
            let span = row.span;
            let style = if span.kind == "SERVER" { SERVER } else { CLIENT };
            let outcome_style = if span.status == "ERROR" { BROKEN } else { Style::new() };
            let bar = bar(span.start_unix_nano - start, span.nanos(), end.saturating_sub(start));
            write!(
                f,
                "{:services$}  {style}{:kinds$}{style:#}  {label:names$}  {outcome_style}{:>5}{outcome_style:#}  \
                 {style}{bar}{style:#}  {:>7}",
                span.service,
                span.kind,
                outcome(span),
                duration(span.nanos()),
            )?;
            if row.orphan {
                write!(f, "  {BROKEN}parent {} is missing{BROKEN:#}", span.parent_span_id)?;
            }
            writeln!(f)?;
        }
        if self.rows.is_empty() {
            writeln!(f, "{QUIET}no spans{QUIET:#}")?;
        }
        Ok(())
    }
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}

/// The span's name, and the path, which the semantic conventions keep out of names: it has too many values.
fn label(span: &Span) -> String {
    let path = match span.text("url.path") {
        path if path.is_empty() => {
            span.text("url.full").parse().map_or_else(|_| path, |uri: Uri| uri.path().to_owned())
        }
        path => path,
    };
    if path.is_empty() || span.name.contains(&path) { span.name.clone() } else { format!("{} {path}", span.name) }
}

/// What HTTP said, else what the span says.
fn outcome(span: &Span) -> String {
    let status = span.text("http.response.status_code");
    if status.is_empty() { span.status.clone() } else { status }
}

fn bar(offset: u64, nanos: u64, total: u64) -> String {
    let cells = |part: u64| match total {
        0 => 0,
        total => usize::try_from(u128::from(part) * BAR as u128 / u128::from(total)).unwrap_or(BAR).min(BAR),
    };
    let before = cells(offset).min(BAR - 1);
    let length = cells(nanos).clamp(1, BAR - before);
    format!("{}{}{}", " ".repeat(before), "█".repeat(length), " ".repeat(BAR - before - length))
}

fn duration(nanos: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let micros = nanos as f64 / 1e3;
    match micros {
        ..1e3 => format!("{micros:.0}µs"),
        ..1e6 => format!("{:.1}ms", micros / 1e3),
        _ => format!("{:.2}s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MS: u64 = 1_000_000;

    fn span(service: &str, kind: &str, path: &str, ids: (&str, &str), from: u64, to: u64) -> Span {
        // As the conventions want it: servers know a path, clients a whole URL.
        let url =
            if kind == "SERVER" { ("url.path", json!(path)) } else { ("url.full", json!(format!("http://b{path}"))) };
        let attributes = [url, ("http.response.status_code", json!(200))];
        Span {
            service: service.to_owned(),
            kind: kind.to_owned(),
            name: "GET".to_owned(),
            span_id: ids.0.to_owned(),
            parent_span_id: ids.1.to_owned(),
            start_unix_nano: 1_000 * MS + from,
            end_unix_nano: 1_000 * MS + to,
            attributes: attributes.map(|(key, value)| (key.to_owned(), value)).into(),
            ..Span::default()
        }
    }

    fn order() -> Vec<Span> {
        // In the order in which they end, as they arrive.
        vec![
            span("backend", "SERVER", "/stock/7", ("3", "2"), 2 * MS, 3 * MS),
            span("frontend", "CLIENT", "/stock/7", ("2", "1"), MS, 4 * MS),
            span("backend", "CLIENT", "/rates/EUR", ("6", "5"), 7 * MS, 7 * MS + 400_000),
            span("backend", "SERVER", "/price/7", ("5", "4"), 6 * MS, 8 * MS),
            span("frontend", "CLIENT", "/price/7", ("4", "1"), 5 * MS, 9 * MS),
            span("frontend", "SERVER", "/order/7", ("1", "c"), 0, 16 * MS),
        ]
    }

    fn text(spans: &[Span]) -> String {
        anstream::adapter::strip_str(&Waterfall::new(spans, &["c"].into()).to_string()).to_string()
    }

    #[test]
    fn a_trace_is_drawn_as_a_tree_of_bars() {
        let expected = "\
frontend  SERVER  GET /order/7            200  ████████████████████████████████   16.0ms
frontend  CLIENT  ├ GET /stock/7          200    ██████                            3.0ms
backend   SERVER  │ └ GET /stock/7        200      ██                              1.0ms
frontend  CLIENT  └ GET /price/7          200            ████████                  4.0ms
backend   SERVER    └ GET /price/7        200              ████                    2.0ms
backend   CLIENT      └ GET /rates/EUR    200                █                     400µs
";
        assert_eq!(text(&order()), expected);
    }

    #[test]
    fn a_span_without_its_parent_becomes_a_root_that_says_so() {
        let mut spans = order();
        spans.retain(|span| span.span_id != "4");
        spans.push(Span {
            status: "ERROR".to_owned(),
            attributes: [].into(),
            ..span("x", "CLIENT", "", ("7", ""), 0, 0)
        });
        let expected = "\
frontend  SERVER  GET /order/7        200  ████████████████████████████████   16.0ms
frontend  CLIENT  └ GET /stock/7      200    ██████                            3.0ms
backend   SERVER    └ GET /stock/7    200      ██                              1.0ms
x         CLIENT  GET               ERROR  █                                     0µs
backend   SERVER  GET /price/7        200              ████                    2.0ms  parent 4 is missing
backend   CLIENT  └ GET /rates/EUR    200                █                     400µs
";
        assert_eq!(text(&spans), expected);
    }

    #[test]
    fn a_circle_of_parents_is_cut_and_shown_once() {
        let spans = [
            span("a", "SERVER", "/", ("1", "2"), 0, MS),
            span("a", "CLIENT", "/", ("2", "1"), 0, MS),
            span("a", "CLIENT", "/", ("3", "3"), 0, MS),
        ];
        assert_eq!(text(&spans).lines().count(), 3);
        assert_eq!(text(&[]), "no spans\n");
    }

    #[test]
    fn shapes_ignore_ids_and_times_but_not_status_or_parents() {
        let shape = |spans: &[Span]| Waterfall::new(spans, &["c"].into()).shape();
        let mut slower = order();
        for span in &mut slower {
            span.span_id.push('0');
            span.parent_span_id.push(if span.parent_span_id == "c" { ' ' } else { '0' });
            span.end_unix_nano += MS;
        }
        slower[5].parent_span_id = "c".to_owned();
        assert_eq!(shape(&order()), shape(&slower));

        let mut failed = order();
        failed[0].attributes.insert("http.response.status_code".to_owned(), json!(503));
        assert_ne!(shape(&order()), shape(&failed));
        let mut elsewhere = order();
        elsewhere[0].parent_span_id = "4".to_owned();
        assert_ne!(shape(&order()), shape(&elsewhere));
    }
}
