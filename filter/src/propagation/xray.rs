//! AWS X-Ray's `X-Amzn-Trace-Id` ("Tracing header"). In: `Root=1-{8 digits}-{24 digits};Parent={16 digits};Sampled={0,1}`
//! in any order, with other fields between them. Out: the caller's span, or our own header value. Leaves the decision
//! to us where it is missing or `?`. A root without a parent, as load balancers send it, names no span to hang on and is
//! passed over. Refuses other versions, upper case, other lengths and all-zero ids.

use super::carrier::{Carrier, Name};
use super::id::{SpanId, TraceId};
use super::{Decision, Outcome, Parent, SpanContext};

/// Reads the context.
pub fn extract(carrier: &Carrier<'_>) -> Outcome {
    let Some(value) = carrier.get(Name::AmznTraceId) else { return Outcome::Absent };
    match parse(value) {
        Some(Some(parent)) => Outcome::Parent(parent),
        Some(None) => Outcome::Absent,
        None => Outcome::Malformed,
    }
}

/// The caller's span, if one is named; `None` where it is malformed.
fn parse(value: &[u8]) -> Option<Option<Parent>> {
    let (mut root, mut parent, mut decision) = (None, None, None);
    for field in value.split(|b| *b == b';').map(super::tracestate::trim) {
        if let Some(id) = field.strip_prefix(b"Root=") {
            root = Some(trace_id(id)?);
        } else if let Some(id) = field.strip_prefix(b"Parent=") {
            parent = Some(SpanId::from_hex(id)?);
        } else if let Some(sampled) = field.strip_prefix(b"Sampled=") {
            decision = match sampled {
                b"1" => Some(Decision::Sample),
                b"0" => Some(Decision::Drop),
                b"?" => None,
                _ => return None,
            };
        }
    }
    let trace_id = root?;
    Some(parent.map(|span_id| Parent { trace_id, span_id, decision, random: false }))
}

/// Version 1: the time in 8 digits and the rest in 24, which together are an id as everybody else has it.
fn trace_id(root: &[u8]) -> Option<TraceId> {
    let (time, rest) = root.strip_prefix(b"1-")?.split_at_checked(8)?;
    TraceId::from_hex(&[time, rest.strip_prefix(b"-")?].concat())
}

/// The header value for our own span.
pub fn format(span: &SpanContext) -> String {
    let id = span.trace_id.to_string();
    let (time, rest) = id.split_at_checked(8).unwrap_or_default();
    format!("Root=1-{time}-{rest};Parent={};Sampled={}", span.span_id, u8::from(span.flags.sampled()))
}

#[cfg(test)]
mod tests {
    use super::super::id::Flags;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const R: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";
    const SPAN: &str = "53995c3f42cd8ad8";

    #[test]
    fn vectors() {
        use Decision::{Drop, Sample};
        let p = format!("Parent={SPAN}");
        // Value, the decision where it gives a span, reason.
        let rows: Vec<(String, Option<Option<Decision>>, &str)> = vec![
            (format!("{R};{p};Sampled=1"), Some(Some(Sample)), "sampled"),
            (format!("{R};{p};Sampled=0"), Some(Some(Drop)), "not sampled"),
            (format!("{R};{p};Sampled=?"), Some(None), "the decision is left to us"),
            (format!("{R};{p}"), Some(None), "and so it is where it is missing"),
            (format!("Sampled=1;{p};{R}"), Some(Some(Sample)), "any order"),
            (format!("Self=1-x; {R} ;Lineage=a:1;{p};"), Some(None), "other fields and white space"),
            (p.clone(), None, "no root"),
            (format!("{R};{p};Sampled=2"), None, "an unknown decision"),
            (format!("{};{p}", R.replace("=1-", "=2-")), None, "another version"),
            (format!("{};{p}", R.replace("e988-", "e9-")), None, "too short a time"),
            (format!("{R}3;{p}"), None, "too long an id"),
            (format!("{};{p}", R.to_uppercase()), None, "upper case"),
            (format!("Root=1-00000000-000000000000000000000000;{p}"), None, "a trace id of zeros"),
            (format!("{R};Parent=0000000000000000"), None, "a span id of zeros"),
            (String::new(), None, "nothing"),
        ];
        for (value, want, reason) in rows {
            let mut carrier = Carrier::default();
            carrier.see(b"x-amzn-trace-id", value.as_bytes());
            let got = match extract(&carrier) {
                Outcome::Parent(p) => {
                    assert_eq!(p.trace_id.to_string(), "5759e988bd862e3fe1be46a994272793", "{reason}");
                    assert_eq!(p.span_id.to_string(), SPAN, "{reason}");
                    Some(p.decision)
                }
                _ => None,
            };
            assert_eq!(got, want, "{reason}: {value}");
        }
        assert_eq!(extract(&Carrier::default()), Outcome::Absent);
        let mut carrier = Carrier::default();
        carrier.see(b"x-amzn-trace-id", R.as_bytes());
        assert_eq!(extract(&carrier), Outcome::Absent, "a load balancer's root names no span");
    }

    #[test]
    fn our_own_value_reads_back() {
        let span = SpanContext {
            trace_id: TraceId::from_hex(b"5759e988bd862e3fe1be46a994272793").unwrap(),
            span_id: SpanId::from_hex(SPAN.as_bytes()).unwrap(),
            flags: Flags::new(true, false),
            debug: false,
        };
        let value = format(&span);
        assert_eq!(value, format!("Root=1-5759e988-bd862e3fe1be46a994272793;Parent={SPAN};Sampled=1"));
        assert!(matches!(parse(value.as_bytes()), Some(Some(_))));
    }
}
