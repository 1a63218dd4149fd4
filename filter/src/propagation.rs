//! Trace context in and out of headers. In: the request's headers and the configured formats. Out: what was found
//! ([`extract`]) and the header changes that carry a span on ([`inject`]). Malformed context is normal traffic: it is
//! reported in [`Found`], never an error, and the next format is tried.

pub mod b3;
pub mod b3multi;
pub mod carrier;
pub mod id;
pub mod jaeger;
pub mod ottrace;
pub mod tracecontext;
pub mod tracestate;
pub mod xray;

pub use crate::config::Format;
use crate::config::{Propagation, Side};
use crate::sampling::{Sampler, Verdict};
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
    /// The request had one tracestate header, and it reads exactly as `tracestate`.
    tracestate_is_canonical: bool,
    came: Names,
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
pub struct Changes {
    came: Names,
    list: Vec<Change>,
}

/// The formats of one direction, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Propagators {
    /// To read, in order.
    pub extract: Vec<Format>,
    /// To write; `None` means tracecontext, and every format in `extract` that the request came with.
    pub inject: Option<Vec<Format>>,
    /// To take away.
    pub clear: Vec<Format>,
}

// === impl Format ===

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] =
        [Self::TraceContext, Self::Baggage, Self::B3, Self::B3Multi, Self::Jaeger, Self::XRay, Self::OtTrace];

    /// The headers that the format consists of.
    fn headers(self) -> &'static [Name] {
        match self {
            Self::TraceContext => &[Name::Traceparent, Name::Tracestate],
            Self::Baggage => &[Name::Baggage],
            Self::B3 => &[Name::B3],
            Self::B3Multi => b3multi::HEADERS,
            Self::Jaeger => &[Name::UberTraceId],
            Self::XRay => &[Name::AmznTraceId],
            Self::OtTrace => ottrace::HEADERS,
        }
    }

    fn extract(self, carrier: &Carrier<'_>) -> Outcome {
        match self {
            Self::TraceContext => tracecontext::extract(carrier),
            // Baggage travels beside a trace and names none.
            Self::Baggage => Outcome::Absent,
            Self::B3 => b3::extract(carrier),
            Self::B3Multi => b3multi::extract(carrier),
            Self::Jaeger => jaeger::extract(carrier),
            Self::XRay => xray::extract(carrier),
            Self::OtTrace => ottrace::extract(carrier),
        }
    }
}

// === extract ===

/// Reads the configured formats in order; the first whole context wins.
pub fn extract(carrier: &Carrier<'_>, formats: &[Format]) -> Found {
    let mut found = Found { came: carrier.came(), ..Found::default() };
    for &format in formats {
        match format.extract(carrier) {
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
    found
}

impl Found {
    fn take_tracestate(&mut self, lines: &tracestate::Lines<'_>) {
        match lines.normalise() {
            Some(list) => {
                self.tracestate_is_canonical = lines.is_exactly(&list);
                self.tracestate = list;
            }
            None => self.tracestate_malformed = true,
        }
    }
}

// === impl SpanContext ===

impl SpanContext {
    /// Our span: a child of what was found, or the first of a new trace. The decision may change the tracestate.
    pub fn begin(found: &mut Found, sampler: &Sampler, ids: &mut Generator) -> Self {
        let (trace_id, random) = match found.parent {
            Some(parent) => (parent.trace_id, parent.random),
            None => (ids.trace_id(), true),
        };
        let Verdict { decision, tracestate } = sampler.decide(found.decision, trace_id, &found.tracestate);
        if let Some(tracestate) = tracestate {
            found.tracestate = tracestate;
            found.tracestate_is_canonical = false;
        }
        Self {
            trace_id,
            span_id: ids.span_id(),
            flags: Flags::new(decision != Decision::Drop, random),
            debug: decision == Decision::Debug,
        }
    }
}

// === inject ===

/// The header changes that carry `span` on, and take away what is to be cleared.
pub fn inject(propagators: &Propagators, found: &Found, span: &SpanContext) -> Vec<Change> {
    let mut changes = Changes { came: found.came, list: Vec::with_capacity(4) };
    for format in Format::ALL {
        if propagators.injects(format, found.came) {
            match format {
                Format::TraceContext => tracecontext::inject(span, found, &mut changes),
                // It goes on as it came.
                Format::Baggage => {}
                Format::B3 => changes.set(Name::B3, b3::format(span)),
                Format::B3Multi => b3multi::inject(span, &mut changes),
                Format::Jaeger => changes.set(Name::UberTraceId, jaeger::format(span)),
                Format::XRay => changes.set(Name::AmznTraceId, xray::format(span)),
                Format::OtTrace => ottrace::inject(span, &mut changes),
            }
        } else if propagators.clear.contains(&format) {
            format.headers().iter().for_each(|name| changes.remove(*name));
        }
    }
    changes.list
}

impl Propagators {
    /// What holds for all requests, with what `side` says otherwise.
    pub fn of(all: &Propagation, side: &Side) -> Self {
        Self {
            extract: side.extract.as_ref().unwrap_or(&all.extract).clone(),
            inject: side.inject.as_ref().or(all.inject.as_ref()).cloned(),
            clear: side.clear.as_ref().unwrap_or(&all.clear).clone(),
        }
    }

    fn injects(&self, format: Format, came: Names) -> bool {
        match &self.inject {
            Some(formats) => formats.contains(&format),
            None if self.clear.contains(&format) => false,
            None if format == Format::TraceContext => true,
            None => self.extract.contains(&format) && came.has_any(format.headers()),
        }
    }
}

// === impl Changes ===

impl Changes {
    /// Gives a header one value, whatever it held.
    pub fn set(&mut self, name: Name, value: String) {
        self.list.push(Change { name, value: Some(value) });
    }

    /// Takes a header away, if it came.
    pub fn remove(&mut self, name: Name) {
        if self.came.has(name) {
            self.list.push(Change { name, value: None });
        }
    }
}

#[cfg(test)]
mod tests;
