//! What receivers are spoken to in: OTLP/gRPC, and compressed exports.

use std::io::Read;

use flate2::read::GzDecoder;

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GRPC: &str = r#"{"exporter":{"protocol":"grpc","cluster":"outbound|4317||otel"},"logs":{"enabled":false}}"#;
const GZIP: &str = r#"{"exporter":{"compression":"gzip"},"logs":{"enabled":false}}"#;

fn header<'a>(call: &'a Made, name: &str) -> Option<&'a str> {
    call.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// Ten spans, which are worth compressing, and the call that they leave in.
fn export(world: &mut World) -> Made {
    for _ in 0..10 {
        world.exchange(&[(":path", "/a")], 200);
    }
    world.tick();
    world.host().calls[0].clone()
}

fn grpc_reply(world: &mut World, status: &str) {
    world.host().reply_trailers = vec![("grpc-status".to_owned(), status.as_bytes().to_vec())];
    world.reply(Some(200), b"\0\0\0\0\0");
    world.host().reply_trailers.clear();
}

#[test]
fn an_export_over_grpc_is_one_framed_message() {
    let mut world = World::new(GRPC);
    let call = export(&mut world);
    assert_eq!(path(&call), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    for (name, value) in
        [(":authority", "otel"), ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "10000m")]
    {
        assert_eq!(header(&call, name), Some(value));
    }
    let (prefix, message) = call.body.split_at(5);
    assert_eq!((prefix[0], u32::from_be_bytes(prefix[1..].try_into().unwrap())), (0, message.len() as u32));
    let request = ExportTraceServiceRequest::decode(message).unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 10);
    grpc_reply(&mut world, "0");
    world.balance();
    assert_eq!(world.stat("spans_exported"), 10);
}

#[test]
fn grpc_statuses_retry_and_drop() {
    let mut world = World::new(GRPC);
    export(&mut world);
    grpc_reply(&mut world, "14");
    world.balance();
    assert_eq!((world.stat("exports_retried"), world.stat("spans_waiting")), (1, 10));
    for _ in 0..5 {
        world.tick();
    }
    grpc_reply(&mut world, "3");
    world.balance();
    assert_eq!((world.stat("exports_failed"), world.stat("spans_dropped_export_failed")), (1, 10));
}

#[test]
fn an_export_is_compressed_where_envoy_offers_it() {
    for (offered, encoding) in [(true, Some("gzip")), (false, None)] {
        let mut world = World::new(GZIP);
        world.host().compresses = offered;
        let call = export(&mut world);
        assert_eq!(header(&call, "content-encoding"), encoding);
        let mut plain = call.body.clone();
        if offered {
            plain.clear();
            GzDecoder::new(&call.body[..]).read_to_end(&mut plain).unwrap();
            assert!(call.body.len() < plain.len() / 2, "{} of {}", call.body.len(), plain.len());
        }
        let request = ExportTraceServiceRequest::decode(&plain[..]).unwrap();
        assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 10);
        world.reply(Some(200), b"");
        world.balance();
        assert_eq!(world.stat("spans_exported"), 10);
    }
}

#[test]
fn a_receiver_that_takes_no_compression_gets_the_same_records_plain() {
    let mut world = World::new(GZIP);
    world.host().compresses = true;
    export(&mut world);
    world.reply(Some(415), b"");
    world.balance();
    let again = world.host().calls[0].clone();
    assert_eq!(header(&again, "content-encoding"), None, "at once, and plain");
    assert_eq!(spans(&again).len(), 10);
    world.reply(Some(200), b"");
    assert_eq!(header(&export(&mut world), "content-encoding"), None, "and so it stays");
    world.reply(Some(200), b"");
    world.balance();
    assert_eq!((world.stat("spans_exported"), world.stat("exports_failed")), (20, 0));
}

#[test]
fn once_compression_was_taken_a_refusal_is_one() {
    let mut world = World::new(GZIP);
    world.host().compresses = true;
    export(&mut world);
    world.reply(Some(200), b"");
    assert_eq!(header(&export(&mut world), "content-encoding"), Some("gzip"));
    world.reply(Some(400), b"");
    world.balance();
    assert_eq!((world.stat("exports_failed"), world.stat("spans_dropped_export_failed")), (1, 10));
}

#[test]
fn a_collector_does_not_record_exports_of_either_protocol_and_any_version() {
    let mut world = World::new("");
    for path in ["/v1/traces", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"] {
        world.exchange(&[(":method", "POST"), (":path", path), ("user-agent", "otelmesh/9.9.9 x")], 200);
    }
    world.tick();
    assert_eq!((world.stat("exchanges_own_export"), world.host().calls.len()), (2, 0));
}
