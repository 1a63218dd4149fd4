//! B3 in several headers (openzipkin/b3-propagation, "Multiple Headers"). In: the values of the `x-b3-*` headers. Out:
//! the caller's span or decision. Accepts `true` and `false` as decisions, which old tracers send, and a parent span
//! id, which is never emitted. Refuses one id without the other, upper case, other lengths and all-zero ids.

use super::b3::{self, parse_trace_id};
use super::carrier::{Carrier, Name};
use super::id::SpanId;
use super::{Changes, Decision, Outcome, Parent, SpanContext};

/// All of them.
pub(super) const HEADERS: &[Name] =
    &[Name::B3TraceId, Name::B3SpanId, Name::B3ParentSpanId, Name::B3Sampled, Name::B3Flags];

/// Reads the context.
pub fn extract(carrier: &Carrier<'_>) -> Outcome {
    let Some(decision) = decision(carrier) else { return Outcome::Malformed };
    let parent_span_id = carrier.get(Name::B3ParentSpanId);
    match (carrier.get(Name::B3TraceId), carrier.get(Name::B3SpanId)) {
        (Some(trace_id), Some(span_id)) => {
            let parent_is_good = parent_span_id.is_none_or(|id| SpanId::from_hex(id).is_some());
            match (parse_trace_id(trace_id), SpanId::from_hex(span_id)) {
                (Some(trace_id), Some(span_id)) if parent_is_good => {
                    Outcome::Parent(Parent { trace_id, span_id, decision, random: false })
                }
                _ => Outcome::Malformed,
            }
        }
        (None, None) if parent_span_id.is_none() => decision.map_or(Outcome::Absent, Outcome::DecisionOnly),
        _ => Outcome::Malformed,
    }
}

/// The decision, if there is one; `None` where it is malformed.
fn decision(carrier: &Carrier<'_>) -> Option<Option<Decision>> {
    let sampled = match carrier.get(Name::B3Sampled) {
        None => None,
        Some(b"1" | b"true") => Some(Decision::Sample),
        Some(b"0" | b"false") => Some(Decision::Drop),
        Some(_) => return None,
    };
    match carrier.get(Name::B3Flags) {
        Some(b"1") => Some(Some(Decision::Debug)),
        None | Some(b"0" | b"") => Some(sampled),
        Some(_) => None,
    }
}

/// Sends our own span on.
pub fn inject(span: &SpanContext, changes: &mut Changes<'_>) {
    changes.set(Name::B3TraceId, b3::trace_id(span.trace_id));
    changes.set(Name::B3SpanId, span.span_id.to_string());
    if span.debug {
        changes.set(Name::B3Flags, "1".to_owned());
        changes.remove(Name::B3Sampled);
    } else {
        changes.set(Name::B3Sampled, if span.flags.sampled() { "1" } else { "0" }.to_owned());
        changes.remove(Name::B3Flags);
    }
    // Ours has another parent than the one that came in, and B3 does not need to be told.
    changes.remove(Name::B3ParentSpanId);
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const LONG: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SHORT: &str = "64fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";
    const ZERO: &str = "0000000000000000";

    #[derive(Debug, PartialEq)]
    enum Want {
        Trace(Option<Decision>),
        Lone(Decision),
        None,
        No,
    }

    #[test]
    fn vectors() {
        use Decision::{Debug, Drop, Sample};
        use Want::{Lone, No, Trace};
        // Trace id, span id, sampled, flags, parent; "-" stands for a header that is not there.
        let rows: &[([&str; 5], Want, &str)] = &[
            ([LONG, SPAN, "1", "-", "-"], Trace(Some(Sample)), "sampled"),
            ([LONG, SPAN, "0", "-", "-"], Trace(Some(Drop)), "not sampled"),
            ([LONG, SPAN, "-", "1", "-"], Trace(Some(Debug)), "debug"),
            ([LONG, SPAN, "0", "1", "-"], Trace(Some(Debug)), "debug implies sampled"),
            ([LONG, SPAN, "1", "0", "-"], Trace(Some(Sample)), "no debug"),
            ([LONG, SPAN, "-", "-", "-"], Trace(None), "the decision is left to us"),
            ([LONG, SPAN, "true", "-", "-"], Trace(Some(Sample)), "an old tracer's yes"),
            ([LONG, SPAN, "false", "-", "-"], Trace(Some(Drop)), "an old tracer's no"),
            ([SHORT, SPAN, "1", "-", "-"], Trace(Some(Sample)), "a trace id of 64 bits"),
            ([LONG, SPAN, "1", "-", SHORT], Trace(Some(Sample)), "a parent span id is accepted"),
            (["-", "-", "0", "-", "-"], Lone(Drop), "a lone no"),
            (["-", "-", "1", "-", "-"], Lone(Sample), "a lone yes"),
            (["-", "-", "-", "1", "-"], Lone(Debug), "a lone debug"),
            (["-", "-", "-", "0", "-"], Want::None, "flags that say nothing"),
            (["-", "-", "-", "-", "-"], Want::None, "nothing"),
            ([LONG, "-", "1", "-", "-"], No, "no span id"),
            (["-", SPAN, "1", "-", "-"], No, "no trace id"),
            (["-", "-", "1", "-", SHORT], No, "a parent alone"),
            ([LONG, SPAN, "2", "-", "-"], No, "an unknown decision"),
            ([LONG, SPAN, "d", "-", "-"], No, "debug stands in the flags"),
            ([LONG, SPAN, "1", "2", "-"], No, "unknown flags"),
            ([LONG, SPAN, "1", "-", "x"], No, "a parent that is no id"),
            ([LONG, ZERO, "1", "-", "-"], No, "a span id of zeros"),
            ([ZERO, SPAN, "1", "-", "-"], No, "a trace id of zeros"),
            (["80F198EE56343BA864FE8B2A57D3EFF7", SPAN, "1", "-", "-"], No, "upper case"),
            (["", SPAN, "1", "-", "-"], No, "an empty trace id"),
        ];
        for (values, want, reason) in rows {
            let names = ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags", "x-b3-parentspanid"];
            let mut carrier = Carrier::default();
            for (name, value) in names.iter().zip(values).filter(|(_, value)| **value != "-") {
                carrier.see(name.as_bytes(), value.as_bytes());
            }
            let got = match extract(&carrier) {
                Outcome::Parent(p) => Trace(p.decision),
                Outcome::DecisionOnly(d) => Lone(d),
                Outcome::Absent => Want::None,
                Outcome::Malformed => No,
            };
            assert_eq!(got, *want, "{reason}");
        }
    }
}
