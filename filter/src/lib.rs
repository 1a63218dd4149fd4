//! otelmesh's Envoy filter. The modules stand in the order in which a request meets them.

pub mod config;
