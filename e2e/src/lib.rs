//! otelmesh against real parts.

pub mod registry;
pub mod tools;
