//! One export as HTTP. In: the records of a signal, and how the receiver wants them. Out: the headers and the body of the
//! call: OTLP/HTTP with protobuf, or OTLP/gRPC with one length-prefixed message (gRPC over HTTP/2, "Requests").
//!
//! gRPC is framed here rather than by the host's `proxy_grpc_call`, which tells a status and no trailers: no RetryInfo.

use super::{USER_AGENT, gzip};
use crate::config::{Compression, Exporter, Protocol};
use crate::host::{Call, Host, Status};
use crate::stats::Signal;

/// How the paths of all OTLP/gRPC services begin.
pub const GRPC_PATHS: &str = "/opentelemetry.proto.collector.";
/// Below this, headers are most of an export.
const WORTH_COMPRESSING: usize = 1024;
/// A flag and the length of the message.
const PREFIX: usize = 5;

/// Whether exports are compressed, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// It is not asked for, this Envoy does not offer it, or the receiver does not take it.
    Identity,
    /// The receiver has not taken any yet.
    GzipOnTrial,
    /// The receiver takes it.
    Gzip,
}

/// An export that is ready to go.
pub(super) struct Request {
    body: Vec<u8>,
    pub(super) is_compressed: bool,
}

// === impl Encoding ===

impl Encoding {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Identity,
            Compression::Gzip => Self::GzipOnTrial,
        }
    }
}

// === impl Request ===

impl Request {
    /// Prepares an export message, compressed where `encoding` says so; turns it off where Envoy cannot.
    pub(super) fn new(message: Vec<u8>, protocol: Protocol, encoding: &mut Encoding, host: &mut impl Host) -> Self {
        let mut gzip = None;
        if *encoding != Encoding::Identity && message.len() >= WORTH_COMPRESSING {
            gzip = host.compress(&message).and_then(|zlib| gzip::from_zlib(&message, &zlib));
            if gzip.is_none() {
                *encoding = Encoding::Identity;
            }
        }
        let is_compressed = gzip.is_some();
        let mut body = gzip.unwrap_or(message);
        if protocol == Protocol::Grpc {
            let [a, b, c, d] = (body.len() as u32).to_be_bytes();
            body.splice(..0, [u8::from(is_compressed), a, b, c, d]);
        }
        Self { body, is_compressed }
    }

    /// Hands it to Envoy.
    pub(super) fn call(&self, signal: Signal, exporter: &Exporter, host: &mut impl Host) -> Result<u32, Status> {
        let is_grpc = exporter.protocol == Protocol::Grpc;
        let timeout = format!("{}m", exporter.timeout.0);
        let mut headers = vec![
            (":method", "POST"),
            (":path", path(signal, exporter)),
            (":authority", exporter.host()),
            (":scheme", "http"),
            ("content-type", if is_grpc { "application/grpc" } else { "application/x-protobuf" }),
            ("user-agent", USER_AGENT),
        ];
        if is_grpc {
            // Without the last one a compressed call may be answered in kind, and nothing here could read that.
            headers.extend([("te", "trailers"), ("grpc-timeout", &timeout), ("grpc-accept-encoding", "identity")]);
        }
        if self.is_compressed {
            headers.push((if is_grpc { "grpc-encoding" } else { "content-encoding" }, "gzip"));
        }
        let Exporter { cluster, timeout, .. } = exporter;
        host.call(&Call { cluster, headers: &headers, body: &self.body, timeout_ms: timeout.0 })
    }
}

/// Where a signal's exports go.
fn path(signal: Signal, exporter: &Exporter) -> &str {
    match (exporter.protocol, signal) {
        (Protocol::HttpProtobuf, Signal::Traces) => &exporter.traces_path,
        (Protocol::HttpProtobuf, Signal::Logs) => &exporter.logs_path,
        (Protocol::HttpProtobuf, Signal::Metrics) => &exporter.metrics_path,
        (Protocol::Grpc, Signal::Traces) => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        (Protocol::Grpc, Signal::Logs) => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        (Protocol::Grpc, Signal::Metrics) => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// The message in the body of a reply over gRPC; `None` where there is none that can be read.
pub(super) fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_at_checked(PREFIX)?;
    let [0, a, b, c, d] = *prefix else { return None };
    message.get(..u32::from_be_bytes([a, b, c, d]) as usize)
}
