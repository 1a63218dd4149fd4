//! B3 in one header (openzipkin/b3-propagation, "Single Header"). In: the value of `b3`, that is a lone decision or
//! `{trace id}-{span id}[-{decision}[-{parent span id}]]`. Out: the caller's span or decision, or our own header value.
//! Accepts a parent span id and never emits one. Refuses upper case, other lengths and all-zero ids.

use super::carrier::{Carrier, Name};
use super::id::{SpanId, TraceId};
use super::{Decision, Outcome, Parent, SpanContext};

/// Reads the context; absent where the header is.
pub fn extract(carrier: &Carrier<'_>) -> Outcome {
    let Some(value) = carrier.get(Name::B3) else { return Outcome::Absent };
    match decision(value) {
        Some(decision) => Outcome::DecisionOnly(decision),
        None => parse(value).map_or(Outcome::Malformed, Outcome::Parent),
    }
}

fn parse(value: &[u8]) -> Option<Parent> {
    let mut fields = value.split(|b| *b == b'-');
    let trace_id = parse_trace_id(fields.next()?)?;
    let span_id = SpanId::from_hex(fields.next()?)?;
    let decision = match fields.next() {
        Some(text) => Some(decision(text)?),
        None => None,
    };
    if let Some(parent) = fields.next() {
        SpanId::from_hex(parent)?;
    }
    match fields.next() {
        Some(_) => None,
        None => Some(Parent { trace_id, span_id, decision, random: false }),
    }
}

fn decision(text: &[u8]) -> Option<Decision> {
    match text {
        b"0" => Some(Decision::Drop),
        b"1" => Some(Decision::Sample),
        b"d" => Some(Decision::Debug),
        _ => None,
    }
}

/// A trace id of 128 or of 64 bits.
pub(super) fn parse_trace_id(hex: &[u8]) -> Option<TraceId> {
    TraceId::from_hex(hex).or_else(|| TraceId::from_short_hex(hex))
}

/// A trace id as B3 has it: 16 digits where that is all there is, so that a caller with short ids gets its own back.
pub(super) fn trace_id(id: TraceId) -> String {
    id.short().map_or_else(|| id.to_string(), |short| format!("{short:016x}"))
}

/// The header value for our own span.
pub fn format(span: &SpanContext) -> String {
    let decision = match span {
        SpanContext { debug: true, .. } => 'd',
        span if span.flags.sampled() => '1',
        _ => '0',
    };
    format!("{}-{}-{decision}", trace_id(span.trace_id), span.span_id)
}

#[cfg(test)]
mod tests {
    use super::super::id::Flags;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const LONG: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SHORT: &str = "64fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    /// What a row expects: the trace id as B3 prints it and the decision, a lone decision, or a refusal.
    enum Want {
        Trace(&'static str, Option<Decision>),
        Lone(Decision),
        No,
    }

    #[test]
    fn vectors() {
        use Decision::{Debug, Drop, Sample};
        use Want::{Lone, No, Trace};
        let rows: &[(&str, Want, &str)] = &[
            ("L-S-1", Trace(LONG, Some(Sample)), "sampled"),
            ("L-S-0", Trace(LONG, Some(Drop)), "not sampled"),
            ("L-S-d", Trace(LONG, Some(Debug)), "debug"),
            ("L-S", Trace(LONG, None), "the decision is left to us"),
            ("L-S-1-05e3ac9a4f6e3b90", Trace(LONG, Some(Sample)), "a parent span id is accepted"),
            ("K-S-1", Trace(SHORT, Some(Sample)), "a trace id of 64 bits"),
            ("K-S", Trace(SHORT, None), "a trace id of 64 bits without a decision"),
            ("0000000000000000K-S-1", Trace(SHORT, Some(Sample)), "the same id, padded by a caller"),
            (" L-S-1\t", Trace(LONG, Some(Sample)), "OWS around the value"),
            ("0", Lone(Drop), "a lone no"),
            ("1", Lone(Sample), "a lone yes"),
            ("d", Lone(Debug), "a lone debug"),
            ("L-S-2", No, "an unknown decision"),
            ("L-S-true", No, "a word for a decision"),
            ("L-S-", No, "an empty decision"),
            ("L-S-1-", No, "an empty parent"),
            ("L-S-1-05e3", No, "a parent that is too short"),
            ("L-S-1-0000000000000000", No, "a parent of zeros"),
            ("L-S-1-05e3ac9a4f6e3b90-x", No, "something behind the parent"),
            ("L", No, "a trace id alone"),
            ("L-", No, "an empty span id"),
            ("-S-1", No, "an empty trace id"),
            ("L-S1", No, "a dash is missing"),
            ("80F198EE56343BA864FE8B2A57D3EFF7-S-1", No, "a trace id in upper case"),
            ("L-E457B5A2E4D86BD1-1", No, "a span id in upper case"),
            ("00000000000000000000000000000000-S-1", No, "a trace id of zeros"),
            ("0000000000000000-S-1", No, "a short trace id of zeros"),
            ("L-0000000000000000-1", No, "a span id of zeros"),
            ("80f198ee56343ba8-S-1-x", No, "a parent that is not hex"),
            ("80f198ee56343ba864fe8b2a-S-1", No, "96 bits"),
            ("", No, "nothing"),
            ("D", No, "upper case"),
            ("10", No, "two digits"),
        ];
        for (text, want, reason) in rows {
            let value = text.replace('L', LONG).replace('K', SHORT).replace('S', SPAN);
            let mut carrier = Carrier::default();
            carrier.see(b"b3", value.as_bytes());
            match (extract(&carrier), want) {
                (Outcome::Parent(p), Trace(id, decision)) => {
                    assert_eq!(trace_id(p.trace_id), *id, "{reason}");
                    assert_eq!(p.span_id.to_string(), SPAN, "{reason}");
                    assert_eq!(p.decision, *decision, "{reason}");
                    assert!(!p.random, "B3 says nothing of randomness");
                }
                (Outcome::DecisionOnly(d), Lone(want)) => assert_eq!(d, *want, "{reason}"),
                (Outcome::Malformed, No) => {}
                (other, _) => panic!("{reason}: {value} gave {other:?}"),
            }
        }
        assert_eq!(extract(&Carrier::default()), Outcome::Absent);
    }

    #[test]
    fn our_own_value_never_names_a_parent() {
        let span = |sampled, debug| SpanContext {
            trace_id: TraceId::from_short_hex(SHORT.as_bytes()).unwrap(),
            span_id: SpanId::from_hex(SPAN.as_bytes()).unwrap(),
            flags: Flags::new(sampled, false),
            debug,
        };
        assert_eq!(format(&span(true, false)), format!("{SHORT}-{SPAN}-1"));
        assert_eq!(format(&span(false, false)), format!("{SHORT}-{SPAN}-0"));
        assert_eq!(format(&span(true, true)), format!("{SHORT}-{SPAN}-d"));
    }
}
