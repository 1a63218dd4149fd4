//! What receivers do to exports, scenario by scenario, and what became of the records: the same for the filter and for
//! what Envoy has itself, its OpenTelemetry tracer and its OTLP access log.
//!
//! In: a [`Subject`] and a protocol. Out: an [`Outcome`] for each scenario, of which the filter's are checked against its
//! own books and against what the receiver holds. Panics where the books are wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use otelmesh::envoy::bootstrap::{Protocol, Traffic, bootstrap, cluster, http_listener, route};
use otelmesh::envoy::{Envoy, Options};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::proxy::{Books, COLLECTOR, Proxy, Setup};
use crate::raw;
use crate::scripted::{Answer, Scripted};
use crate::upstream::Upstream;

pub mod changes;

/// Requests in a scenario; they are sent faster than any schedule, so they leave together.
pub const REQUESTS: usize = 10;
const NOUNS: [&str; 2] = ["spans", "logs"];

/// How exports travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// OTLP/HTTP.
    Http,
    /// OTLP/gRPC.
    Grpc,
}

/// Who exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The filter.
    Filter,
    /// Envoy's OpenTelemetry tracer and OTLP access log.
    Native,
}

/// What must become of the records, as far as the filter is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The receiver has all of them.
    Delivered,
    /// It has them, but for those that it rejected.
    Rejected(usize),
    /// They are dropped and counted: OTLP forbids another try.
    Dropped,
    /// They are dropped and counted although the receiver has them, which its answer does not tell.
    DroppedOnArrival,
}

/// What the receiver does.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It answers, before it takes everything.
    Answers(Vec<Answer>),
    /// It speaks no HTTP on so many connections.
    Rubbish(usize),
    /// It is away when the records come, and comes back after a while.
    Away(Duration),
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// In messages.
    pub name: &'static str,
    /// In a table, which has one row for scenarios alike.
    pub row: &'static str,
    /// What the receiver does.
    pub fault: Fault,
    /// What must come of it.
    pub fate: Fate,
    /// How long the receiver asked to be left alone.
    pub wait: Duration,
}

/// What became of one signal's records.
#[derive(Debug, Clone, Default)]
pub struct Fortune {
    /// Different records that the receiver took.
    pub received: usize,
    /// Records that it took more than once.
    pub repeated: usize,
    /// Records that it rejected of those.
    pub rejected: usize,
    /// What the sender says it dropped, by reason.
    pub dropped: BTreeMap<String, i64>,
}

/// What became of a scenario.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests.
    pub sent: usize,
    /// Requests that were not answered with 200.
    pub failed: usize,
    /// Spans, then logs.
    pub fortunes: [Fortune; 2],
}

/// One Envoy and one receiver, for scenario after scenario.
pub struct Bench {
    wire: Wire,
    receiver: Scripted,
    sender: Sender,
    /// Data points that the receiver took in earlier scenarios.
    points: usize,
    _upstream: Upstream,
}

enum Sender {
    Filter(Box<Proxy>),
    Native(Box<Envoy>),
}

/// The scenarios of a protocol.
pub fn scenarios(wire: Wire) -> Vec<Scenario> {
    let answers = |name, fate, answers: Vec<Answer>| Scenario::new(name, fate, Fault::Answers(answers));
    let away = Fault::Away(Duration::from_millis(1500));
    let mut all = vec![
        answers("takes everything", Fate::Delivered, vec![]),
        Scenario::new("killed and restarted", Fate::Delivered, away),
        Scenario::new("no HTTP at all", Fate::Delivered, Fault::Rubbish(2)),
    ];
    let ok = if wire == Wire::Http { Answer::http(200) } else { Answer::grpc(0) };
    all.extend([
        answers("partial success, 3 rejected", Fate::Rejected(3), vec![ok.clone().partial(3)]),
        answers("hangs", Fate::Delivered, vec![ok.clone().hang()]),
        answers("resets", Fate::Delivered, vec![ok.clone().reset()]),
        answers("resets within the body", Fate::Delivered, vec![ok.clone().reset_in_body()]),
        answers("sends the body for ever", Fate::Delivered, vec![ok.clone().slow_body()]),
        answers("garbage body", Fate::Delivered, vec![ok.clone().body([0xff; 512])]),
        answers("body of 8 MiB", Fate::DroppedOnArrival, vec![ok.clone().body(vec![0; 8 << 20])]),
        answers("a web page", Fate::Dropped, vec![ok.header("content-type", "text/html").refusing()]),
    ]);
    match wire {
        Wire::Http => {
            for (name, status) in
                [("400", 400), ("401", 401), ("404", 404), ("413", 413), ("500", 500), ("redirects elsewhere", 302)]
            {
                all.push(answers(name, Fate::Dropped, vec![Answer::http(status)]).row("400, 401, 404, 413, 500, 302"));
            }
            for (name, status) in [("429", 429), ("502", 502), ("503", 503), ("504", 504)] {
                all.push(answers(name, Fate::Delivered, vec![Answer::http(status)]).row("429, 502, 503, 504"));
            }
            let seconds = Answer::http(429).header("retry-after", "2");
            all.push(
                answers("429 with Retry-After in seconds", Fate::Delivered, vec![seconds])
                    .waiting(2)
                    .row("429 with Retry-After"),
            );
            // A date has no fractions of a second.
            let date = Answer::http(429).retry_date(3);
            all.push(
                answers("429 with Retry-After as a date", Fate::Delivered, vec![date])
                    .waiting(2)
                    .row("429 with Retry-After"),
            );
        }
        Wire::Grpc => {
            for (name, code) in [
                ("INVALID_ARGUMENT", 3),
                ("UNKNOWN", 2),
                ("UNIMPLEMENTED", 12),
                ("INTERNAL", 13),
                ("UNAUTHENTICATED", 16),
                ("RESOURCE_EXHAUSTED", 8),
            ] {
                let refusal = answers(name, Fate::Dropped, vec![Answer::grpc(code)]);
                all.push(refusal.row("codes that forbid another try (2, 3, 8, 12, 13, 16)"));
            }
            for (name, code) in [
                ("CANCELLED", 1),
                ("DEADLINE_EXCEEDED", 4),
                ("ABORTED", 10),
                ("OUT_OF_RANGE", 11),
                ("UNAVAILABLE", 14),
                ("DATA_LOSS", 15),
            ] {
                let busy = answers(name, Fate::Delivered, vec![Answer::grpc(code)]);
                all.push(busy.row("retryable codes (1, 4, 10, 11, 14, 15)"));
            }
            let busy = Answer::grpc(8).retry_info(2);
            all.push(answers("RESOURCE_EXHAUSTED with RetryInfo", Fate::Delivered, vec![busy]).waiting(2));
            all.push(answers("HTTP 503 without a gRPC status", Fate::Delivered, vec![Answer::http(503)]));
        }
    }
    all
}

// === impl Wire ===

impl Wire {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http, Self::Grpc];

    /// As `exporter.protocol` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http/protobuf",
            Self::Grpc => "grpc",
        }
    }

    const fn speaks(self) -> Protocol {
        match self {
            Self::Http => Protocol::Http1,
            Self::Grpc => Protocol::Http2,
        }
    }
}

// === impl Bench ===

impl Bench {
    /// Starts both.
    ///
    /// # Panics
    /// One of them does not start.
    pub async fn start(subject: Subject, wire: Wire) -> Self {
        let (upstream, receiver) = (Upstream::start().await, Scripted::start().await);
        let sender = match subject {
            Subject::Filter => {
                // The schedule is longer than a scenario takes to send, and no retry waits for long.
                let config = json!({
                    "exporter": {"protocol": wire.name(), "timeout": "500ms"}, "batch": {"scheduleDelay": "600ms"},
                    "metrics": {"interval": "1s"},
                });
                let collector = Some(receiver.address());
                let setup = Setup { config, collector, ..Setup::new(upstream.address()) };
                Sender::Filter(Box::new(setup.start().await))
            }
            Subject::Native => Sender::Native(Box::new(native(wire, &upstream, &receiver).await)),
        };
        Self { wire, receiver, sender, points: 0, _upstream: upstream }
    }

    /// Runs a scenario.
    ///
    /// # Panics
    /// Records are neither with the receiver nor accounted for.
    pub async fn run(&mut self, scenario: &Scenario) -> Outcome {
        self.points += self.receiver.taken("data_points").records.values().sum::<usize>();
        self.receiver.forget();
        let (before, begun) = (self.books().await, Instant::now());
        match &scenario.fault {
            Fault::Answers(answers) => self.receiver.script(answers),
            Fault::Rubbish(connections) => self.receiver.rubbish(*connections).await,
            Fault::Away(_) => self.receiver.stop().await,
        }
        let failed = burst(self.inbound().await).await;
        if let Fault::Away(time) = scenario.fault {
            sleep(time).await;
            self.receiver.restart();
        }
        let after = self.settled(&before).await;
        let fortunes = NOUNS.map(|noun| fortune(&self.receiver, noun, REQUESTS, before.as_ref(), after.as_ref()));
        let outcome = Outcome { sent: REQUESTS, failed, fortunes };
        if let Sender::Filter(proxy) = &self.sender {
            scenario.check(self.wire, &outcome);
            assert!(begun.elapsed() >= scenario.wait, "{} over {} came too soon", scenario.name, self.wire.name());
            proxy.assert_alive().await;
        }
        outcome
    }

    /// Holds the metrics that were exported meanwhile to the books. They leave in their own time, so that no scenario has
    /// a number of them.
    ///
    /// # Panics
    /// Data points are neither with the receiver nor accounted for, or there were none.
    pub async fn check_metrics(mut self) {
        let Sender::Filter(proxy) = &self.sender else { return };
        let books = proxy.until("no data point waits", |books| books.get("data_points_waiting") == 0).await;
        books.assert_balanced();
        self.receiver.stop().await;
        let taken = (self.points + self.receiver.taken("data_points").records.values().sum::<usize>()) as i64;
        let told = books.exported("data_points") + books.get("data_points_rejected");
        assert!(books.exported("data_points") > 0 && books.dropped("data_points") > 0, "{books:?}");
        // What was refused on arrival, or is on its way just now, the receiver has although it is not told so.
        assert!(told <= taken, "{told} are said to be taken, and {taken} are: {books:?}");
        let lost = books.recorded("data_points") - taken;
        assert!(lost <= books.dropped("data_points"), "{lost} are lost: {books:?}");
    }

    async fn inbound(&self) -> SocketAddr {
        match &self.sender {
            Sender::Filter(proxy) => proxy.inbound,
            Sender::Native(envoy) => envoy.listener("inbound").await.expect("the listener is there"),
        }
    }

    /// The filter's counters, once it has any.
    async fn books(&self) -> Option<Books> {
        let Sender::Filter(proxy) = &self.sender else { return None };
        Some(proxy.until("counters", |books| !books.is_empty()).await)
    }

    /// Waits until all records are accounted for.
    async fn settled(&self, before: &Option<Books>) -> Option<Books> {
        let (Sender::Filter(proxy), Some(before)) = (&self.sender, before) else {
            // Envoy tells nothing of what it holds; it flushes every 200 ms and tries nothing again.
            sleep(Duration::from_millis(2500)).await;
            return None;
        };
        let all = |books: &Books, noun| books.recorded(noun) - before.recorded(noun) == REQUESTS as i64;
        let empty = |books: &Books, noun| books.get(&format!("{noun}_waiting")) == 0;
        let settled = |books: &Books| NOUNS.iter().all(|noun| all(books, noun) && empty(books, noun));
        let books = proxy.until("nothing waits any more", |books| books.is_balanced() && settled(books)).await;
        assert_eq!(books.get("host_errors"), 0);
        Some(books)
    }
}

/// Sends [`REQUESTS`] at once, and answers how many were not answered with 200.
async fn burst(to: SocketAddr) -> usize {
    let mut all = JoinSet::new();
    for n in 0..REQUESTS {
        all.spawn(async move { raw::send(to, &raw::request(format!("/{n}").as_bytes(), &[])).await });
    }
    all.join_all().await.into_iter().filter(|status| *status != Some(200)).count()
}

/// Sends requests one after the other, and answers how many were not answered with 200.
async fn requests(to: SocketAddr, numbers: Range<usize>, pause: Duration) -> usize {
    let mut failed = 0;
    for n in numbers {
        let path = format!("/{n}");
        failed += usize::from(raw::send(to, &raw::request(path.as_bytes(), &[])).await != Some(200));
        sleep(pause).await;
    }
    failed
}

/// What became of one signal's records between two looks into the books, the first of which may be empty; without books
/// the receiver alone tells.
fn fortune(receiver: &Scripted, noun: &str, sent: usize, before: Option<&Books>, after: Option<&Books>) -> Fortune {
    let taken = receiver.taken(noun);
    let mut dropped = BTreeMap::new();
    if let Some(after) = after {
        let change = |name: &str| {
            let name = format!("{noun}_{name}");
            after.get(&name) - before.map_or(0, |before| before.get(&name))
        };
        for reason in ["queue_full", "export_failed", "too_large", "shutdown"] {
            dropped.insert(reason.to_owned(), change(&format!("dropped_{reason}")));
        }
        let (exported, rejected) = (change("exported"), change("rejected"));
        let sum = exported + rejected + dropped.values().sum::<i64>();
        assert_eq!(sum, sent as i64, "recorded = exported + rejected + dropped, of {noun}: {after:?}");
        assert_eq!(rejected, taken.rejected as i64, "the receiver rejected as many {noun} as the books say");
    }
    dropped.retain(|_, count| *count != 0);
    Fortune {
        received: taken.records.len(),
        repeated: taken.records.values().filter(|times| **times > 1).count(),
        rejected: taken.rejected,
        dropped,
    }
}

// === impl Scenario ===

impl Scenario {
    fn new(name: &'static str, fate: Fate, fault: Fault) -> Self {
        Self { name, row: name, fault, fate, wait: Duration::ZERO }
    }

    fn row(mut self, row: &'static str) -> Self {
        self.row = row;
        self
    }

    fn waiting(mut self, seconds: u64) -> Self {
        self.wait = Duration::from_secs(seconds);
        self
    }

    fn check(&self, wire: Wire, outcome: &Outcome) {
        let what = format!("{} over {}: {outcome:?}", self.name, wire.name());
        assert_eq!(outcome.failed, 0, "{what}");
        let (received, rejected, dropped) = match self.fate {
            Fate::Delivered => (REQUESTS, 0, 0),
            Fate::Rejected(rejected) => (REQUESTS, rejected, 0),
            Fate::Dropped => (0, 0, REQUESTS),
            Fate::DroppedOnArrival => (REQUESTS, 0, REQUESTS),
        };
        for fortune in &outcome.fortunes {
            assert_eq!((fortune.received, fortune.rejected), (received, rejected), "{what}");
            let by_reason = fortune.dropped.get("export_failed").copied().unwrap_or(0);
            assert_eq!((by_reason, fortune.repeated), (dropped as i64, 0), "{what}");
        }
    }
}

/// A listener whose Envoy exports by itself.
fn native_listener(wire: Wire) -> Value {
    let mut listener = http_listener("inbound", Traffic::Inbound, vec![], vec![route(&["*"], "inbound")]);
    let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config").expect("a listener of ours");
    let service = |path: &str| match wire {
        Wire::Http => {
            let uri = json!({"uri": format!("http://collector{path}"), "cluster": COLLECTOR, "timeout": "0.5s"});
            ("http_service", json!({"http_uri": uri}))
        }
        Wire::Grpc => ("grpc_service", json!({"envoy_grpc": {"cluster_name": COLLECTOR}, "timeout": "0.5s"})),
    };
    let (key, value) = service("/v1/traces");
    let tracer = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig";
    let mut tracing = json!({"@type": tracer, "service_name": "native"});
    tracing[key] = value;
    manager["tracing"] = json!({"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": tracing}});
    let (key, value) = service("/v1/logs");
    let mut log = json!({
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "common_config": {
            "log_name": "native", "transport_api_version": "V3", "buffer_flush_interval": "0.2s",
            "grpc_service": {"envoy_grpc": {"cluster_name": COLLECTOR}},
        },
        "body": {"string_value": "%REQ(:PATH)%"},
    });
    if wire == Wire::Http {
        log.as_object_mut().expect("an object").remove("common_config");
        log["log_name"] = json!("native");
        log["buffer_flush_interval"] = json!("0.2s");
        log[key] = value;
    } else {
        log["common_config"][key] = value;
    }
    manager["access_log"] = json!([{"name": "envoy.access_loggers.open_telemetry", "typed_config": log}]);
    listener
}

/// An Envoy that exports by itself.
async fn native(wire: Wire, upstream: &Upstream, receiver: &Scripted) -> Envoy {
    let node = json!({"id": "native", "cluster": "native"});
    let clusters = vec![
        cluster("inbound", upstream.address(), Protocol::Http1),
        cluster(COLLECTOR, receiver.address(), wire.speaks()),
    ];
    let mut bootstrap = bootstrap(node, vec![native_listener(wire)], clusters);
    flush_often(&mut bootstrap);
    let (binary, options) = (crate::envoy(), Options::default());
    let envoy = Envoy::start(&binary, "native", &bootstrap, &options).await;
    envoy.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Has Envoy's tracer flush as often as the filter does here, and not before.
fn flush_often(bootstrap: &mut Value) {
    let values = json!({"tracing.opentelemetry.flush_interval_ms": 200, "tracing.opentelemetry.min_flush_spans": 100});
    bootstrap["layered_runtime"] = json!({"layers": [{"name": "static", "static_layer": values}]});
}
