//! What otelmesh costs: beside Envoy's own telemetry in time, memory and bytes, and by itself in instructions and crossings.

pub mod budget;
pub mod compare;
pub mod counted;
pub mod load;
pub mod report;
pub mod rung;
pub mod sink;
pub mod statistics;
pub mod usage;
