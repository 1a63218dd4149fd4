//! What must hold before and after an installation, as data.
//!
//! In: a [`Snapshot`] of the cluster, taken beforehand. Out: for each [`Check`] whether it holds, and if not the cause and
//! the next command. A check is a pure function: it asks nobody and writes nothing. What could not be looked at is said to
//! be so, and never counts as good.

use serde::Serialize;

pub mod command;
mod image;
mod istio;
mod kubernetes;
mod plugins;
mod proxies;
mod release;
mod report;
pub mod snapshot;
mod tracing;
mod visibility;

pub use report::Report;
pub use snapshot::Snapshot;

/// Where every check is explained, under a heading with its id.
pub const HINTS: &str = "docs/checks.md";

/// How bad it is when a check does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or will not.
    Error,
    /// Something works less well than it could, or may not be meant so.
    Warning,
}

/// What a check found: why it does not hold, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Why.
    pub cause: String,
    /// What to do, mostly a command.
    pub next: String,
}

/// What a check says: nothing if it holds; or why it could not be told.
pub type Findings = Result<Vec<Finding>, String>;

/// Something that must hold.
pub struct Check {
    /// Its name, which never changes.
    pub id: &'static str,
    /// What it is about.
    pub category: &'static str,
    /// What holds when all is well.
    pub sentence: &'static str,
    /// How bad it is when it does not.
    pub severity: Severity,
    /// Finds out.
    pub run: fn(&Snapshot) -> Findings,
}

use Severity::{Error, Warning};

const fn check(
    category: &'static str,
    id: &'static str,
    severity: Severity,
    sentence: &'static str,
    run: fn(&Snapshot) -> Findings,
) -> Check {
    Check { id, category, sentence, severity, run }
}

// What an installation must not meet, and what may come to stand in its way later.
const MESH_TRACING: Check = check(
    "tracing",
    "mesh-tracing",
    Error,
    "nothing turns Envoy's own tracer on where the filter is",
    tracing::providers,
);
const TELEMETRY_CLASH: Check =
    check("tracing", "telemetry-clash", Error, "no other Telemetry resource has the same scope", tracing::clash);
const PLUGIN_CLASH: Check =
    check("filter", "plugin-clash", Error, "the filter is not installed a second time", plugins::twice);
const SIDECAR_EGRESS: Check =
    check("collector", "sidecar-egress", Error, "no Sidecar resource hides the collector", visibility::sidecars);

/// What must hold before an installation.
pub const BEFORE: &[Check] = &[
    check("kubernetes", "kubernetes-version", Error, "Kubernetes is 1.28 or later", kubernetes::version),
    check("kubernetes", "kinds", Error, "the cluster knows every kind that will be applied", kubernetes::kinds),
    check(
        "kubernetes",
        "permissions",
        Error,
        "you may write every object that will be applied",
        kubernetes::permissions,
    ),
    check("kubernetes", "namespaces", Error, "every namespace that objects go to is there", kubernetes::namespaces),
    check("istio", "istio-running", Error, "istiod is running", istio::running),
    check("istio", "istio-version", Error, "Istio is 1.20 or later", istio::version),
    check("istio", "istio-mode", Warning, "workloads have a proxy that can run the filter", istio::mode),
    check("istio", "root-namespace", Error, "mesh.rootNamespace is Istio's root namespace", istio::root_namespace),
    MESH_TRACING,
    TELEMETRY_CLASH,
    check("tracing", "envoyfilter-tracing", Warning, "no EnvoyFilter configures a tracer", tracing::envoy_filters),
    PLUGIN_CLASH,
    check("filter", "plugin-order", Warning, "no other plugin comes before the filter", plugins::order),
    check("filter", "image", Error, "the registry has the filter's image", image::there),
    SIDECAR_EGRESS,
];

/// What must hold after one.
pub const AFTER: &[Check] = &[
    check("release", "installed", Error, "a revision is applied to its end", release::installed),
    check("release", "drift", Error, "every object is as it was applied", release::drift),
    check("release", "workloads", Error, "every workload is ready", release::workloads),
    MESH_TRACING,
    TELEMETRY_CLASH,
    PLUGIN_CLASH,
    SIDECAR_EGRESS,
    check("proxies", "proxies-loaded", Error, "every proxy runs the filter", proxies::loaded),
    check("proxies", "proxies-counters", Warning, "the filter's counters move", proxies::counters),
    check("proxies", "proxies-exports", Error, "the collector takes what the proxies send", proxies::exports),
];

/// One finding.
fn finding(cause: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { cause: cause.into(), next: next.into() }
}

#[cfg(test)]
mod tests;
