//! A plain HTTP client for what this crate starts on loopback, and for the collector that it forwards to.
//!
//! In: a method, an `http://` URL, headers, a body. Out: the whole reply, whatever its status. Refuses `https://`
//! (the connector knows no TLS), replies beyond [`MAX_BODY`], and replies later than [`TIMEOUT`].

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

/// Longer than the export timeout of OpenTelemetry, 10s, so that the other side gives up first and says why.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's whole config dump has a few MiB; nothing that is read here should come near this.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// Keeps its connections; clones share them.
#[derive(Debug, Clone)]
pub struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status, which may well be an error.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

// === impl Client ===

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client without connections.
    pub fn new() -> Self {
        Self(legacy::Client::builder(TokioExecutor::new()).build_http())
    }

    /// A GET.
    ///
    /// # Errors
    /// The URL is none, nobody answers, or the answer takes too long.
    pub async fn get(&self, url: &str, headers: HeaderMap) -> Result<Reply> {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    /// A POST.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&self, url: &str, headers: HeaderMap, body: impl Into<Bytes>) -> Result<Reply> {
        self.send(Method::POST, url, headers, body.into()).await
    }

    async fn send(&self, method: Method, url: &str, headers: HeaderMap, body: Bytes) -> Result<Reply> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let exchange = async {
            let (parts, body) = self.0.request(request).await.map_err(|e| why(&e))?.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|e| why(e.as_ref()))?.to_bytes();
            Ok(Reply { status: parts.status, headers: parts.headers, body })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(reply) => reply.map_err(|e: anyhow::Error| e.context(format!("no reply from {url}"))),
            Err(_) => Err(anyhow!("no reply from {url} within {}s", TIMEOUT.as_secs())),
        }
    }
}

// === impl Reply ===

impl Reply {
    /// The body as text; broken UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// hyper says "client error (Connect)" and keeps "connection refused" as a source of a source.
fn why(error: &(dyn std::error::Error + 'static)) -> anyhow::Error {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    anyhow!("{last}")
}
