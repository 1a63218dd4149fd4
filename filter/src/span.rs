//! A finished exchange → an OTLP span. In: the span context, its parent, the times and what the attributes are made of.
//! Out: the content of a `Span` message.

use crate::attributes::{Kind, Request, Response};
use crate::otlp;
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
    /// The attributes that span and log share, as [`crate::attributes::encode`] encodes them.
    pub attributes: &'a [u8],
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

/// Writes the content of a `Span` message.
pub fn write(buf: &mut Vec<u8>, exchange: &Exchange<'_>) {
    otlp::bytes(buf, 1, exchange.context.trace_id.bytes());
    otlp::bytes(buf, 2, exchange.context.span_id.bytes());
    if !exchange.tracestate.is_empty() {
        otlp::bytes(buf, 3, exchange.tracestate.as_bytes());
    }
    if let Some(parent) = exchange.parent {
        otlp::bytes(buf, 4, parent.span_id.bytes());
    }
    otlp::bytes(buf, 5, exchange.request.span_name(exchange.response).as_bytes());
    otlp::varint(
        buf,
        6,
        match exchange.kind {
            Kind::Server => 2,
            Kind::Client => 3,
        },
    );
    otlp::fixed64(buf, 7, exchange.start);
    otlp::fixed64(buf, 8, exchange.end);
    otlp::renumbered(buf, 9, exchange.attributes);
    let timings = [
        ("envoy.upstream.latency", exchange.response.backend_latency),
        ("envoy.upstream.cx_pool_ready_duration", exchange.response.pool_ready),
    ];
    for (key, nanos) in timings {
        if let Some(nanos) = nanos {
            otlp::attribute(buf, 9, key, otlp::Value::Double(nanos as f64 / 1e9));
        }
    }
    if let Some(reason) = exchange.kept {
        otlp::attribute(buf, 9, "otelmesh.kept", otlp::Value::Text(reason));
    }
    if let Some(link) = exchange.link {
        otlp::message(buf, 13, |buf| {
            otlp::bytes(buf, 1, link.trace_id.bytes());
            otlp::bytes(buf, 2, link.span_id.bytes());
            otlp::fixed32(buf, 6, HAS_IS_REMOTE | IS_REMOTE);
        });
    }
    // The conventions ask for no message where the status code says it all.
    if exchange.response.failure(exchange.kind).is_some() {
        otlp::message(buf, 15, |buf| otlp::varint(buf, 3, STATUS_ERROR));
    }
    let remote = if exchange.parent.is_some() { HAS_IS_REMOTE | IS_REMOTE } else { HAS_IS_REMOTE };
    otlp::fixed32(buf, 16, u32::from(exchange.context.flags.bits()) | remote);
}
