//! The headers of OpenTracing's basic tracer, `ot-tracer-*` (OpenTelemetry's OT Trace propagator). In: a trace id of 16
//! or 32 digits, a span id of 16, and `true` or `false`. Out: the caller's span, or our own headers, whose trace id is
//! cut to its last 16 digits, as that tracer knows no others. Refuses one id without the other, upper case, other
//! lengths and all-zero ids.

use super::b3::parse_trace_id;
use super::carrier::{Carrier, Name};
use super::id::SpanId;
use super::{Changes, Decision, Outcome, Parent, SpanContext};

/// All of them.
pub(super) const HEADERS: &[Name] = &[Name::OtTraceId, Name::OtSpanId, Name::OtSampled];

/// Reads the context.
pub fn extract(carrier: &Carrier<'_>) -> Outcome {
    let decision = match carrier.get(Name::OtSampled) {
        None => None,
        Some(b"true" | b"1") => Some(Decision::Sample),
        Some(b"false" | b"0") => Some(Decision::Drop),
        Some(_) => return Outcome::Malformed,
    };
    match (carrier.get(Name::OtTraceId), carrier.get(Name::OtSpanId)) {
        (Some(trace_id), Some(span_id)) => match (parse_trace_id(trace_id), SpanId::from_hex(span_id)) {
            (Some(trace_id), Some(span_id)) => Outcome::Parent(Parent { trace_id, span_id, decision, random: false }),
            _ => Outcome::Malformed,
        },
        (None, None) if decision.is_none() => Outcome::Absent,
        _ => Outcome::Malformed,
    }
}

/// Sends our own span on.
pub fn inject(span: &SpanContext, changes: &mut Changes<'_>) {
    let id = span.trace_id.to_string();
    let (_, low) = id.split_at_checked(16).unwrap_or_default();
    changes.set(Name::OtTraceId, low.to_owned());
    changes.set(Name::OtSpanId, span.span_id.to_string());
    changes.set(Name::OtSampled, span.flags.sampled().to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const LONG: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SHORT: &str = "64fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    #[test]
    fn vectors() {
        use Decision::{Drop, Sample};
        // Trace id, span id, sampled ("-" is not there), the decision where it gives a span, reason.
        let rows: &[([&str; 3], Option<Option<Decision>>, &str)] = &[
            ([SHORT, SPAN, "true"], Some(Some(Sample)), "sampled"),
            ([SHORT, SPAN, "false"], Some(Some(Drop)), "not sampled"),
            ([LONG, SPAN, "1"], Some(Some(Sample)), "a long trace id, and a digit for a word"),
            ([SHORT, SPAN, "-"], Some(None), "the decision is left to us"),
            ([SHORT, "-", "true"], None, "no span id"),
            (["-", SPAN, "true"], None, "no trace id"),
            ([SHORT, SPAN, "yes"], None, "an unknown decision"),
            (["0000000000000000", SPAN, "true"], None, "a trace id of zeros"),
            (["64FE8B2A57D3EFF7", SPAN, "true"], None, "upper case"),
            (["-", "-", "true"], None, "a decision alone, which this format does not have"),
        ];
        for (values, want, reason) in rows {
            let mut carrier = Carrier::default();
            for (name, value) in HEADERS.iter().zip(values).filter(|(_, value)| **value != "-") {
                carrier.see(name.as_str().as_bytes(), value.as_bytes());
            }
            match (extract(&carrier), want) {
                (Outcome::Parent(p), Some(decision)) => assert_eq!(p.decision, *decision, "{reason}"),
                (Outcome::Malformed, None) => {}
                (other, _) => panic!("{reason}: {other:?}"),
            }
        }
        assert_eq!(extract(&Carrier::default()), Outcome::Absent);
    }
}
