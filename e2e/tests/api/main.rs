//! The commands that change a cluster, against a real API server: what they write, what they refuse, and what is left
//! when they are killed.

mod checks;
mod cluster;
mod collector_config;
mod conflicts;
mod interruption;
mod lifecycle;
mod sets;
mod zero_writes;
