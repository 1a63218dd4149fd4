//! An OTLP receiver that behaves as badly as it is told to, over HTTP/1.1 and HTTP/2 with prior knowledge.
//!
//! In: for each signal, the answers to its next requests; every later one is taken. Out: which records it took, seen as a
//! receiver sees them: by their ids, each as often as it came. Only a whole success takes records.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Channel};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use otelmesh::server::Port;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

pub use answer::Answer;
use answer::How;
use records::ids;

mod answer;
mod records;

/// Longer than any timeout that a test configures.
const FOREVER: Duration = Duration::from_secs(30);

/// What a receiver knows of the records that came.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// By its id, how often each record came in a request that was taken.
    pub records: BTreeMap<String, usize>,
    /// How many of them were rejected.
    pub rejected: usize,
    /// Requests, taken or not.
    pub requests: usize,
}

/// A running or stopped receiver.
#[derive(Debug)]
pub struct Scripted {
    port: Port,
    state: Arc<Mutex<State>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<&'static str, VecDeque<Answer>>,
    taken: HashMap<&'static str, Taken>,
    rubbish: usize,
}

// === impl Scripted ===

impl Scripted {
    /// Starts on a free port of loopback.
    ///
    /// # Panics
    /// There is none.
    pub async fn start() -> Self {
        let port = Port::reserve(Ipv4Addr::LOCALHOST).expect("a free port on loopback");
        let mut scripted = Self { port, state: Arc::default(), task: None };
        scripted.restart();
        scripted
    }

    /// Where it listens, also while it is stopped.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Stops as a crash would.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Cancelled, which is what was asked for.
            let _ = task.await;
        }
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    /// The operating system refuses.
    pub fn restart(&mut self) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).and_then(|()| socket.set_reuseport(true)).expect("a socket's options");
        socket.bind(self.address()).expect("our own port");
        let listener = socket.listen(1024).expect("our own port");
        self.task = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
    }

    /// The answers to the next requests of each signal.
    pub fn script(&self, answers: &[Answer]) {
        let mut state = lock(&self.state);
        for noun in ["spans", "logs", "data_points"] {
            state.answers.insert(noun, answers.iter().cloned().collect());
        }
    }

    /// Answers the next connections with bytes that are no HTTP, and closes them.
    pub async fn rubbish(&mut self, connections: usize) {
        lock(&self.state).rubbish = connections;
        // Connections that are open already would not show it.
        self.stop().await;
        self.restart();
    }

    /// What was taken so far, of `spans`, `logs` or `data_points`.
    pub fn taken(&self, noun: &str) -> Taken {
        lock(&self.state).taken.get(noun).cloned().unwrap_or_default()
    }

    /// Forgets what came.
    pub fn forget(&self) {
        lock(&self.state).taken.clear();
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let is_rubbish = {
            let mut state = lock(&state);
            let left = state.rubbish;
            state.rubbish = left.saturating_sub(1);
            left > 0
        };
        if is_rubbish {
            connections.spawn(rubbish(stream));
        } else {
            connections.spawn(serve(stream, Arc::clone(&state)));
        }
    }
}

async fn rubbish(mut stream: TcpStream) {
    let _ = stream.write_all(&[0xff; 4096]).await;
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&state)));
    // A broken connection is what scripts ask for.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Channel<Bytes, io::Error>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let path = head.uri.path().to_ascii_lowercase();
    let nouns = [("log", "logs"), ("metric", "data_points")];
    let noun = nouns.iter().find(|(word, _)| path.contains(word)).map_or("spans", |(_, noun)| noun);
    let message = if is_grpc { body.get(5..).unwrap_or_default() } else { &body };
    let is_gzip = ["content-encoding", "grpc-encoding"].iter().any(|name| head.headers.contains_key(*name));
    let mut plain = Vec::new();
    if is_gzip {
        GzDecoder::new(message).read_to_end(&mut plain)?;
    }
    let ids = ids(noun, if is_gzip { &plain } else { message });
    let answer = {
        let mut state = lock(&state);
        let scripted = state.answers.entry(noun).or_default().pop_front();
        let answer = scripted.unwrap_or_else(|| if is_grpc { Answer::grpc(0) } else { Answer::http(200) });
        let taken = state.taken.entry(noun).or_default();
        taken.requests += 1;
        if let Some(rejected) = answer.takes {
            taken.rejected += rejected.min(ids.len());
            ids.into_iter().for_each(|id| *taken.records.entry(id).or_default() += 1);
        }
        answer
    };
    match answer.how {
        How::Hang => {
            sleep(FOREVER).await;
            Err(io::Error::other("nobody waited"))
        }
        How::Reset => Err(io::Error::other("scripted")),
        how => Ok(respond(answer, how)),
    }
}

fn respond(answer: Answer, how: How) -> Response<Channel<Bytes, io::Error>> {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(4);
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    if let Some(seconds) = answer.retry_date {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
        response = response.header("retry-after", date);
    }
    tokio::spawn(async move {
        let sent = async {
            if how != How::Whole {
                // Something that begins like an answer.
                sender.send_data(Bytes::from_static(b"\0\0\0")).await.ok()?;
                sleep(Duration::from_millis(50)).await;
            }
            if how == How::SlowBody {
                sleep(FOREVER).await;
            }
            for chunk in answer.body.chunks(64 * 1024) {
                sender.send_data(Bytes::copy_from_slice(chunk)).await.ok()?;
            }
            let mut trailers = HeaderMap::new();
            for (name, value) in answer.trailers {
                trailers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?);
            }
            if !trailers.is_empty() && how == How::Whole {
                sender.send_trailers(trailers).await.ok()?;
            }
            Some(())
        };
        let _: Option<()> = sent.await;
        if how != How::Whole {
            sender.abort(io::Error::other("scripted"));
        }
    });
    response.body(body).expect("a script's headers are valid")
}
