//! Our bytes against the protocol's own types.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;

use super::*;
use crate::attributes::{self, Fields, Kind, Request, Response};
use crate::propagation::{Decision, Flags, Parent, SpanContext, SpanId, TraceId};
use crate::span::Exchange;
use crate::{log, span};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn context() -> SpanContext {
    SpanContext {
        trace_id: TraceId::from_hex(b"0af7651916cd43dd8448eb211c80319c").unwrap(),
        span_id: SpanId::from_hex(b"00f067aa0ba902b7").unwrap(),
        flags: Flags::new(true, true),
        debug: false,
    }
}

fn parent() -> Parent {
    Parent {
        trace_id: context().trace_id,
        span_id: SpanId::from_hex(b"b7ad6b7169203331").unwrap(),
        decision: Some(Decision::Sample),
        random: true,
    }
}

fn resource() -> Vec<u8> {
    let mut resource = Buffer::default();
    resource.text(1, key!("service.name"), "shop");
    resource.into_vec()
}

fn body() -> crate::config::body::Body {
    crate::config::body::Body::parse(crate::config::DEFAULT_BODY).unwrap()
}

/// A span and its log of one exchange, as they are encoded: one after the other, with the attributes that they share.
fn encode(exchange: &Exchange<'_>) -> [Vec<u8>; 2] {
    let Exchange { kind, request, response, .. } = *exchange;
    let mut buf = Buffer::default();
    attributes::write(&mut buf, span::ATTRIBUTES, crate::config::Semconv::Stable, kind, request, response);
    let shared = buf.len();
    span::write(&mut buf, exchange);
    let span = buf.as_slice().to_vec();
    buf.truncate(shared);
    buf.renumber(log::ATTRIBUTES);
    log::write(&mut buf, exchange, &body());
    [span, buf.into_vec()]
}

/// Encodes one exchange as a trace export and a log export, and decodes both.
fn round_trip(exchange: &Exchange<'_>) -> (ExportTraceServiceRequest, ExportLogsServiceRequest) {
    let [spans, logs] = encode(exchange).map(|record| {
        let mut records = Vec::new();
        append_record(&mut records, &record);
        assert_eq!(records.len(), record_len(record.len()));
        export_request(&resource(), &records)
    });
    (ExportTraceServiceRequest::decode(&spans[..]).unwrap(), ExportLogsServiceRequest::decode(&logs[..]).unwrap())
}

#[test]
fn a_span_and_its_log_decode_field_by_field() {
    let (context, parent) = (context(), parent());
    let request = Request { method: "GET".into(), path: "/a?b=c".into(), ..Request::default() };
    let response = Response { code: 503, response_size: Some(7), ..Response::default() };
    let (traces, logs) = round_trip(&Exchange {
        context: &context,
        parent: Some(&parent),
        link: None,
        kept: None,
        tracestate: "a=1",
        kind: Kind::Client,
        start: 1_000_000_000,
        end: 3_500_000_000,
        request: &request,
        response: &response,
    });

    let of_traces = &traces.resource_spans[0];
    let of_logs = &logs.resource_logs[0];
    assert_eq!(of_traces.resource, of_logs.resource, "one resource for both signals");
    assert_eq!(of_traces.resource.as_ref().unwrap().attributes[0].key, "service.name");
    assert_eq!(of_traces.schema_url, SCHEMA_URL);
    let scope = of_traces.scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("otelmesh", env!("CARGO_PKG_VERSION")));
    assert_eq!(of_traces.scope_spans[0].schema_url, SCHEMA_URL);

    let span = &of_traces.scope_spans[0].spans[0];
    assert_eq!(span.trace_id, context.trace_id.bytes());
    assert_eq!(span.span_id, context.span_id.bytes());
    assert_eq!(span.parent_span_id, parent.span_id.bytes());
    assert_eq!(span.trace_state, "a=1");
    assert_eq!(span.name, "GET");
    assert_eq!(span.kind, 3, "CLIENT");
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_000_000_000, 3_500_000_000));
    assert_eq!(span.status.as_ref().map(|s| (s.code, s.message.as_str())), Some((2, "")));
    assert_eq!(span.flags, 0x303, "sampled, random, parent known to be remote");

    let log = &of_logs.scope_logs[0].log_records[0];
    assert_eq!((&log.trace_id, &log.span_id), (&span.trace_id, &span.span_id));
    assert_eq!(log.flags, 3);
    assert_eq!((log.severity_number, log.severity_text.as_str()), (17, "ERROR"));
    assert_eq!((log.time_unix_nano, log.observed_time_unix_nano), (3_500_000_000, 3_500_000_000));
    assert_eq!(log.event_name, "otelmesh.http.access");
    assert_eq!(log.body.as_ref().unwrap().value, Some(Any::StringValue("GET /a 503".into())));
    let of_log = |key: &str| log.attributes.iter().find(|kv| kv.key == key).unwrap().value.clone().unwrap().value;
    assert_eq!(of_log("http.response.body.size"), Some(Any::IntValue(7)));
    assert_eq!(of_log("http.client.request.duration"), Some(Any::DoubleValue(2.5)));
    assert_eq!(log.attributes[..span.attributes.len()], span.attributes[..], "a log has its span's attributes");
}

#[test]
fn a_root_span_has_no_parent_and_a_good_one_no_status() {
    let context = context();
    let request = Request { method: "GET".into(), ..Request::default() };
    let response = Response { code: 200, ..Response::default() };
    let (traces, _) = round_trip(&Exchange {
        context: &context,
        parent: None,
        link: None,
        kept: None,
        tracestate: "",
        kind: Kind::Server,
        start: 1,
        end: 2,
        request: &request,
        response: &response,
    });
    let span = &traces.resource_spans[0].scope_spans[0].spans[0];
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.kind, 2, "SERVER");
    assert_eq!(span.status, None);
    assert_eq!(span.flags, 0x103);
}

#[test]
fn severity_follows_the_outcome() {
    let context = context();
    let rows = [(200, None, 9), (302, None, 9), (404, None, 13), (500, None, 17), (0, None, 17), (200, Some(14), 17)];
    for (code, grpc_status, severity) in rows {
        let response = Response { code, grpc_status, ..Response::default() };
        let (_, logs) = round_trip(&Exchange {
            context: &context,
            parent: None,
            link: None,
            kept: None,
            tracestate: "",
            kind: Kind::Server,
            start: 1,
            end: 2,
            request: &Request::default(),
            response: &response,
        });
        assert_eq!(logs.resource_logs[0].scope_logs[0].log_records[0].severity_number, severity, "{code}");
    }
}

#[test]
fn no_records_still_make_a_valid_request() {
    let request = ExportTraceServiceRequest::decode(&export_request(&[], &[])[..]).unwrap();
    assert!(request.resource_spans[0].scope_spans[0].spans.is_empty());
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    /// Whatever the headers were, every receiver can decode what we send.
    #[test]
    fn any_exchange_decodes(
        headers in proptest::collection::vec((0usize..8, proptest::collection::vec(0u8.., 0..3000)), 0..12),
        code in 0u16..,
        flags in 0u64..,
        grpc in proptest::option::of(0u32..),
        times in (1u64.., 1u64..),
        peer in proptest::option::of(".{0,40}"),
        client in proptest::bool::ANY,
        records in 1usize..5,
    ) {
        let names = [":method", ":path", ":authority", ":scheme", "user-agent", "content-type", "b3", "x"];
        let mut fields = Fields::default();
        for (name, value) in &headers {
            fields.see(names[*name].as_bytes(), value);
        }
        let request = Request::new(&fields);
        let response = Response {
            code,
            flags,
            grpc_status: grpc,
            details: peer.clone(),
            protocol: peer.clone(),
            attempts: Some(times.0),
            principal: peer.clone(),
            peer,
            backend_latency: Some(times.1),
            pool_ready: None,
            request_size: Some(times.0),
            response_size: None,
        };
        let (context, parent) = (context(), parent());
        let kind = if client { Kind::Client } else { Kind::Server };
        let exchange = Exchange {
            context: &context,
            parent: Some(&parent),
            link: None,
            kept: None,
            tracestate: "a=1",
            kind,
            start: times.0,
            end: times.1,
            request: &request,
            response: &response,
        };
        let (mut spans, mut logs) = (Vec::new(), Vec::new());
        for _ in 0..records {
            let [span, log] = encode(&exchange);
            append_record(&mut spans, &span);
            append_record(&mut logs, &log);
        }
        let spans = export_request(&resource(), &spans);
        let logs = export_request(&resource(), &logs);
        let traces = ExportTraceServiceRequest::decode(&spans[..]).unwrap();
        proptest::prop_assert_eq!(traces.resource_spans[0].scope_spans[0].spans.len(), records);
        // Nothing is lost or doubled on the way: the protocol's own encoder makes as many bytes of it.
        proptest::prop_assert_eq!(traces.encoded_len(), spans.len());
        let decoded = ExportLogsServiceRequest::decode(&logs[..]).unwrap();
        proptest::prop_assert_eq!(decoded.resource_logs[0].scope_logs[0].log_records.len(), records);
        proptest::prop_assert_eq!(decoded.encoded_len(), logs.len());
    }
}

#[test]
fn lengths_of_every_size_are_written_as_a_decoder_reads_them() {
    for len in [0, 1, 126, 127, 128, 129, 16_382, 16_383, 16_384, 2_097_151, 2_097_152] {
        let content = vec![b'x'; len];
        let mut buf = Buffer::default();
        buf.put(&[0xaa; 3]);
        buf.message(4, |buf| buf.put(&content));
        let mut want = vec![0xaa; 3];
        prost::encoding::bytes::encode(4, &content, &mut want);
        assert!(buf.as_slice() == want, "{len} bytes");
        let mut renumbered = Buffer::default();
        renumbered.put(&want[3..]);
        renumbered.bytes(1, b"another");
        renumbered.renumber(9);
        let mut want = Vec::new();
        prost::encoding::bytes::encode(9, &content, &mut want);
        prost::encoding::bytes::encode(9, &b"another".to_vec(), &mut want);
        assert!(renumbered.as_slice() == want, "{len} bytes");
        for field in [9, 16] {
            let text = "x".repeat(len);
            let (mut short, mut long) = (Buffer::default(), Buffer::default());
            short.text(field, key!("a.name"), &text);
            if len > 0 {
                long.attribute(field, Key::of(&Key::encode("a.name")), Value::Text(&text));
            }
            assert!(short.as_slice() == long.as_slice(), "{len} bytes in field {field}");
        }
    }
    for value in [0, 1, 127, 128, 1 << 14, (1 << 35) - 1, 1 << 63, u64::MAX] {
        let mut buf = Buffer::default();
        buf.number(value);
        let mut want = Vec::new();
        prost::encoding::encode_varint(value, &mut want);
        assert_eq!((buf.as_slice(), number_len(value)), (&want[..], want.len()), "{value}");
    }
}
