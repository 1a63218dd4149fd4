//! Copies of exports for the user's own collector.
//!
//! In: payloads that the receiver accepted. Out: the same as OTLP/HTTP protobuf requests to one endpoint, one after the
//! other. Tolerant: a full queue or a failed request is counted with its reason, and never holds the receiver up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use http::{HeaderMap, HeaderValue, Uri, header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::store::{Payload, Signal};
use crate::client::Client;

/// Some minutes of a demo's exports.
const MAX_QUEUE: usize = 1_000;

/// Sends until it is finished or dropped.
#[derive(Debug)]
pub struct Forwarder {
    outbox: Outbox,
    task: JoinHandle<()>,
}

/// Where payloads for a [`Forwarder`] go in.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    queue: mpsc::Sender<(Signal, Vec<u8>)>,
    outcome: Arc<Mutex<Outcome>>,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
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
        let outcome = Arc::default();
        let task = tokio::spawn(send(base, payloads, Arc::clone(&outcome)));
        Ok(Self { outbox: Outbox { queue, outcome }, task })
    }

    /// Waits for what is still queued, but not longer than `timeout`. The receivers that fill it must be gone.
    pub async fn finish(mut self, timeout: Duration) -> Outcome {
        let Outbox { queue, outcome } = self.outbox;
        drop(queue);
        if tokio::time::timeout(timeout, &mut self.task).await.is_err() {
            self.task.abort();
            lock(&outcome).fail("the endpoint is too slow".to_owned());
        }
        lock(&outcome).clone()
    }

    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }
}

async fn send(base: String, mut payloads: mpsc::Receiver<(Signal, Vec<u8>)>, outcome: Arc<Mutex<Outcome>>) {
    let client = Client::new();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))]);
    while let Some((signal, body)) = payloads.recv().await {
        let result = client.post(&format!("{base}{}", signal.path()), headers.clone(), body).await;
        let mut outcome = lock(&outcome);
        match result {
            Ok(reply) if reply.status.is_success() => outcome.forwarded += 1,
            Ok(reply) => outcome.fail(format!("{} answers {}", signal.path(), reply.status)),
            Err(error) => outcome.fail(format!("{error:#}")),
        }
    }
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn offer(&self, payload: &Payload) {
        if self.queue.try_send((payload.signal(), payload.encode())).is_err() {
            lock(&self.outcome).fail("the endpoint is too slow".to_owned());
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.reason.get_or_insert(reason);
    }
}

fn lock(outcome: &Mutex<Outcome>) -> MutexGuard<'_, Outcome> {
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}
