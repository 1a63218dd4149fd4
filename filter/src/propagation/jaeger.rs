//! Jaeger's `uber-trace-id` ("Jaeger client libraries", "Trace/Span Identity"). In:
//! `{trace id}:{span id}:{parent span id}:{flags}`, its colons maybe escaped, its ids maybe short of leading zeros. Out:
//! the caller's span, or our own header value. The parent span id is not looked at and sent as 0. Refuses upper case,
//! ids that are too long and all-zero ids.

use super::carrier::{Carrier, Name};
use super::id::{SpanId, TraceId};
use super::{Decision, Outcome, Parent, SpanContext};

const SAMPLED: u8 = 1;
const DEBUG: u8 = 2;

/// Reads the context.
pub fn extract(carrier: &Carrier<'_>) -> Outcome {
    let Some(value) = carrier.get(Name::UberTraceId) else { return Outcome::Absent };
    parse(value).map_or(Outcome::Malformed, Outcome::Parent)
}

fn parse(value: &[u8]) -> Option<Parent> {
    let (trace_id, rest) = field(value, 32)?;
    let (span_id, rest) = field(rest, 16)?;
    let (_parent, rest) = field(rest, 16)?;
    let (flags, end) = number(rest, 2);
    if !end.is_empty() {
        return None;
    }
    let trace_id = TraceId::new(trace_id.to_be_bytes())?;
    let span_id = SpanId::new(u64::try_from(span_id).ok()?.to_be_bytes())?;
    let decision = match u8::try_from(flags?).ok()? {
        flags if flags & SAMPLED == 0 => Decision::Drop,
        flags if flags & DEBUG != 0 => Decision::Debug,
        _ => Decision::Sample,
    };
    Some(Parent { trace_id, span_id, decision: Some(decision), random: false })
}

/// A number, and what stands behind the colon after it. Old clients escaped header values as they escape URLs.
fn field(text: &[u8], len: usize) -> Option<(u128, &[u8])> {
    let (number, rest) = number(text, len);
    let rest = rest.strip_prefix(b":").or_else(|| rest.strip_prefix(b"%3A"))?;
    Some((number?, rest))
}

/// At most `len` lower-case hex digits, but one, and what stands behind them.
fn number(text: &[u8], len: usize) -> (Option<u128>, &[u8]) {
    let digit = |b: &u8| match b {
        b'0'..=b'9' => Some(b & 0xf),
        b'a'..=b'f' => Some((b & 0xf).saturating_add(9)),
        _ => None,
    };
    let end = text.iter().position(|b| digit(b).is_none()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    let number = digits.iter().filter_map(digit).fold(0u128, |number, digit| (number << 4) | u128::from(digit));
    ((1..=len).contains(&end).then_some(number), rest)
}

/// The header value for our own span.
pub fn format(span: &SpanContext) -> String {
    let flags = match span {
        SpanContext { debug: true, .. } => SAMPLED | DEBUG,
        span if span.flags.sampled() => SAMPLED,
        _ => 0,
    };
    format!("{}:{}:0:{flags}", span.trace_id, span.span_id)
}

#[cfg(test)]
mod tests {
    use super::super::id::Flags;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    #[test]
    fn vectors() {
        use Decision::{Debug, Drop, Sample};
        let padded = "000000000000000000fe8b2a57d3eff7";
        // Value, the trace id and the decision that it gives, reason.
        let rows: &[(&str, Option<(&str, Decision)>, &str)] = &[
            ("T:S:0:1", Some((TRACE, Sample)), "sampled"),
            ("T:S:0:0", Some((TRACE, Drop)), "not sampled"),
            ("T:S:0:3", Some((TRACE, Debug)), "debug"),
            ("T:S:0:2", Some((TRACE, Drop)), "debug means nothing where it is not sampled"),
            ("T:S:0:9", Some((TRACE, Sample)), "other flags are not looked at"),
            ("T:S:0:01", Some((TRACE, Sample)), "flags of two digits"),
            ("T:S:05e3ac9a4f6e3b90:1", Some((TRACE, Sample)), "a parent is not looked at"),
            ("T%3AS%3A0%3A1", Some((TRACE, Sample)), "escaped colons"),
            ("fe8b2a57d3eff7:S:0:1", Some((padded, Sample)), "leading zeros may be missing"),
            ("0:S:0:1", None, "a trace id of zero"),
            ("T:0:0:1", None, "a span id of zero"),
            ("T1:S:0:1", None, "a trace id that is too long"),
            ("T:S1:0:1", None, "a span id that is too long"),
            ("T:S:0:001", None, "flags that are too long"),
            ("T:S:0:", None, "no flags"),
            ("T:S:0", None, "three fields"),
            ("T:S:0:1:1", None, "five fields"),
            ("80F198EE56343BA864FE8B2A57D3EFF7:S:0:1", None, "upper case"),
            ("+1:S:0:1", None, "a sign"),
            (":S:0:1", None, "an empty trace id"),
            ("", None, "nothing"),
        ];
        for (text, want, reason) in rows {
            let value = text.replace('T', TRACE).replace('S', SPAN);
            let mut carrier = Carrier::default();
            carrier.see(b"uber-trace-id", value.as_bytes());
            let got = match extract(&carrier) {
                Outcome::Parent(p) => Some((p.trace_id.to_string(), p.decision.unwrap())),
                _ => None,
            };
            assert_eq!(got.as_ref().map(|(id, d)| (id.as_str(), *d)), *want, "{reason}: {value}");
        }
        assert_eq!(extract(&Carrier::default()), Outcome::Absent);
    }

    #[test]
    fn our_own_value_has_whole_ids_and_no_parent() {
        let span = SpanContext {
            trace_id: TraceId::from_short_hex(b"64fe8b2a57d3eff7").unwrap(),
            span_id: SpanId::from_hex(SPAN.as_bytes()).unwrap(),
            flags: Flags::new(true, false),
            debug: true,
        };
        assert_eq!(format(&span), format!("000000000000000064fe8b2a57d3eff7:{SPAN}:0:3"));
        assert!(format(&SpanContext { debug: false, ..span }).ends_with(":1"));
    }
}
