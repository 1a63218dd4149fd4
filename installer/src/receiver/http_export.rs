//! OTLP/HTTP.
//!
//! In: POST requests on the three paths, in protobuf or JSON, plain or in gzip or deflate. Out: the export response in
//! the request's encoding. Refuses as the OTLP specification asks: another content type with 415, what cannot be decoded
//! with 400, too much with 413; the reason is a `google.rpc.Status`.

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, StatusCode, Uri, header};
use prost::Message;
use serde::Serialize;

use super::forward::Forwarder;
use super::store::{Export, Payload, Refusal, Signal, Store, Transport};

/// What the OTLP specification asks a receiver to take, before and after decompression.
const MAX_BODY: u64 = 64 * 1024 * 1024;

#[derive(Clone, Copy)]
enum Encoding {
    Protobuf,
    Json,
}

/// `google.rpc.Status` without details.
#[derive(Message, Serialize)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone)]
struct Shared {
    store: Arc<Store>,
    forwarder: Option<Forwarder>,
}

pub(super) fn router(store: Arc<Store>, forwarder: Option<Forwarder>) -> Router {
    let shared = Shared { store, forwarder };
    let mut router = Router::new();
    for signal in Signal::ALL {
        let export = move |state: State<Shared>, headers: HeaderMap, body: Bytes| async move {
            export(&state, signal, headers, &body)
        };
        router = router.route(signal.path(), post(export));
    }
    let unknown = async |State(shared): State<Shared>, uri: Uri| {
        let reason = "no OTLP/HTTP path".to_owned();
        shared.store.refuse(Refusal { status: StatusCode::NOT_FOUND, path: uri.path().to_owned(), reason });
        StatusCode::NOT_FOUND
    };
    #[expect(clippy::cast_possible_truncation, reason = "64 MiB fit into every usize")]
    let limit = DefaultBodyLimit::max(MAX_BODY as usize);
    router.fallback(unknown).layer(limit).with_state(shared)
}

fn export(shared: &Shared, signal: Signal, headers: HeaderMap, body: &[u8]) -> Response {
    let encoding = match headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        Some("application/x-protobuf") => Encoding::Protobuf,
        Some(json) if json.split(';').next() == Some("application/json") => Encoding::Json,
        other => {
            let reason = format!("content type {} is not OTLP", other.unwrap_or("(none)"));
            return refuse(shared, signal, Encoding::Protobuf, StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
        }
    };
    match shared.store.scripted() {
        None | Some(StatusCode::OK) => {}
        Some(status) => return refuse(shared, signal, encoding, status, "scripted".to_owned()),
    }
    let payload = match decode(signal, encoding, &headers, body) {
        Ok(payload) => payload,
        Err((status, reason)) => return refuse(shared, signal, encoding, status, reason),
    };
    if let Some(forwarder) = &shared.forwarder {
        forwarder.offer(&payload);
    }
    shared.store.accept(Export { transport: Transport::Http, headers, payload });
    match encoding {
        // An export response without a partial success has no fields.
        Encoding::Protobuf => ([(header::CONTENT_TYPE, encoding.name())], Bytes::new()).into_response(),
        Encoding::Json => ([(header::CONTENT_TYPE, encoding.name())], "{}").into_response(),
    }
}

type Refused = (StatusCode, String);

fn decode(signal: Signal, encoding: Encoding, headers: &HeaderMap, body: &[u8]) -> Result<Payload, Refused> {
    let bad = |reason: String| (StatusCode::BAD_REQUEST, reason);
    let plain = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => body.to_vec(),
        Some(b"gzip") => inflate(GzDecoder::new(body))?,
        // The name that HTTP gives to zlib's format (RFC 9110, 8.4.1.2).
        Some(b"deflate") => inflate(ZlibDecoder::new(body))?,
        Some(other) => return Err(bad(format!("content encoding {} is unknown", String::from_utf8_lossy(other)))),
    };
    match encoding {
        Encoding::Protobuf => Payload::from_protobuf(signal, &plain).map_err(|e| bad(e.to_string())),
        Encoding::Json => Payload::from_json(signal, &plain).map_err(|e| bad(e.to_string())),
    }
}

fn inflate(decoder: impl Read) -> Result<Vec<u8>, Refused> {
    let mut plain = Vec::new();
    let read = decoder.take(MAX_BODY + 1).read_to_end(&mut plain);
    match read {
        Err(error) => Err((StatusCode::BAD_REQUEST, format!("cannot decompress: {error}"))),
        Ok(_) if plain.len() as u64 > MAX_BODY => Err((StatusCode::PAYLOAD_TOO_LARGE, "more than 64 MiB".to_owned())),
        Ok(_) => Ok(plain),
    }
}

fn refuse(shared: &Shared, signal: Signal, encoding: Encoding, status: StatusCode, reason: String) -> Response {
    let rpc = RpcStatus { code: super::grpc::code(status) as i32, message: reason.clone() };
    shared.store.refuse(Refusal { status, path: signal.path().to_owned(), reason });
    let body = match encoding {
        Encoding::Protobuf => rpc.encode_to_vec(),
        Encoding::Json => serde_json::to_vec(&rpc).unwrap_or_default(),
    };
    (status, [(header::CONTENT_TYPE, encoding.name())], body).into_response()
}

impl Encoding {
    const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}
