//! Everything behind the `otelmesh` command.

pub mod chart;
pub mod completion;
pub mod render;
pub mod values;
pub mod wasm;
