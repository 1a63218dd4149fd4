//! A finished exchange → an OTLP access log record. In: what the span is made of. Out: the content of a `LogRecord`
//! with the span's ids and flags, the severity, a body that a person can read, and the span's attributes plus sizes and
//! duration. Both of its times are the exchange's end: that is when it happened and when it was seen.

use crate::attributes::{self, Kind};
use crate::otlp::{self, Value};
use crate::span::Exchange;

const INFO: (u64, &str) = (9, "INFO");
const WARN: (u64, &str) = (13, "WARN");
const ERROR: (u64, &str) = (17, "ERROR");

/// Names the record's shape, as OpenTelemetry's events do.
const EVENT_NAME: &str = "otelmesh.http.access";

/// Writes the content of a `LogRecord` message.
pub fn write(buf: &mut Vec<u8>, exchange: &Exchange<'_>) {
    let Exchange { request, response, .. } = exchange;
    otlp::fixed64(buf, 1, exchange.end);
    let failed = response.failure(exchange.kind).is_some();
    let (number, text) = match response.code {
        0 | 500.. => ERROR,
        400.. => WARN,
        // A gRPC failure travels under status 200.
        _ if failed => ERROR,
        _ => INFO,
    };
    otlp::varint(buf, 2, number);
    otlp::bytes(buf, 3, text.as_bytes());
    let body = format!("{} {} {}", request.method, request.url_path(), response.code);
    otlp::message(buf, 5, |buf| otlp::any_value(buf, Value::Text(&body)));
    attributes::write(buf, 6, exchange.kind, request, response);
    let sizes =
        [("http.request.body.size", response.request_size), ("http.response.body.size", response.response_size)];
    for (key, size) in sizes {
        if let Some(size) = size {
            otlp::attribute(buf, 6, key, Value::Int(i64::try_from(size).unwrap_or(i64::MAX)));
        }
    }
    let duration = match exchange.kind {
        Kind::Server => "http.server.request.duration",
        Kind::Client => "http.client.request.duration",
    };
    let seconds = exchange.end.saturating_sub(exchange.start) as f64 / 1e9;
    otlp::attribute(buf, 6, duration, Value::Double(seconds));
    otlp::fixed32(buf, 8, u32::from(exchange.context.flags.bits()));
    otlp::bytes(buf, 9, exchange.context.trace_id.bytes());
    otlp::bytes(buf, 10, exchange.context.span_id.bytes());
    otlp::fixed64(buf, 11, exchange.end);
    otlp::bytes(buf, 12, EVENT_NAME.as_bytes());
}
