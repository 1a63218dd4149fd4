//! The whole product on a real mesh: kind, Istio, sidecars, the collector. One file a subject; each test has the mesh to
//! itself, and leaves it for the next as it found it.

mod faults;
mod gateway;
mod install;
mod life;
mod load;
mod monitoring;
mod panic;
mod sampling;
mod scaling;
mod security;
mod topology;
mod waypoint;
