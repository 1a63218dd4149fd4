//! Everything behind the `otelmesh` command.

pub mod apps;
pub mod chart;
pub mod client;
pub mod completion;
pub mod demo;
pub mod envoy;
pub mod image;
pub mod receiver;
pub mod render;
pub mod server;
pub mod telemetry;
pub mod values;
pub mod wasm;
pub mod waterfall;
