//! Everything behind the `otelmesh` command.

pub mod chart;
pub mod completion;
pub mod image;
pub mod render;
pub mod values;
pub mod wasm;
