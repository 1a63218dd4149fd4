//! Everything behind the `otelmesh` command.

pub mod client;
pub mod envoy;
pub mod locate;
pub mod receiver;
pub mod server;
pub mod telemetry;
