//! Every limit and default of the configuration, with its reason.

use crate::Millis;

/// Where a collector stands that the chart installs with its defaults.
pub const DEFAULT_CLUSTER: &str = "outbound|4318||otel-collector.otelmesh.svc.cluster.local";
/// OTLP/HTTP default paths (OTLP specification, "OTLP/HTTP Request").
pub const DEFAULT_TRACES_PATH: &str = "/v1/traces";
/// See [`DEFAULT_TRACES_PATH`].
pub const DEFAULT_LOGS_PATH: &str = "/v1/logs";
/// See [`DEFAULT_TRACES_PATH`].
pub const DEFAULT_METRICS_PATH: &str = "/v1/metrics";
/// `OTEL_EXPORTER_OTLP_TIMEOUT` of the OpenTelemetry specification.
pub const DEFAULT_TIMEOUT: Millis = Millis(10_000);
/// Shorter than Istio's five seconds of drain, so that a stopping proxy still sends what it holds.
pub const DEFAULT_SCHEDULE_DELAY: Millis = Millis(1_000);
/// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` of the OpenTelemetry specification.
pub const DEFAULT_MAX_EXPORT_BATCH_SIZE: u32 = 512;
/// About 512 spans of the usual size; far below the 64 MiB that an OTLP receiver must take.
pub const DEFAULT_MAX_EXPORT_BATCH_BYTES: u32 = 256 * 1024;
/// Some seconds of a busy worker's telemetry, small next to a sidecar's 50 MiB.
pub const DEFAULT_MAX_QUEUE_BYTES: u32 = 2 * 1024 * 1024;
/// One call that waits must not stop the other signal; more would only pile up on a slow collector.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 2;
/// `parentbased_always_on`, the sampler that OpenTelemetry SDKs start with.
pub const DEFAULT_RATIO: f64 = 1.0;
/// Where Kubernetes applications answer probes and scrapes by convention.
pub const DEFAULT_EXCLUDED_PATHS: [&str; 6] =
    ["/healthz", "/livez", "/readyz", "/health", "/metrics", "/stats/prometheus"];
/// Who sends probes and scrapes.
pub const DEFAULT_EXCLUDED_USER_AGENTS: [&str; 3] = ["kube-probe/", "Prometheus/", "GoogleHC/"];
/// Headers that carry credentials, which no attribute may show.
pub(crate) const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-forwarded-client-cert"];
/// Most folded routes a worker remembers; as many names as a trace backend still lists.
pub const MAX_FOLDED_ROUTES: usize = 200;
/// Most route templates.
pub const MAX_TEMPLATES: usize = 256;
/// Most sampling rules, and most entries of a list within one.
pub const MAX_RULES: usize = 64;
/// Longest accepted name, path or attribute value in the configuration, in bytes.
pub const MAX_TEXT: usize = 1024;
/// Most resource attributes that may be set by hand.
pub const MAX_RESOURCE_ATTRIBUTES: usize = 64;
/// Longest captured header value or attribute, in bytes; the rest is cut at a character boundary.
pub const MAX_VALUE_BYTES: usize = 2048;
/// Most exchanges a worker remembers at once; those beyond it pass untouched and are counted.
pub const MAX_LIVE_EXCHANGES: usize = 65_536;
/// Longest wait between two export attempts.
pub const MAX_BACKOFF: Millis = Millis(30_000);
/// Longest wait that a receiver may ask for (`Retry-After`); one that asks for more is asked sooner.
pub const MAX_RETRY_AFTER: Millis = Millis(300_000);
/// First wait after a failed export; doubles up to [`MAX_BACKOFF`].
pub const MIN_BACKOFF: Millis = Millis(1_000);
/// `OTEL_METRIC_EXPORT_INTERVAL` of the OpenTelemetry specification.
pub const DEFAULT_METRICS_INTERVAL: Millis = Millis(60_000);
/// What the semantic conventions advise for durations of HTTP requests, in seconds.
pub const DEFAULT_BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// They advise none for sizes; powers of ten from an empty body's few bytes to a large download, in bytes.
pub const DEFAULT_SIZE_BOUNDARIES: [f64; 7] = [0.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];
/// Most bounds of an explicit histogram.
pub const MAX_BOUNDARIES: usize = 64;
/// The OpenTelemetry specification's `MaxSize` of exponential histograms, and the most that is worth its memory.
pub const MAX_BUCKETS: u32 = 160;
/// Half of what OpenTelemetry's SDKs allow a whole process, since there is a memory for each worker: some 700 KB of them
/// if ever all are used.
pub const DEFAULT_MAX_SERIES: u32 = 1_000;
/// Most exemplars of one data point.
pub const MAX_EXEMPLARS: usize = 8;
/// Most data points in one metric of an export.
pub const MAX_POINTS: u32 = 64;
/// What the first words of every access log say.
pub const DEFAULT_BODY: &str = "{method} {path} {status}";
