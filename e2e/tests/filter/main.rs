//! The filter in a real Envoy, a subject a file. `make test` runs this with the newest and with the oldest Envoy.

mod collector;
mod configuration;
mod exports;
mod hostile;
mod metrics;
mod propagation;
mod replies;
mod sampling;
mod signals;
mod streams;
mod traps;
