//! A server that speaks HTTP/1.1 by hand, so that tests see each header line as Envoy sent it, repeated or not.
//!
//! In: requests. Out: an answer by path, and the request heads. `/slow` is answered only after a minute, `/reset` by
//! closing the connection, `/redirect` with a 302 to `/redirected`, `/upgrade` with a 101 and then an echo, anything
//! else with a 200.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A running upstream; dropping it ends it and all of its connections.
pub struct Upstream {
    address: SocketAddr,
    heads: Heads,
    _tasks: JoinSet<()>,
}

/// Request line and headers of one request.
#[derive(Debug, Clone)]
pub struct Head(Vec<u8>);

type Heads = Arc<Mutex<Vec<Head>>>;

// === impl Upstream ===

impl Upstream {
    /// Listens on a free port of loopback.
    ///
    /// # Panics
    /// There is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Heads::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&heads)));
        Self { address, heads, _tasks: tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<Head> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The head of the last request.
    ///
    /// # Panics
    /// There was none.
    pub fn last(&self) -> Head {
        self.heads().pop().expect("a request that reached the upstream")
    }
}

// === impl Head ===

impl Head {
    /// The path with its query.
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.0).split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// The values of a header, one for each line.
    pub fn values(&self, name: &str) -> Vec<String> {
        let lines = self.0.split(|b| *b == b'\n').skip(1);
        let value = |line: &[u8]| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        lines.filter_map(value).collect()
    }

    /// The value of a header that must be there once.
    ///
    /// # Panics
    /// It is not.
    pub fn value(&self, name: &str) -> String {
        match self.values(name).as_slice() {
            [value] => value.clone(),
            other => panic!("{name} came {} times: {other:?}", other.len()),
        }
    }
}

async fn accept(listener: TcpListener, heads: Heads) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&heads)));
    }
}

async fn serve(mut stream: TcpStream, heads: Heads) {
    // Whatever goes wrong on a connection is the test's own doing.
    let _ = answer_all(&mut stream, &heads).await;
}

async fn answer_all(stream: &mut TcpStream, heads: &Heads) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = Head(buffer.drain(..end).collect());
        heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let mut body: usize = head.values("content-length").pop().and_then(|len| len.parse().ok()).unwrap_or(0);
        while body > 0 {
            let taken = body.min(buffer.len());
            buffer.drain(..taken);
            body -= taken;
            if body > 0 && stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let line = String::from_utf8_lossy(&head.0).lines().next().unwrap_or_default().to_owned();
        let response: &[u8] = match line.split(' ').nth(1).unwrap_or_default() {
            "/slow" => {
                sleep(Duration::from_secs(60)).await;
                return Ok(());
            }
            "/reset" => return Ok(()),
            "/redirect" => {
                b"HTTP/1.1 302 Found\r\nlocation: http://shop.example/redirected\r\ncontent-length: 0\r\n\r\n"
            }
            "/upgrade" => {
                stream
                    .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
                    .await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                return Ok(());
            }
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n",
        };
        stream.write_all(response).await?;
    }
}
