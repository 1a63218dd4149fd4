//! Copies of exports for the user's own collector.
//!
//! In: payloads that the receiver accepted. Out: the same as OTLP/HTTP protobuf requests to one endpoint, one after the
//! other. Tolerant: a full queue or a failed request is counted with its reason, and never holds the receiver up.

use std::time::Duration;

use anyhow::{Result, bail};
use http::{HeaderMap, HeaderValue, Uri, header};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::store::{Payload, Signal};
use crate::client::Client;

/// Some minutes of a demo's exports.
const MAX_QUEUE: usize = 1_000;

/// Sends in the background until it and its receivers are dropped.
#[derive(Debug, Clone)]
pub struct Forwarder {
    queue: mpsc::Sender<(Signal, Vec<u8>)>,
    outcome: watch::Sender<Outcome>,
}

/// What became of the copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// All requests that came.
    pub requests: usize,
    /// Requests that the collector took.
    pub forwarded: usize,
    /// Requests that it did not take.
    pub failed: usize,
    /// Why the first of them failed.
    pub reason: Option<String>,
}

// === impl Forwarder ===

impl Forwarder {
    /// Forwards to `endpoint`, the URL that `OTEL_EXPORTER_OTLP_ENDPOINT` would hold: without `/v1/traces`.
    ///
    /// # Errors
    /// The endpoint is not an `http://` URL.
    pub fn start(endpoint: &str) -> Result<Self> {
        let uri: Uri = endpoint.parse().ok().filter(|uri: &Uri| uri.authority().is_some()).unwrap_or_default();
        if uri.scheme_str() != Some("http") {
            bail!(
                "{endpoint} is no http:// URL: give the base of an OTLP/HTTP receiver, such as http://127.0.0.1:4318"
            );
        }
        let base = endpoint.trim_end_matches('/').to_owned();
        let (queue, payloads) = mpsc::channel(MAX_QUEUE);
        let outcome = watch::Sender::default();
        tokio::spawn(send(base, payloads, outcome.clone()));
        Ok(Self { queue, outcome })
    }

    /// Waits until nothing is queued, but not longer than `timeout`; what is then still queued counts as failed.
    pub async fn flush(&self, timeout: Duration) -> Outcome {
        let mut changes = self.outcome.subscribe();
        let _ = tokio::time::timeout(timeout, changes.wait_for(|now| now.forwarded + now.failed == now.requests)).await;
        let mut outcome = self.outcome.borrow().clone();
        while outcome.forwarded + outcome.failed < outcome.requests {
            outcome.fail("the endpoint is too slow".to_owned());
        }
        outcome
    }

    pub(super) fn offer(&self, payload: &Payload) {
        self.outcome.send_modify(|outcome| outcome.requests += 1);
        if self.queue.try_send((payload.signal(), payload.encode())).is_err() {
            self.outcome.send_modify(|outcome| outcome.fail("the endpoint is too slow".to_owned()));
        }
    }
}

async fn send(base: String, mut payloads: mpsc::Receiver<(Signal, Vec<u8>)>, outcome: watch::Sender<Outcome>) {
    let client = Client::new();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))]);
    while let Some((signal, body)) = payloads.recv().await {
        let result = client.post(&format!("{base}{}", signal.path()), headers.clone(), body).await;
        outcome.send_modify(|outcome| match result {
            Ok(reply) if reply.status.is_success() => outcome.forwarded += 1,
            Ok(reply) => outcome.fail(format!("{} answers {}", signal.path(), reply.status)),
            Err(error) => outcome.fail(format!("{error:#}")),
        });
    }
}

// === impl Outcome ===

impl Outcome {
    fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.reason.get_or_insert(reason);
    }
}
