//! W3C Trace Context level 2. In: the values of `traceparent`. Out: the caller's span, or our own header value.
//! Refuses two headers, upper case, all-zero ids, version ff, and a version 00 that is not exactly 55 characters long.

use super::carrier::{Carrier, Name};
use super::id::{Flags, SpanId, TraceId};
use super::{Changes, Decision, Found, Outcome, Parent, SpanContext};

/// Reads the context; of a later version only the part that version 00 has.
pub fn extract(carrier: &Carrier<'_>) -> Outcome {
    match carrier.get(Name::Traceparent) {
        None => Outcome::Absent,
        Some(_) if carrier.is_repeated(Name::Traceparent) => Outcome::Malformed,
        Some(value) => parse(value).map_or(Outcome::Malformed, Outcome::Parent),
    }
}

fn parse(value: &[u8]) -> Option<Parent> {
    let (version, rest) = field(value, 2)?;
    let (trace_id, rest) = field(rest, 32)?;
    let (span_id, rest) = field(rest, 16)?;
    // A later version may go on behind the flags, after another dash.
    let (flags, more) = rest.split_at_checked(2)?;
    let version_is = |text: &[u8]| version == text;
    let hex = |text: &[u8]| text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hex(version) || version_is(b"ff") || (version_is(b"00") && !more.is_empty()) {
        return None;
    }
    if !more.is_empty() && !more.starts_with(b"-") {
        return None;
    }
    let flags = Flags::from_hex(flags)?;
    Some(Parent {
        trace_id: TraceId::from_hex(trace_id)?,
        span_id: SpanId::from_hex(span_id)?,
        decision: Some(if flags.sampled() { Decision::Sample } else { Decision::Drop }),
        random: flags.random(),
    })
}

/// Takes `len` characters and the dash behind them.
fn field(text: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (head, rest) = text.split_at_checked(len)?;
    Some((head, rest.strip_prefix(b"-")?))
}

/// The header value for our own span, in version 00.
pub fn format(span: &SpanContext) -> String {
    let mut value = String::with_capacity(55);
    value.push_str("00-");
    span.trace_id.push_hex(&mut value);
    value.push('-');
    span.span_id.push_hex(&mut value);
    value.push('-');
    span.flags.push_hex(&mut value);
    value
}

/// Sends our own span on, and the tracestate with it; never an empty one, nor one that belongs to another trace.
pub fn inject(span: &SpanContext, found: &Found, changes: &mut Changes<'_>) {
    changes.set(Name::Traceparent, format(span));
    if found.tracestate.is_empty() {
        changes.remove(Name::Tracestate);
    } else {
        changes.set(Name::Tracestate, found.tracestate.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn once(value: &str) -> Carrier<'_> {
        let mut carrier = Carrier::default();
        carrier.see(b"traceparent", value.as_bytes());
        carrier
    }

    #[test]
    fn vectors() {
        let rows: &[(&str, Option<u8>, &str)] = &[
            ("00-T-S-00", Some(0), "not sampled"),
            ("00-T-S-01", Some(1), "sampled"),
            ("00-T-S-02", Some(2), "random"),
            ("00-T-S-03", Some(3), "sampled and random"),
            ("00-T-S-ff", Some(3), "bits without a meaning are dropped"),
            ("00-T-S-08", Some(0), "a lone unknown bit is dropped"),
            (" \t00-T-S-01\t ", Some(1), "OWS around the value"),
            ("01-T-S-01", Some(1), "a later version of the same length"),
            ("cc-T-S-01-what-the-future-brings", Some(1), "a later version with more behind a dash"),
            ("cc-T-S-01-", Some(1), "a later version with a dash and nothing behind it"),
            ("fe-T-S-03", Some(3), "the last version"),
            ("ff-T-S-01", None, "version ff is forbidden"),
            ("00-T-S-01-more", None, "version 00 has nothing behind the flags"),
            ("00-T-S-01-", None, "nor a dash"),
            ("cc-T-S-01.more", None, "what follows must be behind a dash"),
            ("cc-T-S-012", None, "flags are two digits in every version"),
            ("0x-T-S-01", None, "a version is hex"),
            ("0-T-S-01", None, "of two digits"),
            ("000-T-S-01", None, "not three"),
            ("00-T-S-1", None, "flags of one digit"),
            ("00-T-S-.0", None, "flags that are not hex"),
            ("00-T-S-0A", None, "flags in upper case"),
            ("0A-T-S-01", None, "a version in upper case"),
            ("00-0AF7651916CD43DD8448EB211C80319C-S-01", None, "a trace id in upper case"),
            ("00-T-B7AD6B7169203331-01", None, "a span id in upper case"),
            ("00-00000000000000000000000000000000-S-01", None, "a trace id of zeros"),
            ("00-T-0000000000000000-01", None, "a span id of zeros"),
            ("00-0af7651916cd43dd8448eb211c80319-S-01", None, "a trace id that is too short"),
            ("00-0af7651916cd43dd8448eb211c80319cc-S-01", None, "a trace id that is too long"),
            ("00-T-b7ad6b716920333-01", None, "a span id that is too short"),
            ("00-T-b7ad6b71692033311-01", None, "a span id that is too long"),
            ("00_T_S_01", None, "fields are separated by dashes"),
            ("00-T-S", None, "no flags"),
            ("00-T", None, "no span id"),
            ("", None, "nothing"),
            ("-", None, "a dash"),
            ("00-T-S-01,00-T-S-01", None, "two values joined by a proxy on the way"),
        ];
        for (text, want, reason) in rows {
            let value = text.replace('T', TRACE).replace('S', SPAN);
            let flags = match extract(&once(&value)) {
                Outcome::Parent(parent) => {
                    assert_eq!(parent.trace_id.to_string(), TRACE, "{reason}");
                    assert_eq!(parent.span_id.to_string(), SPAN, "{reason}");
                    Some(Flags::new(parent.decision == Some(Decision::Sample), parent.random).bits())
                }
                Outcome::Malformed => None,
                other => panic!("{reason}: {other:?}"),
            };
            assert_eq!(flags, *want, "{reason}: {value}");
        }
    }

    #[test]
    fn two_headers_are_no_context_even_when_they_agree() {
        let value = format!("00-{TRACE}-{SPAN}-01");
        let mut carrier = once(&value);
        carrier.see(b"traceparent", value.as_bytes());
        assert_eq!(extract(&carrier), Outcome::Malformed);
        assert_eq!(extract(&Carrier::default()), Outcome::Absent);
    }

    #[test]
    fn our_own_value_reads_back() {
        let span = SpanContext {
            trace_id: TraceId::from_hex(TRACE.as_bytes()).unwrap(),
            span_id: SpanId::from_hex(SPAN.as_bytes()).unwrap(),
            flags: Flags::new(true, true),
            debug: false,
        };
        let value = format(&span);
        assert_eq!(value, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03");
        assert!(matches!(extract(&once(&value)), Outcome::Parent(p) if p.random));
    }
}
