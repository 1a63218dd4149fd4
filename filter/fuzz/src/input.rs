//! Bytes as decisions. In: whatever a fuzzer or a test made up. Out: numbers, texts and header maps; when nothing is left,
//! zero and nothing.

use otelmesh_filter::host::Headers;

/// Names that the filter looks at; others are made up.
const NAMES: [&str; 28] = [
    ":method",
    ":path",
    ":authority",
    ":scheme",
    ":status",
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-amzn-trace-id",
    "ot-tracer-traceid",
    "ot-tracer-spanid",
    "ot-tracer-sampled",
    "user-agent",
    "x",
    "y",
    "content-type",
    "retry-after",
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "x-request-id",
    "host",
];
/// Values from which a fuzzer gets far with few changes.
const VALUES: [&str; 12] = [
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-05e3ac9a4f6e3b90",
    "a=1,ot=th:8;rv:00000000000001,b=2",
    "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1",
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
    "CAgSBGJ1c3kaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw==",
    "Sun, 06 Nov 1994 08:49:47 GMT",
    "/a/17?sig=x&b=c",
    "429",
    "200",
    "8",
    "k=v;p=q,k2=%20",
];

/// What is left to decide with.
#[derive(Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

// === impl Input ===

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Bytes with their length before them.
    pub(crate) fn text(&mut self) -> Vec<u8> {
        let len = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text.to_vec()
    }

    /// A header map: well-formed with any values, or bytes that may be none.
    pub(crate) fn headers(&mut self) -> Headers {
        let count = self.byte();
        if count > 0xf0 {
            return Headers::from_wire(self.text());
        }
        let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..count % 8).map(|_| (self.name(), self.value())).collect();
        let mut wire = (pairs.len() as u32).to_le_bytes().to_vec();
        for (name, value) in &pairs {
            wire.extend((name.len() as u32).to_le_bytes());
            wire.extend((value.len() as u32).to_le_bytes());
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            wire.extend(text.iter().chain(b"\0"));
        }
        Headers::from_wire(wire)
    }

    fn name(&mut self) -> Vec<u8> {
        let at = usize::from(self.byte());
        NAMES.get(at).map_or_else(|| self.text(), |name| name.as_bytes().to_vec())
    }

    fn value(&mut self) -> Vec<u8> {
        let at = usize::from(self.byte());
        let Some(value) = VALUES.get(at) else { return self.text() };
        let mut value = value.as_bytes().to_vec();
        // Up to three bytes of it differ.
        for _ in 0..self.byte() % 4 {
            let (place, byte) = (usize::from(self.byte()), self.byte());
            let len = value.len();
            value[place % len] = byte;
        }
        value
    }
}
