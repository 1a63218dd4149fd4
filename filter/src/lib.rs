//! otelmesh's Envoy filter. The modules stand in the order in which a request meets them.
#![cfg_attr(
    not(test),
    deny(
        clippy::panic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unreachable,
        clippy::todo
    )
)]

pub mod attributes;
pub mod config;
pub mod host;
pub mod log;
pub mod otlp;
pub mod propagation;
pub mod redact;
pub mod sampling;
pub mod span;
