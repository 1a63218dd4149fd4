//! Trace context in and out of headers. In: the request's headers and the configured formats. Out: what was found
//! ([`Propagators::extract`]) and the header changes that carry a span on ([`Propagators::inject`]). Malformed context is normal traffic: it is
//! reported in [`Found`], never an error, and the next format is tried.

pub mod b3;
pub mod b3multi;
pub mod carrier;
pub mod id;
pub mod jaeger;
pub mod ottrace;
pub mod request_id;
pub mod tracecontext;
pub mod tracestate;
pub mod xray;

use crate::attributes::{Kind, Request};
pub use crate::config::Format;
use crate::config::pattern::HostPattern;
use crate::config::{BoundaryPolicy, Propagation, Side, Trust};
use crate::otlp;
pub use carrier::{Carrier, Name, Names};
use id::Generator;
pub use id::{Flags, SpanId, TraceId};

/// What the caller said of recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Record.
    Sample,
    /// Do not record.
    Drop,
    /// B3's debug: record, and make sure that nobody down the line drops it.
    Debug,
}

/// What a sampler decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether to record.
    pub decision: Decision,
    /// The tracestate to go on with, where it is not the one that came.
    pub tracestate: Option<String>,
}

/// The caller's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// `None` where the caller leaves the decision to us, as B3 and X-Ray can.
    pub decision: Option<Decision>,
    /// Whether the trace id is known to be random (level 2's random flag).
    pub random: bool,
}

/// What one format found in the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of this format.
    Absent,
    /// Something that the format's specification refuses.
    Malformed,
    /// A decision without ids, as B3 allows.
    DecisionOnly(Decision),
    /// A whole context.
    Parent(Parent),
}

/// Everything that the request's headers said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The first whole context, in the configured order.
    pub parent: Option<Parent>,
    /// What the caller decided, with ids or, as B3 allows, without.
    pub decision: Option<Decision>,
    /// The valid tracestate that belongs to `parent`, normalised; empty where there is none.
    pub tracestate: String,
    /// Formats that were present but malformed.
    pub malformed: Vec<Format>,
    /// A format further down the order named another trace.
    pub conflict: bool,
    /// A tracestate came with a good traceparent and had to be dropped.
    pub tracestate_malformed: bool,
    /// The caller's span, where it is not trusted to be the parent.
    pub link: Option<Parent>,
    /// The id for a new trace, and whether it is random; `None` for one of our own.
    pub new_trace_id: Option<(TraceId, bool)>,
}

/// The span that is carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: TraceId,
    /// Our span.
    pub span_id: SpanId,
    /// Sampled and random.
    pub flags: Flags,
    /// The caller asked for debug (B3).
    pub debug: bool,
}

/// One header to change: to a value, or away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The header.
    pub name: Name,
    /// `None` removes it.
    pub value: Option<String>,
}

/// Header changes, only those that change something, since each costs a crossing.
#[derive(Debug)]
pub struct Changes<'a> {
    carrier: &'a Carrier<'a>,
    list: Vec<Change>,
}

/// What holds for one direction, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Propagators {
    /// Formats to read, in order.
    pub extract: Vec<Format>,
    /// What to do about the headers of each format; nothing, where it is not listed.
    pub plan: Vec<(Format, Plan)>,
    /// Whether the caller's trace goes on.
    pub trust: Trust,
    /// Hosts beyond which less is told.
    pub boundaries: Vec<(Vec<HostPattern>, BoundaryPolicy)>,
}

/// What becomes of a format's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// They are written.
    Inject,
    /// They are written where the request came with some of them.
    Answer,
    /// They are taken away.
    Clear,
}

/// The headers that a format consists of.
fn headers_of(format: Format) -> &'static [Name] {
    match format {
        Format::TraceContext => &[Name::Traceparent, Name::Tracestate],
        Format::Baggage => &[Name::Baggage],
        Format::B3 => &[Name::B3],
        Format::B3Multi => b3multi::HEADERS,
        Format::Jaeger => &[Name::UberTraceId],
        Format::XRay => &[Name::AmznTraceId],
        Format::OtTrace => ottrace::HEADERS,
    }
}

fn extract(format: Format, carrier: &Carrier<'_>) -> Outcome {
    match format {
        Format::TraceContext => tracecontext::extract(carrier),
        // Baggage travels beside a trace and names none.
        Format::Baggage => Outcome::Absent,
        Format::B3 => b3::extract(carrier),
        Format::B3Multi => b3multi::extract(carrier),
        Format::Jaeger => jaeger::extract(carrier),
        Format::XRay => xray::extract(carrier),
        Format::OtTrace => ottrace::extract(carrier),
    }
}

// === impl Propagators ===

impl Propagators {
    /// What holds for all requests, with what `side` says otherwise. Only outbound requests meet boundaries.
    pub fn of(all: &Propagation, side: &Side, kind: Kind) -> Self {
        let boundaries = if kind == Kind::Client { all.boundaries.as_slice() } else { &[] };
        let patterns = |hosts: &[String]| hosts.iter().filter_map(|host| HostPattern::parse(host)).collect();
        let extract = side.extract.as_ref().unwrap_or(&all.extract);
        let (inject, clear) = (side.inject.as_ref().or(all.inject.as_ref()), side.clear.as_ref().unwrap_or(&all.clear));
        let plan = |format: &Format| match inject {
            Some(formats) if formats.contains(format) => Some(Plan::Inject),
            _ if clear.contains(format) => Some(Plan::Clear),
            Some(_) => None,
            None if *format == Format::TraceContext => Some(Plan::Inject),
            None => extract.contains(format).then_some(Plan::Answer),
        };
        Self {
            extract: extract.clone(),
            plan: Format::ALL.iter().filter_map(|format| Some((*format, plan(format)?))).collect(),
            trust: side.trust.unwrap_or(all.trust),
            boundaries: boundaries.iter().map(|boundary| (patterns(&boundary.hosts), boundary.policy)).collect(),
        }
    }

    /// Reads the formats in order; the first whole context wins.
    pub fn extract(&self, carrier: &Carrier<'_>) -> Found {
        let mut found = Found::default();
        if carrier.came().is_empty() {
            return found;
        }
        for &format in &self.extract {
            match extract(format, carrier) {
                Outcome::Absent => {}
                Outcome::Malformed => found.malformed.push(format),
                Outcome::DecisionOnly(decision) => {
                    found.decision.get_or_insert(decision);
                }
                Outcome::Parent(parent) => match &found.parent {
                    Some(first) => found.conflict |= first.trace_id != parent.trace_id,
                    None => {
                        found.parent = Some(parent);
                        found.decision = parent.decision;
                        if format == Format::TraceContext {
                            found.take_tracestate(&carrier.tracestate);
                        }
                    }
                },
            }
        }
        if self.trust == Trust::None {
            found.link = found.parent.take();
            found.decision = None;
            found.tracestate.clear();
        }
        found
    }

    /// The header changes that carry `span` on to an `:authority`, and take away what is not to go there.
    pub fn inject(&self, carrier: &Carrier<'_>, found: &Found, span: &SpanContext, authority: &[u8]) -> Vec<Change> {
        let mut changes = Changes { carrier, list: Vec::new() };
        let policy = self.policy(authority);
        let strips = |format| match policy {
            BoundaryPolicy::Propagate => false,
            BoundaryPolicy::Strip => format != Format::Baggage,
            BoundaryPolicy::StripWithBaggage => true,
        };
        if policy != BoundaryPolicy::Propagate {
            let stripped = Format::ALL.into_iter().filter(|format| strips(*format));
            stripped.flat_map(headers_of).for_each(|name| changes.remove(*name));
        }
        for &(format, plan) in self.plan.iter().filter(|(format, _)| !strips(*format)) {
            match (plan, format) {
                (Plan::Answer, _) if !carrier.came().has_any(headers_of(format)) => {}
                (Plan::Clear, _) => headers_of(format).iter().for_each(|name| changes.remove(*name)),
                (_, Format::TraceContext) => tracecontext::inject(span, found, &mut changes),
                // It goes on as it came.
                (_, Format::Baggage) => {}
                (_, Format::B3) => changes.set(Name::B3, b3::format(span)),
                (_, Format::B3Multi) => b3multi::inject(span, &mut changes),
                (_, Format::Jaeger) => changes.set(Name::UberTraceId, jaeger::format(span)),
                (_, Format::XRay) => changes.set(Name::AmznTraceId, xray::format(span)),
                (_, Format::OtTrace) => ottrace::inject(span, &mut changes),
            }
        }
        changes.list
    }

    fn policy(&self, authority: &[u8]) -> BoundaryPolicy {
        if self.boundaries.is_empty() {
            return BoundaryPolicy::Propagate;
        }
        let authority = otlp::text(authority);
        let host = Request::host_of(&authority);
        let meets = |(hosts, _): &&(Vec<HostPattern>, _)| hosts.iter().any(|pattern| pattern.matches(host));
        self.boundaries.iter().find(meets).map_or(BoundaryPolicy::Propagate, |(_, policy)| *policy)
    }
}

impl Found {
    fn take_tracestate(&mut self, lines: &tracestate::Lines<'_>) {
        match lines.normalise() {
            Some(list) => self.tracestate = list,
            None => self.tracestate_malformed = true,
        }
    }
}

// === impl SpanContext ===

impl SpanContext {
    /// Our span: a child of what was found, or the first of a new trace. `decide` may change the tracestate. Where no
    /// span is recorded, the caller's own stands for ours, so that nobody down the line hangs on a span that nobody has.
    pub fn begin(
        found: &mut Found,
        ids: &mut Generator,
        records: bool,
        decide: impl FnOnce(Option<Decision>, TraceId, &str) -> Verdict,
    ) -> Self {
        let (trace_id, random) = match found.parent {
            Some(parent) => (parent.trace_id, parent.random),
            None => found.new_trace_id.unwrap_or_else(|| (ids.trace_id(), true)),
        };
        let Verdict { decision, tracestate } = decide(found.decision, trace_id, &found.tracestate);
        if let Some(tracestate) = tracestate {
            found.tracestate = tracestate;
        }
        let span_id = match found.parent {
            Some(parent) if !records || decision == Decision::Drop => parent.span_id,
            _ => ids.span_id(),
        };
        let flags = Flags::new(decision != Decision::Drop, random);
        Self { trace_id, span_id, flags, debug: decision == Decision::Debug }
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// Gives a header one value, whatever it held.
    pub fn set(&mut self, name: Name, value: String) {
        if !self.carrier.is_exactly(name, &value) {
            self.list.push(Change { name, value: Some(value) });
        }
    }

    /// Takes a header away, if it came.
    pub fn remove(&mut self, name: Name) {
        if self.carrier.came().has(name) {
            self.list.push(Change { name, value: None });
        }
    }
}

#[cfg(test)]
mod tests;
