//! Everything behind the `otelmesh` command.

pub mod wasm;
