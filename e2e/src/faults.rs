//! What receivers do to exports, scenario by scenario, and what became of the records: the same for the filter and for
//! what Envoy has itself, its OpenTelemetry tracer and its OTLP access log.
//!
//! In: a [`Subject`] and a protocol. Out: an [`Outcome`] for each scenario, of which the filter's are checked against its
//! own books and against what the receiver holds. Panics where the books are wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use otelmesh::envoy::Envoy;
use otelmesh::envoy::bootstrap::Protocol;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::proxy::{Books, Proxy, Setup};
use crate::raw;
use crate::scripted::Scripted;
use crate::upstream::Upstream;

pub use scenario::{Fate, Fault, Scenario, scenarios};

pub mod changes;
mod native;
mod scenario;

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
            Subject::Native => Sender::Native(Box::new(native::start(wire, &upstream, &receiver).await)),
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
