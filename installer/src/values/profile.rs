//! Profiles: values that make a whole installation of one kind.
//!
//! In: a profile's name. Out: the chart's own file of that name, which Helm takes with `-f`. Refuses nothing: clap knows
//! the names.

use clap::ValueEnum;

/// A profile of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// To try it: every trace, two services, everything in the collector's log
    Demo,
    /// One collector on each node, for small clusters
    Agent,
    /// Collectors that scale with the load
    Gateway,
    /// Agents, and gateways that sample whole traces; everything that production asks for
    Production,
}

// === impl Profile ===

impl Profile {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Demo, Self::Agent, Self::Gateway, Self::Production];

    /// Its values file in the chart.
    pub fn file(self) -> &'static str {
        match self {
            Self::Demo => "values-demo.yaml",
            Self::Agent => "values-agent.yaml",
            Self::Gateway => "values-gateway.yaml",
            Self::Production => "values-production.yaml",
        }
    }

    /// The text of that file.
    pub fn text(self) -> &'static str {
        match self {
            Self::Demo => include_str!("../../../manifests/values-demo.yaml"),
            Self::Agent => include_str!("../../../manifests/values-agent.yaml"),
            Self::Gateway => include_str!("../../../manifests/values-gateway.yaml"),
            Self::Production => include_str!("../../../manifests/values-production.yaml"),
        }
    }
}
