//! What a receiver keeps.
//!
//! In: decoded exports, refused requests, the answers that a test wants given. Out: a snapshot of all that came, and a
//! sign whenever something came. Refuses nothing; beyond `MAX_BYTES` the oldest exports are forgotten and counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::{DecodeError, Message};
use tokio::sync::watch;

use crate::telemetry::{DataPoint, Log, Span};

/// Some hundred thousand spans: far more than a demo or a test sends, and little for a laptop.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// More refusals than anybody reads.
const MAX_REFUSALS: usize = 1_000;

/// What an export is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Metrics.
    Metrics,
}

/// How an export came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// A decoded export request.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Metrics.
    Metrics(ExportMetricsServiceRequest),
}

/// An export that was accepted.
#[derive(Debug, Clone)]
pub struct Export {
    /// How it came.
    pub transport: Transport,
    /// The request's headers, or gRPC metadata.
    pub headers: HeaderMap,
    /// What it holds.
    pub payload: Payload,
}

/// A request that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status that was answered, or the one that the gRPC status stands for.
    pub status: StatusCode,
    /// The request's path, or the gRPC service's HTTP counterpart.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// All that came until now.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Accepted exports, oldest first.
    pub exports: Vec<Arc<Export>>,
    /// Refused requests, oldest first.
    pub refusals: Vec<Refusal>,
    /// Exports that are gone because there were too many.
    pub forgotten: usize,
}

#[derive(Debug)]
pub(super) struct Store {
    kept: Mutex<Kept>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    exports: VecDeque<(usize, Arc<Export>)>,
    bytes: usize,
    forgotten: usize,
    refusals: Vec<Refusal>,
    answers: VecDeque<StatusCode>,
}

// === impl Signal ===

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// Its path in OTLP/HTTP.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }
}

// === impl Payload ===

impl Payload {
    /// Reads protobuf.
    pub(super) fn from_protobuf(signal: Signal, bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(match signal {
            Signal::Traces => Self::Traces(Message::decode(bytes)?),
            Signal::Logs => Self::Logs(Message::decode(bytes)?),
            Signal::Metrics => Self::Metrics(Message::decode(bytes)?),
        })
    }

    /// Reads OTLP's JSON encoding.
    pub(super) fn from_json(signal: Signal, bytes: &[u8]) -> serde_json::Result<Self> {
        Ok(match signal {
            Signal::Traces => Self::Traces(serde_json::from_slice(bytes)?),
            Signal::Logs => Self::Logs(serde_json::from_slice(bytes)?),
            Signal::Metrics => Self::Metrics(serde_json::from_slice(bytes)?),
        })
    }

    /// What it is about.
    pub fn signal(&self) -> Signal {
        match self {
            Self::Traces(_) => Signal::Traces,
            Self::Logs(_) => Signal::Logs,
            Self::Metrics(_) => Signal::Metrics,
        }
    }

    /// As protobuf.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Traces(request) => request.encoded_len(),
            Self::Logs(request) => request.encoded_len(),
            Self::Metrics(request) => request.encoded_len(),
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Every span, in the order of arrival; one that was sent twice is there twice.
    pub fn spans(&self) -> Vec<Span> {
        let of = |export: &Arc<Export>| match &export.payload {
            Payload::Traces(request) => Span::all(request).collect(),
            _ => Vec::new(),
        };
        self.exports.iter().flat_map(of).collect()
    }

    /// Every log record, in the order of arrival; one that was sent twice is there twice.
    pub fn logs(&self) -> Vec<Log> {
        let of = |export: &Arc<Export>| match &export.payload {
            Payload::Logs(request) => Log::all(request).collect(),
            _ => Vec::new(),
        };
        self.exports.iter().flat_map(of).collect()
    }

    /// Every data point, in the order of arrival; one that was sent twice is there twice.
    pub fn points(&self) -> Vec<DataPoint> {
        let of = |export: &Arc<Export>| match &export.payload {
            Payload::Metrics(request) => DataPoint::all(request).collect(),
            _ => Vec::new(),
        };
        self.exports.iter().flat_map(of).collect()
    }

    /// Refusals by status.
    pub fn refused(&self) -> BTreeMap<u16, usize> {
        self.refusals.iter().fold(BTreeMap::new(), |mut counts, refusal| {
            *counts.entry(refusal.status.as_u16()).or_default() += 1;
            counts
        })
    }
}

// === impl Store ===

impl Store {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default(), changes: watch::Sender::new(0) }
    }

    pub(super) fn accept(&self, export: Export) {
        let size = export.payload.encoded_len();
        let mut kept = self.kept();
        kept.bytes += size;
        kept.exports.push_back((size, Arc::new(export)));
        while kept.bytes > MAX_BYTES
            && let Some((size, _)) = kept.exports.pop_front()
        {
            kept.bytes -= size;
            kept.forgotten += 1;
        }
        drop(kept);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        let mut kept = self.kept();
        if kept.refusals.len() < MAX_REFUSALS {
            kept.refusals.push(refusal);
        }
        drop(kept);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn script(&self, answers: impl IntoIterator<Item = StatusCode>) {
        self.kept().answers.extend(answers);
    }

    /// The answer that the next request must get, whatever it holds.
    pub(super) fn scripted(&self) -> Option<StatusCode> {
        self.kept().answers.pop_front()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let kept = self.kept();
        Snapshot {
            exports: kept.exports.iter().map(|(_, export)| Arc::clone(export)).collect(),
            refusals: kept.refusals.clone(),
            forgotten: kept.forgotten,
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change is complete before anything can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
