//! An OTLP receiver inside this process, for the demo and for tests.
//!
//! In: OTLP/gRPC on one port, OTLP/HTTP on another, both on loopback
//! unless told otherwise. Out: snapshots of all that came, or a wait until
//! it holds what is expected. It can be stopped dead and started again on the same ports, and be told to answer the next
//! requests with an error. Optionally hands copies of everything to a [`forward::Forwarder`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::StatusCode;

use crate::server::{Port, Server};
use forward::Forwarder;
use store::Store;
pub use store::{Export, Payload, Refusal, Signal, Snapshot, Transport};

pub mod forward;
mod grpc;
mod http_export;
mod store;
#[cfg(test)]
mod tests;

/// A receiver, running or stopped; dropping it stops it. What came stays when it stops.
#[derive(Debug)]
pub struct Receiver {
    store: Arc<Store>,
    forwarder: Option<Forwarder>,
    http: Port,
    grpc: Port,
    servers: Vec<Server>,
}

impl Receiver {
    /// Starts on free ports of loopback.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(forwarder: Option<&Forwarder>) -> Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST, forwarder).await
    }

    /// Starts on free ports of another address of this machine.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start_on(address: Ipv4Addr, forwarder: Option<&Forwarder>) -> Result<Self> {
        let forwarder = forwarder.cloned();
        let port =
            || Port::reserve(address).with_context(|| format!("the OTLP receiver finds no free port on {address}"));
        let (http, grpc) = (port()?, port()?);
        let mut receiver = Self { store: Arc::new(Store::new()), forwarder, http, grpc, servers: Vec::new() };
        receiver.restart().await?;
        Ok(receiver)
    }

    /// Where OTLP/HTTP listens, also while it is stopped.
    pub fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where OTLP/gRPC listens, also while it is stopped.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// Stops as a crash would: connections are closed, new ones refused.
    pub async fn stop(&mut self) {
        for server in self.servers.drain(..) {
            server.stop().await;
        }
    }

    /// Starts again on the same ports; nothing happens while it runs.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn restart(&mut self) -> Result<()> {
        if self.servers.is_empty() {
            let start = async {
                let http = http_export::router(Arc::clone(&self.store), self.forwarder.clone());
                let grpc = grpc::router(Arc::clone(&self.store), self.forwarder.clone());
                Ok::<_, io::Error>([Server::start(self.http(), http).await?, Server::start(self.grpc(), grpc).await?])
            };
            let servers = start.await.context("the OTLP receiver cannot listen on its ports")?;
            self.servers = servers.into();
        }
        Ok(())
    }

    /// Answers the next `requests`, HTTP and gRPC alike, with this status; 200 means as usual. Further calls queue up.
    pub fn answer_next(&self, requests: usize, status: StatusCode) {
        self.store.script(std::iter::repeat_n(status, requests));
    }

    /// All that came until now.
    pub fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    /// Waits until what came satisfies `condition`, and returns whether it did within `timeout`.
    pub async fn wait_for(&self, timeout: Duration, condition: impl Fn(&Snapshot) -> bool) -> bool {
        let mut changes = self.store.changes();
        let satisfied = async {
            loop {
                changes.borrow_and_update();
                if condition(&self.snapshot()) || changes.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(timeout, satisfied).await.is_ok()
    }
}
