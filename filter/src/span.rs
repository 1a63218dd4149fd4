//! A finished exchange → an OTLP span. In: the span context, its parent, the times and what the attributes are made of.
//! Out: the content of a `Span` message.

use crate::attributes::{Kind, Request, Response};
use crate::otlp::{Buffer, Value, key};
use crate::propagation::{Parent, SpanContext};

/// Everything that a span or a log is made of.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// Our span.
    pub context: &'a SpanContext,
    /// The caller's.
    pub parent: Option<&'a Parent>,
    /// A caller's span that is not trusted to be the parent.
    pub link: Option<&'a Parent>,
    /// Why the span is exported although its trace is not recorded.
    pub kept: Option<&'static str>,
    /// The tracestate that was carried on.
    pub tracestate: &'a str,
    /// Which side we stand on.
    pub kind: Kind,
    /// Unix time in nanoseconds when the request's headers came.
    pub start: u64,
    /// Unix time in nanoseconds when all was over.
    pub end: u64,
    /// The request.
    pub request: &'a Request,
    /// The response.
    pub response: &'a Response,
}

/// `SpanFlags` of the protocol: the parent's whereabouts are known, and it is remote.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
const STATUS_ERROR: u64 = 2;

/// The field of a `Span`'s attributes.
pub const ATTRIBUTES: u32 = 9;

/// Writes the content of a `Span` message but for the attributes that it shares with its log.
pub fn write(buf: &mut Buffer, exchange: &Exchange<'_>) {
    buf.bytes(1, exchange.context.trace_id.bytes());
    buf.bytes(2, exchange.context.span_id.bytes());
    if !exchange.tracestate.is_empty() {
        buf.bytes(3, exchange.tracestate.as_bytes());
    }
    if let Some(parent) = exchange.parent {
        buf.bytes(4, parent.span_id.bytes());
    }
    buf.bytes(5, exchange.request.span_name(exchange.response).as_bytes());
    let kind = match exchange.kind {
        Kind::Server => 2,
        Kind::Client => 3,
    };
    buf.varint(6, kind);
    buf.fixed64(7, exchange.start);
    buf.fixed64(8, exchange.end);
    let timings = [
        (key!("envoy.upstream.latency"), exchange.response.backend_latency),
        (key!("envoy.upstream.cx_pool_ready_duration"), exchange.response.pool_ready),
    ];
    for (key, nanos) in timings {
        if let Some(nanos) = nanos {
            buf.attribute(ATTRIBUTES, key, Value::Double(nanos as f64 / 1e9));
        }
    }
    if let Some(reason) = exchange.kept {
        buf.text(ATTRIBUTES, key!("otelmesh.kept"), reason);
    }
    if let Some(link) = exchange.link {
        buf.message(13, |buf| {
            buf.bytes(1, link.trace_id.bytes());
            buf.bytes(2, link.span_id.bytes());
            buf.fixed32(6, HAS_IS_REMOTE | IS_REMOTE);
        });
    }
    // The conventions ask for no message where the status code says it all.
    if exchange.response.failure(exchange.kind).is_some() {
        buf.message(15, |buf| buf.varint(3, STATUS_ERROR));
    }
    let remote = if exchange.parent.is_some() { HAS_IS_REMOTE | IS_REMOTE } else { HAS_IS_REMOTE };
    buf.fixed32(16, u32::from(exchange.context.flags.bits()) | remote);
}
