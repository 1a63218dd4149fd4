//! A finished exchange → an OTLP access log record. In: what the span is made of. Out: the content of a `LogRecord`
//! with the span's ids and flags, the severity, a body that a person can read, and the span's attributes plus sizes and
//! duration. Both of its times are the exchange's end: that is when it happened and when it was seen.

use std::borrow::Cow;

use crate::attributes::{self, Kind, Request};
use crate::config::body::{Body, Field, Piece};
use crate::otlp::{self, Value};
use crate::span::Exchange;

const INFO: (u64, &str) = (9, "INFO");
const WARN: (u64, &str) = (13, "WARN");
const ERROR: (u64, &str) = (17, "ERROR");

/// Names the record's shape, as OpenTelemetry's events do.
const EVENT_NAME: &str = "otelmesh.http.access";

/// Writes the content of a `LogRecord` message.
pub fn write(buf: &mut Vec<u8>, exchange: &Exchange<'_>, body: &Body) {
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
    let body = say(body, exchange);
    otlp::message(buf, 5, |buf| otlp::any_value(buf, Value::Text(&body)));
    attributes::write(buf, 6, exchange.semconv, exchange.kind, request, response);
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

/// The body: what is not known is `-`, as in Envoy's own access logs.
fn say(body: &Body, exchange: &Exchange<'_>) -> String {
    let Exchange { context, request, response, .. } = exchange;
    let number = |number: Option<u64>| number.map(|number| Cow::Owned(number.to_string()));
    let mut out = String::new();
    for piece in &body.0 {
        let field = match piece {
            Piece::Literal(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Field(field) => field,
        };
        let value = match field {
            Field::Method => Some(Cow::Borrowed(request.method.as_str())),
            Field::Path => Some(Cow::Borrowed(request.url_path())),
            Field::Host => Some(Cow::Borrowed(Request::host_of(&request.authority))),
            Field::Route => request.route.as_deref().map(Cow::Borrowed),
            Field::UserAgent => Some(Cow::Borrowed(request.user_agent.as_str())),
            Field::Status => number(Some(response.code.into())),
            Field::Protocol => response.protocol.as_deref().map(Cow::Borrowed),
            Field::Flags => Some(Cow::Owned(response.flag_names())),
            Field::Duration => number(Some(exchange.end.saturating_sub(exchange.start) / 1_000_000)),
            Field::RequestSize => number(response.request_size),
            Field::ResponseSize => number(response.response_size),
            Field::TraceId => Some(Cow::Owned(context.trace_id.to_string())),
            Field::SpanId => Some(Cow::Owned(context.span_id.to_string())),
        };
        out.push_str(value.as_deref().filter(|value| !value.is_empty()).unwrap_or("-"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Response;
    use crate::config::Semconv;
    use crate::propagation::{Flags, SpanContext, SpanId, TraceId};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_body_says_what_it_is_asked_to_and_a_dash_for_what_is_not_known() {
        let context = SpanContext {
            trace_id: TraceId::new([1; 16]).unwrap(),
            span_id: SpanId::new([2; 8]).unwrap(),
            flags: Flags::new(true, true),
            debug: false,
        };
        let request = Request {
            method: "GET".into(),
            path: "/a?secret".into(),
            authority: "shop:80".into(),
            ..Request::default()
        };
        let response = Response { code: 503, flags: 1 << 5, request_size: Some(7), ..Response::default() };
        let exchange = Exchange {
            context: &context,
            parent: None,
            link: None,
            kept: None,
            semconv: Semconv::Stable,
            tracestate: "",
            kind: Kind::Server,
            start: 1_000_000,
            end: 9_999_999,
            request: &request,
            response: &response,
        };
        let rows = [
            (crate::config::DEFAULT_BODY, "GET /a 503"),
            ("{host} {route} {userAgent} {protocol} {flags}", "shop - - - UF"),
            ("{duration}ms {requestSize}B {responseSize}B", "8ms 7B -B"),
            ("{traceId}/{spanId}", "01010101010101010101010101010101/0202020202020202"),
            ("constant", "constant"),
        ];
        for (template, want) in rows {
            assert_eq!(say(&Body::parse(template).unwrap(), &exchange), want, "{template}");
        }
    }
}
