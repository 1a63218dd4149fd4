//! Metrics: which there are, how they are told, and how many.

use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::limits::*;
use crate::read::{object, words};

/// Metrics of every exchange, sampled or not, but for those that `exclude` names. Each worker tells its own streams,
/// numbered with `otelmesh.writer`: streams of several writers must not look alike, or a backend takes one for another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Metrics {
    /// Whether they are recorded at all.
    pub enabled: bool,
    /// How often they are exported, 1s to 10m.
    pub interval: Millis,
    /// Whether a data point counts from the beginning, or from the one before it.
    pub temporality: Temporality,
    /// The form of histograms.
    pub histogram: HistogramForm,
    /// Bounds of an explicit histogram's buckets for durations, in seconds and in order; 1 to 64.
    pub boundaries: Vec<f64>,
    /// The same for sizes, in bytes.
    pub size_boundaries: Vec<f64>,
    /// Buckets of an exponential histogram at most, 2 to 160; its scale follows from them.
    pub max_buckets: u32,
    /// Sets of attributes that a worker remembers, 10 to 10000; all others share one, `otel.metric.overflow`.
    pub max_series: u32,
    /// Whether data points name spans as examples of what they count; only spans that are exported.
    pub exemplars: bool,
    /// Whether there is a metric of the exchanges under way.
    pub active_requests: bool,
    /// Whether there are metrics of the bodies' sizes.
    pub body_sizes: bool,
}

/// What a data point counts from. A lost export costs a cumulative stream nothing but detail, and Prometheus takes no
/// other; so it is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// From the beginning of the stream.
    #[default]
    Cumulative,
    /// From the data point before it.
    Delta,
}

/// The form of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HistogramForm {
    /// Buckets with the bounds that are configured.
    #[default]
    Explicit,
    /// Buckets whose bounds grow by a power of two, as fine as the values allow.
    Exponential,
}

object!(Metrics {
    enabled = "enabled",
    interval = "interval",
    temporality = "temporality",
    histogram = "histogram",
    boundaries = "boundaries",
    size_boundaries = "sizeBoundaries",
    max_buckets = "maxBuckets",
    max_series = "maxSeries",
    exemplars = "exemplars",
    active_requests = "activeRequests",
    body_sizes = "bodySizes",
});
words!(Temporality { Cumulative = "cumulative", Delta = "delta" });
words!(HistogramForm { Explicit = "explicit", Exponential = "exponential" });

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: DEFAULT_METRICS_INTERVAL,
            temporality: Temporality::Cumulative,
            histogram: HistogramForm::Explicit,
            boundaries: DEFAULT_BOUNDARIES.to_vec(),
            size_boundaries: DEFAULT_SIZE_BOUNDARIES.to_vec(),
            max_buckets: MAX_BUCKETS,
            max_series: DEFAULT_MAX_SERIES,
            exemplars: true,
            active_requests: false,
            body_sizes: false,
        }
    }
}
