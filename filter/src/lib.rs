//! otelmesh's Envoy filter. The modules stand in the order in which a request meets them.
//!
//! Everything but `host`, `plugin` and `exchange` is plain computation; time, randomness and the host are parameters.
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
pub mod batch;
pub mod config;
pub mod exchange;
pub mod export;
pub mod host;
pub mod log;
pub mod otlp;
pub mod pattern;
pub mod plugin;
pub mod propagation;
pub mod redact;
pub mod resource;
pub mod sampling;
pub mod span;
pub mod stats;
