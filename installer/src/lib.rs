//! Everything behind the `otelmesh` command.

pub mod apps;
pub mod client;
pub mod demo;
pub mod envoy;
pub mod receiver;
pub mod server;
pub mod telemetry;
pub mod wasm;
pub mod waterfall;
