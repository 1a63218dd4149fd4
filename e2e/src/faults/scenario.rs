//! What receivers do to exports, and what must become of the records then.

use std::time::Duration;

use super::{Outcome, REQUESTS, Wire};
use crate::scripted::Answer;

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

    pub(super) fn check(&self, wire: Wire, outcome: &Outcome) {
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
