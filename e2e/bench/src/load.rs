//! An open-loop client and the server behind the proxy. In: when requests are due, drawn at random as independent
//! clients would send them, so that a slow answer does not put off the next request. Out: how long after it was due each
//! answer was there. Panics where one is not a 200.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use otelmesh::envoy::bootstrap::Protocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Requests under way at once, at most.
const LANES: usize = 16;
/// Connections that they share where the protocol can.
const HTTP2_CONNECTIONS: usize = 4;

/// A client with connections that stay open.
pub struct Client {
    jobs: mpsc::UnboundedSender<Job>,
    _lanes: JoinSet<()>,
}

struct Job {
    due: Instant,
    number: u64,
    done: mpsc::UnboundedSender<Duration>,
}

type Body = Full<Bytes>;

/// Sends on an open connection.
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

// === impl Client ===

impl Client {
    /// Opens connections. Every request has `headers` beside those that all have.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn connect(to: SocketAddr, protocol: Protocol, headers: Vec<(String, String)>) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (queue, headers) = (Arc::new(Mutex::new(queue)), Arc::new(headers));
        let mut lanes = JoinSet::new();
        let connections = if protocol == Protocol::Http1 { LANES } else { HTTP2_CONNECTIONS };
        for _ in 0..connections {
            let stream = TcpStream::connect(to).await.expect("the proxy listens");
            stream.set_nodelay(true).expect("a socket's option");
            let io = TokioIo::new(stream);
            match protocol {
                Protocol::Http1 => {
                    let (sender, connection) = http1::handshake(io).await.expect("a connection");
                    tokio::spawn(connection);
                    lanes.spawn(lane(Sender::Http1(sender), Arc::clone(&queue), Arc::clone(&headers)));
                }
                Protocol::Http2 => {
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("a connection");
                    tokio::spawn(connection);
                    for _ in 0..LANES / HTTP2_CONNECTIONS {
                        let sender = Sender::Http2(sender.clone());
                        lanes.spawn(lane(sender, Arc::clone(&queue), Arc::clone(&headers)));
                    }
                }
            }
        }
        Self { jobs, _lanes: lanes }
    }

    /// Sends `count` requests, `rate` a second on average, at times that `seed` decides; answers their latencies.
    ///
    /// # Panics
    /// A request failed.
    pub async fn send(&self, count: u64, rate: f64, seed: u64) -> Vec<Duration> {
        let (done, mut latencies) = mpsc::unbounded_channel();
        let jobs = self.jobs.clone();
        // The runtime's timers tick in milliseconds; a thread's sleep is finer.
        let clock = thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut due = Instant::now();
            for number in 0..count {
                due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                jobs.send(Job { due, number, done: done.clone() }).expect("lanes are open");
            }
        });
        let mut all = Vec::with_capacity(count as usize);
        while let Some(latency) = latencies.recv().await {
            all.push(latency);
        }
        clock.join().expect("the clock does not panic");
        assert_eq!(all.len() as u64, count, "every request is answered");
        all
    }

    /// Answers how many requests a second there are with all lanes busy, over `count` of them.
    ///
    /// # Panics
    /// A request failed.
    pub async fn saturate(&self, count: u64) -> f64 {
        let begun = Instant::now();
        // Due at once, all of them.
        self.send(count, f64::INFINITY, 0).await;
        count as f64 / begun.elapsed().as_secs_f64()
    }
}

async fn lane(
    mut sender: Sender,
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Job>>>,
    headers: Arc<Vec<(String, String)>>,
) {
    loop {
        let Some(job) = queue.lock().await.recv().await else { return };
        let path = format!("/orders/{}?page=2", job.number % 1000);
        let (mut builder, authority) = (Request::get(&path), "orders.shop.svc.cluster.local:8080");
        builder = match &sender {
            Sender::Http1(_) => builder.header("host", authority),
            Sender::Http2(_) => Request::get(format!("http://{authority}{path}")).version(Version::HTTP_2),
        };
        for (name, value) in headers.iter() {
            builder = builder.header(name, value);
        }
        let request = builder.header("user-agent", "Go-http-client/1.1").header("accept", "application/json");
        let response = sender.send(request.body(Body::default()).expect("a request")).await;
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.expect("a body");
        // Nobody waits for it once the round was given up.
        let _ = job.done.send(job.due.elapsed());
    }
}

// === impl Sender ===

impl Sender {
    async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        let sent = match self {
            Self::Http1(sender) => {
                sender.ready().await.expect("the connection stays open");
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.expect("the connection stays open");
                sender.send_request(request).await
            }
        };
        sent.expect("the proxy answers")
    }
}

/// Serves every request alike, over either protocol, until the process ends.
///
/// # Panics
/// There is no free port.
pub async fn upstream() -> SocketAddr {
    serve(|_| async {
        let body = Full::new(Bytes::from_static(&[b'x'; 128])).boxed();
        Response::builder().header("content-type", "application/json").body(body).expect("a response")
    })
    .await
}

/// A server on a free port of loopback, until the process ends.
pub(crate) async fn serve<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = Response<BoxBody<Bytes, Infallible>>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                // A lost packet's worth of delay would be seen in the last percent of latencies.
                let _ = stream.set_nodelay(true);
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async { Ok::<_, Infallible>(answer.await) }
                });
                // The proxy closes its connections when it ends.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
