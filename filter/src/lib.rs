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

pub use otelmesh_config as config;

pub mod host;
pub mod plugin;
pub mod settings;
pub mod exchange;
pub mod propagation;
pub mod sampling;
pub mod attributes;
pub mod route;
pub mod redact;
pub mod resource;
pub mod span;
pub mod log;
pub mod metric;
pub mod otlp;
pub mod batch;
pub mod export;
pub mod stats;
pub mod table;
pub mod hash;
