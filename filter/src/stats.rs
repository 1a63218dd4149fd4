//! Every counter, defined once. In: what happens, counted in the VM's own memory. Out: Envoy stats, visible as
//! `wasmcustom.otelmesh_*`. They are published on tick, after a reply and on drain, not on the path of a request: each
//! costs a crossing.
//!
//! For each signal, at any moment: recorded = exported + rejected + dropped (by reason) + waiting.

use crate::host::{Host, MetricKind};

/// A kind of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Access logs.
    Logs,
    /// Data points of metrics.
    Metrics,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $stat:literal,)*) => {
        /// Something worth counting.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $name,)* }
        /// The stats' names, in the order of [`Counter`].
        const NAMES: &[&str] = &[$($stat,)*];
    };
}

counters! {
    /// Spans that entered a batch, or were dropped on the way into it.
    SpansRecorded = "otelmesh_spans_recorded",
    /// Spans that a receiver took.
    SpansExported = "otelmesh_spans_exported",
    /// Spans that a receiver refused within an export that it took (partial success).
    SpansRejected = "otelmesh_spans_rejected",
    /// Spans dropped because `batch.maxQueueBytes` were waiting already.
    SpansDroppedQueueFull = "otelmesh_spans_dropped_queue_full",
    /// Spans dropped with an export that may not be retried.
    SpansDroppedExportFailed = "otelmesh_spans_dropped_export_failed",
    /// Spans dropped because one alone is over `batch.maxExportBatchBytes`.
    SpansDroppedTooLarge = "otelmesh_spans_dropped_too_large",
    /// Spans that waited, or were under way, when Envoy let the filter go; of the latter some may have arrived.
    SpansDroppedShutdown = "otelmesh_spans_dropped_shutdown",
    /// Like [`Counter::SpansRecorded`].
    LogsRecorded = "otelmesh_logs_recorded",
    /// Like [`Counter::SpansExported`].
    LogsExported = "otelmesh_logs_exported",
    /// Like [`Counter::SpansRejected`].
    LogsRejected = "otelmesh_logs_rejected",
    /// Like [`Counter::SpansDroppedQueueFull`].
    LogsDroppedQueueFull = "otelmesh_logs_dropped_queue_full",
    /// Like [`Counter::SpansDroppedExportFailed`].
    LogsDroppedExportFailed = "otelmesh_logs_dropped_export_failed",
    /// Like [`Counter::SpansDroppedTooLarge`].
    LogsDroppedTooLarge = "otelmesh_logs_dropped_too_large",
    /// Like [`Counter::SpansDroppedShutdown`].
    LogsDroppedShutdown = "otelmesh_logs_dropped_shutdown",
    /// Data points that a collection made; otherwise like [`Counter::SpansRecorded`].
    DataPointsRecorded = "otelmesh_data_points_recorded",
    /// Like [`Counter::SpansExported`].
    DataPointsExported = "otelmesh_data_points_exported",
    /// Like [`Counter::SpansRejected`].
    DataPointsRejected = "otelmesh_data_points_rejected",
    /// Like [`Counter::SpansDroppedQueueFull`].
    DataPointsDroppedQueueFull = "otelmesh_data_points_dropped_queue_full",
    /// Like [`Counter::SpansDroppedExportFailed`].
    DataPointsDroppedExportFailed = "otelmesh_data_points_dropped_export_failed",
    /// Like [`Counter::SpansDroppedTooLarge`].
    DataPointsDroppedTooLarge = "otelmesh_data_points_dropped_too_large",
    /// Like [`Counter::SpansDroppedShutdown`].
    DataPointsDroppedShutdown = "otelmesh_data_points_dropped_shutdown",
    /// Export calls that were begun.
    ExportsStarted = "otelmesh_exports_started",
    /// Export calls that a receiver took.
    ExportsSucceeded = "otelmesh_exports_succeeded",
    /// Export calls whose records wait for another try.
    ExportsRetried = "otelmesh_exports_retried",
    /// Export calls whose records were dropped.
    ExportsFailed = "otelmesh_exports_failed",
    /// Traces that came in and were carried on.
    TracesContinued = "otelmesh_traces_continued",
    /// Traces that began here.
    TracesStarted = "otelmesh_traces_started",
    /// Traces that began here although one came in, from a caller that is not trusted.
    TracesDistrusted = "otelmesh_traces_distrusted",
    /// Traces that are not recorded because a rule's `maxPerSecond` was used up.
    TracesOverLimit = "otelmesh_traces_over_limit",
    /// Spans that are exported although their trace is not recorded.
    SpansKept = "otelmesh_kept_spans",
    /// Exchanges measured without their attributes because `metrics.maxSeries` sets of them were in use.
    MetricsOverflow = "otelmesh_metrics_overflow",
    /// Values out of which something was redacted.
    ValuesRedacted = "otelmesh_values_redacted",
    /// Values that were cut at `redaction.maxValueBytes`.
    ValuesTruncated = "otelmesh_values_truncated",
    /// Requests whose baggage is more than 64 members or 8192 bytes; it goes on all the same.
    BaggageOverLimit = "otelmesh_baggage_over_limit",
    /// Requests with a malformed `traceparent`, or two of them.
    MalformedTracecontext = "otelmesh_malformed_tracecontext",
    /// Requests with a malformed `b3`.
    MalformedB3 = "otelmesh_malformed_b3",
    /// Requests with malformed `x-b3-*`.
    MalformedB3multi = "otelmesh_malformed_b3multi",
    /// Requests whose `tracestate` was dropped as malformed.
    MalformedTracestate = "otelmesh_malformed_tracestate",
    /// Requests whose formats named different traces; the order of `propagation.extract` decided.
    ConflictingContexts = "otelmesh_conflicting_contexts",
    /// Requests with a malformed `uber-trace-id`.
    MalformedJaeger = "otelmesh_malformed_jaeger",
    /// Requests with a malformed `x-amzn-trace-id`.
    MalformedXray = "otelmesh_malformed_xray",
    /// Requests with malformed `ot-tracer-*`.
    MalformedOttrace = "otelmesh_malformed_ottrace",
    /// Exchanges that Envoy ended before it showed the filter their request, such as malformed requests.
    ExchangesLogOnly = "otelmesh_exchanges_log_only",
    /// Exchanges left alone because `exclude` says so.
    ExchangesExcluded = "otelmesh_exchanges_excluded",
    /// Exchanges left alone because they are telemetry exports themselves.
    ExchangesOwnExport = "otelmesh_exchanges_own_export",
    /// Exchanges whose trace was not carried on because too many were open at once; they are recorded as they end.
    ExchangesOverLimit = "otelmesh_exchanges_over_limit",
    /// Configurations that were refused; the filter then does nothing.
    ConfigRejected = "otelmesh_config_rejected",
    /// Hostcalls that failed where they should not.
    HostErrors = "otelmesh_host_errors",
    /// Seconds that a VM lived, one VM a worker and one on Envoy's main thread. One that trapped counts no more.
    Heartbeats = "otelmesh_heartbeats",
    /// Workers on which the filter panicked, and is off; counted by the guard, which has no [`Stats`].
    Panics = "otelmesh_panics",
}

/// [`Counter::Panics`] by its name.
pub const PANICS: &str = "otelmesh_panics";

/// Gauges of what waits or is under way, in the order of [`Signal`].
const WAITING: [&str; Signal::ALL.len()] =
    ["otelmesh_spans_waiting", "otelmesh_logs_waiting", "otelmesh_data_points_waiting"];

/// The counters of one signal.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// Entered the books.
    pub recorded: Counter,
    /// Taken by a receiver.
    pub exported: Counter,
    /// Refused by a receiver.
    pub rejected: Counter,
    /// No room.
    pub queue_full: Counter,
    /// No success.
    pub export_failed: Counter,
    /// Too large alone.
    pub too_large: Counter,
    /// No time left.
    pub shutdown: Counter,
}

/// Counts of one VM that Envoy does not know yet.
#[derive(Debug)]
pub struct Stats {
    pending: [u64; NAMES.len()],
    ids: Option<Ids>,
    waiting: [i64; WAITING.len()],
}

#[derive(Debug)]
struct Ids {
    counters: Vec<Option<u32>>,
    waiting: Vec<Option<u32>>,
}

/// The names of all stats.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().chain(&WAITING).copied()
}

// === impl Signal ===

impl Signal {
    /// All, in the order in which they are exported.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The signal's books.
    pub fn ledger(self) -> Ledger {
        match self {
            Self::Traces => Ledger {
                recorded: Counter::SpansRecorded,
                exported: Counter::SpansExported,
                rejected: Counter::SpansRejected,
                queue_full: Counter::SpansDroppedQueueFull,
                export_failed: Counter::SpansDroppedExportFailed,
                too_large: Counter::SpansDroppedTooLarge,
                shutdown: Counter::SpansDroppedShutdown,
            },
            Self::Logs => Ledger {
                recorded: Counter::LogsRecorded,
                exported: Counter::LogsExported,
                rejected: Counter::LogsRejected,
                queue_full: Counter::LogsDroppedQueueFull,
                export_failed: Counter::LogsDroppedExportFailed,
                too_large: Counter::LogsDroppedTooLarge,
                shutdown: Counter::LogsDroppedShutdown,
            },
            Self::Metrics => Ledger {
                recorded: Counter::DataPointsRecorded,
                exported: Counter::DataPointsExported,
                rejected: Counter::DataPointsRejected,
                queue_full: Counter::DataPointsDroppedQueueFull,
                export_failed: Counter::DataPointsDroppedExportFailed,
                too_large: Counter::DataPointsDroppedTooLarge,
                shutdown: Counter::DataPointsDroppedShutdown,
            },
        }
    }
}

// === impl Stats ===

impl Default for Stats {
    fn default() -> Self {
        Self { pending: [0; NAMES.len()], ids: None, waiting: [0; WAITING.len()] }
    }
}

impl Stats {
    /// Counts one.
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts several at once.
    pub fn add(&mut self, counter: Counter, by: u64) {
        if let Some(pending) = self.pending.get_mut(counter as usize) {
            *pending = pending.saturating_add(by);
        }
    }

    /// Hands everything to Envoy. `waiting` is what waits or is under way now, in the order of [`Signal::ALL`].
    pub fn publish(&mut self, host: &mut impl Host, waiting: [u64; WAITING.len()]) {
        let ids = self.ids.get_or_insert_with(|| Ids::define(host));
        for (pending, id) in self.pending.iter_mut().zip(&ids.counters) {
            // Envoy refuses to raise a counter by nothing.
            if *pending > 0
                && let Some(id) = id
                && host.increment_metric(*id, i64::try_from(*pending).unwrap_or(i64::MAX)).is_ok()
            {
                *pending = 0;
            }
        }
        for ((published, now), id) in self.waiting.iter_mut().zip(waiting).zip(&ids.waiting) {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            let change = now.saturating_sub(*published);
            // A worker adds its part: the gauge is the sum over all workers.
            if change != 0
                && let Some(id) = id
                && host.increment_metric(*id, change).is_ok()
            {
                *published = now;
            }
        }
    }
}

impl Ids {
    fn define(host: &mut impl Host) -> Self {
        let mut define = |kind, names: &[&str]| names.iter().map(|n| host.define_metric(kind, n).ok()).collect();
        Self { counters: define(MetricKind::Counter, NAMES), waiting: define(MetricKind::Gauge, &WAITING) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn counts_reach_envoy_once_and_gauges_are_differences() {
        let mut host = Fake::default();
        let mut stats = Stats::default();
        stats.add(Counter::SpansRecorded, 3);
        stats.count(Counter::LogsDroppedTooLarge);
        stats.publish(&mut host, [3, 0, 0]);
        assert_eq!(host.stat("otelmesh_spans_recorded"), 3);
        assert_eq!(host.stat("otelmesh_logs_dropped_too_large"), 1);
        assert_eq!(host.stat("otelmesh_spans_waiting"), 3);
        stats.publish(&mut host, [1, 2, 0]);
        assert_eq!(host.stat("otelmesh_spans_recorded"), 3);
        assert_eq!(host.stat("otelmesh_spans_waiting"), 1);
        assert_eq!(host.stat("otelmesh_logs_waiting"), 2);
    }

    #[test]
    fn names_are_unique_and_say_whose_they_are() {
        let all: std::collections::BTreeSet<_> = names().collect();
        assert_eq!(all.len(), NAMES.len() + WAITING.len());
        assert!(all.iter().all(|name| name.starts_with("otelmesh_")));
        assert_eq!(NAMES[Counter::HostErrors as usize], "otelmesh_host_errors");
        assert_eq!(NAMES[Counter::Panics as usize], PANICS);
    }
}
