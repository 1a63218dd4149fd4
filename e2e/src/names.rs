//! A DNS server that knows loopback under every name, or nothing, as it is told.
//!
//! In: questions over UDP. Out: an A record with a life of a second, or NXDOMAIN. What is no question gets no answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Names {
    address: SocketAddr,
    resolves: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

// === impl Names ===

impl Names {
    /// Listens on a free port of loopback.
    ///
    /// # Panics
    /// There is none.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
        let address = socket.local_addr().expect("a bound socket has an address");
        let resolves = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn(serve(socket, Arc::clone(&resolves)));
        Self { address, resolves, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether names exist from now on.
    pub fn resolve(&self, resolves: bool) {
        self.resolves.store(resolves, Ordering::Relaxed);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, resolves: Arc<AtomicBool>) {
    let mut buffer = [0; 512];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        if let Some(reply) = answer(&buffer[..len], resolves.load(Ordering::Relaxed)) {
            // Who asked may be gone.
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

/// The reply to a message with one question (RFC 1035, 4.1).
fn answer(message: &[u8], resolves: bool) -> Option<Vec<u8>> {
    let (header, rest) = message.split_at_checked(12)?;
    // The name ends with an empty label; type and class follow.
    let question = rest.get(..rest.iter().position(|b| *b == 0)? + 5)?;
    let is_address = question.ends_with(&[0, 1, 0, 1]);
    let count = u8::from(resolves && is_address);
    let code = if resolves { 0x80 } else { 0x83 };
    let mut reply = [&header[..2], &[0x85, code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    if count > 0 {
        // The name is the question's; A, IN, one second, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(reply)
}
