//! A way to the API server that ends in the middle: for tests that kill a command at every write.
//!
//! In: the number of a write, and whether it still reaches the API server. Out: an address on loopback for the command, and
//! word when that write came. From then on nothing is answered, so that the command hangs until it is killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;
use http_body_util::BodyExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Which side of a write the end comes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The write does not reach the API server.
    Before,
    /// It does, but the answer does not come back.
    After,
}

/// The way.
pub struct Interruption {
    /// Where it begins.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    client: Client,
    side: Side,
    last: usize,
    seen: AtomicUsize,
    reached: Notify,
}

// === impl Interruption ===

impl Interruption {
    /// Makes a way that ends at the write with this number, counted from one, to the server that a kubeconfig names.
    ///
    /// # Panics
    /// The kubeconfig cannot be used, or no port is free.
    pub async fn start(kubeconfig: &Path, last: usize, side: Side) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.expect("a kubeconfig that can be used")).expect("a client");
        let shared = Arc::new(Shared { client, side, last, seen: AtomicUsize::new(0), reached: Notify::new() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server that serves") });
        Self { url, shared, task }
    }

    /// Waits for the last write.
    pub async fn reached(&self) {
        self.shared.reached.notified().await;
    }

    /// How many writes came.
    pub fn seen(&self) -> usize {
        self.shared.seen.load(Ordering::SeqCst)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let number = if is_write(&request) { shared.seen.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
    if number >= shared.last && (shared.side == Side::Before || number > shared.last) {
        shared.reached.notify_one();
        return std::future::pending().await;
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(http::header::HOST);
    let body = body.collect().await.expect("a whole request").to_bytes().to_vec();
    let answer = shared.client.send(http::Request::from_parts(parts, body.into())).await.expect("an API server");
    if number == shared.last {
        shared.reached.notify_one();
        return std::future::pending().await;
    }
    answer.map(Body::new)
}

fn is_write(request: &Request) -> bool {
    let dry = request.uri().query().is_some_and(|query| query.contains("dryRun=All"));
    request.method() != Method::GET && !dry && !request.uri().path().contains("reviews")
}
