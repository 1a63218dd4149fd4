//! A finished exchange → an OTLP access log record. In: what the span is made of. Out: the content of a `LogRecord`
//! with the span's ids and flags, the severity, a body that a person can read, and the span's attributes plus sizes and
//! duration. Both of its times are the exchange's end: that is when it happened and when it was seen.

use crate::attributes::{Kind, Request};
use crate::config::body::{Body, Field, Piece};
use crate::otlp::{Buffer, Value, key};
use crate::span::Exchange;

const INFO: (u64, &str) = (9, "INFO");
const WARN: (u64, &str) = (13, "WARN");
const ERROR: (u64, &str) = (17, "ERROR");

/// Names the record's shape, as OpenTelemetry's events do.
const EVENT_NAME: &str = "otelmesh.http.access";

/// The field of a `LogRecord`'s attributes.
pub const ATTRIBUTES: u32 = 6;

/// Writes the content of a `LogRecord` message but for the attributes that it shares with its span.
pub fn write(buf: &mut Buffer, exchange: &Exchange<'_>, body: &Body) {
    let response = exchange.response;
    buf.fixed64(1, exchange.end);
    let failed = response.failure(exchange.kind).is_some();
    let (number, text) = match response.code {
        0 | 500.. => ERROR,
        400.. => WARN,
        // A gRPC failure travels under status 200.
        _ if failed => ERROR,
        _ => INFO,
    };
    buf.varint(2, number);
    buf.bytes(3, text.as_bytes());
    buf.message(5, |buf| buf.message(1, |buf| say(buf, body, exchange)));
    let size = |size: Option<u64>| size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    buf.int(ATTRIBUTES, key!("http.request.body.size"), size(response.request_size));
    buf.int(ATTRIBUTES, key!("http.response.body.size"), size(response.response_size));
    let duration = match exchange.kind {
        Kind::Server => key!("http.server.request.duration"),
        Kind::Client => key!("http.client.request.duration"),
    };
    let seconds = exchange.end.saturating_sub(exchange.start) as f64 / 1e9;
    buf.attribute(ATTRIBUTES, duration, Value::Double(seconds));
    buf.fixed32(8, u32::from(exchange.context.flags.bits()));
    buf.bytes(9, exchange.context.trace_id.bytes());
    buf.bytes(10, exchange.context.span_id.bytes());
    buf.fixed64(11, exchange.end);
    buf.bytes(12, EVENT_NAME.as_bytes());
}

/// Writes the body: what is not known is `-`, as in Envoy's own access logs.
fn say(out: &mut Buffer, body: &Body, exchange: &Exchange<'_>) {
    let Exchange { context, request, response, .. } = exchange;
    for piece in &body.0 {
        let field = match piece {
            Piece::Literal(text) => {
                out.put(text.as_bytes());
                continue;
            }
            Piece::Field(field) => field,
        };
        let before = out.len();
        match field {
            Field::Method => out.put(request.method.as_bytes()),
            Field::Path => out.put(request.url_path().as_bytes()),
            Field::Host => out.put(Request::host_of(&request.authority).as_bytes()),
            Field::Route => out.put(request.route.as_deref().unwrap_or_default().as_bytes()),
            Field::UserAgent => out.put(request.user_agent.as_bytes()),
            Field::Status => put_number(out, Some(response.code.into())),
            Field::Protocol => out.put(response.protocol.as_deref().unwrap_or_default().as_bytes()),
            Field::Flags => out.put(response.flag_names().as_bytes()),
            Field::Duration => put_number(out, Some(exchange.end.saturating_sub(exchange.start) / 1_000_000)),
            Field::RequestSize => put_number(out, response.request_size),
            Field::ResponseSize => put_number(out, response.response_size),
            Field::TraceId => out.put(&context.trace_id.hex()),
            Field::SpanId => out.put(&context.span_id.hex()),
        }
        if out.len() == before {
            out.put(b"-");
        }
    }
}

/// Writes a number in decimal. Formatters would do it too, at ten times the instructions.
fn put_number(out: &mut Buffer, number: Option<u64>) {
    let Some(mut rest) = number else { return };
    // 2^64 has twenty digits.
    let mut digits = [b'0'; 20];
    let mut used = 0usize;
    for digit in digits.iter_mut().rev() {
        *digit |= (rest % 10) as u8;
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    out.put(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Response;
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
            let mut out = Buffer::default();
            say(&mut out, &Body::parse(template).unwrap(), &exchange);
            assert_eq!(out.as_slice(), want.as_bytes(), "{template}");
        }
    }
}
