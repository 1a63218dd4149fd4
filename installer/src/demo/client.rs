//! The demo's client.
//!
//! In: a format. Out: trace headers as an instrumented caller would send them, and what became of the request. Every
//! request has an `x-request-id` of its own, by which it is found again where it carries no trace.

use std::net::SocketAddr;

use clap::ValueEnum;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::mesh::ORDER_PATH;
use crate::client::Client;

/// The trace headers that the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// W3C Trace Context: traceparent
    #[value(name = "tracecontext")]
    TraceContext,
    /// B3 in one header: b3
    B3,
    /// B3 in several headers: x-b3-traceid and its kin
    #[value(name = "b3multi")]
    B3Multi,
    /// No trace headers: the first proxy starts the trace
    None,
}

/// A request that the client sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    pub(super) request_id: String,
    /// Of the client's own span; none with [`Format::None`].
    pub(super) trace_id: Option<String>,
    /// Of the client's own span.
    pub(super) span_id: Option<String>,
    /// What came back.
    pub(super) status: Option<u16>,
    /// Why nothing or no 200 came back.
    pub(super) error: Option<String>,
}

impl Format {
    pub(super) fn is_b3(self) -> bool {
        matches!(self, Self::B3 | Self::B3Multi)
    }

    fn headers(self, trace_id: &str, span_id: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::TraceContext => vec![("traceparent", format!("00-{trace_id}-{span_id}-01"))],
            Self::B3 => vec![("b3", format!("{trace_id}-{span_id}-1"))],
            Self::B3Multi => vec![
                ("x-b3-traceid", trace_id.to_owned()),
                ("x-b3-spanid", span_id.to_owned()),
                ("x-b3-sampled", "1".to_owned()),
            ],
            Self::None => Vec::new(),
        }
    }
}

/// Sends request `number` and waits for its answer.
pub(super) async fn send(client: &Client, entry: SocketAddr, format: Format, number: usize) -> Sent {
    let request_id = format!("otelmesh-demo-{number}");
    let (trace_id, span_id) = (format!("{:032x}", fastrand::u128(1..)), format!("{:016x}", fastrand::u64(1..)));
    let mut headers = HeaderMap::new();
    let texts = format.headers(&trace_id, &span_id).into_iter().chain([("x-request-id", request_id.clone())]);
    for (name, value) in texts.chain([("host", "frontend".to_owned())]) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let (status, error) = match client.get(&format!("http://{entry}{ORDER_PATH}"), headers).await {
        Ok(reply) if reply.status.is_success() => (Some(reply.status.as_u16()), None),
        Ok(reply) => (Some(reply.status.as_u16()), Some(reply.text().trim().to_owned())),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let sent_trace = format != Format::None;
    Sent { request_id, trace_id: sent_trace.then_some(trace_id), span_id: sent_trace.then_some(span_id), status, error }
}
