//! The trace headers of one request. In: its header map, seen once. Out: the values that the formats read, and which
//! headers came, so that a later change touches no others. Keeps the first value of a repeated header, but for
//! tracestate, whose lines are one list, and traceparent, of which two are none.

use super::tracestate::Lines;
#[cfg(test)]
use crate::host::Headers;

/// A header that some format reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// W3C Trace Context, "Traceparent Header".
    Traceparent,
    /// W3C Trace Context, "Tracestate Header".
    Tracestate,
    /// W3C Baggage.
    Baggage,
    /// B3 in one header.
    B3,
    /// B3: 32 or 16 hex digits.
    B3TraceId,
    /// B3: 16 hex digits.
    B3SpanId,
    /// B3: 16 hex digits.
    B3ParentSpanId,
    /// B3: `0` or `1`.
    B3Sampled,
    /// B3: `1` means debug, which implies sampled.
    B3Flags,
    /// Jaeger's only one.
    UberTraceId,
    /// AWS X-Ray's only one.
    AmznTraceId,
    /// OpenTracing's basic tracer: 16 or 32 hex digits.
    OtTraceId,
    /// OpenTracing's basic tracer: 16 hex digits.
    OtSpanId,
    /// OpenTracing's basic tracer: `true` or `false`.
    OtSampled,
}

/// Every header, in the order of [`Name`].
const NAMES: [&str; 14] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-amzn-trace-id",
    "ot-tracer-traceid",
    "ot-tracer-spanid",
    "ot-tracer-sampled",
];

/// A set of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names(u16);

/// The headers' values.
#[derive(Debug, Default)]
pub struct Carrier<'a> {
    first: [Option<&'a [u8]>; NAMES.len()],
    /// All lines of the tracestate.
    pub tracestate: Lines<'a>,
    came: Names,
    repeated: Names,
}

// === impl Name ===

impl Name {
    /// The header's name on the wire.
    pub fn as_str(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or("")
    }
}

// === impl Names ===

impl Names {
    /// Whether a header is among them.
    pub fn has(self, name: Name) -> bool {
        self.0 & Self::bit(name as usize) != 0
    }

    /// Whether one of several is among them.
    pub fn has_any(self, names: &[Name]) -> bool {
        names.iter().any(|name| self.has(*name))
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn add(&mut self, index: usize) {
        self.0 |= Self::bit(index);
    }

    fn bit(index: usize) -> u16 {
        1u16.checked_shl(index as u32).unwrap_or(0)
    }
}

// === impl Carrier ===

impl<'a> Carrier<'a> {
    /// Sees every header of a map.
    #[cfg(test)]
    pub(crate) fn of(headers: &'a Headers) -> Self {
        let mut carrier = Self::default();
        headers.iter().for_each(|(name, value)| carrier.see(name, value));
        carrier
    }

    /// Takes note of one header.
    pub fn see(&mut self, name: &[u8], value: &'a [u8]) {
        // A letter or two tell nearly all others.
        if !matches!(name, [b'b' | b'o' | b't' | b'u', ..] | [b'x', b'-', b'a' | b'b', ..]) {
            return;
        }
        let Some(index) = NAMES.iter().position(|known| known.as_bytes() == name) else { return };
        if self.came.0 & Names::bit(index) != 0 {
            self.repeated.add(index);
        }
        self.came.add(index);
        if index == Name::Tracestate as usize {
            self.tracestate.push(value);
        }
        if let Some(first) = self.first.get_mut(index) {
            first.get_or_insert(value);
        }
    }

    /// The first value of a header, without the white space around it.
    pub fn get(&self, name: Name) -> Option<&'a [u8]> {
        self.first.get(name as usize).copied().flatten().map(super::tracestate::trim)
    }

    /// Whether a header came more than once.
    pub fn is_repeated(&self, name: Name) -> bool {
        self.repeated.has(name)
    }

    /// Whether a header came once, with exactly this value.
    pub fn is_exactly(&self, name: Name, value: &str) -> bool {
        let first = self.first.get(name as usize).copied().flatten();
        !self.is_repeated(name) && first == Some(value.as_bytes())
    }

    /// All headers that came.
    pub fn came(&self) -> Names {
        self.came
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_first_value_counts_and_repetition_is_noted() {
        let headers =
            Headers::from_wire(Headers::to_wire(&[("b3", " 1\t"), ("b3", "0"), ("accept", "x"), ("baggage", "a=1")]));
        let carrier = Carrier::of(&headers);
        assert_eq!(carrier.get(Name::B3), Some(&b"1"[..]));
        assert!(carrier.is_repeated(Name::B3) && !carrier.is_repeated(Name::Baggage));
        assert!(carrier.came().has(Name::Baggage) && !carrier.came().has(Name::Traceparent));
        assert_eq!(carrier.get(Name::Traceparent), None);
        assert!(carrier.is_exactly(Name::Baggage, "a=1") && !carrier.is_exactly(Name::Baggage, "a=2"));
        assert!(!carrier.is_exactly(Name::B3, " 1\t"), "it came twice");
    }

    #[test]
    fn names_stand_in_the_order_of_their_enum() {
        assert_eq!(Name::Traceparent.as_str(), "traceparent");
        assert_eq!(Name::B3Flags.as_str(), "x-b3-flags");
        assert_eq!(Name::OtSampled.as_str(), "ot-tracer-sampled");
    }
}
