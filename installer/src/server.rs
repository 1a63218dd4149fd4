//! An HTTP server on loopback that can be stopped dead.
//!
//! In: an address and a router. Out: HTTP/1.1 and HTTP/2 with prior knowledge on one port. Stopping it closes the
//! listener and every open connection, as a crash would: a graceful end would hide what a client does without a server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Any free port on loopback.
pub const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A port that stays its owner's while nobody listens on it: otherwise the kernel may give it to any
/// connection that is made meanwhile.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _bound: TcpSocket,
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    // Closing this channel is the sign to stop.
    running: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

// === impl Port ===

impl Port {
    /// Takes any free port of an address of this machine.
    ///
    /// # Errors
    /// There is none, or the address is another machine's.
    pub fn reserve(address: Ipv4Addr) -> io::Result<Self> {
        let bound = bind((address, 0).into())?;
        Ok(Self { address: bound.local_addr()?, _bound: bound })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

// === impl Server ===

impl Server {
    /// Listens; the server answers when this returns.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, router: Router) -> io::Result<Self> {
        let listener = bind(address)?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let (running, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, router, stopped));
        Ok(Self { address, running, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops; when this returns, the port is free and no connection is left.
    pub async fn stop(self) {
        drop(self.running);
        // A panic in a handler ends its own task only, so there is nothing to pass on.
        let _ = self.task.await;
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // A reserved port is bound twice: by its owner and by the server.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, router.clone()));
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, router: Router) {
    // Small replies must not wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let builder = auto::Builder::new(TokioExecutor::new());
    // A broken connection is the client's own matter.
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use http::HeaderMap;

    use super::*;
    use crate::client::Client;

    #[tokio::test]
    async fn a_stopped_server_leaves_its_port_free_and_closes_kept_connections() {
        let router = Router::new().route("/", get(async || "hello"));
        let server = Server::start(ANY_PORT, router.clone()).await.unwrap();
        let (url, address) = (format!("http://{}/", server.address()), server.address());
        let client = Client::new();
        assert_eq!(client.get(&url, HeaderMap::new()).await.unwrap().text(), "hello");

        server.stop().await;
        let error = client.get(&url, HeaderMap::new()).await.unwrap_err();
        assert!(format!("{error:#}").contains("refused"), "{error:#}");

        let _again = Server::start(address, router).await.unwrap();
        assert_eq!(client.get(&url, HeaderMap::new()).await.unwrap().text(), "hello");
    }
}
