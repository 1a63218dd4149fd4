//! Trace context in and out of headers. In: the request's headers and the configured formats. Out: what was found
//! ([`extract`]) and the header changes that carry a span on ([`inject`]). Malformed context is normal traffic: it is
//! reported in [`Found`], never an error, and the next format is tried.

pub mod b3;
pub mod b3multi;
pub mod id;
pub mod tracecontext;
pub mod tracestate;

pub use crate::config::Format;
use crate::config::Propagation;
use crate::host::Headers;
use crate::sampling::Sampler;
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
    /// `None` where B3 leaves the decision to us.
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
    /// A tracestate came with a good traceparent and had to be dropped.
    pub tracestate_malformed: bool,
    came: Came,
}

/// Which headers the request came with, so that `inject` touches no others.
#[derive(Debug, Clone, PartialEq, Default)]
struct Came {
    /// Names seen, as a set of [`Known`] bits.
    names: u16,
    /// The request had one tracestate header, and it reads exactly as `tracestate`.
    tracestate_is_canonical: bool,
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
    /// The header's name.
    pub name: &'static str,
    /// `None` removes it.
    pub value: Option<String>,
}

/// The trace headers that a request can carry, with their bit in [`Came`].
struct Known(&'static str, u16);

const TRACESTATE_BIT: u16 = 1 << 1;
const B3_BIT: u16 = 1 << 2;
const B3MULTI_BITS: u16 = 0b1_1111 << 3;
const SAMPLED_BIT: u16 = 1 << 5;
const FLAGS_BIT: u16 = 1 << 6;
const PARENT_BIT: u16 = 1 << 7;
const KNOWN: [Known; 8] = [
    Known(tracecontext::TRACEPARENT, 1),
    Known(tracecontext::TRACESTATE, TRACESTATE_BIT),
    Known(b3::B3, B3_BIT),
    Known(b3multi::TRACE_ID, 1 << 3),
    Known(b3multi::SPAN_ID, 1 << 4),
    Known(b3multi::SAMPLED, SAMPLED_BIT),
    Known(b3multi::FLAGS, FLAGS_BIT),
    Known(b3multi::PARENT_SPAN_ID, PARENT_BIT),
];

// === extract ===

/// The trace headers of a request, gathered in one pass over its header map.
#[derive(Debug, Default)]
pub struct Carrier<'a> {
    /// Every traceparent: two of them are no context.
    pub traceparent: Repeated<'a>,
    /// The first `b3`.
    pub b3: Option<&'a [u8]>,
    /// The first of each `x-b3-*`.
    pub b3multi: b3multi::Fields<'a>,
    tracestate: tracestate::Lines<'a>,
    names: u16,
}

/// A header that may come once only.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Repeated<'a> {
    /// Not there.
    #[default]
    Absent,
    /// There once.
    Once(&'a [u8]),
    /// There more than once.
    Many,
}

impl<'a> Carrier<'a> {
    /// Takes note of one header of the request.
    pub fn see(&mut self, name: &[u8], value: &'a [u8]) {
        let Some(Known(name, bit)) = KNOWN.iter().find(|k| k.0.as_bytes() == name) else { return };
        self.names |= bit;
        let first = |field: &mut Option<&'a [u8]>| {
            field.get_or_insert(value);
        };
        match *name {
            tracecontext::TRACEPARENT => {
                self.traceparent = match self.traceparent {
                    Repeated::Absent => Repeated::Once(value),
                    _ => Repeated::Many,
                }
            }
            tracecontext::TRACESTATE => self.tracestate.push(value),
            b3::B3 => first(&mut self.b3),
            b3multi::TRACE_ID => first(&mut self.b3multi.trace_id),
            b3multi::SPAN_ID => first(&mut self.b3multi.span_id),
            b3multi::SAMPLED => first(&mut self.b3multi.sampled),
            b3multi::FLAGS => first(&mut self.b3multi.flags),
            b3multi::PARENT_SPAN_ID => first(&mut self.b3multi.parent_span_id),
            _ => {}
        }
    }

    /// Sees every header of a map.
    pub fn of(headers: &'a Headers) -> Self {
        let mut carrier = Self::default();
        headers.iter().for_each(|(name, value)| carrier.see(name, value));
        carrier
    }
}

/// Reads the configured formats in order; the first whole context wins.
pub fn extract(carrier: &Carrier<'_>, formats: &[Format]) -> Found {
    let mut found = Found { came: Came { names: carrier.names, ..Came::default() }, ..Found::default() };
    for &format in formats {
        let outcome = match format {
            Format::TraceContext => tracecontext::extract(carrier.traceparent),
            Format::B3 => b3::extract(carrier.b3),
            Format::B3Multi => b3multi::extract(&carrier.b3multi),
        };
        match outcome {
            Outcome::Absent => {}
            Outcome::Malformed => found.malformed.push(format),
            Outcome::DecisionOnly(decision) => {
                found.decision.get_or_insert(decision);
            }
            Outcome::Parent(parent) => {
                found.parent = Some(parent);
                found.decision = parent.decision;
                if format == Format::TraceContext {
                    found.take_tracestate(&carrier.tracestate);
                }
                break;
            }
        }
    }
    found
}

impl Found {
    fn take_tracestate(&mut self, lines: &tracestate::Lines<'_>) {
        match lines.normalise() {
            Some(list) => {
                self.came.tracestate_is_canonical = lines.is_exactly(&list);
                self.tracestate = list;
            }
            None => self.tracestate_malformed = true,
        }
    }

    fn came_with(&self, bits: u16) -> bool {
        self.came.names & bits != 0
    }
}

// === impl SpanContext ===

impl SpanContext {
    /// Our span: a child of what was found, or the first of a new trace.
    pub fn begin(found: &Found, sampler: &Sampler, ids: &mut Generator) -> Self {
        let (trace_id, random) = match found.parent {
            Some(parent) => (parent.trace_id, parent.random),
            None => (ids.trace_id(), true),
        };
        let decision = sampler.decide(found.decision, trace_id);
        Self {
            trace_id,
            span_id: ids.span_id(),
            flags: Flags::new(decision != Decision::Drop, random),
            debug: decision == Decision::Debug,
        }
    }
}

// === inject ===

/// The header changes that carry `span` on; only what has to change, since each costs a crossing.
pub fn inject(propagation: &Propagation, found: &Found, span: &SpanContext) -> Vec<Change> {
    let wants = |format: Format| match &propagation.inject {
        Some(formats) => formats.contains(&format),
        None => match format {
            Format::TraceContext => true,
            Format::B3 => found.came_with(B3_BIT),
            Format::B3Multi => found.came_with(B3MULTI_BITS),
        },
    };
    let set = |name, value| Change { name, value: Some(value) };
    let remove = |name| Change { name, value: None };
    let mut changes = Vec::with_capacity(4);
    if wants(Format::TraceContext) {
        changes.push(set(tracecontext::TRACEPARENT, tracecontext::format(span)));
        if found.tracestate.is_empty() {
            if found.came_with(TRACESTATE_BIT) {
                changes.push(remove(tracecontext::TRACESTATE));
            }
        } else if !found.came.tracestate_is_canonical {
            changes.push(set(tracecontext::TRACESTATE, found.tracestate.clone()));
        }
    }
    if wants(Format::B3) {
        changes.push(set(b3::B3, b3::format(span)));
    }
    if wants(Format::B3Multi) {
        changes.push(set(b3multi::TRACE_ID, b3::trace_id(span.trace_id)));
        changes.push(set(b3multi::SPAN_ID, span.span_id.to_string()));
        if span.debug {
            changes.push(set(b3multi::FLAGS, "1".to_owned()));
            if found.came_with(SAMPLED_BIT) {
                changes.push(remove(b3multi::SAMPLED));
            }
        } else {
            changes.push(set(b3multi::SAMPLED, if span.flags.sampled() { "1" } else { "0" }.to_owned()));
            if found.came_with(FLAGS_BIT) {
                changes.push(remove(b3multi::FLAGS));
            }
        }
        // Ours has another parent than the one that came in, and B3 does not need to be told.
        if found.came_with(PARENT_BIT) {
            changes.push(remove(b3multi::PARENT_SPAN_ID));
        }
    }
    changes
}

#[cfg(test)]
mod tests;
