//! What the conventions ask for, as tables.

use super::*;
use crate::redact::Redactor;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn request(pairs: &[(&str, &str)]) -> Request {
    let mut request = Request::of(&Headers::from_wire(Headers::to_wire(pairs)));
    Redactor::new(&Default::default()).request(&mut request);
    request
}

fn response(code: u16) -> Response {
    Response { code, ..Response::default() }
}

/// The attributes as `key=value` lines.
fn lines(kind: Kind, request: &Request, response: &Response) -> Vec<String> {
    named(Semconv::Stable, kind, request, response)
}

fn named(semconv: Semconv, kind: Kind, request: &Request, response: &Response) -> Vec<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::trace::v1::Span;
    let mut buf = Buffer::default();
    write(&mut buf, crate::span::ATTRIBUTES, semconv, kind, request, response);
    let span: Span = prost::Message::decode(buf.as_slice()).unwrap();
    let value = |kv: &opentelemetry_proto::tonic::common::v1::KeyValue| match kv.value.clone().unwrap().value.unwrap() {
        Any::StringValue(text) => text,
        Any::IntValue(number) => format!("#{number}"),
        other => panic!("{other:?}"),
    };
    span.attributes.iter().map(|kv| format!("{}={}", kv.key, value(kv))).collect()
}

#[test]
fn a_server_span_has_the_stable_attributes() {
    let request = request(&[
        (":method", "GET"),
        (":path", "/orders/7?sig=secret&page=2"),
        (":authority", "shop.example:8443"),
        (":scheme", "https"),
        ("user-agent", "curl/8"),
        ("authorization", "Bearer secret"),
    ]);
    let response = Response { protocol: Some("HTTP/1.1".into()), peer: Some("10.1.2.3:41234".into()), ..response(200) };
    assert_eq!(
        lines(Kind::Server, &request, &response),
        [
            "http.request.method=GET",
            "url.scheme=https",
            "url.path=/orders/7",
            "url.query=sig=REDACTED&page=2",
            "user_agent.original=curl/8",
            "server.address=shop.example",
            "server.port=#8443",
            "client.address=10.1.2.3",
            "client.port=#41234",
            "network.protocol.version=1.1",
            "http.response.status_code=#200",
        ]
    );
}

#[test]
fn a_client_span_has_the_stable_attributes() {
    let request = request(&[
        (":method", "BREW"),
        (":path", "/pot?X-Amz-Signature=secret"),
        (":authority", "user:secret@tea.example"),
        (":scheme", "http"),
        ("user-agent", "pot"),
    ]);
    let response = Response {
        flags: 1 << 5,
        details: Some("upstream_reset".into()),
        peer: Some("10.1.2.3:80".into()),
        ..response(503)
    };
    assert_eq!(
        lines(Kind::Client, &request, &response),
        [
            "http.request.method=_OTHER",
            "http.request.method_original=BREW",
            "url.full=http://tea.example/pot?X-Amz-Signature=REDACTED",
            "server.address=tea.example",
            "server.port=#80",
            "network.peer.address=10.1.2.3",
            "network.peer.port=#80",
            "http.response.status_code=#503",
            "error.type=503",
            "envoy.response_flags=UF",
            "envoy.response_code_details=upstream_reset",
        ]
    );
}

#[test]
fn what_envoy_did_not_say_is_left_out() {
    let none = lines(Kind::Client, &Request::default(), &response(200));
    assert_eq!(none, ["http.request.method=_OTHER", "http.response.status_code=#200"]);
}

#[test]
fn failures_are_as_the_conventions_have_them() {
    let grpc = |status| Response { grpc_status: Some(status), ..response(200) };
    let reset = |flags| Response { flags, ..response(0) };
    // Response, error.type on a server, on a client, reason.
    let rows: &[(Response, Option<&str>, Option<&str>, &str)] = &[
        (response(101), None, None, "an upgrade is no failure"),
        (response(200), None, None, "nor a success"),
        (response(302), None, None, "nor a redirect"),
        (response(404), None, Some("404"), "4xx is the client's fault"),
        (response(499), None, Some("499"), "all of it"),
        (response(500), Some("500"), Some("500"), "5xx is a failure on both sides"),
        (response(599), Some("599"), Some("599"), "all of it"),
        (grpc(0), None, None, "gRPC OK"),
        (grpc(5), None, Some("NOT_FOUND"), "like a 404"),
        (grpc(14), Some("UNAVAILABLE"), Some("UNAVAILABLE"), "like a 503"),
        (grpc(99), None, Some("99"), "a code that gRPC does not know"),
        (reset(1 << 14), Some("DownstreamConnectionTermination"), Some("DownstreamConnectionTermination"), "no answer"),
        (reset(0), Some("_OTHER"), Some("_OTHER"), "no answer and nobody knows why"),
    ];
    for (response, server, client, reason) in rows {
        assert_eq!(response.failure(Kind::Server).as_deref(), *server, "server, {reason}");
        assert_eq!(response.failure(Kind::Client).as_deref(), *client, "client, {reason}");
    }
}

#[test]
fn the_first_of_a_repeated_header_counts_and_text_is_bounded() {
    let path = format!("/{}", "\u{20ac}".repeat(5000));
    let request = request(&[(":path", &path), (":path", "/second"), ("user-agent", "")]);
    assert!(request.path.starts_with("/\u{20ac}"));
    assert!(request.path.len() <= crate::config::MAX_VALUE_BYTES);
    assert!(!request.path.contains('\u{fffd}'), "cut at a character boundary");
    assert_eq!(request.user_agent, "");
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters() {
    let fields = Fields { path: b"/a\xff\xfeb", user_agent: &[0x80; 10_000], ..Fields::default() };
    let request = Request::new(&fields);
    assert_eq!(request.path, "/a\u{fffd}\u{fffd}b");
    assert!(request.user_agent.chars().all(|c| c == '\u{fffd}'));
}

#[test]
fn grpc_is_told_by_its_content_type() {
    let rows = [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/json", false),
        ("", false),
    ];
    for (content_type, grpc) in rows {
        assert_eq!(request(&[("content-type", content_type)]).grpc, grpc, "{content_type}");
    }
}

#[test]
fn legacy_names_stand_instead_of_the_stable_ones_or_beside_them() {
    let headers =
        [(":method", "GET"), (":path", "/a?sig=secret"), (":authority", "user:secret@shop:81"), (":scheme", "http")];
    let request = request(&headers);
    let response = Response {
        protocol: Some("HTTP/2".into()),
        peer: Some("10.1.2.3:4".into()),
        attempts: Some(3),
        response_size: Some(7),
        ..response(404)
    };
    assert_eq!(
        named(Semconv::Legacy, Kind::Server, &request, &response),
        [
            "http.method=GET",
            "http.status_code=#404",
            "net.protocol.version=2",
            "http.scheme=http",
            "http.target=/a?sig=REDACTED",
            "net.host.name=shop",
            "net.host.port=#81",
            "http.client_ip=10.1.2.3",
            "http.response_content_length=#7",
        ]
    );
    assert_eq!(
        named(Semconv::Legacy, Kind::Client, &request, &response),
        [
            "http.method=GET",
            "http.status_code=#404",
            "net.protocol.version=2",
            "http.url=http://shop:81/a?sig=REDACTED",
            "net.peer.name=shop",
            "net.peer.port=#81",
            "net.sock.peer.addr=10.1.2.3",
            "net.sock.peer.port=#4",
            "http.resend_count=#2",
            "http.response_content_length=#7",
            "error.type=404",
        ]
    );
    let both = named(Semconv::Both, Kind::Client, &request, &response);
    for semconv in [Semconv::Legacy, Semconv::Stable] {
        assert!(named(semconv, Kind::Client, &request, &response).iter().all(|line| both.contains(line)));
    }
}

#[test]
fn a_grpc_call_says_what_it_calls_and_who_answered() {
    let request = request(&[
        (":method", "POST"),
        (":path", "/shop.Cart/Add"),
        (":authority", "cart"),
        ("content-type", "application/grpc"),
    ]);
    let principal = Some("spiffe://cluster.local/ns/shop/sa/cart".to_owned());
    let response = Response { grpc_status: Some(5), principal, ..response(200) };
    assert_eq!(request.span_name(&response), "shop.Cart/Add");
    let lines = lines(Kind::Client, &request, &response);
    for line in [
        "rpc.system=grpc",
        "rpc.service=shop.Cart",
        "rpc.method=Add",
        "rpc.grpc.status_code=#5",
        "error.type=NOT_FOUND",
        "otelmesh.peer.principal=spiffe://cluster.local/ns/shop/sa/cart",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} is not among {lines:?}");
    }
}
