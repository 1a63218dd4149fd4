//! A finished exchange → an OTLP access log record. In: what the span is made of. Out: the content of a `LogRecord`
//! with the span's ids and flags, the severity, a body that a person can read, and the span's attributes plus sizes and
//! duration. Both of its times are the exchange's end: that is when it happened and when it was seen.

use crate::attributes::{Kind, Request};
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
    let response = exchange.response;
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
    otlp::value(buf, 5, Value::Text(&body));
    otlp::renumbered(buf, 6, exchange.attributes);
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
    let mut out = String::with_capacity(64);
    for piece in &body.0 {
        let field = match piece {
            Piece::Literal(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Field(field) => field,
        };
        let before = out.len();
        match field {
            Field::Method => out.push_str(&request.method),
            Field::Path => out.push_str(request.url_path()),
            Field::Host => out.push_str(Request::host_of(&request.authority)),
            Field::Route => out.push_str(request.route.as_deref().unwrap_or_default()),
            Field::UserAgent => out.push_str(&request.user_agent),
            Field::Status => push_number(&mut out, Some(response.code.into())),
            Field::Protocol => out.push_str(response.protocol.as_deref().unwrap_or_default()),
            Field::Flags => out.push_str(&response.flag_names()),
            Field::Duration => push_number(&mut out, Some(exchange.end.saturating_sub(exchange.start) / 1_000_000)),
            Field::RequestSize => push_number(&mut out, response.request_size),
            Field::ResponseSize => push_number(&mut out, response.response_size),
            Field::TraceId => context.trace_id.push_hex(&mut out),
            Field::SpanId => context.span_id.push_hex(&mut out),
        }
        if out.len() == before {
            out.push('-');
        }
    }
    out
}

/// Appends a number in decimal. Formatters would do it too, at ten times the instructions.
fn push_number(out: &mut String, number: Option<u64>) {
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
    let digits = digits.get(digits.len().saturating_sub(used)..).unwrap_or_default();
    out.extend(digits.iter().map(|digit| char::from(*digit)));
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
            attributes: &[],
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
