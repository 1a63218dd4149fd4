//! HTTP/1.1 by hand, for what no client library would send.
//!
//! In: bytes. Out: the status code and everything else that came back. Nothing is checked on the way out.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request for `path` with these header lines, one after the other, each with its bytes as they are.
pub fn request(path: &[u8], headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = [b"GET ", path, b" HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n"].concat();
    for (name, value) in headers {
        out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    out.extend(b"\r\n");
    out
}

/// Sends bytes, reads until the other side closes, and answers the status code; `None` where there was no response.
///
/// # Panics
/// The connection cannot be made, or nothing happens on it for ten seconds.
pub async fn send(to: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut response = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut response)).await;
    // A reset after a complete response is fine, and before one there is no status line.
    let _ = read.expect("an answer within ten seconds");
    let status = response.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}
