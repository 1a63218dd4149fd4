//! An OTLP receiver that only counts. In: exports over HTTP or gRPC, unary or streamed. Out: how many bytes came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full};

use crate::load::serve;

/// A running receiver.
#[derive(Debug, Clone)]
pub struct Sink {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

// === impl Sink ===

impl Sink {
    /// Listens on a free port of loopback.
    pub async fn start() -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let address = serve(move |request| {
            let counter = Arc::clone(&counter);
            async move {
                let is_grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
                let mut body = request.into_body();
                // A stream of access logs never ends; each part of it counts.
                while let Some(Ok(frame)) = body.frame().await {
                    let len = frame.data_ref().map_or(0, Bytes::len);
                    counter.fetch_add(len as u64, Ordering::Relaxed);
                }
                // An empty message is a success.
                let empty = if is_grpc { Bytes::from_static(&[0; 5]) } else { Bytes::new() };
                let kind = if is_grpc { "application/grpc" } else { "application/x-protobuf" };
                let trailers = is_grpc.then(|| {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    Ok(trailers)
                });
                let body = Full::new(empty).with_trailers(async { trailers }).boxed();
                Response::builder().header("content-type", kind).body(body).expect("a response")
            }
        })
        .await;
        Self { address, bytes }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of bodies so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
