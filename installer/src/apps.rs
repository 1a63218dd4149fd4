//! The demo's services: plain applications that know nothing of telemetry.
//!
//! In: a request, and the calls that it leads to. Out: those calls, one after the other, and then an answer. All that
//! an application does for tracing is to copy the trace headers of the request to its own calls, which no proxy can do
//! for it; what it received is kept as an [`Arrival`]. A failed call becomes a 502 with its reason.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;
use tokio::sync::watch;

use crate::client::Client;
use crate::server::{ANY_PORT, Server};

/// The headers that Istio asks applications to copy, without those of tracers that are not in use.
pub const TRACE_HEADERS: [&str; 10] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-request-id",
];
/// A kept demo may be asked for hours; the last arrivals are enough.
const MAX_ARRIVALS: usize = 10_000;

/// Calls that a path leads to, as host and path.
pub type Calls = fn(path: &str) -> Vec<(&'static str, String)>;

/// A running application; dropping it stops it.
#[derive(Debug)]
pub struct App {
    server: Server,
    shared: Arc<Shared>,
}

/// A request as an application saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrival {
    /// The application.
    pub service: &'static str,
    /// The request's path.
    pub path: String,
    /// Those of its headers that are in [`TRACE_HEADERS`].
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    calls: Calls,
    // An application and its proxy point at each other; the proxy is started last.
    proxy: watch::Sender<Option<SocketAddr>>,
    client: Client,
    arrivals: Mutex<VecDeque<Arrival>>,
}

// === impl App ===

impl App {
    /// Starts on any port. Calls wait until [`App::call_through`] says where they leave.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(name: &'static str, calls: Calls) -> io::Result<Self> {
        let proxy = watch::Sender::new(None);
        let shared = Arc::new(Shared { name, calls, proxy, client: Client::new(), arrivals: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        Ok(Self { server: Server::start(ANY_PORT, router).await?, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Sends all calls to this address, the outbound listener of its Envoy, and names the real host in `host`.
    pub fn call_through(&self, proxy: SocketAddr) {
        self.shared.proxy.send_replace(Some(proxy));
    }

    /// What it received, oldest first.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

// === impl Shared ===

impl Shared {
    fn remember(&self, path: &str, trace_headers: &HeaderMap) {
        let text = |name| {
            let lines = trace_headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
            lines.collect::<Vec<_>>().join(",")
        };
        let headers = trace_headers.keys().map(|name| (name.to_string(), text(name))).collect();
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.len() == MAX_ARRIVALS {
            arrivals.pop_front();
        }
        arrivals.push_back(Arrival { service: self.name, path: path.to_owned(), headers });
    }

    async fn call(&self, host: &'static str, path: &str, trace_headers: &HeaderMap) -> anyhow::Result<()> {
        let proxy = self.proxy.subscribe().wait_for(Option::is_some).await?.unwrap_or(ANY_PORT);
        let mut headers = trace_headers.clone();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        let reply = self.client.get(&format!("http://{proxy}{path}"), headers).await?;
        anyhow::ensure!(reply.status.is_success(), "{host} answers {path} with {}: {}", reply.status, reply.text());
        Ok(())
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    let copied = headers.iter().filter(|(name, _)| TRACE_HEADERS.contains(&name.as_str()));
    let trace_headers: HeaderMap = copied.map(|(name, value)| (name.clone(), value.clone())).collect();
    shared.remember(path, &trace_headers);
    for (host, path) in (shared.calls)(path) {
        if let Err(error) = shared.call(host, &path, &trace_headers).await {
            return (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response();
        }
    }
    format!("{} {path}\n", shared.name).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(app: &App, path: &str, headers: &[(&'static str, &'static str)]) -> crate::client::Reply {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Client::new().get(&format!("http://{}{path}", app.address()), headers).await.unwrap()
    }

    #[tokio::test]
    async fn trace_headers_and_nothing_else_are_copied_to_a_call() {
        let backend = App::start("backend", |_| Vec::new()).await.unwrap();
        let frontend = App::start("frontend", |_| vec![("backend", "/stock/7".to_owned())]).await.unwrap();
        frontend.call_through(backend.address());
        let headers =
            [("traceparent", "00-1-2-01"), ("tracestate", "a=1"), ("tracestate", "b=2"), ("cookie", "secret")];
        let reply = get(&frontend, "/order/7", &headers).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "frontend /order/7\n"));
        let copied =
            [("traceparent", "00-1-2-01"), ("tracestate", "a=1,b=2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(
            backend.arrivals(),
            [Arrival { service: "backend", path: "/stock/7".to_owned(), headers: copied.into() }]
        );
    }

    #[tokio::test]
    async fn a_failed_call_becomes_a_502_that_says_why() {
        let frontend = App::start("frontend", |_| vec![("backend", "/stock/7".to_owned())]).await.unwrap();
        let gone = App::start("backend", |_| Vec::new()).await.unwrap();
        frontend.call_through(gone.address());
        let App { server, .. } = gone;
        server.stop().await;
        let reply = get(&frontend, "/order/7", &[]).await;
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
        assert!(reply.text().contains("refused"), "{}", reply.text());
    }
}
